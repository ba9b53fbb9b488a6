//! The demo's sample: an information kiosk in three releases, and an extension of the first.
//!
//! ```text
//! kiosk:1          layer 1   /usr/bin/umiak and its libraries
//!                  layer 2   /etc/kiosk, /srv/www with pages, a picture and a timetable, /srv/device
//! kiosk:2          layer 1   the same
//!                  layer 2   one page changed, one new, one gone; a timetable, settings, a link, a mode changed
//! kiosk:3          layer 1   the same
//!                  layer 2   a film; settings that name a page that nobody made: this release cannot open
//! kiosk-harbour:1  layers of kiosk:1
//!                  layer 3   pages of its own, settings of its own
//! pages            /srv/www of kiosk:1, for six platforms: there is no program in it
//! ```
//!
//! The container runs `umiak json` on `/srv/device`, which prints what release it is; as a service it runs `umiak kiosk`.
//! Same machine and same umiak, same images.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_tree::{Directory, Kind, Metadata, Timestamp, TreePath};

use super::layout::Layout;
use super::payload::Payload;

const PAGES: u32 = 120;
const CHANGED_PAGE: u32 = 7;
const DROPPED_PAGE: u32 = 12;
const FILM: usize = 2 << 20;
const RELEASED: [i64; 3] = [1_735_689_600, 1_738_368_000, 1_740_787_200];

/// Platforms of the image that has no program.
const PLATFORMS: [&str; 6] =
    ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/mips", "linux/riscv64"];

const PROGRAM: &str = "/usr/bin/umiak";

/// The working directory of the container: a device directory.
pub const DEVICE: &str = "/srv/device";

/// The file that tells the release.
pub const GREETING: &str = "kiosk.json";

/// How the sample's containers start.
pub struct Start {
    /// Entrypoint and command.
    pub arguments: Vec<String>,
    /// `NAME=value` each.
    pub environment: Vec<String>,
}

/// What one path of a layer is.
enum Item {
    File { content: Vec<u8>, mode: u16, mtime: i64 },
    Link(String),
}

/// A layer's paths, relative, sorted.
type Files = BTreeMap<String, Item>;

/// Writes the images as one layout into `directory`.
///
/// # Errors
/// When this program cannot be read or the layout not be written.
pub fn write(directory: &Path) -> io::Result<Start> {
    let payload = Payload::of_this_program()?;
    let environment =
        vec!["PATH=/usr/bin:/bin".to_owned(), format!("LD_LIBRARY_PATH={}", payload.library_directories().join(":"))];
    let config = json!({
        "Entrypoint": [PROGRAM],
        "Cmd": ["json"],
        "WorkingDir": DEVICE,
        "Env": environment,
    });
    let mut layout = Layout::create(directory)?;
    let program = layout.layer(&layer(&program_files(payload))?)?;
    let first = layout.layer(&layer(&kiosk(1))?)?;
    let second = layout.layer(&layer(&kiosk(2))?)?;
    let third = layout.layer(&layer(&kiosk(3))?)?;
    let harbour = layout.layer(&layer(&harbour())?)?;
    layout.image("kiosk-1", &[program.clone(), first.clone()], &config)?;
    layout.image("kiosk-2", &[program.clone(), second], &config)?;
    layout.image("kiosk-3", &[program.clone(), third], &config)?;
    layout.image("harbour-1", &[program, first, harbour], &config)?;
    let mut pages = kiosk(1);
    pages.retain(|path, _| path.starts_with("srv/www/"));
    let pages = layout.layer(&layer(&pages)?)?;
    layout.everywhere("pages", &PLATFORMS, &[pages])?;
    layout.finish()?;
    Ok(Start { arguments: vec![PROGRAM.into(), "json".into()], environment })
}

fn file(content: impl Into<Vec<u8>>, release: usize) -> Item {
    Item::File { content: content.into(), mode: 0o644, mtime: RELEASED[release - 1] }
}

fn program_files(payload: Payload) -> Files {
    let executable = |content| Item::File { content, mode: 0o755, mtime: RELEASED[0] };
    let mut files = Files::from([("usr/bin/umiak".to_owned(), executable(payload.program))]);
    if let Some((name, target)) = payload.interpreter.filter(|(name, target)| name != target) {
        files.insert(name.trim_start_matches('/').to_owned(), Item::Link(target));
    }
    for library in payload.libraries {
        files.insert(library.path.trim_start_matches('/').to_owned(), executable(library.content));
    }
    files
}

