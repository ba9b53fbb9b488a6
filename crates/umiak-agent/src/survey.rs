//! What the device is, as the planner sees it: file systems as the kernel shows them now, what lies on which.
//!
//! Guarantee: a figure that the kernel does not tell is taken so that the plan is never too low. What is stored is not
//! looked at here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use umiak_plan::{Device, Engine, FileSystem, Keeps, Kind, Role, Stored, Watermark};
use umiak_spec::Platform;

/// What of a device somebody decided.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The store's directory.
    pub store: PathBuf,
    /// How containers run.
    pub engine: Engine,
    /// Where the engine keeps images of its own, if it does.
    pub engine_root: Option<PathBuf>,
    /// How full file systems may become.
    pub watermark: Watermark,
    /// The most bytes that the store may take of its file system, if somebody said so.
    pub limit: Option<u64>,
    /// What the device runs.
    pub platform: Platform,
}

/// XFS has at least so many allocation groups, as it is made; one that grew has more, in the same proportion.
const XFS_GROUPS: u64 = 4;
/// The largest allocation group of XFS, in bytes.
const XFS_GROUP: u64 = 1 << 40;
/// What inodes take where nobody was asked: ext4's, and XFS's as they are made today.
const INODE: u32 = 512;

impl Survey {
    /// Looks at the file systems.
    ///
    /// # Errors
    /// One of them cannot be looked at.
    pub fn look(&self) -> io::Result<Device> {
        let mut file_systems = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut place = |path: &Path| -> io::Result<usize> {
            let path = existing(path);
            let number = fs::metadata(path)?.dev();
            if let Some(known) = numbers.iter().position(|known| *known == number) {
                return Ok(known);
            }
            let found = file_system(path, number)?;
            // The store is looked at first.
            let limit = self.limit.filter(|_| numbers.is_empty());
            file_systems.push(match limit {
                Some(limit) => self.share(found, limit)?,
                None => found,
            });
            numbers.push(number);
            Ok(file_systems.len() - 1)
        };
        let store = place(&self.store)?;
        let mut roles: BTreeMap<Role, usize> = [Role::Blobs, Role::Projects].map(|role| (role, store)).into();
        if let Some(root) = &self.engine_root {
            let engine = place(root)?;
            roles.extend([(Role::Engine, engine), (Role::EngineTemp, engine)]);
        } else {
            roles.extend([(Role::Engine, store), (Role::EngineTemp, store)]);
        }
        Ok(Device {
            name: "this device".to_owned(),
            file_systems,
            roles,
            keeps: Keeps::Layers,
            engine: self.engine,
            watermark: self.watermark,
            platform: self.platform.clone(),
            stored: Stored::default(),
        })
    }
}

impl Survey {
    /// The store's share of its file system, as if it were one of that size; the whole where that has less to give.
    fn share(&self, whole: FileSystem, limit: u64) -> io::Result<FileSystem> {
        let blocks = limit / u64::from(whole.block_size.max(1));
        let taken = taken(&self.store)?.div_ceil(u64::from(whole.block_size.max(1)));
        let share = FileSystem {
            name: format!("{} (limited)", whole.name),
            blocks,
            free: blocks.saturating_sub(taken),
            reserved: 0,
            ..whole.clone()
        };
        let least = share.available(self.watermark) < whole.available(self.watermark);
        Ok(if least { share } else { whole })
    }
}

/// Bytes of disk that everything below a directory takes; none where there is none.
fn taken(directory: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut total = 0u64;
    for entry in entries {
        let path = entry?.path();
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            // Another process of ours finished with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        total = total.saturating_add(found.blocks().saturating_mul(512));
        if found.is_dir() {
            total = total.saturating_add(taken(&path)?);
        }
    }
    Ok(total)
}

/// The nearest directory that is there: a store is made on the file system of the one above.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"))
}

