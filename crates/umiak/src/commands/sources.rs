//! How registries, daemons and layouts are reached, from flags and environment.

use std::fs;
use std::path::PathBuf;

use umiak_registry::{Context as Sources, Credentials, Place, RegistrySettings};
use umiak_spec::Limits;

use crate::cli::ImageArgs;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Failure, Kind};

/// Where bare references are looked up unless --source says otherwise; pvr's default.
pub const DEFAULT_SOURCE: &str = "remote,local";

/// What the flags mean.
///
/// # Errors
/// Usage failures for flags that mean nothing, environment failures for files that cannot be read.
pub fn sources(context: &Context<'_>, arguments: &ImageArgs) -> Result<Sources, Failure> {
    let order = Place::parse_list(arguments.source.as_deref().unwrap_or(DEFAULT_SOURCE))
        .map_err(|error| Failure::from_error(&error, Kind::Usage, Vec::new()))?;
    Ok(Sources {
        cache: context.environment.cache_dir.clone(),
        order,
        docker_socket: docker_socket(context.environment)?,
        registry: registry(context, arguments)?,
        limits: Limits::default(),
    })
}

fn registry(context: &Context<'_>, arguments: &ImageArgs) -> Result<RegistrySettings, Failure> {
    let environment = context.environment;
    let credentials = match (&arguments.username, &arguments.password) {
        (Some(username), password) => {
            Some(Credentials { username: username.clone(), password: password.clone().unwrap_or_default() })
        }
        (None, Some(_)) => {
            return Err(Failure::new(Kind::Usage, "there is a password but no user name").hint("give both -u and -p"));
        }
        (None, None) => None,
    };
    let ca_certificates = match &environment.certificates {
        Some(path) => Some(fs::read(path).map_err(|error| Failure::of_io("read", path, &error))?),
        None => None,
    };
    Ok(RegistrySettings {
        credentials,
        docker_config: environment.registry_credentials.clone(),
        insecure: context.world.insecure,
        proxy: Some(context.world.http_proxy.clone()).filter(|proxy| proxy != "system"),
        ca_certificates,
        ..RegistrySettings::default()
    })
}

/// The daemon's socket; only a local one can be talked to.
fn docker_socket(environment: &Environment) -> Result<PathBuf, Failure> {
    match environment.docker_host.as_deref() {
        None => Ok(PathBuf::from("/var/run/docker.sock")),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(Failure::new(Kind::Usage, format!("DOCKER_HOST is `{host}`; umiak talks to unix:// sockets"))
                .hint("unset DOCKER_HOST, or use --source remote")),
        },
    }
}
