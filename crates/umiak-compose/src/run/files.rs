//! Configurations and secrets: files of the project that a service finds at a path, read-only.

use umiak_spec::service::{Bind, Mount, MountKind, Propagation, Service};

use super::field::Field;
use super::mounts;
use crate::error::shown;

pub(super) const KEYS: &[&str] = &["configs", "secrets"];

pub(super) fn read(service: &mut Service, field: &Field<'_>) {
    for (section, directory) in [("configs", ""), ("secrets", "/run/secrets")] {
        for item in field.get(section).iter().flat_map(Field::items) {
            if let Some(mount) = one(&item, section, directory) {
                mounts::put(service, mount);
            }
        }
    }
}

fn one(item: &Field<'_>, section: &'static str, directory: &str) -> Option<Mount> {
    let (name, said) = if item.is_map() {
        for key in ["uid", "gid", "mode"] {
            if let Some(value) = item.get(key) {
                value.pass_over("the file has the owner and mode that it has in the project, as with Compose");
            }
        }
        (item.get("source").and_then(|value| value.text())?, item.get("target").and_then(|value| value.text()))
    } else {
        (item.text()?, None)
    };
    let path = match said {
        Some(target) if target.starts_with('/') => target,
        Some(target) => format!("{directory}/{target}"),
        None => format!("{directory}/{name}"),
    };
    let Some(target) = mounts::target(&path) else {
        item.refuse(format!("`{}` is not a path below the root", shown(&path)));
        return None;
    };
    let Some(value) = item.reading.project.model.at(&[section, &name]) else {
        item.refuse(format!("the project has no `{}` among its {section}", shown(&name)));
        return None;
    };
    let definition = Field { reading: item.reading, value, key: format!("{section}.{name}") };
    let mut source = None;
    for (key, value) in definition.entries() {
        match key {
            "file" => source = mounts::path_on_device(&value, &value.text()?),
            "name" | "labels" => value.pass_over("files are the app's own"),
            "content" | "environment" => value.leave_to_compose("only a `file` of the project is handed in"),
            "external" if !value.is_map() && value.truth() == Some(false) => {}
            "external" | "driver" | "driver_opts" | "template_driver" => {
                value.refuse("files that are kept by a swarm are not there");
            }
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
    let bind = Bind { source: source?, create: false, recursive: false, propagation: Propagation::Private };
    Some(Mount { target, read_only: true, kind: MountKind::Bind(bind) })
}
