//! The way out: what leaves the pool of addresses is given the device's (masquerading).
//!
//! One table of nf_tables, written whole in one batch, so doing it again changes nothing. On a kernel without it the
//! program `iptables` is asked, where it is there.

use std::io;
use std::process::{Command, Stdio};

use super::Pool;
use super::netlink::{APPEND, CREATE, Message, nested, talk};

const NETFILTER: u32 = 12;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const TABLES: u16 = 10 << 8;
const NEW_TABLE: u16 = TABLES;
const DEL_TABLE: u16 = TABLES | 2;
const NEW_CHAIN: u16 = TABLES | 3;
const NEW_RULE: u16 = TABLES | 6;
/// `struct nfgenmsg` for IPv4.
const IPV4: [u8; 4] = [2, 0, 0, 0];
/// And for a batch of nf_tables: its number in network order.
const BATCH: [u8; 4] = [0, 0, 0, 10];
const NAME: &str = "umiak";
/// Behind destination translation, where others masquerade too.
const PRIORITY: u32 = 100;
const HOOK_POSTROUTING: u32 = 4;
const OFFSET_SOURCE: u32 = 12;
const OFFSET_DESTINATION: u32 = 16;
const MASK: [u8; 4] = [255, 255, 0, 0];

/// Lets the pool out. Repeatable.
pub(super) fn ready(pool: Pool) -> io::Result<()> {
    // The switch is the device's; without it nothing is passed on from any network.
    crate::durable::tell_kernel("/proc/sys/net/ipv4/ip_forward", "1")?;
    match by_tables(pool) {
        Ok(()) => Ok(()),
        Err(error) => by_program(pool).map_err(|_| {
            io::Error::new(error.kind(), format!("this kernel does not translate addresses (nf_tables: {error})"))
        }),
    }
}

fn by_tables(pool: Pool) -> io::Result<()> {
    let table = |kind, sequence, flags| Message::new(kind, flags, sequence, &IPV4).name(1, NAME);
    let hook = nested(&[(1, be(HOOK_POSTROUTING)), (2, be(PRIORITY))]);
    let chain = Message::new(NEW_CHAIN, CREATE, 5, &IPV4).name(1, NAME).name(3, "out").put(4, &hook).name(7, "nat");
    let network = [pool.0, pool.1, 0, 0];
    let mut rule = in_pool(OFFSET_SOURCE, network, true);
    rule.extend(in_pool(OFFSET_DESTINATION, network, false));
    rule.push(expression("masq", &[]));
    let rule = nested(&rule.into_iter().map(|one| (1, one)).collect::<Vec<_>>());
    let rule = Message::new(NEW_RULE, CREATE | APPEND, 6, &IPV4).name(1, NAME).name(2, "out").put(4, &rule);
    let batch = vec![
        Message::new(BATCH_BEGIN, 0, 1, &BATCH).silent(),
        table(NEW_TABLE, 2, CREATE),
        table(DEL_TABLE, 3, 0),
        table(NEW_TABLE, 4, CREATE),
        chain,
        rule,
        Message::new(BATCH_END, 0, 7, &BATCH).silent(),
    ];
    talk(NETFILTER, batch, 5, &[])
}

/// Loads an address of the packet and compares it with the pool.
fn in_pool(offset: u32, network: [u8; 4], equal: bool) -> Vec<Vec<u8>> {
    let value = |bytes: [u8; 4]| nested(&[(1, bytes.to_vec())]);
    vec![
        expression("payload", &[(1, be(1)), (2, be(1)), (3, be(offset)), (4, be(4))]),
        expression("bitwise", &[(1, be(1)), (2, be(1)), (3, be(4)), (4, value(MASK)), (5, value([0; 4]))]),
        expression("cmp", &[(1, be(1)), (2, be(u32::from(!equal))), (3, value(network))]),
    ]
}

fn expression(name: &str, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    nested(&[(1, text), (2, nested(attributes))])
}

fn be(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn by_program(pool: Pool) -> io::Result<()> {
    let network = format!("{}.{}.0.0/16", pool.0, pool.1);
    let rule = ["POSTROUTING", "-s", &network, "!", "-d", &network, "-j", "MASQUERADE"];
    let call = |act: &str| -> io::Result<bool> {
        let mut command = Command::new("iptables");
        command.args(["-w", "5", "-t", "nat", act]).args(rule);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
    };
    if call("-C")? || call("-A")? { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}
