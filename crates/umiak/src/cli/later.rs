//! pvr's verbs that umiak knows but does not have: the hub, devices to be searched for, self-replacement.
//!
//! Each is answered with an error (exit code 2) that says what to do instead. They are part of the grammar, hidden,
//! so that `pvr claim …` in a script fails with that answer and not with "unrecognized".

use clap::{Arg, ArgAction, Command};
use umiak_ui::Diagnostic;

/// A verb of pvr's that umiak answers with advice.
#[derive(Debug)]
pub struct Verb {
    name: &'static str,
    aliases: &'static [&'static str],
    /// What the verb would need, as the end of "… needs".
    needs: &'static str,
    /// What to do with umiak today.
    instead: &'static str,
}

const HUB: &str = "an account at the hub, which umiak does not have yet";
const NETWORK: &str = "a search of the network or the hub's list of devices, which umiak does not have yet";
const PACKAGE: &str = "`umiak post DEVICE` gives it to a device, `umiak export FILE.tgz` writes a package";
const POST: &str = "`umiak post DEVICE` gives a device objects and a new revision of them";
const BESIDE: &str = "use pvr for this verb: both work on one checkout in turn";

/// All of them.
pub const VERBS: &[Verb] = &[
    verb("put", HUB, POST),
    verb("putobjects", HUB, POST),
    verb("fastcopy", HUB, "`umiak clone DESTINATION DIR`, there `umiak get SOURCE#PARTS`, then `umiak post`"),
    verb(
        "inspect",
        HUB,
        "`umiak pkg ls FILE` lists a package; `umiak clone DEVICE DIR`, then `umiak json` there, shows a device",
    ),
    verb("remoteinfo", HUB, BESIDE),
    verb("stepinfo", HUB, BESIDE),
    verb("claim", HUB, BESIDE),
    verb("register", HUB, BESIDE),
    verb("login", HUB, "registries need no umiak login: credentials are those of `docker login`, or -u and -p"),
    verb("whoami", HUB, BESIDE),
    verb("scan", NETWORK, BESIDE),
    verb("ps", HUB, BESIDE),
    verb("logs", HUB, BESIDE),
    Verb { name: "device", aliases: &["dev"], needs: NETWORK, instead: BESIDE },
    Verb { name: "local", aliases: &["lo"], needs: NETWORK, instead: PACKAGE },
    verb("dm-convert", "dm-verity hashes, which umiak does not make yet", BESIDE),
    verb("dm-apply", "dm-verity hashes, which umiak does not make yet", BESIDE),
    verb(
        "global-config",
        "pvr's own settings, which umiak does not have",
        "settings are flags and PVR_* variables: see `umiak --help`",
    ),
    verb(
        "self-upgrade",
        "a program that replaces itself, which umiak never does",
        "update umiak the way it was installed",
    ),
];

const fn verb(name: &'static str, needs: &'static str, instead: &'static str) -> Verb {
    Verb { name, aliases: &[], needs, instead }
}

/// The verb with this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

impl Verb {
    /// The hidden place in the grammar: takes anything.
    pub(super) fn grammar(&self) -> Command {
        let anything = Arg::new("anything").action(ArgAction::Append).num_args(0..);
        Command::new(self.name)
            .aliases(self.aliases)
            .hide(true)
            .disable_help_flag(true)
            .arg(anything.allow_hyphen_values(true).trailing_var_arg(true).hide(true))
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Diagnostic {
        Diagnostic {
            message: format!("`{}` needs {}", self.name, self.needs),
            causes: Vec::new(),
            outcome: Some("nothing was changed".into()),
            hints: vec![self.instead.into()],
            exit: 2,
        }
    }
}
