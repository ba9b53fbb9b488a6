//! Published ports, short (`127.0.0.1:8000-8001:80-81/tcp`) and long.

use std::net::IpAddr;

use umiak_spec::service::{Port, Protocol};

use super::field::Field;
use crate::error::shown;

/// Ports of one item at most.
const MOST: u16 = 1000;

pub(super) fn read(field: &Field<'_>) -> Vec<Port> {
    field.items().iter().flat_map(|item| if item.is_map() { long(item) } else { short(item) }).collect()
}

type Range = (u16, u16);

fn short(item: &Field<'_>) -> Vec<Port> {
    let Some(text) = item.text() else { return vec![] };
    let wrong = || {
        item.refuse(format!("`{}` is not a port: [[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]", shown(&text)));
        vec![]
    };
    let (ports, protocol_text) = text.split_once('/').unwrap_or((&text, "tcp"));
    let Some(protocol) = protocol(protocol_text) else { return wrong() };
    // The last colons part the ports; what is before may be an address with colons.
    let mut parts = ports.rsplitn(3, ':');
    let Some(target) = parts.next().and_then(range) else { return wrong() };
    let published = match parts.next() {
        None | Some("") => None,
        Some(published) => match range(published) {
            Some(range) => Some(range),
            None => return wrong(),
        },
    };
    let host = match parts.next() {
        None => None,
        Some(address) => match address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => return wrong(),
        },
    };
    spread(item, host, published, target, protocol)
}

fn long(item: &Field<'_>) -> Vec<Port> {
    for (key, value) in item.entries() {
        match key {
            "target" | "published" | "host_ip" | "protocol" => {}
            "name" | "app_protocol" => value.pass_over("it notes something and changes nothing that runs"),
            "mode" => {
                if value.text().is_some_and(|mode| mode != "host" && mode != "ingress") {
                    value.refuse("the mode of a port is `host` or `ingress`");
                }
            }
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
    let Some(target) = item.get("target") else {
        item.refuse("it has no `target`");
        return vec![];
    };
    let ports = |value: Field<'_>| value.parsed("a port or a range of ports", range);
    let Some(target) = ports(target) else { return vec![] };
    let published = item.get("published").filter(|value| value.text().is_none_or(|text| !text.is_empty()));
    let published = match published.map(ports) {
        Some(None) => return vec![],
        other => other.flatten(),
    };
    let host = item.get("host_ip").filter(|value| value.text().is_none_or(|text| !text.is_empty()));
    let host = host.and_then(|value| value.parsed("an address", |text| text.parse().ok()));
    let protocol = item.get("protocol").and_then(|value| value.parsed("a protocol", protocol)).unwrap_or_default();
    spread(item, host, published, target, protocol)
}

/// One port for each of a range.
fn spread(
    item: &Field<'_>,
    host: Option<IpAddr>,
    published: Option<Range>,
    target: Range,
    protocol: Protocol,
) -> Vec<Port> {
    let length = |(first, last): Range| last - first;
    if target.0 == 0 {
        item.refuse("0 is no port of a service");
        return vec![];
    }
    if length(target) >= MOST {
        item.refuse(format!("it is beyond the limit of {MOST} ports"));
        return vec![];
    }
    if let Some(published) = published
        && length(published) != length(target)
    {
        if length(target) == 0 {
            item.leave_to_compose("a port is published at one port of the device, not at any of a range");
        } else {
            item.refuse("both ranges must have the same length");
        }
        return vec![];
    }
    // Port 0 is any.
    let at = |step: u16| published.map(|(first, _)| first + step).filter(|port| *port > 0);
    (0..=length(target)).map(|step| Port { host, published: at(step), target: target.0 + step, protocol }).collect()
}

fn protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}
