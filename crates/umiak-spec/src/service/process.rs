//! What a service executes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The process of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; the program is looked for in the environment's `PATH` if it has no `/`. Never
    /// empty in a service that was read.
    pub args: Vec<String>,
    /// Its environment, complete: the image's with the service's over it.
    pub env: BTreeMap<String, String>,
    /// Its working directory, absolute; it is made where it is missing and the root can be written.
    pub cwd: String,
    /// As whom it runs.
    pub user: User,
    /// Further groups.
    pub groups: Vec<Identity>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub stdin: bool,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            args: vec![],
            env: BTreeMap::new(),
            cwd: "/".to_owned(),
            user: User::default(),
            groups: vec![],
            tty: false,
            stdin: false,
        }
    }
}

/// A user or group, by number or by its name in the service's `/etc/passwd` or `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// By number.
    Number(u32),
    /// By name.
    Name(String),
}

/// As whom a process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user.
    pub user: Identity,
    /// The group; none: the user's own in `/etc/passwd`, else 0.
    pub group: Option<Identity>,
}

impl Default for User {
    fn default() -> Self {
        Self { user: Identity::Number(0), group: None }
    }
}

impl Identity {
    /// Reads a number or a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = !text.is_empty() && text.len() <= 256 && !text.contains([':', '\0', '\n']);
        match text.parse() {
            // A sign is no part of a number here.
            Ok(number) if !text.starts_with('+') => Some(Self::Number(number)),
            // What consists of digits alone and is beyond 32 bits is no name.
            _ => (named && !text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self::Name(text.to_owned())),
        }
    }
}

impl User {
    /// Reads `user`, `user:group` with names or numbers. Nothing is root.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let user = if user.is_empty() { Identity::Number(0) } else { Identity::parse(user)? };
        let group = match group {
            None | Some("") => None,
            Some(group) => Some(Identity::parse(group)?),
        };
        Some(Self { user, group })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => self.user.fmt(f),
            Some(group) => write!(f, "{}:{group}", self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_names_or_numbers() {
        for (text, shown) in [("", "0"), ("0", "0"), ("1000:50", "1000:50"), ("www-data", "www-data"), (":5", "0:5")] {
            assert_eq!(User::parse(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(User::parse("007").unwrap().user, Identity::Number(7));
        assert_eq!(User::parse("a:").unwrap(), User { user: Identity::Name("a".into()), group: None });
        for wrong in ["a:b:c", "99999999999", "a\0", "1:99999999999"] {
            assert!(User::parse(wrong).is_none(), "{wrong}");
        }
    }
}
