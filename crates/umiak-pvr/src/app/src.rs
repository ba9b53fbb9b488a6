//! `src.json` (`service-manifest-src@1`): where an app comes from and how it is rendered.
//!
//! Guarantees: members that umiak does not know survive a rewrite (pvr drops them), members are written in the order
//! and form in which pvr writes them, empty ones are left out.

use super::Arguments;
use crate::json::{Object, ParseError, Value, pretty_fields};

const SPEC: &str = "service-manifest-src@1";
const TEMPLATE: &str = "builtin-lxc-docker";

/// Every member pvr knows, in the order in which it writes them, with the type it must have.
const FIELDS: [(&str, Type); 23] = [
    ("base", Type::Text),
    ("name", Type::Text),
    ("#spec", Type::Text),
    ("template", Type::Text),
    ("args", Type::Object),
    ("dm_enabled", Type::Object),
    ("logs", Type::Array),
    ("exports", Type::Array),
    ("config", Type::Object),
    ("docker_name", Type::Text),
    ("docker_tag", Type::Text),
    ("docker_digest", Type::Text),
    ("docker_ovl_digest", Type::Text),
    ("docker_source", Type::Text),
    ("docker_config", Type::Object),
    ("docker_platform", Type::Text),
    ("format_options", Type::Text),
    ("pvr", Type::Text),
    ("pvr_digest", Type::Bool),
    ("rootfs_url", Type::Text),
    ("rootfs_digest", Type::Text),
    ("persistence", Type::Object),
    ("pv_build_origin", Type::Text),
];

#[derive(Clone, Copy)]
enum Type {
    Text,
    Object,
    Array,
    Bool,
}

/// An app's source document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDocument(Object);

/// What kind of source an app is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A container image.
    Docker,
    /// Another device's app.
    Pvr,
    /// A root file system.
    Rootfs,
}

