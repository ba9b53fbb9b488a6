//! Variables in texts: `$V`, `${V}`, `${V:-d}`, `${V-d}`, `${V:?e}`, `${V?e}`, `${V:+r}`, `${V+r}`, nested, and `$$`.
//!
//! A text is taken apart once; then it can be filled in wholly, or in part with the rest left as written.

use std::collections::BTreeSet;

/// Nested uses of variables.
const DEPTH: usize = 16;

/// A text taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// As it is meant: `$$` is one `$` here.
    Text(String),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    name: String,
    /// How it is written.
    written: String,
    otherwise: Option<Otherwise>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Otherwise {
    operator: Operator,
    /// With a colon: an empty value counts as none.
    or_empty: bool,
    word: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Default,
    Require,
    Replace,
}

/// A variable that had no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unset {
    pub name: String,
    pub message: String,
}

/// What a variable without value and default becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing, as Compose has it.
    Empty,
    /// An error.
    Refuse,
}

impl Template {
    /// Takes `text` apart; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut rest = text;
        let template = parse(&mut rest, false, 0)?;
        if rest.is_empty() { Ok(template) } else { Err("a closing brace is missing") }
    }

    /// The text with all variables filled in.
    pub fn fill(&self, lookup: &dyn Fn(&str) -> Option<String>, missing: Missing) -> Result<String, Unset> {
        self.pieces.iter().try_fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Variable(variable) => text.push_str(&variable.fill(lookup, missing)?),
            }
            Ok(text)
        })
    }

    /// The text with those variables filled in that `lookup` knows, the others left as they are written.
    pub fn fill_known(&self, lookup: &dyn Fn(&str) -> Option<String>) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => escaped(text),
            Piece::Variable(variable) => match lookup(&variable.name) {
                Some(_) => variable
                    .fill(lookup, Missing::Empty)
                    .map_or_else(|_| variable.written.clone(), |text| escaped(&text)),
                None => variable.written.clone(),
            },
        });
        pieces.collect()
    }

    /// Adds the names of all variables, those in defaults too.
    pub fn variables(&self, into: &mut BTreeSet<String>) {
        for piece in &self.pieces {
            if let Piece::Variable(variable) = piece {
                into.insert(variable.name.clone());
                if let Some(otherwise) = &variable.otherwise {
                    otherwise.word.variables(into);
                }
            }
        }
    }

    /// Adds the names of variables that have neither default nor replacement.
    pub fn required(&self, into: &mut BTreeSet<String>) {
        for piece in &self.pieces {
            if let Piece::Variable(variable) = piece
                && variable.otherwise.as_ref().is_none_or(|otherwise| otherwise.operator == Operator::Require)
            {
                into.insert(variable.name.clone());
            }
        }
    }
}

/// A text in which no `$` means anything.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

impl Variable {
    fn fill(&self, lookup: &dyn Fn(&str) -> Option<String>, missing: Missing) -> Result<String, Unset> {
        let value = lookup(&self.name);
        let Some(otherwise) = &self.otherwise else {
            return match (value, missing) {
                (Some(value), _) => Ok(value),
                (None, Missing::Empty) => Ok(String::new()),
                (None, Missing::Refuse) => Err(Unset { name: self.name.clone(), message: String::new() }),
            };
        };
        let value = value.filter(|value| !(otherwise.or_empty && value.is_empty()));
        match (otherwise.operator, value) {
            (Operator::Default | Operator::Require, Some(value)) => Ok(value),
            (Operator::Default, None) | (Operator::Replace, Some(_)) => otherwise.word.fill(lookup, missing),
            (Operator::Replace, None) => Ok(String::new()),
            (Operator::Require, None) => {
                Err(Unset { name: self.name.clone(), message: otherwise.word.fill(lookup, missing)? })
            }
        }
    }
}

/// Pieces up to the end, or up to the brace that closes the variable around.
fn parse(rest: &mut &str, inside: bool, depth: usize) -> Result<Template, &'static str> {
    if depth > DEPTH {
        return Err("variables are nested too deeply");
    }
    let mut pieces = Vec::new();
    let mut text = String::new();
    while let Some(c) = rest.chars().next() {
        if c == '}' && inside {
            break;
        }
        if c != '$' {
            text.push(c);
            *rest = &rest[c.len_utf8()..];
            continue;
        }
        if let Some(behind) = rest.strip_prefix("$$") {
            text.push('$');
            *rest = behind;
            continue;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Variable(variable(rest, depth)?));
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(Template { pieces })
}

