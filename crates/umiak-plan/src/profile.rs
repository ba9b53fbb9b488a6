//! The device profile: a document that says what a device has, so that a release can be checked without the device.
//!
//! Written by people and by CI: every key is known or refused, what is left out has a default that is never in the
//! update's favour, and an error names the key. The format is docs/formats/device-profile.md.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use umiak_spec::PlatformError;

use crate::device::{Device, Engine, Keeps, Role, Stored, Watermark, WatermarkError};
use crate::fs::{BLOCK_SIZES, FileSystem, Kind, KindError};

/// Bytes of a profile, at most.
const LENGTH: usize = 1 << 20;
/// File systems in a profile, at most.
const FILE_SYSTEMS: usize = 64;
/// Stored apps in a profile, at most.
const STORED: usize = 1000;

/// A device profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The device, with nothing stored on it: whoever can resolve [`Profile::stored`] puts it there.
    pub device: Device,
    /// The apps that are on it.
    pub stored: Vec<StoredReference>,
}

/// An app that a profile says is on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReference {
    /// Its reference, as it is written.
    pub reference: String,
    /// Its containers exist (the default).
    pub running: bool,
    /// It stays whatever happens.
    pub pinned: bool,
}

/// Why bytes are not a device profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// More than 1 MiB.
    #[error("it is longer than {LENGTH} bytes")]
    Long,
    /// No JSON, an unknown key, a value of another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A value that cannot be.
    #[error("{key}: {why}")]
    Value {
        /// Where it stands.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    name: Option<String>,
    platform: String,
    #[serde(default)]
    engine: Option<String>,
    #[serde(default)]
    keeps: Option<String>,
    #[serde(default)]
    watermark: Option<u64>,
    file_systems: Vec<Listed>,
    #[serde(default)]
    roles: BTreeMap<String, String>,
    #[serde(default)]
    stored: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Listed {
    name: String,
    kind: String,
    #[serde(default)]
    block_size: Option<u64>,
    size: Bytes,
    free: Bytes,
    #[serde(default)]
    reserved: Option<Bytes>,
    #[serde(default)]
    inodes_free: Option<u64>,
    #[serde(default)]
    inode_size: Option<u64>,
    #[serde(default)]
    groups: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected bytes: a number, or a text such as \"512 MiB\"")]
enum Bytes {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a reference, or an object with `app`, `running` and `pinned`")]
enum Entry {
    Reference(String),
    #[serde(rename_all = "kebab-case")]
    Object(Object),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Object {
    app: String,
    #[serde(default = "yes")]
    running: bool,
    #[serde(default)]
    pinned: bool,
}

const fn yes() -> bool {
    true
}

fn wrong(key: impl Into<String>, why: impl ToString) -> ProfileError {
    ProfileError::Value { key: key.into(), why: why.to_string() }
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProfileError> {
        if bytes.len() > LENGTH {
            return Err(ProfileError::Long);
        }
        let document: Document = serde_json::from_slice(bytes)?;
        let platform = document.platform.parse().map_err(|error: PlatformError| wrong("platform", error))?;
        let engine = document.engine.as_deref().map_or(Ok(Engine::Docker), engine)?;
        let keeps = document.keeps.as_deref().map_or(Ok(usual(engine)), keeps)?;
        if (engine, keeps) == (Engine::Runtime, Keeps::Blobs) {
            return Err(wrong("keeps", "a runtime mounts layers: it cannot run blobs"));
        }
        let watermark = document.watermark.map_or(Ok(Watermark::default()), Watermark::new);
        let watermark = watermark.map_err(|error: WatermarkError| wrong("watermark", error))?;
        let file_systems = file_systems(document.file_systems)?;
        let roles = roles(&document.roles, &file_systems)?;
        if document.stored.len() > STORED {
            return Err(wrong("stored", format!("more than {STORED} apps")));
        }
        let name = document.name.unwrap_or_else(|| "device".to_owned());
        let stored = document.stored.into_iter().map(StoredReference::from).collect();
        let device =
            Device { name, file_systems, roles, keeps, engine, watermark, platform, stored: Stored::default() };
        Ok(Self { device, stored })
    }
}

impl From<Entry> for StoredReference {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Reference(reference) => Self { reference, running: true, pinned: false },
            Entry::Object(Object { app, running, pinned }) => Self { reference: app, running, pinned },
        }
    }
}

fn engine(word: &str) -> Result<Engine, ProfileError> {
    let why = || format!("`{}` is no engine: {}", cut(word), Engine::ALL.map(Engine::word).join(", "));
    Engine::ALL.into_iter().find(|engine| engine.word() == word).ok_or_else(|| wrong("engine", why()))
}

