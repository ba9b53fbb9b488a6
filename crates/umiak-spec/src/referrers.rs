//! Referrers: manifests that name another manifest as their subject, and the indexes that list them.
//!
//! Follows the OCI distribution specification 1.1: what its referrers API answers, and the tag that takes its place in
//! registries that do not have it, is an index. Such an index is changed here without losing what others wrote into it:
//! members and entries that are not known stay. Guarantees: an index that was read and written reads the same; the same
//! changes give the same bytes, members sorted by name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::manifest::{check_size, or_default};
use crate::media_type::OCI_INDEX;
use crate::{Descriptor, Digest, DocumentError, Limits};

/// The annotation that is a tag in an image layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The tag under which a registry without the API keeps the list of what refers to `subject`.
#[must_use]
pub fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest, with its artifact type.
    pub descriptor: Descriptor,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The members of a manifest that make it a referrer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
}

impl Referrer {
    /// What the manifest or index `bytes` refers to, and how it is listed there; `None` when it has no subject.
    ///
    /// # Errors
    /// [`DocumentError`]: too large, or not JSON of this shape.
    pub fn of(bytes: &[u8], media_type: &str, limits: &Limits) -> Result<Option<(Digest, Self)>, DocumentError> {
        check_size(bytes, limits)?;
        let read: Referring = serde_json::from_slice(bytes)?;
        let Some(subject) = read.subject else { return Ok(None) };
        let mut descriptor = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        // As the specification has it: the config's media type where there is no artifact type.
        let config = read.config.map(|config| config.media_type);
        descriptor.artifact_type = read.artifact_type.or(config).filter(|kind| !kind.is_empty());
        Ok(Some((subject.digest, Self { descriptor, annotations: read.annotations })))
    }

    /// Whether it is of this artifact type.
    #[must_use]
    pub fn is(&self, artifact_type: &str) -> bool {
        self.descriptor.artifact_type.as_deref() == Some(artifact_type)
    }

    /// Its entry in an index.
    fn entry(&self) -> Value {
        let mut entry = plain(&self.descriptor);
        if let Some(kind) = &self.descriptor.artifact_type {
            entry.insert("artifactType".into(), json!(kind));
        }
        if !self.annotations.is_empty() {
            entry.insert("annotations".into(), json!(self.annotations));
        }
        Value::Object(entry)
    }
}

/// An index that is changed: of referrers, or of a layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    members: Map<String, Value>,
    entries: Vec<Value>,
}

impl Default for Listing {
    fn default() -> Self {
        let members = [("schemaVersion", json!(2)), ("mediaType", json!(OCI_INDEX))];
        let members = members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        Self { members, entries: Vec::new() }
    }
}

