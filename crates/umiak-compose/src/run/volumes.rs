//! The volumes that a project defines. What is wrong with one is said where it is defined, for each service that uses it.
//!
//! A key of umiak's own, `x-umiak-persistence`, says how long a volume is kept: `persistent` (unsaid), `revision` or `boot`.

use umiak_spec::service::{Bind, MountKind, Persistence, Propagation, Volume};

use super::field::Field;
use super::mounts;
use crate::error::shown;

/// What a name stands for that a service mounts.
pub(super) fn named(user: &Field<'_>, name: &str) -> Option<MountKind> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() > 200 || !name.bytes().all(plain) || !name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) {
        user.refuse(format!("`{}` is no name of a volume: letters, digits, `.`, `_`, `-`", shown(name)));
        return None;
    }
    let mut volume =
        Volume { name: name.to_owned(), persistence: Persistence::Persistent, copy: true, subpath: None, above: false };
    let Some(value) = user.reading.project.model.at(&["volumes", name]) else {
        user.refuse(format!("the project defines no volume `{}`", shown(name)));
        return None;
    };
    let definition = Field { reading: user.reading, value, key: format!("volumes.{name}") };
    for (key, value) in definition.entries() {
        match key {
            "name" | "labels" => value.pass_over("volumes are the app's own"),
            "driver" if matches!(value.text().as_deref(), Some("" | "local")) => {}
            "driver" => value.leave_to_compose("the only driver of volumes is `local`"),
            "external" if value.is_map() || value.truth() == Some(true) => {
                value.leave_to_compose("volumes of others are not mounted");
            }
            "external" => {}
            "driver_opts" => return driver_options(&value, volume),
            "x-umiak-persistence" => {
                let persistence = value.parsed("`persistent`, `revision` or `boot`", |text| match text {
                    "persistent" => Some(Persistence::Persistent),
                    "revision" => Some(Persistence::Revision),
                    "boot" => Some(Persistence::Boot),
                    _ => None,
                });
                volume.persistence = persistence.unwrap_or(volume.persistence);
            }
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
    Some(MountKind::Volume(volume))
}

/// The local driver mounts what it is told: a directory of the device, memory, or something that is not done here.
fn driver_options(options: &Field<'_>, volume: Volume) -> Option<MountKind> {
    let text = |key: &str| options.get(key).and_then(|value| value.text()).unwrap_or_default();
    let (kind, words, device) = (text("type"), text("o"), text("device"));
    let binds = words.split(',').any(|word| word == "bind" || word == "rbind");
    if options.entries().iter().all(|(key, _)| key.starts_with("x-")) {
        return Some(MountKind::Volume(volume));
    }
    if binds && words.split(',').all(|word| ["bind", "rbind", "rw", ""].contains(&word)) && !device.is_empty() {
        let source = mounts::path_on_device(&options.get("device")?, &device)?;
        let recursive = words.split(',').any(|word| word == "rbind");
        return Some(MountKind::Bind(Bind { source, create: false, recursive, propagation: Propagation::Private }));
    }
    if kind == "tmpfs" {
        return mounts::tmpfs_options(&options.get("o").unwrap_or_else(|| options.clone()), &words)
            .map(|(kind, _)| kind);
    }
    options.leave_to_compose(format!("file systems of type `{}` are not mounted for volumes", shown(&kind)));
    None
}
