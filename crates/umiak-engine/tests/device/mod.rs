//! A device for tests: directories, a network of its own, an image of busybox, an engine with a real runtime.
//!
//! Guarantees: nothing of it is left when it is dropped, and its networks are not those of the machine.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use umiak_engine::oci::{Directories, Oci, OciOptions, Pool};
use umiak_engine::{Deployment, Engine, EngineError, Images, Line, LogQuery, Observed, Placed, Stream};
use umiak_mount::namespace;
use umiak_spec::Digest;
use umiak_spec::service::{Service, Volume};

pub const REVISION: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
pub const NEXT: &str = "sha256:ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// How long a state may take to come on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

pub struct Device {
    /// Its own, as control groups are the machine's.
    pub app: String,
    pub engine: Oci,
    pub image: PathBuf,
    pub scratch: TempDir,
}

pub struct NoImages;

impl Images for NoImages {
    fn config(&self, _: &Digest) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn layer(&self, _: &Digest) -> std::io::Result<Box<dyn std::io::Read + Send + '_>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// Does `work` on a device whose services are run by `runtime`.
pub fn on_device(runtime: &str, work: impl FnOnce(&mut Device) + Send) {
    let scratch = tempfile::Builder::new().prefix("um").tempdir().unwrap();
    let keeper = scratch.path().join("machine");
    namespace::keep_network(&keeper).unwrap();
    let image = busybox(scratch.path());
    let engine = Oci::new(options(scratch.path(), &program(runtime))).unwrap();
    let app = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut device = Device { app, engine, image, scratch };
    let done =
        namespace::in_network(&keeper, || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&mut device))))
            .unwrap();
    let cleaned = device.clean();
    namespace::drop_network(&keeper).unwrap();
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
    cleaned.unwrap();
}

pub fn program(runtime: &str) -> PathBuf {
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
    places.iter().map(|place| Path::new(place).join(runtime)).find(|path| path.exists()).expect("the runtime")
}

pub fn options(scratch: &Path, runtime: &Path) -> OciOptions {
    let directory = |name: &str| scratch.join(name);
    OciOptions {
        directories: Directories { run: directory("run"), volumes: directory("volumes"), logs: directory("logs") },
        runtime: runtime.to_owned(),
        shim: vec![env!("CARGO_BIN_EXE_umiak-shim").to_owned()],
        systemd_cgroups: false,
        pool: Pool::default(),
        patience: Duration::from_secs(30),
    }
}

