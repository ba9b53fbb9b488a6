//! `umiak pkg ls`: what is in packages.

use std::path::Path;

use serde_json::{Value, json};
use umiak_pvr::Entry;
use umiak_release::{PackageName, length};
use umiak_repository::package::{self, Contents};
use umiak_spec::Limits;
use umiak_ui::{Align, Size, Table};

use crate::cli::PkgLsArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Lists each.
pub fn run(context: &Context<'_>, arguments: &PkgLsArgs) -> Outcome {
    let mut documents = Vec::new();
    for file in &arguments.files {
        let progress = context.progress();
        let contents = package::verify(file, &Limits::default(), &progress)?;
        drop(progress);
        if context.printer.is_json() {
            documents.push(value(file, &contents));
            continue;
        }
        if arguments.files.len() > 1 {
            context.printer.heading(&file.display().to_string());
        }
        context.printer.data(&table(context, &contents).to_string())?;
    }
    if context.printer.is_json() { Ok(context.printer.document(&json!({ "packages": documents }))?) } else { Ok(()) }
}

fn table(context: &Context<'_>, contents: &Contents) -> Table {
    let mut table = Table::new(&[Align::Right, Align::Left, Align::Left]).flush();
    for (path, entry) in contents.state.entries() {
        let digest = match entry {
            Entry::Object(digest) if context.printer.is_verbose() => digest.to_string(),
            _ => String::new(),
        };
        table.row([&Size(length(contents, entry)).to_string(), path.as_str(), &digest]);
    }
    table
}

fn value(file: &Path, contents: &Contents) -> Value {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(PackageName::parse);
    let files = contents.state.entries().iter().map(|(path, entry)| {
        let digest = match entry {
            Entry::Object(digest) => Some(digest.to_string()),
            Entry::Inline(_) => None,
        };
        json!({ "path": path.as_str(), "bytes": length(contents, entry), "digest": digest })
    });
    json!({
        "package": file.display().to_string(),
        "name": name.as_ref().map(|name| &name.name),
        "version": name.as_ref().map(|name| &name.version),
        "build": name.as_ref().map(|name| name.build.as_str()),
        "arch": name.as_ref().map(|name| &name.arch),
        "files": files.collect::<Vec<_>>(),
    })
}
