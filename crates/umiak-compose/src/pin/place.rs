//! Where in the text of a compose file the pins go.
//!
//! What is found here may turn out not to mean what was wanted (an anchor used for something else too, a `build` that
//! other things refer to): the caller reads the result again and compares. `None` means that there is no place.

use std::collections::{BTreeMap, BTreeSet};

use super::edit::{Edit, line_end, line_start};
use super::{CONFIG_HASH, PinnedService};
use crate::limits::ComposeLimits;
use crate::merge::as_pairs;
use crate::project::Project;
use crate::yaml::value::expand;
use crate::yaml::{Kind, NodeId, Shape, Syntax, Value, write};

/// The edits that pin a project of one file.
pub(super) fn edits(syntax: &Syntax, project: &Project, services: &[PinnedService]) -> Option<Vec<Edit>> {
    let mut places = Places {
        syntax,
        project,
        raw: expand(syntax, 0, &ComposeLimits { expanded: usize::MAX, ..project.limits }).ok()?,
        newline: if syntax.text.contains("\r\n") { "\r\n" } else { "\n" },
        edits: vec![],
        additions: BTreeMap::new(),
    };
    places.images(services)?;
    for service in services {
        places.labels(service)?;
    }
    let builds = places.builds();
    places.write(&builds)?;
    Some(places.edits)
}

/// A map and the place of one of its pairs.
type Pair = (NodeId, usize);

struct Places<'a> {
    syntax: &'a Syntax,
    project: &'a Project,
    /// The file with aliases and merge keys followed, nothing extended.
    raw: Value,
    newline: &'static str,
    edits: Vec<Edit>,
    /// Keys that services get, with values on one line.
    additions: BTreeMap<String, Vec<(&'static str, String)>>,
}

