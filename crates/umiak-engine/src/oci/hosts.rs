//! The files of names that a service gets: `/etc/hosts`, `/etc/hostname`.

use std::net::IpAddr;

use umiak_spec::service::Service;

/// What `extra_hosts` calls the device.
const GATEWAY: &str = "host-gateway";

/// The parts of `/etc/hosts`: itself before the services that it can reach, what it asks for besides behind them.
pub(crate) fn hosts(
    service: &Service,
    hostname: &str,
    own: Option<IpAddr>,
    gateway: Option<IpAddr>,
) -> (String, String) {
    let mut before = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let own = own.map_or_else(|| "127.0.1.1".to_owned(), |address| address.to_string());
    match &service.domainname {
        Some(domain) => before.push_str(&format!("{own}\t{hostname}.{domain} {hostname}\n")),
        None => before.push_str(&format!("{own}\t{hostname}\n")),
    }
    let mut after = String::new();
    for (name, address) in &service.extra_hosts {
        match (address.as_str(), gateway) {
            (GATEWAY, Some(gateway)) => after.push_str(&format!("{gateway}\t{name}\n")),
            (GATEWAY, None) => after.push_str(&format!("127.0.0.1\t{name}\n")),
            (address, _) => after.push_str(&format!("{address}\t{name}\n")),
        }
    }
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_once_each() {
        let mut service = Service::new("web", vec![]);
        service.extra_hosts = vec![("device".into(), GATEWAY.into()), ("other".into(), "192.0.2.1".into())];
        let (before, after) = hosts(&service, "web", Some([10, 0, 0, 2].into()), Some([10, 0, 0, 1].into()));
        assert!(before.ends_with("\n10.0.0.2\tweb\n"), "{before}");
        assert_eq!(after, "10.0.0.1\tdevice\n192.0.2.1\tother\n");
    }
}