fn file_system(path: &Path, number: u64) -> io::Result<FileSystem> {
    let found = rustix::fs::statvfs(path)?;
    let kind = kind(rustix::fs::statfs(path)?.f_type);
    let block_size = u32::try_from(found.f_frsize).unwrap_or(u32::MAX);
    let bytes = found.f_blocks.saturating_mul(found.f_frsize);
    let groups = bytes.div_ceil(XFS_GROUP).max(XFS_GROUPS);
    Ok(FileSystem {
        name: mount_point(number).unwrap_or_else(|| path.display().to_string()),
        kind,
        block_size,
        blocks: found.f_blocks,
        free: found.f_bfree,
        reserved: found.f_bfree.saturating_sub(found.f_bavail),
        // Where there is no limit there are none in all.
        inodes_free: (found.f_files > 0).then_some(found.f_favail),
        inode_size: INODE,
        groups: u32::try_from(groups).unwrap_or(u32::MAX),
    })
}

/// By the number in `statfs`, from the kernel's `magic.h`.
fn kind(number: impl TryInto<i128>) -> Kind {
    match number.try_into().unwrap_or_default() {
        0xef53 => Kind::Ext4,
        0x5846_5342 => Kind::Xfs,
        0x9123_683e => Kind::Btrfs,
        0xf2f5_2010 => Kind::F2fs,
        _ => Kind::Other,
    }
}

/// Where the file system with this device number is mounted; the last mount counts, as for the kernel.
fn mount_point(number: u64) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let device = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    find_mount(&table, &device)
}

/// In the text of `/proc/self/mountinfo`: the shortest place is where people know it by.
fn find_mount(table: &str, device: &str) -> Option<String> {
    let places = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2);
        (fields.next() == Some(device)).then(|| fields.nth(1).map(str::to_owned)).flatten()
    });
    places.min_by_key(String::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(store: &Path) -> Survey {
        Survey {
            store: store.to_owned(),
            engine: Engine::Runtime,
            engine_root: None,
            watermark: Watermark::default(),
            limit: None,
            platform: Platform::new("linux", "arm64", None),
        }
    }

    #[test]
    fn a_store_that_is_not_there_yet_lies_where_it_will_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let here = survey(directory.path()).look().unwrap();
        let there = survey(&directory.path().join("var/lib/umiak")).look().unwrap();
        assert_eq!(here.file_systems[0].name, there.file_systems[0].name);
        let stat = rustix::fs::statvfs(directory.path()).unwrap();
        assert_eq!(
            (here.file_systems[0].blocks, u64::from(here.file_systems[0].block_size)),
            (stat.f_blocks, stat.f_frsize)
        );
        assert!(Role::ALL.iter().all(|role| here.place(*role) == 0));
    }

    #[test]
    fn an_engine_elsewhere_is_another_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let device = Survey { engine_root: Some("/proc".into()), ..survey(directory.path()) }.look().unwrap();
        assert_eq!(device.file_systems.len(), 2);
        assert_eq!((device.place(Role::Blobs), device.place(Role::Engine)), (0, 1));
        assert_eq!((device.file_systems[1].name.as_str(), device.file_systems[1].kind), ("/proc", Kind::Other));
    }

    #[test]
    fn a_limited_store_has_a_file_system_of_that_size_or_what_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        fs::create_dir_all(store.join("blobs")).unwrap();
        let look = |limit| Survey { limit, ..survey(&store) }.look().unwrap().file_systems.remove(0);
        let (whole, empty) = (look(None), look(Some(4 << 20)));
        assert_eq!(empty.size(), 4 << 20);
        assert!(empty.name.ends_with(" (limited)") && empty.reserved == 0, "{}", empty.name);
        fs::write(store.join("blobs/one"), vec![1; 1 << 20]).unwrap();
        // The kernel may count blocks only when they are written.
        fs::File::open(store.join("blobs/one")).unwrap().sync_all().unwrap();
        let fuller = look(Some(4 << 20));
        assert!(empty.free_bytes() - fuller.free_bytes() >= 1 << 20, "{empty:?} {fuller:?}");
        assert_eq!(look(Some(2 << 10)).available(Watermark::default()), 0);
        assert_eq!(look(Some(u64::MAX)).blocks, whole.blocks, "there is no more than there is");
    }

    #[test]
    fn mounts_are_found_by_device() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 8:2 /a /data/deep rw - xfs /dev/sdb rw\n24 22 8:2 / /data rw - xfs /dev/sdb rw\n";
        assert_eq!(find_mount(table, "8:2").as_deref(), Some("/data"));
        assert_eq!(find_mount(table, "8:3"), None);
    }
}
