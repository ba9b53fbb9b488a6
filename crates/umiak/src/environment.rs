//! The one place that reads the environment, and what it decides from it.
//!
//! Flags with a `PVR_*` variable of the same meaning are read by the argument parser; everything else is read here,
//! once, at the start, and what the terminal is by `umiak_ui::setup`. Nothing else looks at a variable or the home directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::WorldArgs;

/// What umiak knows of the world it was started in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// pvr's configuration directory: credentials, the object pool, caches. `None` without a home directory.
    pub config_dir: Option<PathBuf>,
    /// Where derived and downloaded files are kept; may be deleted at any time.
    pub cache_dir: PathBuf,
    /// Credentials for registries in the form of Docker's `config.json`: `REGISTRY_AUTH_FILE`, or Docker's own file.
    pub registry_credentials: Option<PathBuf>,
    /// Certificates to trust instead of the public ones, a PEM file (`SSL_CERT_FILE`).
    pub certificates: Option<PathBuf>,
    /// Address of the Docker daemon (`DOCKER_HOST`), when it is not the usual socket.
    pub docker_host: Option<String>,
    /// `SOURCE_DATE_EPOCH`: the moment to write where a document holds the time, in seconds since 1970.
    pub fixed_time: Option<u64>,
    /// Where temporary directories go.
    pub temporary_dir: PathBuf,
    /// Template arguments of `PVR_TEMPLATE_ARG`, split at commas as pvr does.
    pub template_arguments: Vec<String>,
    /// Volumes of `PVR_PERSISTENCE_VOLUME`, split at commas as pvr does.
    pub volumes: Vec<String>,
}

impl Environment {
    /// Reads the process's environment.
    #[must_use]
    pub fn read(world: &WorldArgs) -> Self {
        Self::from_variables(world, |name| std::env::var_os(name))
    }

    fn from_variables(world: &WorldArgs, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // Some commands change the current directory: what is relative is relative to where the program was started.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let path = |name: &str| set(name).map(PathBuf::from).map(absolute);
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let list = |name: &str| text(name).map(|value| value.split(',').map(|item| item.trim().to_owned()).collect());
        let home = path("HOME");
        let temporary_dir = path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
        let config_dir = world.config_dir.clone().map(absolute).or_else(|| home.as_ref().map(|home| home.join(".pvr")));
        let docker = path("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
        let cache_dir =
            config_dir.as_ref().map_or_else(|| temporary_dir.join("umiak-cache"), |dir| dir.join("cache/umiak"));
        Self {
            config_dir,
            cache_dir,
            registry_credentials: path("REGISTRY_AUTH_FILE")
                .or_else(|| docker.map(|directory| directory.join("config.json"))),
            certificates: path("SSL_CERT_FILE"),
            docker_host: text("DOCKER_HOST"),
            fixed_time: text("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok()),
            temporary_dir,
            template_arguments: list("PVR_TEMPLATE_ARG").unwrap_or_default(),
            volumes: list("PVR_PERSISTENCE_VOLUME").unwrap_or_default(),
        }
    }
}

/// All variables, as a compose project uses them. What is not UTF-8 is no variable there.
#[must_use]
pub fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn environment(arguments: &[&str], variables: &[(&str, &str)]) -> Environment {
        let grammar = WorldArgs::augment_args(clap::Command::new("umiak"));
        let matches = grammar.try_get_matches_from([&["umiak"], arguments].concat()).unwrap();
        let world = WorldArgs::from_arg_matches(&matches).unwrap();
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        Environment::from_variables(
            &WorldArgs { config_dir: world.config_dir.filter(|_| !arguments.is_empty()), ..world },
            find,
        )
    }

    #[test]
    fn directories_follow_home_unless_a_flag_names_them() {
        let of_home = environment(&[], &[("HOME", "/home/me")]);
        assert_eq!(of_home.config_dir.unwrap(), PathBuf::from("/home/me/.pvr"));
        assert_eq!(of_home.cache_dir, PathBuf::from("/home/me/.pvr/cache/umiak"));
        assert_eq!(of_home.registry_credentials.unwrap(), PathBuf::from("/home/me/.docker/config.json"));
        let of_flag = environment(&["-c", "/etc/pvr"], &[("HOME", "/home/me"), ("DOCKER_CONFIG", "/d")]);
        assert_eq!(of_flag.cache_dir, PathBuf::from("/etc/pvr/cache/umiak"));
        assert_eq!(of_flag.registry_credentials.unwrap(), PathBuf::from("/d/config.json"));
        assert_eq!(environment(&[], &[]).config_dir, None);
    }

    #[test]
    fn lists_are_split_and_empty_variables_count_as_unset() {
        let read = environment(&[], &[("PVR_TEMPLATE_ARG", "A=1, B=2"), ("PVR_PERSISTENCE_VOLUME", "")]);
        assert_eq!(read.template_arguments, ["A=1", "B=2"]);
        assert!(read.volumes.is_empty());
    }
}
