//! The network of a service: `network_mode`, `networks` with what the project says of each, `ports`, names and hosts.

use std::net::IpAddr;

use umiak_spec::service::{Attachment, Network, Private, Service};

use super::field::Field;
use super::ports;
use crate::error::shown;

pub(super) const KEYS: &[&str] = &["network_mode", "networks", "ports", "extra_hosts", "container_name"];

/// Why addresses of version 6 are not given.
const NO_IPV6: &str = "private networks have no IPv6";

pub(super) fn read(service: &mut Service, field: &Field<'_>) {
    service.network = network(field);
    let hosts = field.get("extra_hosts");
    service.extra_hosts = hosts.iter().flat_map(extra_hosts).collect();
    // The name of the container is a name on its networks, and nothing else here.
    let name = field.get("container_name").and_then(|name| name.text());
    if let (Some(name), Network::Private(private)) = (name, &mut service.network) {
        private.attached.iter_mut().for_each(|attachment| attachment.aliases.push(name.clone()));
    }
}

fn network(field: &Field<'_>) -> Network {
    let ports = field.get("ports");
    let Some(mode) = field.get("network_mode") else {
        let ports = ports.iter().flat_map(ports::read).collect();
        return Network::Private(Private { attached: attached(field), ports });
    };
    if let Some(networks) = field.get("networks") {
        networks.refuse("a service has `networks` or a `network_mode`, not both");
    }
    let text = mode.text().unwrap_or_default();
    let network = match text.as_str() {
        "host" => Network::Host,
        "none" => Network::None,
        // The engine's own bridge: services do not find one another by name there, which no one can rely on.
        "bridge" | "default" | "" => {
            let ports = ports.iter().flat_map(ports::read).collect();
            return Network::Private(Private { attached: vec![Attachment::new("default")], ports });
        }
        other => match other.split_once(':') {
            Some(("service", name)) if !name.is_empty() => Network::Service(name.to_owned()),
            _ => {
                mode.leave_to_compose(format!("the network `{}` is not one of the project's", shown(other)));
                Network::None
            }
        },
    };
    if let Some(ports) = ports {
        match network {
            Network::Host => ports.pass_over("on the device's network every port is there as it is"),
            Network::Service(_) => ports.refuse("ports are published by the service whose network it is"),
            _ => ports.refuse("without a network there are no ports"),
        }
    }
    network
}

fn attached(field: &Field<'_>) -> Vec<Attachment> {
    let Some(networks) = field.get("networks") else {
        return vec![defined(field, Attachment::new("default"))];
    };
    let networks = networks.named().into_iter();
    networks.map(|(name, value)| defined(&value, attachment(&name, &value))).collect()
}

fn attachment(name: &str, value: &Field<'_>) -> Attachment {
    let mut attachment = Attachment::new(name);
    for (key, value) in value.entries() {
        match key {
            "aliases" => attachment.aliases = value.texts(),
            "ipv6_address" => value.leave_to_compose(NO_IPV6),
            "ipv4_address" => {
                attachment.address = value.parsed("an address", |text| text.parse().ok());
            }
            "priority" | "gw_priority" => value.pass_over("networks are attached in the order of their names"),
            "interface_name" | "link_local_ips" | "mac_address" | "driver_opts" => {
                value.leave_to_compose("this setting of a network is not supported");
            }
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
    attachment
}

/// What the project says of the network. The refusal stands where the network is defined.
fn defined(user: &Field<'_>, mut attachment: Attachment) -> Attachment {
    let Some(value) = user.reading.project.model.at(&["networks", &attachment.network]) else { return attachment };
    let definition = Field { reading: user.reading, value, key: format!("networks.{}", attachment.network) };
    for (key, value) in definition.entries() {
        match key {
            "enable_ipv4" if value.truth() == Some(false) => value.leave_to_compose(NO_IPV6),
            "name" | "labels" | "attachable" | "enable_ipv4" => value.pass_over("networks are the app's own"),
            "internal" => attachment.internal = value.truth().unwrap_or_default(),
            "driver" if matches!(value.text().as_deref(), Some("" | "bridge")) => {}
            "driver" => value.leave_to_compose("the only driver of networks is `bridge`"),
            "external" if value.is_map() || value.truth() == Some(true) => {
                value.leave_to_compose("networks of others are not joined");
            }
            "external" => {}
            "enable_ipv6" if value.truth() == Some(false) => {}
            "enable_ipv6" => value.leave_to_compose(NO_IPV6),
            "driver_opts" | "ipam" => {
                value.leave_to_compose("this setting of a network is not supported");
            }
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
    attachment
}

/// `NAME=ADDRESS` or `NAME:ADDRESS`, or a map with one or more addresses each.
fn extra_hosts(field: &Field<'_>) -> Vec<(String, String)> {
    let checked = |name: &str, address: String, at: &Field<'_>| {
        let address = address.trim_start_matches('[').trim_end_matches(']').to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if (address != "host-gateway" && address.parse::<IpAddr>().is_err())
            || name.is_empty()
            || !name.chars().all(plain)
        {
            at.refuse(format!("`{}` for `{}` is not a name and an address", shown(&address), shown(name)));
            return None;
        }
        Some((name.to_owned(), address))
    };
    if field.is_map() {
        let entries = field.entries().into_iter();
        let all = |(name, value): (&str, Field<'_>)| {
            value.texts().into_iter().filter_map(|address| checked(name, address, &value)).collect::<Vec<_>>()
        };
        return entries.flat_map(all).collect();
    }
    let item = |item: &Field<'_>| {
        let text = item.text()?;
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((&text, ""));
        checked(name, address.to_owned(), item)
    };
    field.items().iter().filter_map(item).collect()
}
