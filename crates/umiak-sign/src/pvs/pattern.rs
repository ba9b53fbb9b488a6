//! Patterns of keys: `*`, `?` and classes within a component, `**` across them, as pvr's signatures have them.

use umiak_pvr::Glob;

/// Bytes of one pattern.
const MAX_PATTERN: usize = 4096;

/// A pattern of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of components.
    Across,
    /// One component.
    One(Glob),
}

impl Pattern {
    /// Reads a pattern; `None` when it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_PATTERN {
            return None;
        }
        let mut parts: Vec<Part> = Vec::new();
        for component in text.split('/') {
            match component {
                "**" if parts.last() == Some(&Part::Across) => {}
                "**" => parts.push(Part::Across),
                component => parts.push(Part::One(Glob::parse(component).ok()?)),
            }
        }
        Some(Self(parts))
    }

    /// Whether it means any key that begins with this component.
    pub(crate) fn may_begin(&self, component: &str) -> bool {
        match self.0.first() {
            Some(Part::Across) => true,
            Some(Part::One(glob)) => glob.matches(component),
            None => false,
        }
    }

    /// Whether it means this key. `**` at the end takes one component at least: `a/**` is what lies in `a`.
    pub(crate) fn matches(&self, key: &str) -> bool {
        let components: Vec<&str> = key.split('/').collect();
        let (mut part, mut at) = (0, 0);
        // Where to go on when the last `**` has to take one component more; going back to the last one is enough.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match (self.0.get(part), components.get(at)) {
                (None, None) => return true,
                (Some(Part::Across), left) if part + 1 == self.0.len() => return left.is_some(),
                (Some(Part::Across), _) => {
                    retry = Some((part, at));
                    part += 1;
                    continue;
                }
                (Some(Part::One(glob)), Some(component)) => glob.matches(component),
                _ => false,
            };
            if step {
                part += 1;
                at += 1;
                continue;
            }
            match retry {
                Some((across, from)) if from < components.len() => {
                    retry = Some((across, from + 1));
                    part = across + 1;
                    at = from + 1;
                }
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stars_cross_slashes_and_one_does_not() {
        for (pattern, matching, other) in [
            ("**", &["a", "a/b", "#spec"][..], &[][..]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab/c", "b/a/c"]),
            ("a/*", &["a/b"], &["a/b/c", "a"]),
            ("a/**/c", &["a/c", "a/b/c", "a/x/y/c"], &["a/c/d", "a/bc"]),
            ("**/run.json", &["run.json", "a/run.json", "a/b/run.json"], &["a/run.jsonx"]),
            ("**/a/**/b", &["a/b", "x/a/y/a/z/b"], &["a", "b", "b/a"]),
            ("bsp/src.json", &["bsp/src.json"], &["bsp/src_json", "bsp"]),
            ("[ab]/?", &["a/x", "b/y"], &["c/x", "a/xy"]),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert!(matching.iter().all(|key| parsed.matches(key)), "{pattern}");
            assert!(!other.iter().any(|key| parsed.matches(key)), "{pattern}");
        }
        assert_eq!(Pattern::parse("a/["), None);
        let hard = Pattern::parse(&"**/a/".repeat(500)).unwrap();
        assert!(!hard.matches(&"a/".repeat(1000).replace("a/a/a/a", "a/b/a/b")), "and it ends");
    }
}
