//! As whom a service runs: names looked up in the root's own `/etc/passwd` and `/etc/group`, as passwd(5) and group(5)
//! have them.

use std::os::fd::OwnedFd;

use umiak_spec::service::{Identity, Process};

use super::inside;

/// Bytes of a file of accounts that are read.
const ACCOUNTS_MAX: u64 = 4 << 20;

/// Groups of one process at most: what Linux takes.
const GROUPS_MAX: usize = 65_536;

/// Numbers for the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub uid: u32,
    pub gid: u32,
    /// Further groups, each once.
    pub groups: Vec<u32>,
    /// The user's home directory, where the root says it.
    pub home: Option<String>,
}

/// Looks up the user and groups of `process`.
pub(crate) fn look_up(root: &OwnedFd, process: &Process) -> Result<Account, String> {
    let file = |path| inside::read(root, path, ACCOUNTS_MAX).unwrap_or_default();
    resolve(process, &file("/etc/passwd"), &file("/etc/group"))
}

fn resolve(process: &Process, passwd: &[u8], group: &[u8]) -> Result<Account, String> {
    let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
    let user = &process.user;
    let mut entries = passwd.lines().filter_map(Passwd::parse);
    let entry = entries.find(|entry| match &user.user {
        Identity::Number(number) => entry.uid == *number,
        Identity::Name(name) => entry.name == *name,
    });
    let uid = match (&user.user, &entry) {
        (Identity::Number(number), _) => *number,
        (Identity::Name(_), Some(entry)) => entry.uid,
        (Identity::Name(name), None) => return Err(format!("user {name} is not in the image's /etc/passwd")),
    };
    let gid = match (&user.group, &entry) {
        (Some(group_of), _) => group_number(&group, group_of)?,
        (None, Some(entry)) => entry.gid,
        (None, None) => 0,
    };
    // A group that is said takes the place of all that the user is in.
    let mut groups: Vec<u32> = match (&user.group, &entry) {
        (None, Some(entry)) => memberships(&group, entry.name).filter(|number| *number != gid).collect(),
        _ => vec![],
    };
    for further in &process.groups {
        groups.push(group_number(&group, further)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|number| seen.insert(*number));
    groups.truncate(GROUPS_MAX);
    Ok(Account { uid, gid, groups, home: entry.map(|entry| entry.home.to_owned()).filter(|home| !home.is_empty()) })
}

/// `name:password:uid:gid:comment:home:shell`
struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Passwd<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

/// `name:password:gid:member,member`
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn memberships(text: &str, user: &str) -> impl Iterator<Item = u32> {
    groups(text).filter(move |(_, _, members)| members.split(',').any(|member| member == user)).map(|(_, gid, _)| gid)
}

fn group_number(text: &str, group: &Identity) -> Result<u32, String> {
    match group {
        Identity::Number(number) => Ok(*number),
        Identity::Name(wanted) => groups(text)
            .find_map(|(name, gid, _)| (name == wanted).then_some(gid))
            .ok_or_else(|| format!("group {wanted} is not in the image's /etc/group")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umiak_spec::service::User;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken:x:a:b\n\nweb:x:33:34::/srv:/bin/false\n";
    const GROUP: &[u8] = b"root:x:0:\nweb:x:34:\nvideo:x:44:web,other\naudio:x:29:other,web\nbad\n";

    fn account(user: &str, groups: &[&str]) -> Result<Account, String> {
        let groups = groups.iter().map(|group| Identity::parse(group).unwrap()).collect();
        let process = Process { user: User::parse(user).unwrap(), groups, ..Process::default() };
        resolve(&process, PASSWD, GROUP)
    }

    #[test]
    fn names_and_numbers_are_found() {
        let web = Account { uid: 33, gid: 34, groups: vec![44, 29], home: Some("/srv".into()) };
        assert_eq!(account("web", &[]).unwrap(), web);
        assert_eq!(account("33", &[]).unwrap(), web);
        assert_eq!(account("web:video", &["audio", "7", "7"]).unwrap().groups, [29, 7]);
        assert_eq!(account("web:video", &[]).unwrap().gid, 44);
        let unknown = account("1000", &[]).unwrap();
        assert_eq!((unknown.uid, unknown.gid, unknown.home), (1000, 0, None));
        assert_eq!(account("1000:5", &[]).unwrap().gid, 5);
        assert!(account("nobody", &[]).unwrap_err().contains("nobody"));
        assert!(account("web:none", &[]).unwrap_err().contains("none"));
        assert!(account("broken", &[]).is_err());
    }
}
