//! `lxc.container.conf`, byte for byte as pvr's `builtin-lxc-docker` template writes it.
//!
//! The device compares files by digest, so the template's quirks are kept: two spaces between namespaces, no space
//! between the quoted items of a command behind an entrypoint, none behind `lxc.net.0.link =`. Deliberately different:
//! a value with a line break is an error (it would be configuration of its own), white space in a mount path is written
//! `\040` as `fstab(5)` wants it, and the overlay volume of an extension starts from the root that exists, its base's.

use super::args::{is_truthy, scalar, type_error};
use super::storage::Volume;
use super::{ROOT_OVL_SQUASHFS, ROOT_SQUASHFS, RenderError, SourceDocument, Storage};
use crate::json::{Object, Value};

/// Lines so far. Everything that comes from outside passes through [`Lines::put`], which keeps a value in its line.
struct Lines(String);

impl Lines {
    fn put(&mut self, what: &str, line: &str) -> Result<(), RenderError> {
        if line.contains(['\n', '\r', '\0']) {
            return Err(RenderError::LineBreak(what.to_owned()));
        }
        self.0.push_str(line);
        self.0.push('\n');
        Ok(())
    }

    /// Whole lines that their author wrote as such.
    fn raw(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }
}

pub(super) fn render(
    source: &SourceDocument,
    name: &str,
    storage: &Storage,
    warnings: &mut Vec<String>,
) -> Result<String, RenderError> {
    let config = source.container_config();
    let mut lines = Lines(String::new());
    terminals_and_cgroups(&mut lines, source, name)?;
    lines.put("base", &root(source, name))?;
    lines.put("Entrypoint and Cmd", &format!("lxc.init.cmd ={}", command(&config, warnings)?))?;
    environment(&mut lines, source, &config)?;
    namespaces_and_host_mounts(&mut lines, source)?;
    volumes(&mut lines, source, name, storage, warnings)?;
    capabilities_and_network(&mut lines, source)?;
    imports(&mut lines, source, name)?;
    Ok(lines.0)
}

fn terminals_and_cgroups(lines: &mut Lines, source: &SourceDocument, name: &str) -> Result<(), RenderError> {
    let args = source.args();
    lines.put("LXC_TTY_MAX", &format!("lxc.tty.max = {}", args.text_or("LXC_TTY_MAX", "8")?))?;
    lines.put("LXC_PTY_MAX", &format!("lxc.pty.max = {}", args.text_or("LXC_PTY_MAX", "1024")?))?;
    if args.is_set("PV_DEBUG_MODE") {
        lines.put("name", &format!("lxc.log.file = /pv/logs/{name}.log"))?;
    }
    let allowed = args.list("PVR_LXC_CGROUP_DEVICES_WHITE")?;
    if allowed.is_empty() {
        lines.raw("lxc.cgroup.devices.allow = a");
    } else {
        lines.raw("lxc.cgroup.devices.deny = a");
    }
    for device in allowed {
        lines.put("PVR_LXC_CGROUP_DEVICES_WHITE", &format!("lxc.cgroup.devices.allow = {device}"))?;
    }
    for item in args.list("PVR_LXC_CGROUP_V1")? {
        lines.put("PVR_LXC_CGROUP_V1", &format!("lxc.cgroup.{item}"))?;
    }
    Ok(())
}

fn root(source: &SourceDocument, name: &str) -> String {
    let overlay = match source.docker_ovl_digest() {
        Some(_) => format!("/volumes/{name}/{ROOT_OVL_SQUASHFS}:"),
        None => String::new(),
    };
    let base = source.base().unwrap_or(name);
    format!("lxc.rootfs.path = overlayfs:{overlay}/volumes/{base}/{ROOT_SQUASHFS}:/volumes/{name}/lxc-overlay/upper")
}

/// What follows `lxc.init.cmd =`, with its leading space.
fn command(config: &Object, warnings: &mut Vec<String>) -> Result<String, RenderError> {
    let part = |name| config.get(name).filter(|value| is_truthy(value));
    let quoted = |what: &str, value: &Value| scalar(what, value).map(|text| format!("\"{text}\""));
    let text = match (part("Entrypoint"), part("Cmd")) {
        (Some(Value::Array(entrypoint)), command) => {
            let mut text = words("Entrypoint", entrypoint)?;
            match command {
                Some(Value::Array(items)) => {
                    let items: Result<Vec<_>, _> = items.iter().map(|item| quoted("Cmd", item)).collect();
                    text += &format!(" {}", items?.concat());
                }
                Some(command) => text += &format!(" {}", quoted("Cmd", command)?),
                None => {}
            }
            text
        }
        (Some(entrypoint), _) => format!(" {}", scalar("Entrypoint", entrypoint)?),
        (None, Some(Value::Array(command))) => words("Cmd", command)?,
        (None, Some(command)) => format!(" {}", scalar("Cmd", command)?),
        (None, None) => " /sbin/init".to_owned(),
    };
    let items = ["Entrypoint", "Cmd"].into_iter().filter_map(|name| part(name)?.as_array()).flatten();
    if items.filter_map(Value::as_str).any(|item| item.contains(['"', '\\'])) {
        warnings.push("the command has a quote or backslash in an argument, which LXC will not see as one".to_owned());
    }
    Ok(text)
}