/// What a device keeps when its profile does not say: with Docker, what Compose Apps keep everywhere.
const fn usual(engine: Engine) -> Keeps {
    if engine.stores() { Keeps::Blobs } else { Keeps::Layers }
}

fn keeps(word: &str) -> Result<Keeps, ProfileError> {
    let why = || format!("`{}` is not what is kept: {}", cut(word), Keeps::ALL.map(Keeps::word).join(", "));
    Keeps::ALL.into_iter().find(|keeps| keeps.word() == word).ok_or_else(|| wrong("keeps", why()))
}

fn roles(named: &BTreeMap<String, String>, file_systems: &[FileSystem]) -> Result<BTreeMap<Role, usize>, ProfileError> {
    let place = |(word, name): (&String, &String)| {
        let key = format!("roles.{}", cut(word));
        let role = Role::ALL.into_iter().find(|role| role.word() == word);
        let no_role = || wrong(&key, format!("no such role: {}", Role::ALL.map(Role::word).join(", ")));
        let place = file_systems.iter().position(|file_system| file_system.name == *name);
        let no_place = || wrong(&key, format!("there is no file system `{}`", cut(name)));
        Ok::<_, ProfileError>((role.ok_or_else(no_role)?, place.ok_or_else(no_place)?))
    };
    let mut roles: BTreeMap<Role, usize> = named.iter().map(place).collect::<Result<_, _>>()?;
    if file_systems.len() > 1 && !roles.contains_key(&Role::Engine) {
        return Err(wrong("roles.engine", "with several file systems it must be said which one the engine lies on"));
    }
    // A role that is not named lies with the engine's.
    let engine = roles.get(&Role::Engine).copied().unwrap_or(0);
    for role in Role::ALL {
        roles.entry(role).or_insert(engine);
    }
    Ok(roles)
}

fn file_systems(listed: Vec<Listed>) -> Result<Vec<FileSystem>, ProfileError> {
    if listed.is_empty() || listed.len() > FILE_SYSTEMS {
        return Err(wrong("file-systems", format!("1 to {FILE_SYSTEMS} are needed, not {}", listed.len())));
    }
    let mut all: Vec<FileSystem> = Vec::new();
    for (index, listed) in listed.into_iter().enumerate() {
        let key = format!("file-systems[{index}]");
        let file_system = listed.check(&key)?;
        if all.iter().any(|other| other.name == file_system.name) {
            return Err(wrong(format!("{key}.name"), format!("`{}` is there twice", cut(&file_system.name))));
        }
        all.push(file_system);
    }
    Ok(all)
}

impl Listed {
    fn check(self, key: &str) -> Result<FileSystem, ProfileError> {
        let at = |field: &str| format!("{key}.{field}");
        let kind: Kind = self.kind.parse().map_err(|error: KindError| wrong(at("kind"), error))?;
        let small = |field: &str, number: Option<u64>, default: u32, range: std::ops::RangeInclusive<u32>| {
            let number = number.map_or(Some(default), |number| u32::try_from(number).ok());
            let why = || format!("expected a number from {} to {}", range.start(), range.end());
            number.filter(|number| range.contains(number)).ok_or_else(|| wrong(at(field), why()))
        };
        let block_size = small("block-size", self.block_size, 4096, BLOCK_SIZES)?;
        if !block_size.is_power_of_two() {
            return Err(wrong(at("block-size"), "expected a power of two"));
        }
        let block = u64::from(block_size);
        let size = self.size.bytes(&at("size"))?;
        let free = self.free.bytes(&at("free"))?;
        if free > size {
            return Err(wrong(at("free"), "more than the file system's size"));
        }
        // What mke2fs reserves when it is not told otherwise.
        let usual = if kind == Kind::Ext4 { size / 20 } else { 0 };
        let reserved = self.reserved.map_or(Ok(usual), |bytes| bytes.bytes(&at("reserved")))?;
        let inode_size = if kind == Kind::Xfs { 512 } else { 256 };
        Ok(FileSystem {
            kind,
            block_size,
            blocks: size / block,
            free: free / block,
            reserved: reserved.div_ceil(block),
            inodes_free: self.inodes_free,
            inode_size: small("inode-size", self.inode_size, inode_size, 128..=4096)?,
            groups: small("groups", self.groups, 4, 1..=100_000)?,
            name: self.name,
        })
    }
}

