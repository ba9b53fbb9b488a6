//! A value of the project with the way to it: what it says is read through here, and what is wrong is refused here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{Note, Refusal, units};
use crate::error::shown;
use crate::project::Project;
use crate::read::{Files, Variables};
use crate::template::{Missing, Template};
use crate::yaml::{Shape, Value};

/// What all readings of one service share.
pub(super) struct Reading<'a> {
    pub project: &'a Project,
    pub files: &'a dyn Files,
    pub variables: &'a Variables,
    pub service: &'a str,
    pub found: &'a RefCell<Found>,
}

/// What was found besides services.
#[derive(Default)]
pub(super) struct Found {
    pub refusals: Vec<Refusal>,
    pub notes: Vec<Note>,
    pub unset: BTreeSet<String>,
    pub places: BTreeMap<(String, String), crate::Place>,
}

/// A value and its key, as `services.web.ports[0]`.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub reading: &'a Reading<'a>,
    pub value: &'a Value,
    pub key: String,
}

impl<'a> Field<'a> {
    /// No engine can run the project with this.
    pub fn refuse(&self, why: impl Into<String>) {
        self.refused(why.into(), false);
    }

    /// Only an engine that runs Compose itself does this.
    pub fn leave_to_compose(&self, why: impl Into<String>) {
        self.refused(why.into(), true);
    }

    fn refused(&self, why: String, compose_does: bool) {
        let service = self.reading.service.to_owned();
        let place = self.value.place(&self.reading.project.files);
        let refusal = Refusal { service, key: self.key.clone(), place, why, compose_does };
        let mut found = self.reading.found.borrow_mut();
        // A volume or network that several mounts of a service name is said once.
        if !found.refusals.contains(&refusal) {
            found.refusals.push(refusal);
        }
    }

    /// It is passed over: `why` it changes nothing.
    pub fn pass_over(&self, why: &'static str) {
        let service = self.reading.service.to_owned();
        self.reading.found.borrow_mut().notes.push(Note { service, key: self.key.clone(), why });
    }

    /// The value below a key, if it is there and not null.
    pub fn get(&self, name: &str) -> Option<Field<'a>> {
        let value = self.value.at(&[name]).filter(|value| !value.is_null())?;
        Some(self.below(name, value))
    }

    fn below(&self, name: &str, value: &'a Value) -> Field<'a> {
        Field { reading: self.reading, value, key: format!("{}.{name}", self.key) }
    }

    /// The keys of a map with what they have, null left out.
    pub fn entries(&self) -> Vec<(&'a str, Field<'a>)> {
        let entries = self.value.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
        let present = entries.iter().filter(|entry| !entry.value.is_null());
        present.map(|entry| (entry.key.as_str(), self.below(&entry.key, &entry.value))).collect()
    }

    /// The keys of a map, or the items of a list of names with nothing below them.
    pub fn named(&self) -> Vec<(String, Field<'a>)> {
        match &self.value.shape {
            Shape::Map(map) => {
                map.entries.iter().map(|entry| (entry.key.clone(), self.below(&entry.key, &entry.value))).collect()
            }
            _ => self.items().into_iter().filter_map(|item| Some((item.text()?, item))).collect(),
        }
    }

    /// The items of a list; a single value is a list of one.
    pub fn items(&self) -> Vec<Field<'a>> {
        let Some(list) = self.value.as_list() else { return vec![self.clone()] };
        let item = |(at, value)| Field { reading: self.reading, value, key: format!("{}[{at}]", self.key) };
        list.iter().enumerate().filter(|(_, value)| !value.is_null()).map(item).collect()
    }

    pub fn is_map(&self) -> bool {
        self.value.as_map().is_some()
    }

    /// A single value with its variables filled in.
    pub fn text(&self) -> Option<String> {
        let Shape::Scalar { text, .. } = &self.value.shape else {
            self.refuse(format!("it must be a single value, not {}", self.value.kind()));
            return None;
        };
        self.fill(text)
    }

    /// `text`, which stands here, with variables filled in. One without a value becomes nothing, as Compose has it.
    pub fn fill(&self, text: &str) -> Option<String> {
        if !text.contains('$') {
            return Some(text.to_owned());
        }
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(reason) => {
                self.refuse(format!("`{}` is not a valid use of a variable: {reason}", shown(text)));
                return None;
            }
        };
        let variables = self.reading.variables;
        let mut needed = BTreeSet::new();
        template.required(&mut needed);
        needed.retain(|name| !variables.contains_key(name));
        match template.fill(&|name| variables.get(name).cloned(), Missing::Empty) {
            Ok(text) => {
                self.reading.found.borrow_mut().unset.extend(needed);
                Some(text)
            }
            Err(unset) => {
                let message = if unset.message.is_empty() { String::new() } else { format!(": {}", unset.message) };
                self.refuse(format!("the variable `{}` has no value{message}", unset.name));
                None
            }
        }
    }

    /// A value of another type; `what` it must be, for the refusal.
    pub fn parsed<T>(&self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text()?;
        let parsed = parse(text.trim());
        if parsed.is_none() {
            self.refuse(format!("`{}` is not {what}", shown(&text)));
        }
        parsed
    }

    pub fn truth(&self) -> Option<bool> {
        self.parsed("true or false", units::truth)
    }

    pub fn number<T: std::str::FromStr>(&self) -> Option<T> {
        self.parsed("a number in its range", |text| text.parse().ok())
    }

    pub fn size(&self) -> Option<u64> {
        self.parsed("a size (`64m`)", units::size)
    }

    pub fn duration(&self) -> Option<std::time::Duration> {
        self.parsed("a time (`1m30s`)", units::duration)
    }

    /// The texts of a list or of a single value.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(Field::text).collect()
    }

    /// `KEY: value` or `- KEY=value`, with what has no value.
    pub fn pairs(&self) -> Vec<(String, Option<String>)> {
        if self.is_map() {
            let entries = self.value.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
            let one = |entry: &'a crate::yaml::Entry| {
                let field = self.below(&entry.key, &entry.value);
                Some((entry.key.clone(), if entry.value.is_null() { None } else { Some(field.text()?) }))
            };
            return entries.iter().filter_map(one).collect();
        }
        let pair = |text: String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text, None),
        };
        self.texts().into_iter().map(pair).collect()
    }
}
