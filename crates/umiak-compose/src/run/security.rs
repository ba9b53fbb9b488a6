//! What a service may do: capabilities, `privileged`, `security_opt`, devices, kernel parameters.

use umiak_spec::service::{Capabilities, Device, DeviceRule, Service};

use super::field::Field;
use crate::error::shown;

pub(super) const KEYS: &[&str] =
    &["privileged", "cap_add", "cap_drop", "security_opt", "devices", "device_cgroup_rules", "sysctls"];

pub(super) fn read(service: &mut Service, field: &Field<'_>) {
    let security = &mut service.security;
    security.privileged = field.get("privileged").and_then(|value| value.truth()).unwrap_or_default();
    let capabilities = |key: &str| {
        let value = field.get(key);
        let items = value.iter().flat_map(Field::items);
        items.filter_map(|item| item.parsed("a capability", |text| Capabilities::named(text).ok())).collect()
    };
    security.capabilities = Capabilities { add: capabilities("cap_add"), drop: capabilities("cap_drop") };
    for option in field.get("security_opt").iter().flat_map(Field::items) {
        let Some(text) = option.text() else { continue };
        let (name, value) = text.split_once(['=', ':']).unwrap_or((&text, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => {}
            ("seccomp", "unconfined") => security.seccomp_unconfined = true,
            ("seccomp", "builtin" | "default") => {}
            ("seccomp", _) => option.leave_to_compose("the filter of system calls is the default one or none"),
            ("systempaths", "unconfined") => security.unmasked_paths = true,
            ("apparmor", "unconfined") => option.pass_over("no profile of AppArmor is set"),
            ("label", "disable") => option.pass_over("no label of SELinux is set"),
            ("apparmor" | "label", _) => option.leave_to_compose("profiles and labels are not set"),
            _ => option.refuse(format!("`{}` is not known", shown(&text))),
        }
    }
    let devices = field.get("devices");
    service.security.devices = devices.iter().flat_map(Field::items).filter_map(|item| device(&item)).collect();
    let rules = field.get("device_cgroup_rules");
    let rules = rules.iter().flat_map(Field::items);
    service.security.device_rules =
        rules.filter_map(|item| item.parsed("a rule for devices (`c 1:3 rwm`)", device_rule)).collect();
    for (name, value) in field.get("sysctls").iter().flat_map(Field::pairs) {
        let plain =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        if !plain || name.split(['.', '/']).any(str::is_empty) {
            field.refuse(format!("`{}` is no parameter of the kernel", shown(&name)));
            continue;
        }
        service.sysctls.insert(name, value.unwrap_or_default());
    }
}

/// `SOURCE[:TARGET[:PERMISSIONS]]`, or a map.
fn device(item: &Field<'_>) -> Option<Device> {
    let (source, target, permissions) = if item.is_map() {
        let text = |key: &str| item.get(key).and_then(|value| value.text());
        (text("source")?, text("target"), text("permissions"))
    } else {
        let text = item.text()?;
        let mut parts = text.split(':').map(str::to_owned);
        let source = parts.next()?;
        let (target, permissions) = match (parts.next(), parts.next()) {
            // `/dev/x:rw`
            (Some(second), None) if access(&second) && !second.starts_with('/') => (None, Some(second)),
            other => other,
        };
        if parts.next().is_some() {
            item.refuse(format!("`{}` is not a device: SOURCE[:TARGET[:PERMISSIONS]]", shown(&text)));
            return None;
        }
        (source, target, permissions)
    };
    if !source.starts_with('/') {
        let cdi = source.contains('=');
        if cdi {
            item.leave_to_compose("devices of drivers (CDI) are not supported; name the node in /dev");
        } else {
            item.refuse("a device is named by its absolute path");
        }
        return None;
    }
    let permissions = permissions.filter(|text| !text.is_empty()).unwrap_or_else(|| "rwm".to_owned());
    let target = target.filter(|text| !text.is_empty()).unwrap_or_else(|| source.clone());
    if !access(&permissions) || !target.starts_with('/') {
        item.refuse("a device has an absolute target and permissions of r, w, m");
        return None;
    }
    Some(Device { source, target, permissions })
}

fn access(text: &str) -> bool {
    !text.is_empty() && text.len() <= 3 && text.chars().all(|c| "rwm".contains(c))
}

/// `c 1:3 rwm`, with `*` for any number.
fn device_rule(text: &str) -> Option<DeviceRule> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [kind, numbers, permissions] = parts.as_slice() else { return None };
    let kind = kind.chars().next().filter(|first| kind.len() == 1 && "abc".contains(*first))?;
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    let (major, minor) = (number(major)?, number(minor)?);
    access(permissions).then(|| DeviceRule { kind, major, minor, permissions: (*permissions).to_owned() })
}