/// A squashfs image of busybox with a few accounts and contents.
fn busybox(scratch: &Path) -> PathBuf {
    let tree = scratch.join("tree");
    for directory in ["bin", "etc", "data", "srv", "proc", "dev", "sys", "tmp"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    fs::set_permissions(tree.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    for name in [
        "sh", "sleep", "cat", "id", "echo", "touch", "wget", "nc", "httpd", "grep", "yes", "head", "mkdir", "hostname",
        "ls", "test", "true", "false", "dd", "kill", "ps", "pwd", "env", "tail", "stat", "wc",
    ] {
        symlink("busybox", tree.join("bin").join(name)).unwrap();
    }
    fs::write(tree.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n").unwrap();
    fs::write(tree.join("etc/group"), "root:x:0:\nweb:x:34:\nvideo:x:44:web\n").unwrap();
    fs::write(tree.join("data/seed"), "from the image").unwrap();
    fs::write(tree.join("srv/index.html"), "hello from the service\n").unwrap();
    let image = scratch.join("layer.squashfs");
    squash(&tree, &image);
    image
}

pub fn squash(tree: &Path, image: &Path) {
    let mut command = Command::new("mksquashfs");
    command.arg(tree).arg(image).args(["-noappend", "-quiet", "-no-progress", "-comp", "gzip", "-all-root"]);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

pub fn shell(name: &str, script: &str) -> Service {
    Service::new(name, vec!["/bin/sh".into(), "-c".into(), script.into()])
}

impl Device {
    pub fn deployment(&self, revision: &str, services: impl IntoIterator<Item = Service>) -> Deployment {
        let placed = |service| Placed { service, image: Digest::of(b"image"), lowers: vec![self.image.clone()] };
        let services = services.into_iter().map(placed).collect();
        Deployment { app: self.app.clone(), revision: revision.into(), services, project: None }
    }

    /// Makes ready and starts everything.
    pub fn run(&self, services: impl IntoIterator<Item = Service>) -> Deployment {
        let deployment = self.deployment(REVISION, services);
        self.start(&deployment).unwrap();
        deployment
    }

    pub fn start(&self, deployment: &Deployment) -> Result<(), EngineError> {
        self.engine.ready(deployment, &NoImages)?;
        deployment.services.iter().try_for_each(|placed| self.engine.start(deployment, &placed.service.name))
    }

    /// The directories of a service's control groups, whatever version they are of. Its engine's mark ends their names.
    pub fn groups(&self, service: &str) -> Vec<PathBuf> {
        let name = format!("umiak+{}+001122334455+{service}+", self.app);
        let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = below(top).chain([top.to_owned()]).map(|path| path.join("umiak"));
        let ours = |path: &PathBuf| path.file_name().is_some_and(|given| given.to_string_lossy().starts_with(&name));
        hierarchies.flat_map(|path| below(&path).collect::<Vec<_>>()).filter(ours).collect()
    }

    pub fn stop(&self, service: &str) {
        self.engine.stop(&self.app, REVISION, service).unwrap();
    }

    pub fn see(&self, service: &str) -> Observed {
        let all = self.engine.observe().unwrap();
        all.into_iter().find(|one| one.service == service && one.revision == REVISION).expect("it is observed")
    }

    /// Waits until what is observed is as wanted.
    pub fn wait(&self, service: &str, wanted: impl Fn(&Observed) -> bool) -> Observed {
        let end = Instant::now() + SOON;
        loop {
            let seen = self.see(service);
            if wanted(&seen) {
                return seen;
            }
            assert!(Instant::now() < end, "it stays {seen:?}; {:?}", self.last(service));
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Waits until the service printed `words`.
    pub fn wait_for_words(&self, service: &str, words: &str) {
        let end = Instant::now() + SOON;
        while !self.output(service).iter().any(|line| line.contains(words)) {
            assert!(Instant::now() < end, "no `{words}` in {:?}", self.last(service));
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// What the service printed.
    pub fn output(&self, service: &str) -> Vec<String> {
        self.lines(service, |line| line.stream != Stream::Note)
    }

    /// And what its shim noted.
    pub fn all(&self, service: &str) -> Vec<String> {
        self.lines(service, |_| true)
    }

    /// The last lines, for a message.
    fn last(&self, service: &str) -> Vec<String> {
        let mut all = self.all(service);
        all.split_off(all.len().saturating_sub(8))
    }

    /// A file of a service's instance.
    pub fn instance(&self, service: &str, file: &str) -> PathBuf {
        self.path("run/services").join(&self.app).join("001122334455").join(service).join(file)
    }

    fn lines(&self, service: &str, wanted: impl Fn(&Line) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut sink = |line: &Line| {
            if wanted(line) {
                lines.push(String::from_utf8_lossy(&line.text).into_owned());
            }
            ControlFlow::Continue(())
        };
        self.engine.logs(&self.app, Some(service), &LogQuery::default(), &mut sink).unwrap();
        lines
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// What the kernel still has of this device.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let table = umiak_mount::table::Table::read().unwrap();
        table.below(&self.path("run")).map(|mount| mount.point.clone()).collect()
    }

    /// Loop devices that serve the image.
    pub fn loops(&self) -> usize {
        let image = self.image.to_string_lossy().into_owned();
        let backing = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file"));
        let entries = fs::read_dir("/sys/block").unwrap().flatten();
        entries.filter_map(|entry| backing(entry).ok()).filter(|text| text.trim() == image).count()
    }

    fn clean(&self) -> Result<(), EngineError> {
        for seen in self.engine.observe()? {
            self.engine.remove(&seen.app, &seen.revision)?;
        }
        Ok(())
    }
}

/// Calls a test for both runtimes.
#[macro_export]
macro_rules! both {
    ($($name:ident)*) => {
        mod crun {
            $(#[test]
            #[ignore = "needs: crun, squashfs-tools, busybox-static, iproute2, root"]
            fn $name() { super::device::on_device("crun", super::$name); })*
        }
        mod runc {
            $(#[test]
            #[ignore = "needs: runc, squashfs-tools, busybox-static, iproute2, root"]
            fn $name() { super::device::on_device("runc", super::$name); })*
        }
    };
}

/// A volume of a service.
pub fn volume(name: &str, persistence: umiak_spec::service::Persistence, target: &str) -> umiak_spec::service::Mount {
    let volume = Volume { name: name.into(), persistence, copy: true, subpath: None, above: false };
    umiak_spec::service::Mount {
        target: target.into(),
        read_only: false,
        kind: umiak_spec::service::MountKind::Volume(volume),
    }
}