/// ` first "second" "third"`; nothing at all when the first is empty.
fn words(what: &str, items: &[Value]) -> Result<String, RenderError> {
    let Some((first, rest)) = items.split_first().filter(|(first, _)| is_truthy(first)) else {
        return Ok(String::new());
    };
    let mut text = format!(" {}", scalar(what, first)?);
    for item in rest {
        text += &format!(" \"{}\"", scalar(what, item)?);
    }
    Ok(text)
}

fn environment(lines: &mut Lines, source: &SourceDocument, config: &Object) -> Result<(), RenderError> {
    if let Some(directory) = config.get("WorkingDir").filter(|value| is_truthy(value)) {
        lines.put("WorkingDir", &format!("lxc.init.cwd = {}", scalar("WorkingDir", directory)?))?;
    }
    match config.get("Env") {
        Some(Value::Array(items)) => {
            for item in items {
                lines.put("Env", &format!("lxc.environment = {}", scalar("Env", item)?))?;
            }
        }
        Some(other) if is_truthy(other) => return Err(type_error("Env", "a list", other)),
        _ => {}
    }
    for item in source.args().list("PV_LXC_EXTRA_ENV")? {
        lines.put("PV_LXC_EXTRA_ENV", &format!("lxc.environment = {item}"))?;
    }
    Ok(())
}

fn namespaces_and_host_mounts(lines: &mut Lines, source: &SourceDocument) -> Result<(), RenderError> {
    let args = source.args();
    let network = args.text("PV_LXC_NETWORK_TYPE")?;
    let keep = match args.text("PV_LXC_NAMESPACE_KEEP")? {
        Some(keep) => keep,
        None if network.is_none_or(|network| network == "host") => "user  net  ipc".to_owned(),
        None => "user  ipc".to_owned(),
    };
    lines.put("PV_LXC_NAMESPACE_KEEP", &format!("lxc.namespace.keep = {keep}"))?;
    if args.is_set("PV_LXC_DISABLE_CONSOLE") {
        lines.raw("lxc.console.path = none");
    }
    let auto = [("LXC_MOUNT_AUTO_PROC", "proc"), ("LXC_MOUNT_AUTO_SYS", "sys:rw"), ("LXC_MOUNT_AUTO_GROUP", "cgroup")];
    let auto: Result<Vec<_>, _> = auto.iter().map(|(name, default)| args.text_or(name, default)).collect();
    lines.put("LXC_MOUNT_AUTO_*", &format!("lxc.mount.auto = {}", auto?.join("  ")))?;
    if args.is_set("PV_DISABLE_AUTODEV") {
        lines.raw("lxc.autodev = 0");
    }
    for (argument, mount) in [
        ("PV_SECURITY_FULLDEV", "/dev/ dev"),
        ("PV_SECURITY_WITH_HOST", "/ host"),
        ("PV_SECURITY_WITH_HOSTPROC", "/proc/ host/proc"),
        ("PV_SECURITY_WITH_STORAGE", "/storage storage"),
    ] {
        if args.is_set(argument) {
            lines.raw(&format!("lxc.mount.entry = {mount} none bind,rw,create=dir 0 0"));
        }
    }
    if !args.is_set("PV_RESOLV_CONF_DISABLE") {
        let path = field(&args.text_or("PV_RESOLV_CONF_PATH", "etc/resolv.conf")?);
        let line = format!("lxc.mount.entry = /etc/resolv.conf {path} none bind,rw,create=file 0 0");
        lines.put("PV_RESOLV_CONF_PATH", &line)?;
    }
    if !args.is_set("PV_RUN_TMPFS_DISABLE") {
        let path = field(&args.text_or("PV_RUN_TMPFS_PATH", "run")?);
        let line = format!("lxc.mount.entry = tmpfs {path} tmpfs rw,nodev,relatime,create=dir,mode=755 0 0");
        lines.put("PV_RUN_TMPFS_PATH", &line)?;
    }
    Ok(())
}

