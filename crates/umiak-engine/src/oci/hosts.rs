//! The files of names that a service gets: `/etc/hosts`, `/etc/hostname`.

use std::net::IpAddr;

use umiak_spec::service::Service;

/// What `extra_hosts` calls the device.
const GATEWAY: &str = "host-gateway";

/// `/etc/hosts`: itself, the services that it can reach, what it asks for besides.
pub(crate) fn hosts(
    service: &Service,
    hostname: &str,
    own: Option<IpAddr>,
    others: &[(IpAddr, Vec<String>)],
    gateway: Option<IpAddr>,
) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let own = own.map_or_else(|| "127.0.1.1".to_owned(), |address| address.to_string());
    match &service.domainname {
        Some(domain) => text.push_str(&format!("{own}\t{hostname}.{domain} {hostname}\n")),
        None => text.push_str(&format!("{own}\t{hostname}\n")),
    }
    for (address, names) in others {
        text.push_str(&format!("{address}\t{}\n", names.join(" ")));
    }
    for (name, address) in &service.extra_hosts {
        match (address.as_str(), gateway) {
            (GATEWAY, Some(gateway)) => text.push_str(&format!("{gateway}\t{name}\n")),
            (GATEWAY, None) => text.push_str(&format!("127.0.0.1\t{name}\n")),
            (address, _) => text.push_str(&format!("{address}\t{name}\n")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_once_each() {
        let mut service = Service::new("web", vec![]);
        service.extra_hosts = vec![("device".into(), GATEWAY.into()), ("other".into(), "192.0.2.1".into())];
        let db = ([10, 0, 0, 3].into(), vec!["db".to_owned(), "stock".to_owned()]);
        let text = hosts(&service, "web", Some([10, 0, 0, 2].into()), &[db], Some([10, 0, 0, 1].into()));
        for line in ["10.0.0.2\tweb", "10.0.0.3\tdb stock", "10.0.0.1\tdevice", "192.0.2.1\tother"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