impl Places<'_> {
    /// The pairs of a map as it is written.
    fn pairs(&self, map: NodeId) -> &[(NodeId, NodeId)] {
        match &self.syntax.node(map).kind {
            Kind::Map(pairs) => pairs,
            _ => &[],
        }
    }

    fn find(&self, map: NodeId, key: &str) -> Option<usize> {
        let is_key = |id: NodeId| matches!(&self.syntax.node(id).kind, Kind::Scalar { text, .. } if text == key);
        self.pairs(map).iter().position(|(id, _)| is_key(*id))
    }

    /// The node that a service's name stands in front of; it may be an alias.
    fn service_node(&self, name: &str) -> Option<NodeId> {
        let services = self.find(self.syntax.root, "services")?;
        let services = self.pairs(self.syntax.root)[services].1;
        let at = self.find(services, name)?;
        Some(self.pairs(services)[at].1)
    }

    fn add(&mut self, service: &str, key: &'static str, text: String) {
        self.additions.entry(service.to_owned()).or_default().push((key, text));
    }

    // --- images

    fn images(&mut self, services: &[PinnedService]) -> Option<()> {
        let mut by_node: BTreeMap<NodeId, Vec<&PinnedService>> = BTreeMap::new();
        for service in services {
            let image = self.project.model.at(&["services", &service.name, "image"])?;
            by_node.entry(image.node).or_default().push(service);
        }
        let mut elsewhere = BTreeSet::new();
        for entry in &self.project.model.as_map()?.entries {
            if !entry.key.starts_with("x-") {
                other_uses(&entry.value, &mut vec![&entry.key], &mut elsewhere);
            }
        }
        for (node, services) in by_node {
            let agree = services.iter().all(|service| service.image == services[0].image);
            if agree && !elsewhere.contains(&node) {
                self.edits.push(self.replaced(node, &services[0].image)?);
                continue;
            }
            for service in services {
                self.own_image(service, node)?;
            }
        }
        Some(())
    }

    /// The scalar replaced, its quotes kept.
    fn replaced(&self, node: NodeId, text: &str) -> Option<Edit> {
        let node = self.syntax.node(node);
        let Kind::Scalar { text: present, .. } = &node.kind else { return None };
        let written = &self.syntax.text[node.start..node.end];
        let quote = written.chars().next().filter(|c| ['"', '\''].contains(c));
        match quote {
            Some(quote) => Some(Edit::new(node.start..node.end, format!("{quote}{text}{quote}"))),
            // A block scalar has its mark elsewhere.
            None => (written == present && !present.is_empty()).then(|| Edit::new(node.start..node.end, text)),
        }
    }

    /// An image that only this service has.
    fn own_image(&mut self, service: &PinnedService, value: NodeId) -> Option<()> {
        let own = self.service_node(&service.name)?;
        let Some(at) = self.find(own, "image") else {
            self.add(&service.name, "image", service.image.clone());
            return Some(());
        };
        let node = self.pairs(own)[at].1;
        if node == value {
            // What others refer to is written here: they get what it was.
            let Kind::Scalar { text, plain } = &self.syntax.node(node).kind else { return None };
            let text = write::scalar(text, *plain);
            let uses =
                self.syntax.nodes.iter().filter(|other| matches!(other.kind, Kind::Alias(target) if target == node));
            let edits: Vec<_> = uses.map(|alias| Edit::new(alias.outer..alias.end, text.clone())).collect();
            self.edits.extend(edits);
            self.edits.push(self.replaced(node, &service.image)?);
            return Some(());
        }
        let node = self.syntax.node(node);
        self.edits.push(Edit::new(node.outer..node.end, service.image.clone()));
        Some(())
    }

    // --- labels

    fn labels(&mut self, service: &PinnedService) -> Option<()> {
        // Always quoted: some hashes would be numbers.
        let hash = format!("\"{}\"", service.config_hash.hex());
        let pair = format!("{CONFIG_HASH}: {hash}");
        let own = self.service_node(&service.name)?;
        let raw = self.raw.at(&["services", &service.name, "labels"]).filter(|labels| !labels.is_null()).cloned();
        let Some(at) = self.find(own, "labels") else {
            // Labels of a merge key are hidden by labels of one's own; those of an extended service are not.
            let text = raw.map_or_else(|| format!("{{{pair}}}"), |labels| with_hash(labels, &pair));
            self.add(&service.name, "labels", text);
            return Some(());
        };
        let (key, labels) = self.pairs(own)[at];
        let node = self.syntax.node(labels);
        match &node.kind {
            Kind::Alias(target) => {
                let alias = &self.syntax.text[node.start..node.end];
                let text = match self.syntax.node(*target).kind {
                    Kind::Map(_) => format!("{{<<: {alias}, {pair}}}"),
                    _ => with_hash(raw?, &pair),
                };
                self.edits.push(Edit::new(node.outer..node.end, text));
            }
            Kind::Scalar { .. } => {
                let colon = self.colon(key)?;
                let end = node.end.max(colon);
                self.edits.push(Edit::new(colon..end, format!(" {{{pair}}}")));
            }
            Kind::Map(_) => match self.find(labels, CONFIG_HASH) {
                Some(at) => {
                    let value = self.syntax.node(self.pairs(labels)[at].1);
                    let is_it = |text: &str| text == service.config_hash.hex();
                    if !matches!(&value.kind, Kind::Scalar { text, .. } if is_it(text)) {
                        self.edits.push(Edit::new(value.outer..value.end, hash));
                    }
                }
                None => {
                    let edit = self.first_in(labels, &pair)?;
                    self.edits.push(edit);
                }
            },
            Kind::List(items) => {
                let item = format!("{CONFIG_HASH}={}", service.config_hash.hex());
                let present = items.iter().find(|item| {
                    let Kind::Scalar { text, .. } = &self.syntax.node(**item).kind else { return false };
                    text.split('=').next() == Some(CONFIG_HASH)
                });
                let edit = match present {
                    Some(present) => self.replaced(*present, &item)?,
                    None => self.first_in(labels, &item)?,
                };
                self.edits.push(edit);
            }
        }
        Some(())
    }

    /// Behind the colon of a key.
    fn colon(&self, key: NodeId) -> Option<usize> {
        let end = self.syntax.node(key).end;
        let rest = self.syntax.text.get(end..)?;
        let colon = rest.find(':')?;
        rest[..colon].trim().is_empty().then_some(end + colon + 1)
    }

    /// A first pair or item.
    fn first_in(&self, parent: NodeId, text: &str) -> Option<Edit> {
        let node = self.syntax.node(parent);
        let first = match &node.kind {
            Kind::Map(pairs) => pairs.first().map(|pair| pair.0),
            Kind::List(items) => items.first().copied(),
            _ => None,
        };
        if self.syntax.is_flow(parent) {
            let comma = if first.is_some() { ", " } else { "" };
            return Some(Edit::insert(node.start + 1, format!("{text}{comma}")));
        }
        let mut at = self.syntax.node(first?).outer;
        let mut dash = "";
        if matches!(node.kind, Kind::List(_)) {
            let before = self.syntax.text[..at].trim_end();
            at = before.strip_suffix('-')?.len();
            dash = "- ";
        }
        Some(Edit::insert(at, format!("{dash}{text}{}{}", self.newline, self.indent(at)?)))
    }

    /// The blanks that the line of `at` begins with, if there is nothing else before `at`.
    fn indent(&self, at: usize) -> Option<&str> {
        Some(&self.syntax.text[line_start(&self.syntax.text, at)?..at])
    }

    // --- build and what is added

    /// Where the services' `build` is written.
    fn builds(&self) -> BTreeSet<Pair> {
        let mut keys = BTreeSet::new();
        for root in [&self.raw, &self.project.model] {
            let services = root.at(&["services"]).and_then(Value::as_map);
            for service in services.iter().flat_map(|map| &map.entries) {
                let entries = service.value.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
                keys.extend(entries.iter().filter(|entry| entry.key == "build").map(|entry| entry.key_node));
            }
        }
        let maps = (0..self.syntax.nodes.len()).flat_map(|map| {
            let at = self.pairs(map).iter().position(|(key, _)| keys.contains(key));
            at.map(|at| (map, at))
        });
        maps.collect()
    }

    fn write(&mut self, builds: &BTreeSet<Pair>) -> Option<()> {
        let mut taken = BTreeSet::new();
        for (service, keys) in std::mem::take(&mut self.additions) {
            let own = self.service_node(&service)?;
            let node = self.syntax.node(own);
            let lines: Vec<String> = keys.iter().map(|(key, text)| format!("{key}: {text}")).collect();
            if let Kind::Alias(_) = node.kind {
                let alias = &self.syntax.text[node.start..node.end];
                let text = format!("{{<<: {alias}, {}}}", lines.join(", "));
                self.edits.push(Edit::new(node.outer..node.end, text));
                continue;
            }
            if self.syntax.is_flow(own) {
                let edit = self.first_in(own, &lines.join(", "))?;
                self.edits.push(edit);
                continue;
            }
            let kept = (0..self.pairs(own).len()).find(|at| !builds.contains(&(own, *at)));
            let key = self.syntax.node(self.pairs(own).get(kept.unwrap_or(0))?.0).outer;
            let separator = format!("{}{}", self.newline, self.indent(key)?);
            let text = lines.join(&separator);
            if kept.is_some() {
                self.edits.push(Edit::insert(key, text + &separator));
            } else {
                // Nothing else is there: it takes the place of `build`.
                self.edits.push(Edit::new(key..self.pair_end(own, 0)?, text));
                taken.insert((own, 0));
            }
        }
        for pair in builds.iter().filter(|pair| !taken.contains(pair)) {
            let edit = self.removed(*pair)?;
            self.edits.push(edit);
        }
        Some(())
    }

    fn pair_end(&self, map: NodeId, at: usize) -> Option<usize> {
        let (key, value) = self.pairs(map)[at];
        Some(self.syntax.node(value).end.max(self.colon(key)?))
    }

    /// A pair taken out of its map.
    fn removed(&self, (map, at): Pair) -> Option<Edit> {
        let pairs = self.pairs(map);
        let start = self.syntax.node(pairs[at].0).outer;
        let end = self.pair_end(map, at)?;
        let flow = self.syntax.is_flow(map);
        if pairs.len() == 1 {
            return Some(Edit::new(start..end, if flow { "" } else { "{}" }));
        }
        if !flow {
            let text = &self.syntax.text;
            let whole = line_start(text, start).zip(line_end(text, end));
            return whole.map(|(start, end)| Edit::new(start..end, ""));
        }
        Some(match pairs.get(at + 1) {
            Some((next, _)) => Edit::new(start..self.syntax.node(*next).outer, ""),
            None => Edit::new(self.pair_end(map, at - 1)?..end, ""),
        })
    }
}

/// All labels on one line, `pair` with the hash behind them.
fn with_hash(labels: Value, pair: &str) -> String {
    let mut labels = as_pairs(labels);
    if let Some(map) = labels.as_map_mut() {
        map.remove(CONFIG_HASH);
    }
    match write::flow(&labels).strip_suffix('}') {
        Some("{") | None => format!("{{{pair}}}"),
        Some(others) => format!("{others}, {pair}}}"),
    }
}

/// The nodes of single values that are no service's image.
fn other_uses<'a>(value: &'a Value, path: &mut Vec<&'a str>, nodes: &mut BTreeSet<NodeId>) {
    match &value.shape {
        Shape::Scalar { .. } => {
            if !matches!(path.as_slice(), ["services", _, "image"]) {
                nodes.insert(value.node);
            }
        }
        Shape::List(list) => {
            path.push("-");
            list.iter().for_each(|item| other_uses(item, path, nodes));
            path.pop();
        }
        Shape::Map(map) => {
            for entry in &map.entries {
                path.push(&entry.key);
                other_uses(&entry.value, path, nodes);
                path.pop();
            }
        }
    }
}
