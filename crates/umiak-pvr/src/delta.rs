//! What a delta between two packages says of itself: which release it starts from, and how each object of the other comes.
//!
//! The document `delta.json` of the file that `docs/formats/package-delta.md` describes. Guarantees: a document that was
//! read names every object of its state once and no other; what is written is canonical JSON, so that the same delta is the
//! same bytes. Whether the bytes that it tells of are there is for the reader of the file to see.

use std::collections::BTreeMap;

use umiak_spec::Digest;

use crate::json::{Number, Object, ParseError, Value};
use crate::state::State;

/// What `#spec` says.
pub const SPEC: &str = "umiak-package-delta@1";

/// Bytes of the document at most.
pub const LIMIT: u64 = 4 << 20;

/// Bytes of a release's name.
const NAME: usize = 255;

/// Bytes of an object at most: a package cannot hold a larger one.
pub const OBJECT: u64 = (8 << 30) - 1;

/// Bytes that lie beside while a delta is applied at most: more than any disk has that this is for, and lengths of all objects
/// of a document can be added.
pub const SPOOL: u64 = 1 << 48;

/// A delta from one package to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageDelta {
    /// What it starts from.
    pub base: Release,
    /// What it makes.
    pub target: Release,
    /// Every object of the target's state.
    pub objects: BTreeMap<Digest, Carried>,
}

/// One of the two packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What people call it: `<name>-<version>-<build>`. Nothing is found by it.
    pub name: String,
    /// Digest of its state in canonical form.
    pub state: Digest,
}

/// An object of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Bytes of the object.
    pub size: u64,
    /// How it comes.
    pub form: Form,
}

/// How an object comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It is one of the base's: nothing of it is in the file.
    Kept,
    /// As it is.
    Whole,
    /// As what differs from an object of the base.
    Delta(ObjectDelta),
}

/// What makes one object of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectDelta {
    /// The object that it starts from.
    pub base: Digest,
    /// Bytes of that one.
    pub base_size: u64,
    /// Digest of the delta.
    pub blob: Digest,
    /// Bytes of the delta.
    pub size: u64,
    /// Bytes that lie beside while it is applied. Who applies it need take no more.
    pub spool: u64,
}

/// Why a document is no delta of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// Not JSON.
    #[error("it is not JSON")]
    Json(#[from] ParseError),
    /// Of another form, or of a later version.
    #[error("its `#spec` is not `{SPEC}`")]
    Spec,
    /// A member that is missing, of another kind, or not known.
    #[error("its member `{0}` is missing, not known, or not what it has to be")]
    Member(String),
    /// It is not of the state beside it.
    #[error("it is of another state than the one beside it")]
    OtherState,
    /// It and the state name other objects.
    #[error("it and the state do not name the same objects: {0} is only in one of them")]
    Objects(String),
}

impl PackageDelta {
    /// Reads a document that stands beside `state`.
    ///
    /// # Errors
    /// [`DeltaError`] for anything but the delta of that state.
    pub fn parse(bytes: &[u8], state: &State) -> Result<Self, DeltaError> {
        let document = Value::parse(bytes, LIMIT)?;
        if document.get("#spec").and_then(Value::as_str) != Some(SPEC) {
            return Err(DeltaError::Spec);
        }
        let members = Members::of(&document, "", &["#spec", "base", "objects", "target"])?;
        let delta = Self {
            base: Release::read(members.get("base")?, "base")?,
            target: Release::read(members.get("target")?, "target")?,
            objects: objects(members.get("objects")?)?,
        };
        if delta.target.state != Digest::of(state.canonical().as_bytes()) {
            return Err(DeltaError::OtherState);
        }
        let named = state.objects();
        let only = named.iter().find(|digest| !delta.objects.contains_key(*digest));
        match only.or_else(|| delta.objects.keys().find(|digest| !named.contains(*digest))) {
            None => Ok(delta),
            Some(digest) => Err(DeltaError::Objects(digest.hex())),
        }
    }

    /// The document in canonical form.
    #[must_use]
    pub fn canonical(&self) -> String {
        let objects = self.objects.iter().map(|(digest, carried)| (digest.hex(), carried.to_value()));
        let members = [
            ("#spec", Value::from(SPEC)),
            ("base", self.base.to_value()),
            ("objects", Value::object(objects)),
            ("target", self.target.to_value()),
        ];
        Value::object(members).canonical()
    }

