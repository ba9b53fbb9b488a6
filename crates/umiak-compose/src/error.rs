//! What can be wrong with a compose project, and where.

use std::fmt;
use std::io;

/// A place in a file of the project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the project's directory.
    pub file: String,
    /// Line, counted from 1; 0 if the whole file is meant.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

impl Place {
    /// The file as a whole.
    #[must_use]
    pub fn file(file: &str) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// Why a project could not be read or pinned.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ComposeError {
    /// Where.
    pub place: Place,
    /// What.
    #[source]
    pub problem: Problem,
}

/// What is wrong at a place.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// There is no such file.
    #[error("there is no such file")]
    NoFile,
    /// None of the names that Compose looks for.
    #[error("there is no compose file: none of {}", .0.join(", "))]
    NoProject(Vec<String>),
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    Encoding,
    /// Not YAML.
    #[error("it is not YAML: {0}")]
    Syntax(String),
    /// YAML that Compose has no use for.
    #[error("{0}")]
    Unsupported(String),
    /// One of `ComposeLimits`.
    #[error("it is beyond the limit of {limit} {what}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The same key twice.
    #[error("the key `{0}` is there twice")]
    DuplicateKey(String),
    /// An anchor that holds itself.
    #[error("the alias stands inside of what it names")]
    AliasCycle,
    /// A key that the Compose specification does not know.
    #[error("`{key}` is not a key of {inside}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Of what.
        inside: String,
        /// The known key that is most like it.
        nearest: Option<String>,
    },
    /// Another kind of value than the specification asks for.
    #[error("{what} must be {expected}, not {found}")]
    Shape {
        /// The key.
        what: String,
        /// What may stand there.
        expected: &'static str,
        /// What does.
        found: &'static str,
    },
    /// A `$` that begins no variable.
    #[error("`{text}` is not a valid use of a variable: {reason}")]
    Template {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value that publishing needs has a variable without a value.
    #[error("the variable `{name}` has no value{}", detail(message))]
    NoValue {
        /// The variable.
        name: String,
        /// What the author says about it (`${NAME:?message}`).
        message: String,
    },
    /// A file of variables that is none.
    #[error("it is no file of variables: {0}")]
    Variables(String),
    /// A service without an image.
    #[error("service `{service}` has no image")]
    NoImage {
        /// The service.
        service: String,
        /// Whether it has `build`.
        builds: bool,
    },
    /// An image that is none.
    #[error("service `{service}` has no usable image")]
    Image {
        /// The service.
        service: String,
        /// What is wrong with the reference.
        #[source]
        source: umiak_spec::ReferenceError,
    },
    /// A platform that is none.
    #[error("service `{service}` has no usable platform")]
    Platform {
        /// The service.
        service: String,
        /// What is wrong with it.
        #[source]
        source: umiak_spec::PlatformError,
    },
    /// No service at all.
    #[error("the project has no services")]
    NoServices,
    /// Something that is named and not there.
    #[error("{by} names {what} `{name}`, which is not there")]
    Missing {
        /// Who names it.
        by: String,
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Includes, extends or dependencies in a circle.
    #[error("{what} go in a circle: {}", .chain.join(" -> "))]
    Cycle {
        /// Of what.
        what: &'static str,
        /// The circle, the first again at the end.
        chain: Vec<String>,
    },
    /// An included file defines what is there already, differently.
    #[error("{what} `{name}` is defined elsewhere already, differently")]
    Conflict {
        /// What kind of thing.
        what: String,
        /// Its name.
        name: String,
    },
    /// The published file would not mean what the project means: a bug, caught before anything was published.
    #[error("the pinned file would not mean what the project means: {0}")]
    NotTheSame(String),
}

impl ComposeError {
    /// What to do about it, if there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match &self.problem {
            Problem::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Problem::UnknownKey { .. } => "keys of your own begin with `x-`".to_owned(),
            Problem::NoImage { builds: true, service } => format!(
                "a device does not build: build and push the image, and give `{service}` its name with `image:`"
            ),
            Problem::NoImage { service, .. } => format!("give `{service}` an `image:`"),
            Problem::NoValue { name, .. } => {
                format!("set `{name}` in the environment or in .env, or give it a default: ${{{name}:-…}}")
            }
            Problem::Template { .. } => "a `$` that is meant as such is written `$$`".to_owned(),
            Problem::NoProject(_) => "publish in the directory of the compose file, or name it".to_owned(),
            Problem::Limit { .. } => "split the project, or write the values without anchors".to_owned(),
            _ => return None,
        })
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// Makes an error out of a problem.
pub(crate) trait At {
    fn at(self, place: Place) -> ComposeError;
}

impl At for Problem {
    fn at(self, place: Place) -> ComposeError {
        ComposeError { place, problem: self }
    }
}

/// As much of a foreign text as a message can bear.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
