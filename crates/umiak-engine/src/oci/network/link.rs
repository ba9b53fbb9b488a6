//! Bridges, cables, addresses (rtnetlink(7)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use umiak_mount::namespace;

use super::netlink::{CREATE, EXCLUSIVE, Message, attributes, list_route, nested, talk_route};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const UP: u32 = 1;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
/// Bytes of what the kernel keeps for people about an interface.
const ALIAS_MAX: usize = 255;
/// Every network is a /24.
const PREFIX: u8 = 24;

/// A hardware address.
pub(super) type Hardware = [u8; 6];

/// A cable that leads into a namespace. It carries nothing until it is plugged into a bridge.
#[derive(Debug, Clone)]
pub(super) struct Cable {
    pub outside: String,
    pub inside: String,
    pub address: Ipv4Addr,
    /// Of the inner end.
    pub hardware: Hardware,
    /// The way out, if this is it.
    pub gateway: Option<Ipv4Addr>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interface {
    index: u32,
    pub hardware: Hardware,
    /// The number of a cable's other end.
    other: u32,
    /// What is noted for people.
    pub note: String,
}

/// All interfaces of the network that this thread is in, by name.
pub(super) fn all() -> io::Result<BTreeMap<String, Interface>> {
    let answers = list_route(Message::new(RTM_GETLINK, 0, 1, &link(0, 0)))?;
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
    let one = |answer: &Vec<u8>| {
        let mut name = None;
        let mut found = Interface { index: number(answer.get(4..8)?), ..Interface::default() };
        for (kind, value) in attributes(answer.get(16..)?) {
            match kind {
                IFLA_IFNAME => name = String::from_utf8(value.strip_suffix(b"\0").unwrap_or(value).to_vec()).ok(),
                IFLA_ADDRESS => found.hardware = value.try_into().unwrap_or_default(),
                IFLA_LINK => found.other = number(value),
                IFLA_IFALIAS => {
                    found.note = String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned();
                }
                _ => {}
            }
        }
        Some((name?, found))
    };
    Ok(answers.iter().filter_map(one).collect())
}

/// Makes a bridge. The kernel makes one of that name at a time, whoever asks: whether it is this one.
pub(super) fn claim(name: &str, hardware: Hardware) -> io::Result<bool> {
    let info = nested(&[(INFO_KIND, b"bridge\0".to_vec())]);
    let make = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, 1, &link(0, 0))
        .name(IFLA_IFNAME, name)
        .put(IFLA_ADDRESS, &hardware)
        .put(IFLA_LINKINFO, &info);
    match talk_route(make, &[]) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a bridge its address, switches it on, and notes for people what it is. Repeatable.
pub(super) fn bridge(name: &str, address: Ipv4Addr, what: &str) -> io::Result<()> {
    let what = &what.as_bytes()[..what.len().min(ALIAS_MAX)];
    let note = Message::new(RTM_NEWLINK, 0, 1, &link(index(name)?, 0)).put(IFLA_IFALIAS, what);
    talk_route(note, &[])?;
    set_up(name, address)
}

/// Removes an interface. Absent is removed.
pub(super) fn remove(name: &str) -> io::Result<()> {
    talk_route(Message::new(RTM_DELLINK, 0, 1, &link(0, 0)).name(IFLA_IFNAME, name), &[ENODEV])
}

/// Lays a cable into the namespace of `keeper`; its inner end gets an address. Repeatable: one that is there stays.
pub(super) fn lay(keeper: &Path, cable: &Cable) -> io::Result<()> {
    let (name, address, gateway) = (cable.inside.as_str(), cable.address, cable.gateway);
    let outer = all()?.remove(&cable.outside);
    let inner = namespace::in_network(keeper, all)??.remove(name);
    let is_laid = inner
        .is_some_and(|inner| inner.hardware == cable.hardware && outer.is_some_and(|outer| outer.index == inner.other));
    if !is_laid {
        // A cable of one of these names leads somewhere else.
        remove(&cable.outside)?;
        namespace::in_network(keeper, || remove(name))??;
        make(&File::open(keeper)?, cable)?;
    }
    namespace::in_network(keeper, || -> io::Result<()> {
        set_up(name, address)?;
        gateway.map_or(Ok(()), way_out)
    })?
}

fn make(namespace: &File, cable: &Cable) -> io::Result<()> {
    let mut peer = link(0, 0).to_vec();
    let mut inside = cable.inside.as_bytes().to_vec();
    inside.push(0);
    let fd = namespace.as_raw_fd().cast_unsigned().to_ne_bytes().to_vec();
    let peers = [(IFLA_IFNAME, inside), (IFLA_ADDRESS, cable.hardware.to_vec()), (IFLA_NET_NS_FD, fd)];
    peer.extend(nested(&peers));
    let data = nested(&[(VETH_PEER, peer)]);
    let info = nested(&[(INFO_KIND, b"veth\0".to_vec()), (INFO_DATA, data)]);
    let make = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, 1, &link(0, UP));
    talk_route(make.name(IFLA_IFNAME, &cable.outside).put(IFLA_LINKINFO, &info), &[])
}

/// Plugs the outer end of a cable into a bridge. Repeatable.
pub(super) fn plug(outside: &str, bridge: &str) -> io::Result<()> {
    let bridge = index(bridge)?;
    talk_route(Message::new(RTM_NEWLINK, 0, 1, &link(index(outside)?, 0)).put(IFLA_MASTER, &bridge.to_ne_bytes()), &[])
}

/// Pulls the outer end of a cable. Absent is pulled.
pub(super) fn pull(outside: &str) -> io::Result<()> {
    let pull = Message::new(RTM_NEWLINK, 0, 1, &link(0, 0)).name(IFLA_IFNAME, outside);
    talk_route(pull.put(IFLA_MASTER, &[0; 4]), &[ENODEV])
}

/// Switches an interface on and gives it its address.
fn set_up(name: &str, address: Ipv4Addr) -> io::Result<()> {
    let index = index(name)?;
    talk_route(Message::new(RTM_NEWLINK, 0, 1, &link(index, UP)), &[])?;
    let [a, b, c, _] = address.octets();
    let mut fixed = vec![2, PREFIX, 0, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let add = Message::new(RTM_NEWADDR, CREATE | EXCLUSIVE, 1, &fixed)
        .put(2, &address.octets())
        .put(1, &address.octets())
        .put(4, &[a, b, c, 255]);
    talk_route(add, &[EEXIST])
}

/// The route to everywhere.
fn way_out(gateway: Ipv4Addr) -> io::Result<()> {
    // AF_INET, table main, static, universe, unicast.
    let fixed = [2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    talk_route(Message::new(RTM_NEWROUTE, CREATE | EXCLUSIVE, 1, &fixed).put(5, &gateway.octets()), &[EEXIST])
}

/// `struct ifinfomsg`
fn link(index: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

/// The number of an interface of the network that this thread is in.
fn index(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}