impl Listing {
    /// Reads an index.
    ///
    /// # Errors
    /// [`DocumentError`]: too large, not JSON, or no index.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, DocumentError> {
        check_size(bytes, limits)?;
        let mut members: Map<String, Value> = serde_json::from_slice(bytes)?;
        let kind = members.get("mediaType").and_then(Value::as_str).unwrap_or(OCI_INDEX).to_owned();
        let entries = match members.remove("manifests") {
            Some(Value::Array(entries)) if kind == OCI_INDEX => entries,
            // Go writes an empty list as null.
            Some(Value::Null) if kind == OCI_INDEX => Vec::new(),
            _ => return Err(DocumentError::Other(kind.chars().take(100).collect())),
        };
        Ok(Self { members, entries })
    }

    /// The bytes of the index.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        members.insert("manifests".into(), Value::Array(self.entries.clone()));
        Value::Object(members).to_string().into_bytes()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries that can be read: others may be named by digests that are not known here.
    #[must_use]
    pub fn referrers(&self) -> Vec<Referrer> {
        let read = |entry: &Value| {
            let annotations = entry.get("annotations").filter(|annotations| !annotations.is_null());
            let annotations = annotations.map(BTreeMap::deserialize).transpose().ok()?.unwrap_or_default();
            Some(Referrer { descriptor: Descriptor::deserialize(entry).ok()?, annotations })
        };
        self.entries.iter().filter_map(read).collect()
    }

    /// Whether an entry names this manifest.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        let digest = digest.to_string();
        self.entries.iter().any(|entry| entry.get("digest").and_then(Value::as_str) == Some(&digest))
    }

    /// Lists a referrer; returns whether it was not listed before.
    pub fn add(&mut self, referrer: &Referrer) -> bool {
        let absent = !self.has(&referrer.descriptor.digest);
        if absent {
            self.entries.push(referrer.entry());
        }
        absent
    }

    /// Lists a manifest under a name of a layout, also when it has others; an entry of this name and digest stays as it is.
    pub fn add_named(&mut self, name: &str, named: &Referrer) {
        let digest = named.descriptor.digest.to_string();
        let same = |entry: &Value| {
            name_of(entry) == Some(name) && entry.get("digest").and_then(Value::as_str) == Some(&digest)
        };
        if self.entries.iter().any(same) {
            return;
        }
        let mut named = named.clone();
        named.annotations.insert(REF_NAME.into(), name.to_owned());
        self.entries.push(named.entry());
    }

    /// Removes the entries that name this manifest.
    pub fn remove(&mut self, digest: &Digest) {
        let digest = digest.to_string();
        self.entries.retain(|entry| entry.get("digest").and_then(Value::as_str) != Some(&digest));
    }

    /// Gives a tag of an image layout to a manifest: what had it before has it no more, and stays listed only if it is
    /// a referrer. An entry without a tag that names the manifest gets the tag.
    pub fn set_tag(&mut self, tag: &str, manifest: &Descriptor, referrer: Option<&Referrer>) {
        let digest = manifest.digest.to_string();
        self.entries.retain_mut(|entry| {
            let is_this = entry.get("digest").and_then(Value::as_str) == Some(&digest);
            if name_of(entry) != Some(tag) {
                return !(is_this && name_of(entry).is_none());
            }
            if is_this || entry.get("artifactType").is_none() {
                return false;
            }
            if let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(REF_NAME);
            }
            true
        });
        self.push_named(tag, manifest, referrer);
    }

    /// Removes a tag of an image layout. What had it stays listed only if it is a referrer.
    pub fn remove_tag(&mut self, tag: &str) {
        self.entries.retain_mut(|entry| {
            if name_of(entry) != Some(tag) {
                return true;
            }
            if let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(REF_NAME);
            }
            entry.get("artifactType").is_some()
        });
    }

    fn push_named(&mut self, tag: &str, manifest: &Descriptor, referrer: Option<&Referrer>) {
        let mut entry = referrer.map_or_else(|| Value::Object(plain(manifest)), Referrer::entry);
        if let Some(members) = entry.as_object_mut() {
            let annotations = members.entry("annotations").or_insert_with(|| json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(REF_NAME.into(), json!(tag));
            }
        }
        self.entries.push(entry);
    }

    /// Lists a manifest without a tag, unless it is listed already.
    pub fn add_plain(&mut self, manifest: &Descriptor) {
        if !self.has(&manifest.digest) {
            self.entries.push(Value::Object(plain(manifest)));
        }
    }
}

fn name_of(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}

