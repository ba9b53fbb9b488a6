//! Whether a project holds together: what services name is there, nothing waits for itself, variables are well formed.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{At, ComposeError, Problem};
use crate::project::{Service, Variable};
use crate::read::{Variables, bad_template};
use crate::template::Template;
use crate::yaml::{Shape, Syntax, Value};

/// The variables of all values that Compose fills in.
pub(crate) fn variables(
    model: &Value,
    own: &Variables,
    files: &[Syntax],
) -> Result<BTreeMap<String, Variable>, ComposeError> {
    let (mut all, mut required) = (BTreeSet::new(), BTreeSet::new());
    let Some(map) = model.as_map() else { return Ok(BTreeMap::new()) };
    for entry in map.entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
        templates(&entry.value, &mut |value, text| {
            let template = Template::parse(text).map_err(|reason| bad_template(text, reason).at(value.place(files)))?;
            template.variables(&mut all);
            template.required(&mut required);
            Ok(())
        })?;
    }
    let one = |name: String| {
        let variable = Variable { required: required.contains(&name), in_env: own.contains_key(&name) };
        (name, variable)
    };
    Ok(all.into_iter().map(one).collect())
}

/// Calls `found` for each text that may hold a variable.
pub(crate) fn templates<'a>(
    value: &'a Value,
    found: &mut dyn FnMut(&'a Value, &'a str) -> Result<(), ComposeError>,
) -> Result<(), ComposeError> {
    match &value.shape {
        Shape::Scalar { text, .. } if text.contains('$') => found(value, text),
        Shape::Scalar { .. } => Ok(()),
        Shape::List(list) => list.iter().try_for_each(|item| templates(item, found)),
        Shape::Map(map) => map.entries.iter().try_for_each(|entry| templates(&entry.value, found)),
    }
}

/// The names in a list or the keys of a map.
fn names(value: Option<&Value>) -> Vec<(&str, &Value)> {
    match value.map(|value| (value, &value.shape)) {
        Some((_, Shape::List(list))) => list.iter().filter_map(|item| Some((item.as_text()?, item))).collect(),
        Some((_, Shape::Map(map))) => map.entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect(),
        _ => vec![],
    }
}

/// The services that a service needs: dependencies, links, shared namespaces and volumes.
pub(crate) fn needed(service: &Value) -> Vec<String> {
    let mut needed: Vec<String> = names(service.at(&["depends_on"])).into_iter().map(|(name, _)| name.into()).collect();
    let before_colon = |text: &str| text.split(':').next().unwrap_or("").to_owned();
    needed.extend(names(service.at(&["links"])).into_iter().map(|(name, _)| before_colon(name)));
    let volumes = names(service.at(&["volumes_from"])).into_iter();
    needed.extend(volumes.filter(|(name, _)| !name.starts_with("container:")).map(|(name, _)| before_colon(name)));
    for key in ["network_mode", "ipc", "pid", "uts"] {
        let shared = service.at(&[key]).and_then(Value::as_text).and_then(|text| text.strip_prefix("service:"));
        needed.extend(shared.map(str::to_owned));
    }
    let mut seen = BTreeSet::new();
    needed.retain(|name| !name.contains('$') && seen.insert(name.clone()));
    needed
}

/// The paths of a service's files of variables.
pub(crate) fn env_files(service: &Value) -> Vec<&Value> {
    let Some(files) = service.at(&["env_file"]) else { return vec![] };
    let items = files.as_list().unwrap_or(std::slice::from_ref(files)).iter();
    items.filter(|item| !item.is_null()).map(|item| item.at(&["path"]).unwrap_or(item)).collect()
}

/// Everything that services name is there.
pub(crate) fn references(model: &Value, files: &[Syntax]) -> Result<(), ComposeError> {
    let Some(services) = model.at(&["services"]).and_then(Value::as_map) else { return Ok(()) };
    let defined = |section: &str, name: &str| model.at(&[section, name]).is_some();
    for entry in &services.entries {
        let check = |what: &'static str, section: &str, name: &str, place: &Value| {
            if name.contains('$') || defined(section, name) {
                return Ok(());
            }
            let by = format!("service `{}`", entry.key);
            Err(Problem::Missing { by, what, name: name.to_owned() }.at(place.place(files)))
        };
        for (name, place) in names(entry.value.at(&["networks"])) {
            if name != "default" {
                check("network", "networks", name, place)?;
            }
        }
        for (what, section) in [("config", "configs"), ("secret", "secrets")] {
            for item in entry.value.at(&[section]).and_then(Value::as_list).unwrap_or(&[]) {
                if let Some(name) = item.as_text().or_else(|| item.at(&["source"])?.as_text()) {
                    check(what, section, name, item)?;
                }
            }
        }
        for item in entry.value.at(&["volumes"]).and_then(Value::as_list).unwrap_or(&[]) {
            if let Some(name) = volume(item) {
                check("volume", "volumes", &name, item)?;
            }
        }
        for name in needed(&entry.value) {
            let optional = entry.value.at(&["depends_on", &name, "required"]).and_then(Value::as_text) == Some("false");
            if !optional {
                check("service", "services", &name, &entry.value)?;
            }
        }
    }
    Ok(())
}

/// The named volume that an item mounts.
fn volume(item: &Value) -> Option<String> {
    if item.as_map().is_some() {
        let named = item.at(&["type"]).and_then(Value::as_text) == Some("volume");
        return item.at(&["source"]).filter(|_| named)?.as_text().map(str::to_owned);
    }
    let parts = crate::paths::split_outside_braces(item.as_text()?);
    let path = |part: &str| part.starts_with(['.', '/', '~', '$']) || part.contains(['/', '\\']);
    (parts.len() > 1 && !path(parts[0]) && !parts[0].is_empty()).then(|| parts[0].to_owned())
}

/// No service waits for itself.
pub(crate) fn dependencies(services: &[Service]) -> Result<(), ComposeError> {
    let by_name: BTreeMap<&str, &Service> = services.iter().map(|service| (service.name.as_str(), service)).collect();
    let mut done = BTreeSet::new();
    for service in services {
        // What is being looked at, and how many of its dependencies were.
        let mut stack: Vec<(&Service, usize)> = vec![(service, 0)];
        while let Some((current, next)) = stack.last_mut() {
            let Some(name) = current.depends_on.get(*next).filter(|_| !done.contains(current.name.as_str())) else {
                done.insert(current.name.as_str());
                stack.pop();
                continue;
            };
            *next += 1;
            if let Some(at) = stack.iter().position(|(known, _)| known.name == *name) {
                let chain = stack[at..].iter().map(|(service, _)| service.name.clone()).chain([name.clone()]).collect();
                return Err(
                    Problem::Cycle { what: "services that wait for one another", chain }.at(stack[at].0.place.clone())
                );
            }
            if let Some(needed) = by_name.get(name.as_str()) {
                stack.push((needed, 0));
            }
        }
    }
    Ok(())
}
