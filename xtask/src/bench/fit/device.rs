//! A device: a file system with a store of blobs, projects and a Docker daemon on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use umiak_plan::{
    Action, Answer, App, Device, Engine, FileSystem, Keeps, Kind, Policy, Role, Stored, StoredApp, Wanted, Watermark,
    plan,
};
use umiak_spec::{Digest, Platform};
use umiak_testkit::dockerd::Dockerd;
use umiak_testkit::volume::{self, Volume};

use super::images::{Shelf, compose};
use super::watch::{InUse, Watch, look};
use crate::{Failure, command};

/// What an update was said to take, and took.
pub struct Outcome {
    pub answer: Answer,
    /// In use by apps and engine before the update.
    pub own: u64,
    pub before: InUse,
    pub most: InUse,
    pub last: InUse,
}

pub struct Edge {
    kind: Kind,
    block: u32,
    /// In use when nothing was stored.
    empty: InUse,
    stored: Vec<StoredApp>,
    // The daemon goes before what it lies on.
    docker: Dockerd,
    volume: Volume,
    scratch: PathBuf,
}

impl Edge {
    pub fn new(scratch: &Path, kind: Kind, block: u32, bytes: u64) -> Result<Self, Failure> {
        let of = if kind == Kind::Xfs { volume::FileSystem::Xfs } else { volume::FileSystem::Ext4 };
        let name = format!("{kind}-{block}");
        let volume = Volume::make(scratch, &name, of, block, bytes).map_err(said)?;
        if kind == Kind::Xfs {
            // What XFS sets aside behind the end of open files it gives back when space runs out: not counted, not shown.
            let again = "umount \"$1\" && mount -o loop,allocsize=4k \"$1.img\" \"$1\"";
            command::run_quietly(Command::new("sh").args(["-c", again, "sh"]).arg(volume.path()))?;
        }
        for directory in ["blobs/sha256", "projects"] {
            fs::create_dir_all(volume.path().join(directory)).map_err(said)?;
        }
        let docker = Dockerd::start(&volume.path().join("docker")).map_err(said)?;
        let empty = look(volume.path())?;
        Ok(Self { kind, block, empty, stored: vec![], docker, volume, scratch: scratch.to_owned() })
    }

    /// The planner's view of it.
    fn device(&self) -> Result<Device, Failure> {
        let found = rustix::fs::statvfs(self.volume.path()).map_err(said)?;
        let file_system = FileSystem {
            name: "/".into(),
            kind: self.kind,
            block_size: self.block,
            blocks: found.f_blocks,
            free: found.f_bfree,
            reserved: found.f_bfree - found.f_bavail,
            inodes_free: Some(found.f_ffree),
            inode_size: if self.kind == Kind::Xfs { 512 } else { 256 },
            groups: 4,
        };
        Ok(Device {
            name: "edge".into(),
            file_systems: vec![file_system],
            roles: Role::ALL.into_iter().map(|role| (role, 0)).collect(),
            keeps: Keeps::Blobs,
            engine: Engine::Docker,
            watermark: Watermark::new(99).map_err(said)?,
            platform: Platform::host(),
            stored: Stored::of(self.stored.clone(), Keeps::Blobs, Engine::Docker),
        })
    }

    /// Plans an update, watches while it is carried out.
    pub fn update(&mut self, shelf: &Shelf, apps: Vec<App>, prune_after: bool) -> Result<Outcome, Failure> {
        let own = look(self.volume.path())?.bytes - self.empty.bytes;
        let device = self.device()?;
        let wanted = Wanted { apps, policy: Policy { reclaim: false, prune_after }, ..Wanted::default() };
        let answer = plan(&device, &wanted);
        if !answer.fits() {
            return Err(format!("an empty device is too small: {:?}", answer.verdict));
        }
        let filling = self.fill(&device, &wanted, &answer)?;
        let before = look(self.volume.path())?;
        let watch = Watch::start(self.volume.path().to_owned(), self.kind == Kind::Xfs)?;
        let carried_out = self.carry_out(shelf, &device, &wanted, &answer);
        let most = watch.most()?;
        carried_out?;
        let last = look(self.volume.path())?;
        fs::remove_file(filling).map_err(said)?;
        let mut stored: Vec<StoredApp> = if prune_after { vec![] } else { self.stored.clone() };
        stored.retain(|stored| wanted.apps.iter().all(|app| app.digest != stored.app.digest));
        stored.iter_mut().for_each(|stored| stored.running = false);
        stored.extend(wanted.apps.into_iter().map(|app| StoredApp { app, running: true, pinned: false }));
        self.stored = stored;
        Ok(Outcome {
            answer,
            own,
            before,
            most: InUse { bytes: most.bytes.max(last.bytes), inodes: most.inodes.max(last.inodes) },
            last,
        })
    }