/// Why a document is not a source document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Not JSON.
    #[error("src.json is not JSON")]
    Json(#[from] ParseError),
    /// Not an object.
    #[error("src.json is not a JSON object but {0}")]
    NotAnObject(&'static str),
    /// Another format.
    #[error("src.json is of the format `{0}`, not {SPEC}")]
    Spec(String),
    /// A member of the wrong type.
    #[error("`{field}` of src.json must be {expected}, not {found}")]
    Type {
        /// Which member.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
}

macro_rules! texts {
    ($($get:ident $set:ident $field:literal $doc:literal;)+) => {
        $(
            #[doc = $doc]
            #[must_use]
            pub fn $get(&self) -> Option<&str> {
                self.text($field)
            }

            #[doc = concat!("Sets `", $field, "`; `None` and an empty text remove it.")]
            pub fn $set(&mut self, text: Option<&str>) {
                self.set($field, text.map_or(Value::Null, Value::from));
            }
        )+
    };
}

impl SourceDocument {
    texts! {
        base set_base "base" "The app whose `root.squashfs` this app's overlay lies on.";
        docker_name set_docker_name "docker_name" "Name of the container image, without tag.";
        docker_tag set_docker_tag "docker_tag" "Tag of the container image.";
        docker_digest set_docker_digest "docker_digest" "The manifest that `root.squashfs` is built from: `name@sha256:…`.";
        docker_ovl_digest set_docker_ovl_digest "docker_ovl_digest" "The manifest that `root.ovl.squashfs` leads to.";
        docker_source set_docker_source "docker_source" "Where images are looked for: `remote,local`.";
        docker_platform set_docker_platform "docker_platform" "Platform of the image: `linux/arm64`.";
        format_options set_format_options "format_options" "mksquashfs options, separated by spaces.";
        pvr set_pvr "pvr" "Address of the device that the app was taken from.";
        rootfs_url set_rootfs_url "rootfs_url" "The root file system that the app was made from.";
        rootfs_digest set_rootfs_digest "rootfs_digest" "`sha256:` of the squashfs of an app from a root file system.";
    }

    /// The document of a new app: format and template.
    #[must_use]
    pub fn new() -> Self {
        Self([("#spec", SPEC), ("template", TEMPLATE)].map(|(k, v)| (k.to_owned(), Value::from(v))).into())
    }

    /// Parses the file; at most `limit` bytes.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn parse(bytes: &[u8], limit: u64) -> Result<Self, SourceError> {
        Self::from_value(Value::parse(bytes, limit)?)
    }

    /// Takes a parsed document.
    ///
    /// # Errors
    /// [`SourceError`] when it is of another format or a member has the wrong type.
    pub fn from_value(document: Value) -> Result<Self, SourceError> {
        let members = match document {
            Value::Object(members) => members,
            other => return Err(SourceError::NotAnObject(other.kind())),
        };
        for (field, wanted) in FIELDS {
            let Some(value) = members.get(field) else { continue };
            let expected = match (wanted, value) {
                (_, Value::Null)
                | (Type::Text, Value::String(_))
                | (Type::Object, Value::Object(_))
                | (Type::Array, Value::Array(_))
                | (Type::Bool, Value::Bool(_)) => continue,
                (Type::Text, _) => "a string",
                (Type::Object, _) => "an object",
                (Type::Array, _) => "an array",
                (Type::Bool, _) => "a boolean",
            };
            return Err(SourceError::Type { field, expected, found: value.kind() });
        }
        let document = Self(members);
        match document.text("#spec") {
            Some(SPEC) | None => Ok(document),
            Some(other) => Err(SourceError::Spec(other.to_owned())),
        }
    }

    /// The file as pvr writes it: one space of prefix and indent, known members first and in pvr's order, others
    /// behind them sorted, no line end behind the last line.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.pretty(" ", " ")
    }

    /// The same as container-ci has it: two spaces of indent.
    #[must_use]
    pub fn to_plain_text(&self) -> String {
        self.pretty("", "  ")
    }

    fn pretty(&self, prefix: &str, indent: &str) -> String {
        let known = |name: &str| FIELDS.iter().any(|(field, _)| *field == name);
        let first = FIELDS.iter().filter_map(|(field, _)| Some((*field, self.0.get(*field).filter(|v| !empty(v))?)));
        let others = self.0.iter().filter(|(name, _)| !known(name)).map(|(name, value)| (name.as_str(), value));
        pretty_fields(&first.chain(others).collect::<Vec<_>>(), prefix, indent)
    }

    /// The document as a value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// A member that is there and not null.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| **value != Value::Null)
    }

    /// Sets a member; an empty one (null, no text, no members) is removed.
    pub fn set(&mut self, field: &str, value: Value) {
        if empty(&value) {
            self.0.remove(field);
        } else {
            self.0.insert(field.to_owned(), value);
        }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// What the app is built from.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        if self.pvr().is_some() {
            SourceKind::Pvr
        } else if self.rootfs_url().is_some() {
            SourceKind::Rootfs
        } else {
            SourceKind::Docker
        }
    }

    /// The template arguments.
    #[must_use]
    pub fn args(&self) -> Arguments<'_> {
        Arguments::new(self.get("args").and_then(Value::as_object))
    }

    /// Sets one template argument.
    pub fn set_arg(&mut self, name: &str, value: Value) {
        self.set_member("args", name, value);
    }

    /// How volumes persist, as written: path (perhaps with a scheme) to mode.
    #[must_use]
    pub fn persistence(&self) -> Option<&Object> {
        self.get("persistence")?.as_object()
    }

    /// Sets how one volume persists; see [`super::parse_volume`].
    pub fn set_persistence(&mut self, key: &str, mode: &str) {
        self.set_member("persistence", key, Value::from(mode));
    }

    /// Sets one override of the image's configuration (`Entrypoint`, `Cmd`, …).
    pub fn set_config(&mut self, name: &str, value: Value) {
        self.set_member("config", name, value);
    }

    fn set_member(&mut self, field: &str, name: &str, value: Value) {
        let place = self.0.entry(field.to_owned()).or_default();
        if !matches!(place, Value::Object(_)) {
            *place = Value::Object(Object::new());
        }
        if let Value::Object(members) = place {
            members.insert(name.to_owned(), value);
        }
    }

    /// Sets the image's configuration, without its null members: pvr cannot store them and shows the file as changed
    /// for ever.
    pub fn set_docker_config(&mut self, config: Value) {
        self.set("docker_config", without_null(config));
    }

    /// The container's configuration: that of the image, overruled by `config` (whose null members do not count).
    #[must_use]
    pub fn container_config(&self) -> Object {
        let mut merged = self.get("docker_config").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, value) in self.get("config").and_then(Value::as_object).into_iter().flatten() {
            if *value != Value::Null {
                merged.insert(name.clone(), value.clone());
            }
        }
        merged
    }

    /// Whether the volume `name` is protected by dm-verity.
    #[must_use]
    pub fn dm_enabled(&self, name: &str) -> bool {
        self.get("dm_enabled").and_then(|volumes| volumes.get(name)) == Some(&Value::Bool(true))
    }
}