impl Bytes {
    /// A number of bytes, or a text `NUMBER UNIT` with a binary unit.
    fn bytes(self, key: &str) -> Result<u64, ProfileError> {
        match self {
            Self::Number(bytes) => Ok(bytes),
            Self::Text(text) => parse_bytes(&text)
                .ok_or_else(|| wrong(key, format!("`{}` is no size: write 512 MiB, 4 GiB or bytes", cut(&text)))),
        }
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let number = u64::from_str(&text[..digits]).ok()?;
    let power = match text[digits..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << power)
}

/// Text of others in an error.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{
        "name": "edge-small", "platform": "linux/arm64", "watermark": 85,
        "file-systems": [
            {"name": "/", "kind": "ext4", "size": "1 GiB", "free": "300 MiB", "reserved": 0, "inodes-free": 50000},
            {"name": "/var/lib/docker", "kind": "xfs", "size": 4294967296, "free": 2147483648}
        ],
        "roles": {"blobs": "/", "engine": "/var/lib/docker", "projects": "/"},
        "stored": ["registry/team/shop:1.4.2", {"app": "registry/team/web:1", "running": false, "pinned": true}]
    }"#;

    #[test]
    fn a_profile_is_read_and_defaults_are_filled_in() {
        let profile = Profile::parse(SMALL.as_bytes()).unwrap();
        let device = profile.device;
        assert_eq!(
            (device.name.as_str(), device.watermark.percent(), device.engine),
            ("edge-small", 85, Engine::Docker)
        );
        assert_eq!(device.place(Role::EngineTemp), 1, "the engine's temporary files lie with the engine");
        assert_eq!(device.file_systems[0].blocks, 262_144);
        assert_eq!((device.file_systems[1].inode_size, device.file_systems[1].inodes_free), (512, None));
        assert!(profile.stored[0].running && !profile.stored[1].running && profile.stored[1].pinned);
    }

    #[test]
    fn what_is_kept_follows_the_engine_unless_it_is_said() {
        let keeps = |words: &str| {
            let text = SMALL.replace(r#""watermark": 85"#, words);
            Profile::parse(text.as_bytes()).unwrap().device.keeps
        };
        assert_eq!(keeps(r#""watermark": 85"#), Keeps::Blobs);
        assert_eq!(keeps(r#""engine": "runtime""#), Keeps::Layers);
        assert_eq!(keeps(r#""engine": "docker", "keeps": "layers""#), Keeps::Layers);
    }

    #[test]
    fn what_mke2fs_reserves_is_assumed_where_nothing_is_said() {
        let text = SMALL.replace(r#""reserved": 0, "#, "");
        let device = Profile::parse(text.as_bytes()).unwrap().device;
        assert_eq!(device.file_systems[0].reserved, 262_144 / 20 + 1);
    }

    #[test]
    fn each_mistake_is_named() {
        for (from, to, word) in [
            (r#""watermark": 85"#, r#""watermark": 100"#, "20 to 99"),
            (r#""watermark": 85"#, r#""watermrak": 85"#, "watermrak"),
            (r#""kind": "xfs""#, r#""kind": "zfs""#, "file-systems[1].kind"),
            (r#""1 GiB""#, r#""1 GB""#, "file-systems[0].size: `1 GB`"),
            (r#""300 MiB""#, r#""3 GiB""#, "more than the file system's size"),
            (r#""blobs": "/""#, r#""blobs": "/data""#, "no file system `/data`"),
            (r#""blobs": "/""#, r#""blob": "/""#, "no such role"),
            (r#""engine": "/var/lib/docker", "#, "", "roles.engine"),
            (r#""name": "/var/lib/docker""#, r#""name": "/""#, "twice"),
            (r#""linux/arm64""#, r#""""#, "platform"),
            (r#""free": 2147483648"#, r#""free": 2147483648, "block-size": 5000"#, "power of two"),
            (r#""free": 2147483648"#, r#""free": 2147483648, "groups": 0"#, "from 1 to"),
            (r#""watermark": 85"#, r#""engine": "podman""#, "is no engine"),
            (r#""watermark": 85"#, r#""keeps": "tars""#, "is not what is kept: blobs, layers"),
            (r#""watermark": 85"#, r#""engine": "runtime", "keeps": "blobs""#, "a runtime mounts layers"),
        ] {
            assert!(SMALL.contains(from), "{from}");
            let error = Profile::parse(SMALL.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{from} -> {to}: {error}");
        }
        assert!(matches!(Profile::parse(&vec![b' '; LENGTH + 1]), Err(ProfileError::Long)));
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_bytes("512 MiB"), Some(512 << 20));
        assert_eq!(parse_bytes("7"), Some(7));
        assert_eq!(parse_bytes("2TiB"), Some(2 << 40));
        for bad in ["", "MiB", "1.5 GiB", "-1", "99999999999999999999", "18446744073709551615 TiB", "1 gib"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
