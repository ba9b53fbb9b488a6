//! `umiak app ls`: the apps, what they come from and what they weigh.

use std::path::Path;

use serde_json::json;
use umiak_pvr::app::{ROOT_OVL_SQUASHFS, ROOT_SQUASHFS, SourceDocument};
use umiak_ui::{Align, Size, Table, Verbosity};

use super::info;
use crate::context::Context;
use crate::error::Outcome;

/// Prints one line per app. With -q only the names, as pvr does.
pub fn run(context: &Context<'_>) -> Outcome {
    let repository = context.repository()?;
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Left, Align::Left]).flush();
    let mut documents = Vec::new();
    let names = repository.apps()?;
    for name in &names {
        let directory = repository.app_dir(name)?;
        let document = info::source_document(&directory)?;
        let size = |file| std::fs::metadata(directory.join(file)).ok().map(|metadata| metadata.len());
        let (root, patch) = (size(ROOT_SQUASHFS), size(ROOT_OVL_SQUASHFS));
        let shown = |size: Option<u64>, sign| size.map(|size| format!("{sign}{}", Size(size))).unwrap_or_default();
        let extends = document.base().map(|base| format!("extends {base}")).unwrap_or_default();
        table.row([name, &shown(root, ""), &shown(patch, "+ "), &origin(&document), &extends]);
        documents.push(json!({
            "name": name,
            "from": origin(&document),
            "base": document.base(),
            "root_bytes": root,
            "overlay_bytes": patch,
        }));
    }
    let printer = context.printer;
    if printer.is_json() {
        return Ok(printer.document(&json!({ "apps": documents }))?);
    }
    if printer.setup().verbosity == Verbosity::Quiet {
        return Ok(printer.data(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?);
    }
    Ok(printer.data(&table.to_string())?)
}

/// Where an app comes from, in the user's words.
pub fn origin(document: &SourceDocument) -> String {
    if let Some(path) = document.rootfs_url() {
        return Path::new(path).display().to_string();
    }
    let name = document.docker_name().or(document.pvr()).unwrap_or_default();
    match document.docker_tag() {
        Some(tag) if tag.starts_with("sha256:") => format!("{name}@{tag}"),
        Some(tag) => format!("{name}:{tag}"),
        None => name.to_owned(),
    }
}