/// The application's own files in release 1, 2 or 3.
fn kiosk(release: usize) -> Files {
    let mut files = Files::new();
    let mut put = |path: &str, item: Item| drop(files.insert(path.to_owned(), item));
    let start = if release == 3 { "start" } else { "000" };
    let settings = json!({ "title": "Kiosk", "release": release, "start": format!("/srv/www/pages/{start}.html") });
    put("etc/kiosk/settings.json", file(format!("{settings:#}\n"), release));
    put("etc/kiosk/theme", Item::Link(if release == 1 { "/srv/www/day" } else { "/srv/www/night" }.to_owned()));
    let mode = if release == 1 { 0o644 } else { 0o600 };
    put("etc/kiosk/token", Item::File { content: b"set on the device\n".to_vec(), mode, mtime: RELEASED[0] });
    put("srv/www/picture.bin", file(noise(1, 256 << 10), 1));
    put("srv/www/timetable.csv", file(timetable(release), release));
    for number in 0..PAGES {
        let changed = number == CHANGED_PAGE && release > 1;
        if number != DROPPED_PAGE || release == 1 {
            let release = if changed { 2 } else { 1 };
            put(&format!("srv/www/pages/{number:03}.html"), file(page(number, release), release));
        }
    }
    if release == 3 {
        put("srv/www/film.bin", file(noise(3, FILM), 3));
    }
    if release > 1 {
        put(&format!("srv/www/pages/{PAGES:03}.html"), file(page(PAGES, 2), 2));
    }
    let greeting = greeting(release);
    let state = json!({ "#spec": "pantavisor-service-system@1", GREETING: greeting });
    put("srv/device/.pvr/json", file(state.to_string(), release));
    put("srv/device/kiosk.json", file(greeting.to_string(), release));
    files
}

/// What the extension adds to release 1.
fn harbour() -> Files {
    let mut files = Files::new();
    let settings = json!({ "title": "Harbour kiosk", "release": 1, "start": "/srv/www/harbour/000.html" });
    files.insert("etc/kiosk/settings.json".to_owned(), file(format!("{settings:#}\n"), 1));
    for number in 0..8 {
        files.insert(format!("srv/www/harbour/{number:03}.html"), file(page(1000 + number, 1), 1));
    }
    files
}

/// The tar archive of a layer, parent directories first.
fn layer(files: &Files) -> io::Result<Vec<u8>> {
    let mut archive = LayerWriter::new(Vec::new());
    let mut made = BTreeSet::new();
    for (path, item) in files {
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            if made.insert(parent) {
                let kind: Kind<()> = Kind::Directory(Directory::new());
                archive.other(&place(parent)?, &metadata(0o755, RELEASED[0]), &kind).map_err(io::Error::other)?;
            }
        }
        match item {
            Item::File { content, mode, mtime } => {
                let metadata = metadata(*mode, *mtime);
                archive.file(&place(path)?, &metadata, content.len() as u64, &mut content.as_slice())
            }
            Item::Link(target) => {
                let kind: Kind<()> = Kind::Symlink(target.as_bytes().into());
                archive.other(&place(path)?, &metadata(0o777, RELEASED[0]), &kind)
            }
        }
        .map_err(io::Error::other)?;
    }
    archive.finish().map_err(io::Error::other)
}

fn place(path: &str) -> io::Result<TreePath> {
    TreePath::from_archive(path.as_bytes(), &Limits::default()).map_err(io::Error::other)
}

fn metadata(mode: u16, seconds: i64) -> Metadata {
    Metadata { mtime: Timestamp { seconds, nanoseconds: 0 }, ..Metadata::root_owned(mode) }
}

/// A page of text, the same for the same number and release.
fn page(number: u32, release: usize) -> String {
    const WORDS: [&str; 16] = [
        "arrival",
        "berth",
        "ferry",
        "gate",
        "harbour",
        "island",
        "kiosk",
        "lantern",
        "morning",
        "north",
        "pier",
        "quay",
        "ticket",
        "timetable",
        "weather",
        "wharf",
    ];
    let mut words = Noise(u64::from(number) << 8 | release as u64);
    let mut page =
        format!("<!doctype html>\n<title>Page {number}</title>\n<h1>Page {number}, release {release}</h1>\n");
    for _ in 0..24 {
        let sentence: Vec<_> = (0..12).map(|_| WORDS[usize::from(words.byte() % 16)]).collect();
        page.push_str(&format!("<p>{}.</p>\n", sentence.join(" ")));
    }
    page
}

/// Ferries, one a line; in release 2 all of them leave later.
fn timetable(release: usize) -> String {
    let mut noise = Noise(2);
    let mut ferry = |number: u32| {
        let (pier, minute) = (noise.byte() % 24, usize::from(noise.byte()) * 5 + 5 * release);
        format!("{number:04},pier {pier},{:02}:{:02}\n", minute / 60, minute % 60)
    };
    (0..800).map(&mut ferry).collect()
}

/// Bytes that do not compress, as a picture's do not.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut noise = Noise(seed);
    (0..length).map(|_| noise.byte()).collect()
}

/// SplitMix64: the same numbers from the same seed, everywhere.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).to_be_bytes()[0]
    }
}

/// What the greeting of a release is: part of what `umiak json` prints in its container.
#[must_use]
pub fn greeting(release: usize) -> Value {
    json!({ "greeting": "hello from the kiosk", "release": release })
}
