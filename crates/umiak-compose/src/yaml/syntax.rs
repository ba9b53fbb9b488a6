//! One YAML file as it is written: nodes with the bytes they stand at, aliases not followed.
//!
//! Guarantees: every position is a character boundary of the text; nodes, depth and anchors are bounded; an alias
//! names a node that stands before it and does not hold it.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::value::Tag;
use crate::error::{At, ComposeError, Place, Problem, shown};
use crate::limits::ComposeLimits;

/// Index of a node in its file.
pub(crate) type NodeId = usize;

/// A parsed file.
#[derive(Debug, Clone)]
pub(crate) struct Syntax {
    pub file: String,
    pub text: String,
    pub nodes: Vec<Node>,
    pub root: NodeId,
}

/// One node and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub kind: Kind,
    pub tag: Tag,
    /// First byte, anchor and tag included.
    pub outer: usize,
    /// First byte behind anchor and tag.
    pub start: usize,
    /// First byte behind the node; of a block its last child's.
    pub end: usize,
    pub line: u32,
    pub column: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `plain`: without quotes, so that it may be a number, a truth value or null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
    Alias(NodeId),
}

impl Syntax {
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    pub fn place(&self, id: NodeId) -> Place {
        let node = self.node(id);
        Place { file: self.file.clone(), line: node.line, column: node.column }
    }

    /// Whether the node is written with brackets.
    pub fn is_flow(&self, id: NodeId) -> bool {
        matches!(self.text.as_bytes().get(self.node(id).start), Some(b'{' | b'['))
    }

    /// Parses one file.
    pub fn parse(file: &str, bytes: &[u8], limits: &ComposeLimits) -> Result<Self, ComposeError> {
        if bytes.len() as u64 > limits.document {
            let limit = limits.document;
            return Err(Problem::Limit { what: "bytes in a compose file", limit }.at(Place::file(file)));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Problem::Encoding.at(Place::file(file)))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Builder::new(file, text, limits).build()
    }
}

/// Puts nodes together from the parser's events.
struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    limits: &'a ComposeLimits,
    /// Byte positions of characters: the parser counts characters.
    bytes: Option<Vec<usize>>,
    nodes: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, NodeId>,
    root: Option<NodeId>,
}

/// A list or map whose end has not come.
struct Open {
    id: NodeId,
    children: Vec<NodeId>,
    map: bool,
}

impl<'a> Builder<'a> {
    fn new(file: &'a str, text: &'a str, limits: &'a ComposeLimits) -> Self {
        let positions = || text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let bytes = (!text.is_ascii()).then(positions);
        Self { file, text, limits, bytes, nodes: vec![], open: vec![], anchors: BTreeMap::new(), root: None }
    }

    fn build(mut self) -> Result<Syntax, ComposeError> {
        let parser = Parser::new_from_str(self.text);
        let mut documents = 0;
        for event in parser {
            let (event, span) = event.map_err(|error| {
                let (line, column) = numbers(error.marker().line(), error.marker().col());
                let place = Place { file: self.file.to_owned(), line, column };
                Problem::Syntax(shown(error.info())).at(place)
            })?;
            if matches!(event, Event::DocumentStart(_)) {
                documents += 1;
                if documents > 1 {
                    return Err(Problem::Unsupported(
                        "a second YAML document begins here: one file, one document".into(),
                    )
                    .at(self.place(&span)));
                }
            }
            self.event(event, &span)?;
        }
        let root = self.root.ok_or_else(|| Problem::NoServices.at(Place::file(self.file)))?;
        Ok(Syntax { file: self.file.to_owned(), text: self.text.to_owned(), nodes: self.nodes, root })
    }

    fn place(&self, span: &Span) -> Place {
        let (line, column) = numbers(span.start.line(), span.start.col());
        Place { file: self.file.to_owned(), line, column }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match &self.bytes {
            Some(bytes) => bytes.get(character).copied().unwrap_or(self.text.len()),
            None => character,
        };
        byte.min(self.text.len())
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), ComposeError> {
        match event {
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied();
                let target = target.ok_or_else(|| Problem::Syntax("no such anchor".into()).at(self.place(span)))?;
                if self.open.iter().any(|open| open.id == target) {
                    return Err(Problem::AliasCycle.at(self.place(span)));
                }
                let id = self.push(Kind::Alias(target), Tag::None, 0, span)?;
                self.nodes[id].end = self.byte(span.end.index()).max(self.nodes[id].start);
                self.child(id);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (tag, quoted) = self.tag(tag.as_deref(), span)?;
                let plain = style == ScalarStyle::Plain && !quoted;
                let id = self.push(Kind::Scalar { text: text.into_owned(), plain }, tag, anchor, span)?;
                self.nodes[id].end = self.scalar_end(id, style, span);
                self.child(id);
            }
            Event::SequenceStart(anchor, tag) => {
                let (tag, _) = self.tag(tag.as_deref(), span)?;
                let id = self.push(Kind::List(vec![]), tag, anchor, span)?;
                self.begin(id, false, span)?;
            }
            Event::MappingStart(anchor, tag) => {
                let (tag, _) = self.tag(tag.as_deref(), span)?;
                let id = self.push(Kind::Map(vec![]), tag, anchor, span)?;
                self.begin(id, true, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => {}
        }
        Ok(())
    }

    /// What a tag means here, and whether it makes a text of a plain scalar.
    fn tag(&self, tag: Option<&saphyr_parser::Tag>, span: &Span) -> Result<(Tag, bool), ComposeError> {
        let Some(tag) = tag else { return Ok((Tag::None, false)) };
        match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("!", "reset") => Ok((Tag::Reset, false)),
            ("!", "override") => Ok((Tag::Override, false)),
            (_, "str") if tag.is_yaml_core_schema() => Ok((Tag::None, true)),
            (_, "int" | "float" | "bool" | "null" | "map" | "seq") if tag.is_yaml_core_schema() => {
                Ok((Tag::None, false))
            }
            _ => {
                let text = format!("the tag `{}` means nothing in a compose file", shown(&tag.to_string()));
                Err(Problem::Unsupported(text).at(self.place(span)))
            }
        }
    }

