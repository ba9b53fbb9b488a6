//! What the tests of this crate share: projects as texts.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::BTreeMap;

use umiak_compose::{ComposeError, ComposeLimits, Pinned, Project};
use umiak_spec::Digest;

pub type Texts<'a> = &'a [(&'a str, &'a str)];

pub fn read_with(files: Texts<'_>, names: &[&str], environment: Texts<'_>) -> Result<Project, ComposeError> {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Project::read(&files, &names, &environment, &ComposeLimits::default())
}

pub fn read(files: Texts<'_>) -> Result<Project, ComposeError> {
    read_with(files, &[], &[])
}

pub fn one(text: &str) -> Result<Project, ComposeError> {
    read(&[("docker-compose.yml", text)])
}

/// Every image has the digest of its reference.
pub fn pin(project: &Project) -> Pinned {
    project
        .pinned(|service| {
            let image = &service.image;
            Ok::<_, ComposeError>(Digest::of(
                format!("{}/{}:{}", image.host, image.repository, image.target()).as_bytes(),
            ))
        })
        .unwrap()
}

/// The text with digests cut to six digits and hashes to `HASH`: easier to look at.
pub fn short(text: &str) -> String {
    let mut out = String::new();
    let mut hex = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
            hex.push(c);
            continue;
        }
        match hex.len() {
            64 if out.ends_with("sha256:") => out.push_str(&hex[..6]),
            64 => out.push_str("HASH"),
            _ => out.push_str(&hex),
        }
        hex.clear();
        out.push(c);
    }
    out.trim_end_matches('\0').to_owned()
}
