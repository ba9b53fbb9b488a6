//! How an image is meant to run: what its configuration says, before a service says otherwise.
//!
//! The `config` of the OCI image configuration, with what Docker adds to it (`Healthcheck`, `Shell`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Health, Probe};
use crate::ImageConfig;
use crate::manifest::{DocumentError, or_default};

/// What an image says about running it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or program and arguments without an entrypoint.
    pub command: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The working directory; empty: the root.
    pub cwd: String,
    /// User and group as written; empty: root.
    pub user: String,
    /// Paths that are to be volumes.
    pub volumes: Vec<String>,
    /// Ports that it listens at, as `80/tcp`.
    pub exposed: Vec<String>,
    /// The signal that asks it to stop; empty: `SIGTERM`.
    pub stop_signal: String,
    /// What health checks in shell form are handed to; empty: `/bin/sh -c`.
    pub shell: Vec<String>,
    /// How it is found to be healthy.
    pub health: Option<ImageHealth>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The image's `HEALTHCHECK`; what it does not say is the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageHealth {
    /// `NONE`, `CMD` and arguments, or `CMD-SHELL` and a text. Empty: nothing.
    pub test: Vec<String>,
    /// The interval.
    pub interval: Option<Duration>,
    /// The limit of one try.
    pub timeout: Option<Duration>,
    /// The time in which failures do not count.
    pub start_period: Option<Duration>,
    /// The interval in that time.
    pub start_interval: Option<Duration>,
    /// Failures in a row that count.
    pub retries: Option<u32>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default, deserialize_with = "or_default")]
    config: Config,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default, deserialize_with = "or_default")]
    entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    cmd: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    working_dir: String,
    #[serde(default, deserialize_with = "or_default")]
    user: String,
    #[serde(default, deserialize_with = "or_default")]
    volumes: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    stop_signal: String,
    #[serde(default, deserialize_with = "or_default")]
    shell: Vec<String>,
    #[serde(default)]
    healthcheck: Option<Healthcheck>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

/// Times are billionths of a second; 0 is unsaid.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    #[serde(default, deserialize_with = "or_default")]
    test: Vec<String>,
    #[serde(default)]
    interval: u64,
    #[serde(default)]
    timeout: u64,
    #[serde(default)]
    start_period: u64,
    #[serde(default)]
    start_interval: u64,
    #[serde(default)]
    retries: u32,
}

impl ImageDefaults {
    /// Reads them from an image's configuration. Unknown members are passed over.
    ///
    /// # Errors
    /// [`DocumentError`] when what is there is of another shape.
    pub fn of(config: &ImageConfig) -> Result<Self, DocumentError> {
        let Written { config } = serde_json::from_str(&config.text)?;
        Ok(Self {
            entrypoint: config.entrypoint,
            command: config.cmd,
            env: config.env.iter().map(|pair| split(pair)).collect(),
            cwd: config.working_dir,
            user: config.user,
            volumes: config.volumes.into_keys().collect(),
            exposed: config.exposed_ports.into_keys().collect(),
            stop_signal: config.stop_signal,
            shell: config.shell,
            health: config.healthcheck.map(Healthcheck::read),
            labels: config.labels,
        })
    }
}

fn split(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.to_owned(), value.to_owned())
}

impl Healthcheck {
    fn read(self) -> ImageHealth {
        let time = |nanos: u64| (nanos > 0).then(|| Duration::from_nanos(nanos));
        ImageHealth {
            test: self.test,
            interval: time(self.interval),
            timeout: time(self.timeout),
            start_period: time(self.start_period),
            start_interval: time(self.start_interval),
            retries: (self.retries > 0).then_some(self.retries),
        }
    }
}

impl ImageHealth {
    /// What `self` says, over what `below` says: value by value, as Docker has it.
    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        Self {
            test: if self.test.is_empty() { below.test.clone() } else { self.test },
            interval: self.interval.or(below.interval),
            timeout: self.timeout.or(below.timeout),
            start_period: self.start_period.or(below.start_period),
            start_interval: self.start_interval.or(below.start_interval),
            retries: self.retries.or(below.retries),
        }
    }

    /// As a probe, with defaults for what is unsaid; `shell` is the image's. None: nothing is to be tried, or the test is
    /// of a form that is not known.
    #[must_use]
    pub fn settled(&self, shell: &[String]) -> Option<Health> {
        let args = match self.test.split_first()? {
            (form, args) if form == "CMD" && !args.is_empty() => args.to_vec(),
            (form, [text]) if form == "CMD-SHELL" && shell.is_empty() => {
                vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()]
            }
            (form, [text]) if form == "CMD-SHELL" => [shell, std::slice::from_ref(text)].concat(),
            _ => return None,
        };
        Some(self.timed(Probe::Exec(args)))
    }

    /// Another probe with the times that are said here.
    #[must_use]
    pub fn timed(&self, probe: Probe) -> Health {
        let unsaid = Health::new(probe);
        Health {
            interval: self.interval.unwrap_or(unsaid.interval),
            timeout: self.timeout.unwrap_or(unsaid.timeout),
            start_period: self.start_period.unwrap_or(unsaid.start_period),
            start_interval: self.start_interval.unwrap_or(unsaid.start_interval),
            retries: self.retries.unwrap_or(unsaid.retries),
            probe: unsaid.probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn defaults(text: &str) -> ImageDefaults {
        let config = ImageConfig::parse(text.as_bytes(), &Limits::default()).unwrap();
        ImageDefaults::of(&config).unwrap()
    }

    #[test]
    fn what_images_say_is_read() {
        let read = defaults(
            r#"{"architecture":"arm64","config":{"Entrypoint":["/e"],"Cmd":null,"Env":["PATH=/bin","A=b=c","E"],
            "WorkingDir":"/srv","User":"1000:50","Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{}},
            "StopSignal":"SIGQUIT","Shell":["/bin/ash","-c"],"Labels":null,
            "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":2}}}"#,
        );
        assert_eq!(read.entrypoint, ["/e"]);
        assert!(read.command.is_empty());
        assert_eq!((read.env["A"].as_str(), read.env["E"].as_str()), ("b=c", ""));
        let health = read.health.as_ref().unwrap().settled(&read.shell).unwrap();
        assert_eq!(health.probe, Probe::Exec(vec!["/bin/ash".into(), "-c".into(), "true".into()]));
        assert_eq!((health.interval.as_secs(), health.timeout.as_secs(), health.retries), (5, 30, 2));
        assert_eq!(defaults(r#"{"config":null}"#), ImageDefaults::default());
        assert_eq!(defaults("{}"), ImageDefaults::default());
    }

    #[test]
    fn health_is_said_value_by_value() {
        let image = ImageHealth { test: vec!["CMD".into(), "/t".into()], retries: Some(9), ..ImageHealth::default() };
        let own = ImageHealth { interval: Some(Duration::from_secs(1)), ..ImageHealth::default() };
        let both = own.over(&image).settled(&[]).unwrap();
        assert_eq!((both.retries, both.interval.as_secs()), (9, 1));
        for nothing in [vec![], vec!["NONE".to_owned()], vec!["CMD".to_owned()], vec!["?".to_owned(), "x".to_owned()]] {
            assert_eq!(ImageHealth { test: nothing, ..ImageHealth::default() }.settled(&[]), None);
        }
    }
}
