//! What a state needs that was put together on the device from several packages.
//!
//! Each package was looked at by itself, under the rule for where it came from. The whole comes from nowhere: it is judged by a
//! rule for [`MERGED`], or by those of its packages.

use std::collections::BTreeSet;

use super::{Cover, Demand, Mode, Policy};

/// What a policy calls a state that was put together on the device.
pub const MERGED: &str = "device";

/// How the origins of packages begin.
const FILES: &str = "file";

impl Policy {
    /// What a state needs that was put together here of packages from these origins, each of which was looked at by itself.
    /// Where no rule is for [`MERGED`], anybody whom a rule for files knows may have signed its parts: some of them were here
    /// before. A package of which nothing was asked could bring everything, so nothing is asked of the whole either.
    pub(crate) fn demand_of_merged(&self, from: &BTreeSet<String>) -> Demand {
        if let Some(demand) = self.rule_of_merged() {
            return demand.clone();
        }
        let (mut mode, mut cover) = (Mode::Strict, Cover::All);
        for origin in from {
            match self.demand(origin) {
                Demand::Anything => return Demand::Anything,
                // It was let in before the rule was there, and is here.
                Demand::Nothing => {}
                Demand::Signed { mode: of, cover: least, .. } => {
                    mode = mode.min(*of);
                    if *least == Cover::Parts {
                        cover = Cover::Parts;
                    }
                }
            }
        }
        let signers = self.signers_of_files();
        if signers.is_empty() {
            return Demand::Anything;
        }
        Demand::Signed { mode, signers, threshold: 0, cover }
    }

    /// Everybody who may have signed a part of such a state: whom a rule for files, the default, or the rule for [`MERGED`]
    /// knows.
    pub(crate) fn signers_of_merged(&self) -> Vec<String> {
        let own = self.rule_of_merged().map(signers).unwrap_or_default();
        let all: BTreeSet<String> = self.signers_of_files().into_iter().chain(own.iter().cloned()).collect();
        all.into_iter().collect()
    }

    /// How many signers must not contradict a generation in such a state: as many as the rule for [`MERGED`] asks for, else as
    /// the weakest of the rules under which its packages can have come.
    pub(crate) fn agree_on_merged(&self) -> usize {
        let agrees = |demand: &Demand| match demand {
            Demand::Signed { mode, threshold, .. } => Some(agree(*mode, *threshold)),
            Demand::Anything | Demand::Nothing => None,
        };
        let own = self.rule_of_merged().and_then(agrees);
        own.or_else(|| self.demands_of_files().filter_map(agrees).min()).unwrap_or(1)
    }

    fn rule_of_merged(&self) -> Option<&Demand> {
        self.rules.iter().find(|(pattern, _)| pattern.matches(MERGED)).map(|(_, demand)| demand)
    }

    /// Everybody whom a rule for files, or the default, knows.
    pub(crate) fn signers_of_files(&self) -> Vec<String> {
        let signers: BTreeSet<&String> = self.demands_of_files().flat_map(signers).collect();
        signers.into_iter().cloned().collect()
    }

    fn demands_of_files(&self) -> impl Iterator<Item = &Demand> {
        let rules = self.rules.iter().filter(|(pattern, _)| pattern.may_begin(FILES)).map(|(_, demand)| demand);
        rules.chain([&self.default])
    }
}

/// How many signers must not contradict a generation, under a rule: as many as have to sign. `lenient` takes what one signed.
pub(crate) fn agree(mode: Mode, threshold: usize) -> usize {
    if mode == Mode::Lenient { 1 } else { threshold.max(1) }
}

fn signers(demand: &Demand) -> &[String] {
    match demand {
        Demand::Signed { signers, .. } => signers,
        Demand::Anything | Demand::Nothing => &[],
    }
}

#[cfg(test)]
mod tests {
    use umiak_spec::Limits;

    use super::*;

    /// The public half of a key that nobody has.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----\\n";

    fn merged(rules: &str, default: &str, from: &[&str]) -> Demand {
        let text = format!(
            r#"{{"version":1,"keys":{{"k":"{KEY}","l":"{KEY}"}},"rules":[{rules}],"default":{{"accept":"{default}"}}}}"#
        );
        let from = from.iter().map(|origin| (*origin).to_owned()).collect();
        Policy::parse(text.as_bytes(), &Limits::default()).unwrap().demand_of_merged(&from)
    }

    #[test]
    fn a_merged_state_needs_what_its_packages_need() {
        let rules = r#"{"from":"file/a/**","accept":"signed","signers":["k"]},
            {"from":"file/b/**","accept":"signed","signers":["l"],"mode":"lenient","cover":"parts"},
            {"from":"file/c/**","accept":"any"},{"from":"docker.io/**","accept":"any"}"#;
        let signed = |mode, cover| {
            let signers = vec!["k".to_owned(), "l".to_owned()];
            Demand::Signed { mode, signers, threshold: 0, cover }
        };
        assert_eq!(merged(rules, "none", &["file/a/x", "file/-"]), signed(Mode::Strict, Cover::All));
        assert_eq!(merged(rules, "none", &[]), signed(Mode::Strict, Cover::All), "something was only taken away");
        assert_eq!(merged(rules, "none", &["file/a/x", "file/b/x"]), signed(Mode::Lenient, Cover::Parts));
        assert_eq!(merged(rules, "none", &["file/a/x", "file/c/x"]), Demand::Anything);
        assert_eq!(merged(rules, "any", &["file/a/x", "file/-"]), Demand::Anything);
        let named = format!(r#"{{"from":"device","accept":"none"}},{rules}"#);
        assert_eq!(merged(&named, "any", &["file/c/x"]), Demand::Nothing);
        assert_eq!(merged("", "none", &[]), Demand::Anything, "nobody is known who could sign");
    }

    #[test]
    fn who_signs_under_the_rule_for_the_device_counts_when_generations_are_noted() {
        let text = format!(
            r#"{{"version":1,"keys":{{"k":"{KEY}","l":"{KEY}"}},"rules":[{{"from":"device","accept":"signed","signers":["k"]}},
                {{"from":"file/**","accept":"signed","signers":["l"]}}],"default":{{"accept":"any"}}}}"#
        );
        let policy = Policy::parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(policy.signers_of_merged(), ["k", "l"]);
    }

    #[test]
    fn the_weakest_rule_for_files_says_how_many_agree_on_a_generation() {
        let agree = |rules: &str, default: &str| {
            let text = format!(
                r#"{{"version":1,"keys":{{"k":"{KEY}","l":"{KEY}"}},"rules":[{rules}],"default":{{"accept":{default}}}}}"#
            );
            Policy::parse(text.as_bytes(), &Limits::default()).unwrap().agree_on_merged()
        };
        let two = r#"{"from":"file/**","accept":"signed","signers":["k","l"],"threshold":2}"#;
        let own = r#"{"from":"device","accept":"signed","signers":["k","l"],"threshold":2}"#;
        assert_eq!(agree(two, r#""none""#), 2);
        assert_eq!(agree(two, r#""signed","signers":["k"]"#), 1);
        assert_eq!(agree(own, r#""signed","signers":["k"]"#), 2);
        assert_eq!(agree(two, r#""signed","signers":["k","l"],"threshold":2,"mode":"lenient""#), 1);
        assert_eq!(agree("", r#""none""#), 1);
    }
}