impl Default for SourceDocument {
    fn default() -> Self {
        Self::new()
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, member)| *member != Value::Null);
            Value::Object(kept.map(|(name, member)| (name, without_null(member))).collect())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(|item| *item != Value::Null).map(without_null).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_pvr_s_order_and_unknown_ones_survive() {
        let text = br##"{"zeta":1,"persistence":{"/a":"boot"},"docker_name":"n","args":{"PV_GROUP":"g"},"base":"b",
            "#spec":"service-manifest-src@1","template":"builtin-lxc-docker","docker_tag":"","alpha":{"x":null}}"##;
        let document = SourceDocument::parse(text, 9999).unwrap();
        let written = "{\n  \"base\": \"b\",\n  \"#spec\": \"service-manifest-src@1\",\n  \"template\": \"builtin-lxc-docker\",\n  \
                       \"args\": {\n   \"PV_GROUP\": \"g\"\n  },\n  \"docker_name\": \"n\",\n  \"persistence\": {\n   \
                       \"/a\": \"boot\"\n  },\n  \"alpha\": {\n   \"x\": null\n  },\n  \"zeta\": 1\n }";
        assert_eq!(document.to_text(), written);
        let again = SourceDocument::parse(written.as_bytes(), 9999).unwrap();
        assert_eq!(again.to_text(), written);
    }

    #[test]
    fn wrong_types_and_formats_are_named() {
        let error = |text: &str| SourceDocument::parse(text.as_bytes(), 9999).unwrap_err();
        assert!(matches!(error("[]"), SourceError::NotAnObject("an array")));
        assert!(matches!(error(r##"{"#spec":"bsp-manifest-src@1"}"##), SourceError::Spec(_)));
        assert!(matches!(error(r#"{"args":[]}"#), SourceError::Type { field: "args", .. }));
        assert!(matches!(error(r#"{"docker_digest":{}}"#), SourceError::Type { field: "docker_digest", .. }));
    }

    #[test]
    fn setting_and_removing() {
        let mut document = SourceDocument::new();
        document.set_docker_digest(Some("x@sha256:0"));
        document.set_arg("PV_GROUP", Value::from("data"));
        document.set_docker_config(Value::parse(br#"{"Cmd":["a",null],"Volumes":null,"E":{"x":null}}"#, 99).unwrap());
        assert_eq!(document.get("docker_config").unwrap().canonical(), r#"{"Cmd":["a"],"E":{}}"#);
        assert_eq!(document.args().text("PV_GROUP").unwrap().as_deref(), Some("data"));
        document.set_docker_digest(None);
        assert_eq!(document.docker_digest(), None);
        assert_eq!(document.kind(), SourceKind::Docker);
        document.set_rootfs_url(Some("/r"));
        assert_eq!(document.kind(), SourceKind::Rootfs);
    }

    #[test]
    fn config_overrules_the_image_member_by_member() {
        let mut document = SourceDocument::new();
        document.set_docker_config(Value::parse(br#"{"Cmd":["a"],"Env":["A=1"]}"#, 99).unwrap());
        document.set_config("Cmd", Value::Null);
        document.set_config("Env", Value::from(vec!["B=2"]));
        assert_eq!(Value::Object(document.container_config()).canonical(), r#"{"Cmd":["a"],"Env":["B=2"]}"#);
    }
}
