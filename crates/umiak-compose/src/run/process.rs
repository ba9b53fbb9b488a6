//! What is executed: program, arguments, environment, user. The service's word over the image's, as Docker has it: an
//! entrypoint of the service takes the image's command away too, and what is empty counts as unsaid.

use std::collections::BTreeMap;

use umiak_spec::service::{Identity, ImageDefaults, Service, User};

use super::field::Field;
use super::{mounts, units, words};
use crate::error::shown;
use crate::read::Variables;
use crate::{paths, variables};

pub(super) const KEYS: &[&str] =
    &["command", "entrypoint", "environment", "env_file", "user", "group_add", "working_dir"];

pub(super) fn read(service: &mut Service, field: &Field<'_>, image: &ImageDefaults) {
    service.process.args = args(field, image);
    if service.process.args.is_empty() {
        field.refuse("it has nothing to execute: neither the project nor the image names a command");
    }
    service.process.env.clone_from(&image.env);
    for (name, value) in own_environment(field) {
        match value {
            Some(value) => service.process.env.insert(name, value),
            None => service.process.env.remove(&name),
        };
    }
    let said = field.get("working_dir").and_then(|value| Some((value.text()?, value)));
    let cwd = match said {
        Some((text, value)) if !text.is_empty() => {
            if !text.starts_with('/') {
                value.refuse("the working directory must be absolute");
            }
            text
        }
        _ => image.cwd.clone(),
    };
    // What an image says may be relative: to its root.
    service.process.cwd = mounts::clean(&format!("/{cwd}")).unwrap_or_else(|| "/".to_owned());
    service.process.user = user(field, image);
    let groups = field.get("group_add");
    let groups = groups.iter().flat_map(Field::items);
    service.process.groups = groups.filter_map(|item| item.parsed("a group", Identity::parse)).collect();
}

fn args(field: &Field<'_>, image: &ImageDefaults) -> Vec<String> {
    let entrypoint = field.get("entrypoint").map(|value| command(&value));
    let said = field.get("command").map(|value| command(&value)).filter(|args| !args.is_empty());
    let args = match (&entrypoint, said) {
        (_, Some(args)) => args,
        (Some(entrypoint), None) if !entrypoint.is_empty() => vec![],
        (_, None) => image.command.clone(),
    };
    [entrypoint.as_ref().unwrap_or(&image.entrypoint).as_slice(), &args].concat()
}

/// A list, or one text that is taken apart.
pub(super) fn command(value: &Field<'_>) -> Vec<String> {
    if value.value.as_list().is_some() {
        return value.texts();
    }
    value.parsed("a command: a quote is not closed", words::split).unwrap_or_default()
}

fn user(field: &Field<'_>, image: &ImageDefaults) -> User {
    let said = field.get("user").and_then(|value| Some((value.text()?, value)));
    let (text, at) = match &said {
        Some((text, value)) if !text.is_empty() => (text, value),
        _ => (&image.user, field),
    };
    User::parse(text).unwrap_or_else(|| {
        at.refuse(format!("`{}` is not a user", shown(text)));
        User::default()
    })
}

/// Files of variables in their order, then what stands in the project. A name without a value takes the device's; if it
/// has none, the service has none either.
fn own_environment(field: &Field<'_>) -> BTreeMap<String, Option<String>> {
    let mut all = BTreeMap::new();
    for file in field.get("env_file").iter().flat_map(Field::items) {
        all.extend(env_file(&file).into_iter().map(|(name, value)| (name, Some(value))));
    }
    for (name, value) in field.get("environment").iter().flat_map(Field::pairs) {
        if name.is_empty() || name.contains(['\0', '=']) {
            field.refuse(format!("`{}` is no name of a variable", shown(&name)));
            continue;
        }
        let value = value.or_else(|| field.reading.variables.get(&name).cloned());
        all.insert(name, value);
    }
    all
}

fn env_file(item: &Field<'_>) -> Variables {
    let (path, required, raw) = if item.is_map() {
        let format = item.get("format").and_then(|format| format.text());
        if format.as_deref().is_some_and(|format| format != "raw") {
            item.refuse("the format of a file of variables is `raw` or unsaid");
        }
        let required = item.get("required").and_then(|required| required.parsed("true or false", units::truth));
        (item.get("path").and_then(|path| path.text()), required != Some(false), format.is_some())
    } else {
        (item.text(), true, false)
    };
    let Some(path) = path else { return Variables::new() };
    let limit = item.reading.project.limits.variables;
    let bytes = match item.reading.files.read(&paths::join("", &path), limit) {
        Ok(Some(bytes)) if bytes.len() as u64 <= limit => bytes,
        Ok(None) if !required => return Variables::new(),
        Ok(None) => {
            item.refuse(format!("there is no file `{}`", shown(&path)));
            return Variables::new();
        }
        Ok(Some(_)) => {
            item.refuse(format!("`{}` is larger than {limit} bytes", shown(&path)));
            return Variables::new();
        }
        Err(error) => {
            item.refuse(format!("`{}` cannot be read: {error}", shown(&path)));
            return Variables::new();
        }
    };
    let Ok(text) = String::from_utf8(bytes) else {
        item.refuse(format!("`{}` is not UTF-8 text", shown(&path)));
        return Variables::new();
    };
    if raw {
        return raw_variables(&text);
    }
    variables::parse(&path, &text, item.reading.variables).unwrap_or_else(|error| {
        item.refuse(error.to_string());
        Variables::new()
    })
}

/// `NAME=value`, as it is.
fn raw_variables(text: &str) -> Variables {
    let lines = text.lines().filter(|line| !(line.trim().is_empty() || line.starts_with('#')));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