fn volumes(
    lines: &mut Lines,
    source: &SourceDocument,
    name: &str,
    storage: &Storage,
    warnings: &mut Vec<String>,
) -> Result<(), RenderError> {
    for volume in &storage.volumes {
        let origin = format!("/volumes/{name}/{}", field(&volume.name()));
        let target = field(volume.target());
        let line = if volume.scheme.is_empty() {
            format!("lxc.mount.entry = {origin} {target} none bind,rw,create=dir 0 0")
        } else {
            if source.docker_ovl_digest().is_some() {
                warnings.push(overlay_warning(volume));
            }
            let lower = format!("/volumes/{}/{ROOT_SQUASHFS}/{target}", source.base().unwrap_or(name));
            let options = format!("lowerdir={lower},upperdir={origin}/upper,workdir={origin}/work,create=dir");
            format!("lxc.mount.entry = {origin} {target} overlay {options} 0 0")
        };
        lines.put("persistence", &line)?;
    }
    Ok(())
}

fn overlay_warning(volume: &Volume) -> String {
    format!("the volume ovl:{} starts from root.squashfs alone, without what root.ovl.squashfs changes", volume.path)
}

fn capabilities_and_network(lines: &mut Lines, source: &SourceDocument) -> Result<(), RenderError> {
    let args = source.args();
    for (argument, key) in [("PV_LXC_CAP_DROP", "drop"), ("PV_LXC_CAP_KEEP", "keep")] {
        for item in args.list(argument)? {
            lines.put(argument, &format!("lxc.cap.{key} = {}", item.to_lowercase()))?;
        }
    }
    match args.text("PV_LXC_NETWORK_TYPE")?.as_deref() {
        Some("empty") => lines.raw("lxc.net.0.type = empty"),
        Some("phys") => {
            lines.raw("lxc.net.0.type = phys");
            let link = args.text_or("PV_LXC_NETWORK_LINK", "")?;
            lines.put("PV_LXC_NETWORK_LINK", &format!("lxc.net.0.link ={link}"))?;
        }
        Some("veth") => {
            lines.raw("lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up");
            if let Some(address) = args.text("PV_LXC_NETWORK_IPV4_ADDRESS")? {
                lines.put("PV_LXC_NETWORK_IPV4_ADDRESS", &format!("lxc.net.0.ipv4.address = {address}"))?;
                let gateway = args.text("PV_LXC_NETWORK_IPV4_GATEWAY")?.unwrap_or_else(|| "auto".to_owned());
                lines.put("PV_LXC_NETWORK_IPV4_GATEWAY", &format!("lxc.net.0.ipv4.gateway = {gateway}"))?;
            }
        }
        _ => {}
    }
    if let Some(text) = args.text("PV_LXC_EXTRA_CONF")? {
        lines.raw(&text);
    }
    Ok(())
}

fn imports(lines: &mut Lines, source: &SourceDocument, name: &str) -> Result<(), RenderError> {
    let args = source.args();
    let mut mount = |argument: &'static str, origin: String, target: &str, options: &str| {
        let (origin, target, options) = (field(&origin), field(target), field(options));
        lines.put(argument, &format!("lxc.mount.entry = {origin} {target} none {options} 0 0"))
    };
    for (file, target) in args.pairs("PV_FILEIMPORTS")? {
        mount("PV_FILEIMPORTS", format!("/exports/{file}"), &target, "bind,rw,create=file")?;
    }
    for (volume, target) in args.pairs("PV_IMPORT_CONFIGVOLUMES")? {
        let options = "bind,rw,create=dir,optional,noexec";
        mount("PV_IMPORT_CONFIGVOLUMES", format!("/volumes/{volume}/{name}"), &target, options)?;
    }
    for (volume, target) in args.pairs("PV_VOLUME_MOUNTS")? {
        mount("PV_VOLUME_MOUNTS", format!("/volumes/{name}/{volume}"), &target, "bind,rw,create=dir")?;
    }
    for entry in args.list("PV_VOLUME_IMPORTS")? {
        let fields: Vec<_> = entry.split(':').collect();
        let [container, volume, target, mode @ ..] = fields.as_slice() else {
            let form = "CONTAINER:[SUBDIRECTORY@]VOLUME:TARGET[:MODE]";
            return Err(RenderError::Entry { what: "PV_VOLUME_IMPORTS", entry, form });
        };
        let (directory, volume) = match volume.split_once('@') {
            Some((directory, volume)) => (format!("/{directory}"), volume),
            None => (String::new(), *volume),
        };
        let origin = format!("/volumes/{container}/docker-{}{directory}", volume.replace('/', "-"));
        let target = target.strip_prefix('/').unwrap_or(target);
        let mode = mode.first().unwrap_or(&"rw");
        mount("PV_VOLUME_IMPORTS", origin, target, &format!("bind,{mode},create=dir"))?;
    }
    Ok(())
}

/// A field of a mount entry: white space and backslashes as `fstab(5)` escapes them.
fn field(text: &str) -> String {
    text.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011")
}