    fn push(&mut self, kind: Kind, tag: Tag, anchor: usize, span: &Span) -> Result<NodeId, ComposeError> {
        if self.nodes.len() >= self.limits.nodes {
            let limit = self.limits.nodes as u64;
            return Err(Problem::Limit { what: "values in a compose file", limit }.at(self.place(span)));
        }
        let id = self.nodes.len();
        if anchor > 0 {
            if self.anchors.len() >= self.limits.anchors {
                let limit = self.limits.anchors as u64;
                return Err(Problem::Limit { what: "anchors in a compose file", limit }.at(self.place(span)));
            }
            self.anchors.insert(anchor, id);
        }
        let outer = self.byte(span.start.index());
        let start = behind_properties(self.text, outer);
        let (line, column) = numbers(span.start.line(), span.start.col());
        self.nodes.push(Node { kind, tag, outer, start, end: start, line, column });
        Ok(id)
    }

    fn begin(&mut self, id: NodeId, map: bool, span: &Span) -> Result<(), ComposeError> {
        if self.open.len() >= self.limits.depth {
            let limit = self.limits.depth as u64;
            return Err(Problem::Limit { what: "nested values", limit }.at(self.place(span)));
        }
        self.open.push(Open { id, children: vec![], map });
        Ok(())
    }

    fn close(&mut self, span: &Span) {
        let Some(open) = self.open.pop() else { return };
        let last = open.children.last().map(|child| self.nodes[*child].end);
        let bracket = self.byte(span.end.index());
        let node = &mut self.nodes[open.id];
        let flow = matches!(self.text.as_bytes().get(node.start), Some(b'{' | b'['));
        node.end = if flow { bracket.max(node.start) } else { last.unwrap_or(node.start) };
        node.kind = if open.map {
            Kind::Map(open.children.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
        } else {
            Kind::List(open.children)
        };
        self.child(open.id);
    }

    fn child(&mut self, id: NodeId) {
        match self.open.last_mut() {
            Some(open) => open.children.push(id),
            None => self.root = Some(id),
        }
    }

    /// The parser's spans of scalars may reach over a comment that follows: the text decides.
    fn scalar_end(&self, id: NodeId, style: ScalarStyle, span: &Span) -> usize {
        let node = &self.nodes[id];
        let Kind::Scalar { text, .. } = &node.kind else { return node.start };
        let rest = &self.text[node.start..];
        let spanned = self.byte(span.end.index()).max(node.start);
        match style {
            ScalarStyle::Plain if rest.starts_with(text.as_str()) => node.start + text.len(),
            ScalarStyle::Plain => node.start + self.text[node.start..spanned].trim_end().len(),
            ScalarStyle::SingleQuoted => node.start + quoted_end(rest, b'\''),
            ScalarStyle::DoubleQuoted => node.start + quoted_end(rest, b'"'),
            ScalarStyle::Literal | ScalarStyle::Folded => node.start + self.text[node.start..spanned].trim_end().len(),
        }
    }
}

/// Where anchor and tag in front of a node end.
fn behind_properties(text: &str, mut at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut seen = false;
    loop {
        match bytes.get(at) {
            Some(b'&' | b'!') => {
                seen = true;
                while bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace()) {
                    at += 1;
                }
            }
            Some(b' ' | b'\t' | b'\r' | b'\n') if seen => at += 1,
            Some(b'#') if seen => {
                while bytes.get(at).is_some_and(|byte| *byte != b'\n') {
                    at += 1;
                }
            }
            _ => return at,
        }
    }
}

/// Bytes of a quoted scalar, both quotes included.
fn quoted_end(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    if bytes.first() != Some(&quote) {
        return 0;
    }
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 2,
            byte if *byte == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Line and column as people count them.
fn numbers(line: usize, column: usize) -> (u32, u32) {
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).map_or(u32::MAX, |column| column.saturating_add(1)))
}
