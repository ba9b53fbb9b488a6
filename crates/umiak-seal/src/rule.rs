//! The rule of a signature: what it is called, what it covers, which generation it is.

use umiak_pvr::{State, StatePath, Value};
use umiak_sign::{MAX_GENERATION, PvsHeader, Selection};

use crate::error::SealError;

/// What pvr leaves out of a part's signature: the device's owner may change it.
const EXCLUDED: &str = "src.json";

/// What a signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name: the file is `_sigs/<name>.json`.
    pub name: String,
    /// Patterns of the keys that are signed.
    pub include: Vec<String>,
    /// Patterns of the keys that are left out of them.
    pub exclude: Vec<String>,
    /// A number that only goes up from release to release: a device that asks for it takes no lower one of this name.
    pub generation: Option<u64>,
}

impl Rule {
    /// The rule for one part, as `pvr sig add --part` has it: patterns are below `<name>/`. Without `include`, all of
    /// it; without `exclude`, `src.json` is left out. With configuration, `_config/<name>/` belongs to it.
    #[must_use]
    pub fn part(name: &str, include: &[String], exclude: &[String], with_config: bool) -> Self {
        let name = name.trim_end_matches('/');
        let below = |patterns: &[String], default: &str| -> Vec<String> {
            let pattern = |pattern: &str| format!("{name}/{pattern}");
            if patterns.is_empty() {
                vec![pattern(default)]
            } else {
                patterns.iter().map(|text| pattern(text)).collect()
            }
        };
        let mut include = below(include, "**");
        include.extend(with_config.then(|| format!("_config/{name}/**")));
        let mut exclude = below(exclude, EXCLUDED);
        exclude.push(key(name));
        Self { name: name.to_owned(), include, exclude, generation: None }
    }

    /// A rule with its patterns as they are, as `pvr sig add --raw` has it.
    #[must_use]
    pub fn raw(name: &str, include: &[String], exclude: &[String]) -> Self {
        Self { name: name.to_owned(), include: include.to_vec(), exclude: exclude.to_vec(), generation: None }
    }

    /// The same of this generation.
    #[must_use]
    pub fn of_generation(self, generation: Option<u64>) -> Self {
        Self { generation, ..self }
    }

    /// The rule that a stored signature was made by.
    ///
    /// # Errors
    /// [`SealError::NoSignature`], [`SealError::Stored`].
    pub fn stored(state: &State, name: &str) -> Result<Self, SealError> {
        let key = key(name);
        let document = state.get(&key).ok_or_else(|| SealError::NoSignature(name.to_owned()))?;
        let PvsHeader { include, exclude, generation, .. } = PvsHeader::of(&key, &document.to_value())?;
        Ok(Self { name: name.to_owned(), include, exclude, generation })
    }

    /// The names of the signatures that a state has, sorted.
    #[must_use]
    pub fn names(state: &State) -> Vec<String> {
        let signature = |value: &Value| value.get("#spec").and_then(Value::as_str) == Some(umiak_sign::PVS_SPEC);
        let name = |path: &StatePath| {
            let name = path.as_str().strip_prefix("_sigs/")?.strip_suffix(".json")?;
            Some(name.to_owned())
        };
        let found = state.entries().iter().filter(|(_, entry)| signature(&entry.to_value()));
        found.filter_map(|(path, _)| name(path)).collect()
    }

    /// The signature's key in the state.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.name)
    }

    /// Patterns that Pantavisor reads otherwise than pvr and umiak do, or not at all: its `**` is only known at the end,
    /// behind a slash. A signature with one of them may hold here and not there.
    #[must_use]
    pub fn not_for_devices(&self) -> Vec<&str> {
        let foreign = |pattern: &&String| pattern.strip_suffix("/**").unwrap_or(pattern).contains("**");
        self.include.iter().chain(&self.exclude).filter(foreign).map(String::as_str).collect()
    }

    /// The patterns, checked.
    pub(crate) fn selection(&self) -> Result<Selection, SealError> {
        let path = StatePath::new(&self.key()).ok().filter(|_| !self.name.is_empty() && !self.name.contains('/'));
        path.ok_or_else(|| SealError::Name(self.name.clone()))?;
        // `**/**` is the same under another spelling.
        let everything = |pattern: &String| pattern.split('/').all(|component| component == "**");
        if self.include.iter().chain(&self.exclude).any(everything) {
            return Err(SealError::Everything { name: self.name.clone() });
        }
        if let Some(generation) = self.generation.filter(|generation| *generation > MAX_GENERATION) {
            return Err(SealError::Generation(generation));
        }
        let wrong = |source| SealError::Patterns { name: self.name.clone(), source };
        Selection::parse(&self.include, &self.exclude).map_err(wrong)
    }
}

fn key(name: &str) -> String {
    format!("_sigs/{name}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_part_s_rule_is_pvr_s() {
        let rule = Rule::part("web", &[], &[], true);
        assert_eq!(rule.include, ["web/**", "_config/web/**"]);
        assert_eq!(rule.exclude, ["web/src.json", "_sigs/web.json"]);
        assert_eq!(rule.key(), "_sigs/web.json");
        let rule = Rule::part("web/", &texts(&["a", "b/**"]), &texts(&["c"]), false);
        assert_eq!(rule.include, ["web/a", "web/b/**"]);
        assert_eq!(rule.exclude, ["web/c", "_sigs/web.json"]);
    }

    #[test]
    fn a_rule_that_means_everything_or_nothing_sensible_is_refused() {
        for pattern in ["**", "**/**"] {
            let refused = Rule::raw("x", &texts(&[pattern]), &[]).selection();
            assert!(matches!(refused, Err(SealError::Everything { name }) if name == "x"), "{pattern}");
        }
        assert!(Rule::raw("x", &texts(&["a"]), &texts(&["**"])).selection().is_err());
        for name in ["", "a/b", "/", "a\0"] {
            let refused = Rule::raw(name, &texts(&["a"]), &[]).selection();
            assert!(matches!(refused, Err(SealError::Name(_))), "{name}");
        }
        assert!(matches!(Rule::raw("x", &texts(&["a/["]), &[]).selection(), Err(SealError::Patterns { .. })));
        let late = Rule::raw("x", &texts(&["a"]), &[]).of_generation(Some(MAX_GENERATION + 1));
        assert!(matches!(late.selection(), Err(SealError::Generation(_))));
    }

    #[test]
    fn patterns_that_a_device_reads_otherwise_are_known() {
        let rule = Rule::raw("x", &texts(&["a/**", "a/*/b", "a/**/b", "**/run.json"]), &texts(&["b/**", "x**"]));
        assert_eq!(rule.not_for_devices(), ["a/**/b", "**/run.json", "x**"]);
    }
}
