//! Bridges, cables, addresses (rtnetlink(7)).

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use umiak_mount::namespace;

use super::netlink::{CREATE, EXCLUSIVE, Message, nested, talk_route};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const UP: u32 = 1;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
/// Every network is a /24.
const PREFIX: u8 = 24;

/// A cable from a bridge into a namespace.
#[derive(Debug, Clone)]
pub(super) struct Cable {
    pub outside: String,
    pub inside: String,
    pub bridge: String,
    pub address: Ipv4Addr,
    /// The way out, if this is it.
    pub gateway: Option<Ipv4Addr>,
}

/// Makes a bridge with an address, and switches it on. Repeatable.
pub(super) fn bridge(name: &str, address: Ipv4Addr) -> io::Result<()> {
    let info = nested(&[(INFO_KIND, b"bridge\0".to_vec())]);
    let make = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, 1, &link(0, 0)).name(IFLA_IFNAME, name);
    talk_route(make.put(IFLA_LINKINFO, &info), &[EEXIST])?;
    set_up(name, address)
}

/// Removes an interface. Absent is removed.
pub(super) fn remove(name: &str) -> io::Result<()> {
    talk_route(Message::new(RTM_DELLINK, 0, 1, &link(0, 0)).name(IFLA_IFNAME, name), &[ENODEV])
}

/// Puts a cable in: one end on the bridge, the other, with an address, inside the namespace of `keeper`. Repeatable.
pub(super) fn connect(keeper: &Path, cable: &Cable) -> io::Result<()> {
    let namespace = File::open(keeper)?;
    let bridge = index(&cable.bridge)?;
    let (name, address, gateway) = (cable.inside.as_str(), cable.address, cable.gateway);
    if namespace::in_network(keeper, || index(name))?.is_err() {
        // A cable of that name leads somewhere else, to a namespace that is no more.
        remove(&cable.outside)?;
    }
    let mut peer = link(0, 0).to_vec();
    let mut inside = cable.inside.as_bytes().to_vec();
    inside.push(0);
    let fd = namespace.as_raw_fd().cast_unsigned().to_ne_bytes().to_vec();
    peer.extend(nested(&[(IFLA_IFNAME, inside), (IFLA_NET_NS_FD, fd)]));
    let data = nested(&[(VETH_PEER, peer)]);
    let info = nested(&[(INFO_KIND, b"veth\0".to_vec()), (INFO_DATA, data)]);
    let make = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, 1, &link(0, UP))
        .name(IFLA_IFNAME, &cable.outside)
        .put(IFLA_MASTER, &bridge.to_ne_bytes())
        .put(IFLA_LINKINFO, &info);
    talk_route(make, &[EEXIST])?;
    namespace::in_network(keeper, || -> io::Result<()> {
        set_up(name, address)?;
        gateway.map_or(Ok(()), way_out)
    })?
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
