//! A service's `/etc/resolv.conf`: the device's, as far as it means anything in the service's network.

use std::fs;
use std::path::Path;

use umiak_spec::service::Dns;

use crate::EngineError;

/// The device's own.
const DEVICE: &str = "/etc/resolv.conf";
/// What systemd-resolved knows of, where the device's own names only its stub on loopback.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// Bytes of a file of name servers.
const FILE_MAX: u64 = 64 << 10;

/// The text for a service: what it asks for itself, else what the device has. `own_network`: the device's loopback is
/// not the service's.
pub(crate) fn text(dns: &Dns, own_network: bool) -> String {
    let device = device(own_network);
    let servers = |text: &str| lines(text, &["nameserver"]);
    let mut text = String::new();
    if dns.servers.is_empty() {
        text.push_str(&servers(&device));
    }
    dns.servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
    if dns.search.is_empty() {
        text.push_str(&lines(&device, &["search", "domain"]));
    } else {
        text.push_str(&format!("search {}\n", dns.search.join(" ")));
    }
    if dns.options.is_empty() {
        text.push_str(&lines(&device, &["options"]));
    } else {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

/// Writes the device's name servers into a service's file, if they changed. Its own settings are kept in a note at its
/// side, so that this can be done without knowing the service.
pub(crate) fn refresh(file: &Path) -> Result<(), EngineError> {
    let Some((dns, own_network)) = super::place::read::<(Dns, bool)>(&note(file)) else { return Ok(()) };
    let now = text(&dns, own_network);
    if fs::read_to_string(file).is_ok_and(|text| text == now) {
        return Ok(());
    }
    crate::durable::in_place(file, now.as_bytes(), 0o644)
}

/// Makes a service's file.
pub(crate) fn make(file: &Path, dns: &Dns, own_network: bool) -> Result<(), EngineError> {
    let settings = serde_json::to_vec(&(dns, own_network)).unwrap_or_default();
    crate::durable::document(&note(file), &settings)?;
    refresh(file)
}

fn note(file: &Path) -> std::path::PathBuf {
    file.with_extension("json")
}

fn device(own_network: bool) -> String {
    let read = |path: &str| {
        let short = fs::metadata(path).is_ok_and(|meta| meta.len() <= FILE_MAX);
        if short { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
    };
    let text = read(DEVICE);
    if !own_network {
        return text;
    }
    let reachable = without_loopback(&text);
    if lines(&reachable, &["nameserver"]).is_empty() { without_loopback(&read(BEHIND_STUB)) } else { reachable }
}

fn without_loopback(text: &str) -> String {
    let reachable = |line: &&str| {
        let mut words = line.split_whitespace();
        let server = words.next() == Some("nameserver");
        !(server && words.next().is_some_and(|address| address.starts_with("127.") || address == "::1"))
    };
    text.lines().filter(reachable).map(|line| format!("{line}\n")).collect()
}

fn lines(text: &str, keys: &[&str]) -> String {
    let wanted = |line: &&str| line.split_whitespace().next().is_some_and(|key| keys.contains(&key));
    text.lines().filter(wanted).map(|line| format!("{}\n", line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_on_loopback_is_no_name_server() {
        let text = without_loopback("nameserver 127.0.0.53\nsearch lan\nnameserver 192.0.2.1\nnameserver ::1\n");
        assert_eq!(text, "search lan\nnameserver 192.0.2.1\n");
    }

    #[test]
    fn what_a_service_asks_takes_the_place_of_the_devices() {
        let dns = Dns { servers: vec!["192.0.2.7".into()], search: vec!["a".into(), "b".into()], options: vec![] };
        let text = text(&dns, true);
        assert!(text.starts_with("nameserver 192.0.2.7\nsearch a b\n"), "{text}");
        assert_eq!(text.matches("nameserver").count(), 1);
    }

    #[test]
    fn a_file_keeps_its_number_when_it_is_written_again() {
        use std::os::unix::fs::MetadataExt;
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("resolv.conf");
        make(&file, &Dns { servers: vec!["192.0.2.7".into()], ..Dns::default() }, true).unwrap();
        let before = fs::metadata(&file).unwrap().ino();
        fs::write(&file, "changed by someone").unwrap();
        refresh(&file).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("192.0.2.7"));
        assert_eq!(fs::metadata(&file).unwrap().ino(), before);
    }
}