fn plain(descriptor: &Descriptor) -> Map<String, Value> {
    let members = [
        ("mediaType", json!(descriptor.media_type)),
        ("digest", json!(descriptor.digest)),
        ("size", json!(descriptor.size)),
    ];
    members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::OCI_MANIFEST;

    fn manifest(kind: &str, more: &str) -> Vec<u8> {
        let subject = Descriptor::new(OCI_MANIFEST, Digest::of(b"subject"), 7);
        let Descriptor { media_type, digest, size, .. } = subject;
        let subject = format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#);
        format!(r#"{{"schemaVersion":2,{kind}"subject":{subject}{more}}}"#).into_bytes()
    }

    fn referrer(kind: &str, more: &str) -> Referrer {
        Referrer::of(&manifest(kind, more), OCI_MANIFEST, &Limits::default()).unwrap().unwrap().1
    }

    #[test]
    fn a_manifest_says_what_it_refers_to_and_as_what() {
        let bytes = manifest(r#""artifactType":"a/b","#, r#","annotations":{"x":"y"}"#);
        let (subject, found) = Referrer::of(&bytes, OCI_MANIFEST, &Limits::default()).unwrap().unwrap();
        assert_eq!(subject, Digest::of(b"subject"));
        assert!(found.is("a/b") && found.annotations["x"] == "y");
        assert_eq!(found.descriptor.digest, Digest::of(&bytes));
        assert!(referrer(r#""config":{"mediaType":"c/d"},"#, "").is("c/d"));
        assert_eq!(referrer("", r#","annotations":null"#).descriptor.artifact_type, None);
        assert_eq!(Referrer::of(br#"{"config":{}}"#, OCI_MANIFEST, &Limits::default()).unwrap(), None);
    }

    #[test]
    fn what_others_wrote_stays() {
        let strange = r#"{"digest":"sha512:00","mediaType":"x/y","size":1,"urls":["z"]}"#;
        let text = format!(r#"{{"annotations":{{"k":"v"}},"manifests":[{strange}],"schemaVersion":2}}"#);
        let mut list = Listing::parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(list.to_bytes(), text.as_bytes());
        assert_eq!((list.len(), list.referrers().len()), (1, 0));
        let one = referrer(r#""artifactType":"a/b","#, r#","annotations":{"x":"y"}"#);
        assert!(list.add(&one));
        assert!(!list.add(&one), "listed once");
        let again = Listing::parse(&list.to_bytes(), &Limits::default()).unwrap();
        assert_eq!(again, list);
        assert_eq!(again.referrers().as_slice(), std::slice::from_ref(&one));
        list.remove(&one.descriptor.digest);
        assert_eq!(list.to_bytes(), text.as_bytes());
    }

    #[test]
    fn only_an_index_is_read() {
        let parse = |text: &str| Listing::parse(text.as_bytes(), &Limits::default());
        assert!(parse(r#"{"manifests":null}"#).unwrap().is_empty());
        assert!(parse(&String::from_utf8(Listing::default().to_bytes()).unwrap()).unwrap().is_empty());
        for wrong in ["[]", "{}", "<html>", r#"{"manifests":7}"#, r#"{"mediaType":"a/b","manifests":[]}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tag_names_one_manifest() {
        let mut list = Listing::default();
        let (first, second) =
            (Descriptor::new(OCI_MANIFEST, Digest::of(b"1"), 1), Descriptor::new("c/d", Digest::of(b"2"), 1));
        list.add_plain(&first);
        list.set_tag("1", &first, None);
        assert_eq!(list.len(), 1, "the entry without a tag got it");
        list.set_tag("2", &first, None);
        assert_eq!(list.len(), 2, "another name for the same");
        list.set_tag("1", &second, None);
        let tags: Vec<_> = list
            .referrers()
            .into_iter()
            .map(|entry| (entry.annotations[REF_NAME].clone(), entry.descriptor.digest))
            .collect();
        assert_eq!(tags, [("2".into(), first.digest), ("1".into(), second.digest)]);

        let delta = referrer(r#""artifactType":"a/b","#, "");
        list.set_tag("1", &delta.descriptor, Some(&delta));
        list.set_tag("1", &first, None);
        assert!(list.has(&delta.descriptor.digest), "a referrer is found without a tag, too");
        assert!(!list.has(&second.digest));
    }

    #[test]
    fn a_manifest_may_have_several_names() {
        let mut list = Listing::default();
        let descriptor = Descriptor::new(OCI_MANIFEST, Digest::of(b"1"), 1);
        let named = Referrer { descriptor, annotations: BTreeMap::from([("k".to_owned(), "v".to_owned())]) };
        for name in ["a", "b", "a"] {
            list.add_named(name, &named);
        }
        let found = list.referrers();
        let names: Vec<_> = found.iter().map(|entry| entry.annotations[REF_NAME].as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(found.iter().all(|entry| entry.annotations["k"] == "v"));
    }

    #[test]
    fn the_tag_is_the_digest_with_a_dash() {
        assert!(fallback_tag(&Digest::of(b"")).starts_with("sha256-e3b0c44298fc"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_list_or_an_error(pieces in proptest::collection::vec("\\{|\\}|\\[|\\]|,|:|\"manifests\"|\"digest\"|null|1|\"x\"", 0..14)) {
            if let Ok(list) = Listing::parse(pieces.concat().as_bytes(), &Limits::default()) {
                let again = Listing::parse(&list.to_bytes(), &Limits::default()).unwrap();
                proptest::prop_assert_eq!(again, list);
            }
        }
    }
}