fn variable(rest: &mut &str, depth: usize) -> Result<Variable, &'static str> {
    let whole = *rest;
    let written = |rest: &str| whole[..whole.len() - rest.len()].to_owned();
    *rest = &rest[1..];
    let Some(behind) = rest.strip_prefix('{') else {
        let name = name(rest).ok_or("a name, a brace or another `$` must follow `$`")?;
        return Ok(Variable { name, written: written(rest), otherwise: None });
    };
    *rest = behind;
    let name = name(rest).ok_or("a name must follow `${`")?;
    let or_empty = rest.strip_prefix(':').map(|behind| *rest = behind).is_some();
    let operator = match rest.chars().next() {
        Some('-') => Some(Operator::Default),
        Some('?') => Some(Operator::Require),
        Some('+') => Some(Operator::Replace),
        Some('}') if !or_empty => None,
        Some(_) => return Err("behind the name there may be `-`, `?` or `+`, with or without `:`"),
        None => return Err("a closing brace is missing"),
    };
    let otherwise = match operator {
        Some(operator) => {
            *rest = &rest[1..];
            Some(Otherwise { operator, or_empty, word: parse(rest, true, depth + 1)? })
        }
        None => None,
    };
    *rest = rest.strip_prefix('}').ok_or("a closing brace is missing")?;
    Ok(Variable { name, written: written(rest), otherwise })
}

fn name(rest: &mut &str) -> Option<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    *rest = behind;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        match name {
            "V" => Some("v".into()),
            "E" => Some(String::new()),
            "D" => Some("a$b".into()),
            _ => None,
        }
    }

    fn fill(text: &str) -> String {
        match Template::parse(text) {
            Err(error) => format!("! {error}"),
            Ok(template) => match template.fill(&value, Missing::Empty) {
                Ok(text) => text,
                Err(Unset { name, message }) => format!("? {name} {message}"),
            },
        }
    }

    #[test]
    fn every_form() {
        for (text, filled) in [
            ("plain", "plain"),
            ("$V", "v"),
            ("${V}", "v"),
            ("$U|", "|"),
            ("${U}", ""),
            ("$$V $${V}", "$V ${V}"),
            ("${V:-d}", "v"),
            ("${E:-d}", "d"),
            ("${U:-d}", "d"),
            ("${V-d}", "v"),
            ("${E-d}", ""),
            ("${U-d}", "d"),
            ("${U-}", ""),
            ("${V:?e}", "v"),
            ("${E:?e}", "? E e"),
            ("${U:?e $V}", "? U e v"),
            ("${E?e}", ""),
            ("${U?}", "? U "),
            ("${V:+r}", "r"),
            ("${E:+r}", ""),
            ("${U:+r}", ""),
            ("${E+r}", "r"),
            ("${U+r}", ""),
            ("${U:-${W:-${V}x}}y", "vxy"),
            ("${U:-a:b-c}", "a:b-c"),
            ("${U:-{}", "{"),
            ("${U:-a}b}", "ab}"),
            ("$V.$V-$V", "v.v-v"),
            ("é$V", "év"),
            ("$", "! a name, a brace or another `$` must follow `$`"),
            ("$1", "! a name, a brace or another `$` must follow `$`"),
            ("${}", "! a name must follow `${`"),
            ("${V", "! a closing brace is missing"),
            ("${V:-a", "! a closing brace is missing"),
            ("${V:}", "! behind the name there may be `-`, `?` or `+`, with or without `:`"),
            ("${V!}", "! behind the name there may be `-`, `?` or `+`, with or without `:`"),
        ] {
            assert_eq!(fill(text), filled, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_stays_as_written() {
        let known = |text: &str| Template::parse(text).unwrap().fill_known(&value);
        assert_eq!(known("$V ${U:-$V} $$ ${D} ${E:-x}"), "v ${U:-$V} $$ a$$b x");
        assert_eq!(known("${U:?why}"), "${U:?why}");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "${A:-".repeat(100_000) + &"}".repeat(100_000);
        assert_eq!(Template::parse(&deep), Err("variables are nested too deeply"));
    }

    #[test]
    fn names_are_collected() {
        let template = Template::parse("$A ${B:-$C} ${D:?x}").unwrap();
        let (mut all, mut required) = (BTreeSet::new(), BTreeSet::new());
        template.variables(&mut all);
        template.required(&mut required);
        assert_eq!(all.into_iter().collect::<String>(), "ABCD");
        assert_eq!(required.into_iter().collect::<String>(), "AD");
    }
}