    /// Objects that must be where it is applied: those that it keeps, and those that its deltas start from, with their
    /// lengths.
    #[must_use]
    pub fn needs(&self) -> BTreeMap<Digest, u64> {
        let needed = self.objects.iter().filter_map(|(digest, carried)| match carried.form {
            Form::Kept => Some((*digest, carried.size)),
            Form::Whole => None,
            Form::Delta(delta) => Some((delta.base, delta.base_size)),
        });
        needed.collect()
    }
}

impl Release {
    fn to_value(&self) -> Value {
        Value::object([("name", Value::from(self.name.as_str())), ("state", Value::from(self.state.hex()))])
    }

    fn read(value: &Value, what: &str) -> Result<Self, DeltaError> {
        let members = Members::of(value, what, &["name", "state"])?;
        let name = members.get("name")?.as_str();
        let name = name.filter(|name| name.len() <= NAME && !name.is_empty() && !name.chars().any(char::is_control));
        let name = name.ok_or_else(|| DeltaError::Member(format!("{what}.name")))?.to_owned();
        Ok(Self { name, state: members.digest("state")? })
    }
}

impl Carried {
    fn to_value(self) -> Value {
        let number = |number: u64| Number::new(&number.to_string()).map_or(Value::Null, Value::Number);
        let mut members = vec![("size", number(self.size))];
        match self.form {
            Form::Kept => members.push(("form", Value::from("kept"))),
            Form::Whole => members.push(("form", Value::from("whole"))),
            Form::Delta(delta) => members.extend([
                ("form", Value::from("delta")),
                ("base", Value::from(delta.base.hex())),
                ("baseSize", number(delta.base_size)),
                ("delta", Value::from(delta.blob.hex())),
                ("deltaSize", number(delta.size)),
                ("spool", number(delta.spool)),
            ]),
        }
        Value::object(members)
    }

    fn read(value: &Value, what: &str) -> Result<Self, DeltaError> {
        let form = value.get("form").and_then(Value::as_str);
        let known: &[&str] = match form {
            Some("delta") => &["base", "baseSize", "delta", "deltaSize", "form", "size", "spool"],
            Some("kept" | "whole") => &["form", "size"],
            _ => return Err(DeltaError::Member(format!("{what}.form"))),
        };
        let members = Members::of(value, what, known)?;
        let form = match form {
            Some("delta") => Form::Delta(ObjectDelta {
                base: members.digest("base")?,
                base_size: members.number("baseSize", OBJECT)?,
                blob: members.digest("delta")?,
                size: members.number("deltaSize", OBJECT)?,
                spool: members.number("spool", SPOOL)?,
            }),
            Some("kept") => Form::Kept,
            _ => Form::Whole,
        };
        Ok(Self { size: members.number("size", OBJECT)?, form })
    }
}

fn objects(value: &Value) -> Result<BTreeMap<Digest, Carried>, DeltaError> {
    let members = value.as_object().ok_or_else(|| DeltaError::Member("objects".into()))?;
    let object = |(name, value): (&String, &Value)| {
        let digest = Digest::from_hex(name).map_err(|_| DeltaError::Member(format!("objects.{}", shown(name))))?;
        Ok((digest, Carried::read(value, &format!("objects.{name}"))?))
    };
    members.iter().map(object).collect()
}

fn shown(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(80).collect()
}

/// The members of an object, all of which are known.
struct Members<'a> {
    members: &'a Object,
    what: &'a str,
}

impl<'a> Members<'a> {
    fn of(value: &'a Value, what: &'a str, known: &[&str]) -> Result<Self, DeltaError> {
        let members = value.as_object().ok_or_else(|| DeltaError::Member(what.to_owned()))?;
        let found = Self { members, what };
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(found),
            Some(name) => Err(found.wrong(&shown(name))),
        }
    }

    fn wrong(&self, name: &str) -> DeltaError {
        DeltaError::Member(if self.what.is_empty() { name.to_owned() } else { format!("{}.{name}", self.what) })
    }

    fn get(&self, name: &str) -> Result<&'a Value, DeltaError> {
        self.members.get(name).ok_or_else(|| self.wrong(name))
    }

    fn digest(&self, name: &str) -> Result<Digest, DeltaError> {
        let text = self.get(name)?.as_str();
        text.and_then(|text| Digest::from_hex(text).ok()).ok_or_else(|| self.wrong(name))
    }

    /// A length of at most `limit`: plain digits.
    fn number(&self, name: &str, limit: u64) -> Result<u64, DeltaError> {
        let Value::Number(number) = self.get(name)? else { return Err(self.wrong(name)) };
        number.as_str().parse().ok().filter(|length| *length <= limit).ok_or_else(|| self.wrong(name))
    }
}