    /// Takes all space but what the plan says it needs, and what has to stay free: so that it is seen whether the plan
    /// holds when there is no more.
    fn fill(&self, device: &Device, wanted: &Wanted, answer: &Answer) -> Result<PathBuf, Failure> {
        let filling = self.volume.path().join("filling");
        let file = fs::File::create(&filling).map_err(said)?;
        let spare = answer.uses[0].available - answer.uses[0].peak;
        // What says where the filling lies is taken from it.
        let length = spare - spare / 1000 - (64 << 10).min(spare / 2);
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length).map_err(said)?;
        drop(file);
        look(self.volume.path())?;
        let full = Device { stored: device.stored.clone(), ..self.device()? };
        if !plan(&full, wanted).fits() {
            return Err("the filled device is too full".into());
        }
        Ok(filling)
    }

    fn carry_out(&self, shelf: &Shelf, device: &Device, wanted: &Wanted, answer: &Answer) -> Result<(), Failure> {
        self.fetch(shelf, device, wanted)?;
        for step in &answer.steps {
            match step.action {
                Action::Load => self.load(shelf, wanted, &step.what)?,
                Action::Switch => self.switch(wanted, &step.what)?,
                _ => {}
            }
        }
        if wanted.policy.prune_after { self.prune(device, wanted) } else { Ok(()) }
    }

    fn blobs(&self) -> PathBuf {
        self.volume.path().join("blobs/sha256")
    }

    fn fetch(&self, shelf: &Shelf, device: &Device, wanted: &Wanted) -> Result<(), Failure> {
        let all: BTreeSet<Digest> = wanted.apps.iter().flat_map(App::blobs).map(|blob| blob.digest).collect();
        for digest in all.iter().filter(|digest| !device.stored.blobs.contains_key(digest)) {
            let temporary = self.blobs().join(".fetching");
            fs::copy(shelf.path(digest), &temporary).map_err(said)?;
            fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(said)?;
            fs::rename(&temporary, self.blobs().join(digest.hex())).map_err(said)?;
        }
        Ok(())
    }

    fn load(&self, shelf: &Shelf, wanted: &Wanted, what: &str) -> Result<(), Failure> {
        let services = wanted.apps.iter().flat_map(|app| app.services.iter().map(move |service| (app, service)));
        let mut named = services.filter(|(app, service)| format!("{}/{}", app.name, service.name) == what);
        let (_, service) = named.next().ok_or_else(|| format!("the plan loads {what}, which nobody wants"))?;
        let archive = self.scratch.join("archive.tar");
        let bytes = shelf.archive(&service.image, &format!("fit/i:{}", service.image.config.digest.short()))?;
        fs::write(&archive, bytes).map_err(said)?;
        self.docker.docker(&["load", "-q", "-i", &archive.display().to_string()]).map_err(said)?;
        fs::remove_file(&archive).map_err(said)
    }

    fn switch(&self, wanted: &Wanted, what: &str) -> Result<(), Failure> {
        let app = wanted.apps.iter().find(|app| app.name == what);
        let app = app.ok_or_else(|| format!("the plan switches {what}, which nobody wants"))?;
        let project = self.volume.path().join("projects").join(&app.name);
        fs::create_dir_all(&project).map_err(said)?;
        fs::write(project.join("docker-compose.yml"), compose(&app.name, &app.digest.short())).map_err(said)?;
        for service in &app.services {
            let image = format!("fit/i:{}", service.image.config.digest.short());
            let name = container(app, &service.name);
            self.docker.docker(&["create", "--network=none", "--name", &name, &image, "/bin/true"]).map_err(said)?;
        }
        Ok(())
    }

    /// Removes containers, images and blobs of apps that the update replaced.
    fn prune(&self, device: &Device, wanted: &Wanted) -> Result<(), Failure> {
        let stays = |app: &App| wanted.apps.iter().any(|wanted| wanted.digest == app.digest);
        let images: BTreeSet<Digest> =
            wanted.apps.iter().flat_map(App::images).map(|image| image.config.digest).collect();
        let mut gone: BTreeMap<Digest, String> = BTreeMap::new();
        for app in device.stored.apps.iter().map(|stored| &stored.app).filter(|app| !stays(app)) {
            for service in &app.services {
                // One that was never made, because its app was replaced before, is no failure.
                let _ = self.docker.docker(&["rm", &container(app, &service.name)]);
                let config = service.image.config.digest;
                gone.insert(config, format!("fit/i:{}", config.short()));
            }
        }
        for (_, image) in gone.iter().filter(|(config, _)| !images.contains(config)) {
            self.docker.docker(&["rmi", image]).map_err(said)?;
        }
        let kept: BTreeSet<Digest> = wanted.apps.iter().flat_map(App::blobs).map(|blob| blob.digest).collect();
        for digest in device.stored.blobs.keys().filter(|digest| !kept.contains(digest)) {
            fs::remove_file(self.blobs().join(digest.hex())).map_err(said)?;
        }
        Ok(())
    }
}

fn container(app: &App, service: &str) -> String {
    format!("{}-{service}-{}", app.name, app.digest.short())
}

fn said(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}
