//! What the demo does, in order, and what it says of it.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use umiak_ui::{Align, Size, Table, span};

use super::device;
use super::kernel::{self, Proof};
use super::teller::Teller;
use super::{deltas, failed, project, sample, verify};
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

const BASE: &str = "device/kiosk/root.squashfs";
const PATCH: &str = "device/kiosk/root.ovl.squashfs";
const EXTENSION: &str = "device/harbour/root.ovl.squashfs";
const NEW_BASE: &str = "elsewhere/kiosk/root.squashfs";
const REBUILT: &str = "elsewhere/harbour/root.ovl.squashfs";
const KIOSK_2: &str = "scratch/kiosk/root.squashfs";
const WHOLE: &str = "shop-1.5.0.tar";
const DELTA: &str = "shop-1.5.0-from-1.4.2.tar";
const HARBOUR_1: &str = "scratch/harbour/root.squashfs";

/// Tells the whole story in the empty directory `root`.
pub fn tell(context: &Context<'_>, root: &Path) -> Outcome {
    let started = Instant::now();
    let teller = Teller::new(context, root)?;
    let start = teller.images()?;
    teller.first_release()?;
    teller.second_release()?;
    let extension = teller.extension()?;
    let deltas = teller.delta()?;
    let bundles = teller.compose()?;
    let package = teller.package()?;
    let new_base = teller.new_base()?;
    let figures = Figures {
        base: teller.size("scratch/one/root.squashfs").or_else(|_| teller.size(BASE))?,
        patch: teller.size(PATCH)?,
        new_base,
        extension,
        package,
        deltas,
        bundles,
    };
    let names = teller.check()?;
    let proof = teller.kernel(&start)?;
    let device = device::tell(&teller, &proof)?;
    teller.sum_up(&figures, names, &proof, &device, started)
}

/// Bytes of what was made.
struct Figures {
    base: u64,
    patch: u64,
    new_base: u64,
    extension: u64,
    package: u64,
    deltas: deltas::Figures,
    /// Whole, and with deltas.
    bundles: [u64; 2],
}

impl Teller<'_> {
    fn images(&self) -> Result<sample::Start, Failure> {
        self.heading("Two releases of a container image, and one that extends the first");
        let images = self.root.join("images");
        let start = sample::write(&images).map_err(failed("write", &images))?;
        project::write(self.root, &images)?;
        self.context
            .printer
            .fact("Built", "kiosk-1, kiosk-2 and harbour-1 as an OCI image layout: umiak itself is the application");
        Ok(start)
    }

    /// A compose project of these images as an app; gives the bytes of its bundles, whole and with deltas.
    fn compose(&self) -> Result<[u64; 2], Failure> {
        self.heading("A compose project as an app: measured, checked against a device, carried as one file");
        for image in ["kiosk-1", "kiosk-2", "harbour-1"] {
            self.umiak("", &["copy", &format!("oci:images:{image}"), &format!("oci:shop:{image}")])?;
        }
        self.umiak("shop-1", &["compose", "publish", "oci:../shop:1.4.2"])?;
        self.umiak("shop-2", &["compose", "publish", "oci:../shop:1.5.0", "--delta-from=1.4.2"])?;
        let device = format!("--device={}", project::PROFILE);
        self.umiak("", &["compose", "check", "oci:shop:1.5.0", &device, "--from=1.4.2"])?;
        self.umiak("", &["compose", "bundle", "oci:shop:1.5.0", "-o", WHOLE])?;
        self.umiak("", &["compose", "bundle", "oci:shop:1.5.0", "--from=1.4.2", "-o", DELTA])?;
        self.umiak("", &["compose", "unpack", DELTA, "--from=oci:shop:1.4.2", "-o", "unpacked"])?;
        Ok([self.size(WHOLE)?, self.size(DELTA)?])
    }

    fn first_release(&self) -> Outcome {
        self.heading("A device with the first release");
        self.directory("device")?;
        self.umiak("device", &["init"])?;
        self.umiak("device", &["app", "add", "--from=oci:../images:kiosk-1", "kiosk"])?;
        self.umiak("device", &["add", "."])?;
        self.umiak("device", &["commit", "-m", "kiosk 1"])
    }

    fn second_release(&self) -> Outcome {
        self.heading("The second release as a patch: only what changed");
        self.umiak("device", &["app", "update", "--patch", "--from=oci:../images:kiosk-2", "kiosk"])?;
        self.umiak("device", &["status"])?;
        self.umiak("device", &["add", "."])?;
        self.umiak("device", &["commit", "-m", "kiosk 2"])
    }

    fn extension(&self) -> Result<u64, Failure> {
        self.heading("An app that extends another: only what it adds");
        self.umiak("device", &["app", "add", "--base=kiosk", "--from=oci:../images:harbour-1", "harbour"])?;
        self.umiak("device", &["app", "ls"])?;
        self.umiak("device", &["add", "."])?;
        self.umiak("device", &["commit", "-m", "harbour 1"])?;
        self.size(EXTENSION)
    }

    fn delta(&self) -> Result<deltas::Figures, Failure> {
        self.heading("For devices that keep container images: a delta beside the target, found by who has the base");
        let (base, target) = ("oci:images:kiosk-1", "oci:images:kiosk-2");
        self.umiak("", &["delta", "publish", base, target])?;
        self.umiak("", &["delta", "inspect", target, "--base", base])?;
        self.umiak("", &["delta", "apply", base, target, "-o", "oci:rebuilt:kiosk-2"])?;
        let (images, rebuilt) = (self.root.join("images"), self.root.join("rebuilt"));
        let wanted = deltas::manifest(&images, "kiosk-2")?;
        if deltas::manifest(&rebuilt, "kiosk-2")? != wanted {
            return Err(Failure::new(Kind::Untrusted, "the rebuilt image is not kiosk-2"));
        }
        self.context.printer.fact("Verified", "the rebuilt image is kiosk-2 bit for bit: manifest, config, layers");
        deltas::figures(&images, "kiosk-1", "kiosk-2")
    }

    fn package(&self) -> Result<u64, Failure> {
        self.heading("Carried elsewhere as a package");
        self.umiak("device", &["export", "../kiosk.tgz"])?;
        self.directory("elsewhere")?;
        self.umiak("elsewhere", &["init"])?;
        self.umiak("elsewhere", &["import", "../kiosk.tgz"])?;
        self.umiak("elsewhere", &["checkout"])?;
        for name in ["kiosk/root.squashfs", "kiosk/root.ovl.squashfs", "harbour/root.ovl.squashfs", ".pvr/json"] {
            if self.read("device", name)? != self.read("elsewhere", name)? {
                return Err(Failure::new(Kind::Untrusted, format!("{name} changed on its way through the package")));
            }
        }
        self.size("kiosk.tgz")
    }

    fn new_base(&self) -> Result<u64, Failure> {
        self.heading("There, the patch folded into a new base; what extends it is made again");
        self.umiak("elsewhere", &["app", "update", "--newbase", "kiosk"])?;
        self.size(NEW_BASE)
    }

    /// Compares what was made with images made on their own; gives the number of names compared.
    fn check(&self) -> Result<usize, Failure> {
        self.heading("Is it right? The same releases as whole images, made on their own");
        self.directory("scratch")?;
        self.umiak("scratch", &["init"])?;
        let fast = "--format-options=-comp lz4";
        self.umiak("scratch", &["app", "add", fast, "--from=oci:../images:kiosk-2", "kiosk"])?;
        self.umiak("scratch", &["app", "add", fast, "--from=oci:../images:harbour-1", "harbour"])?;
        let progress = self.context.progress();
        let compare = |base: &str, patch: Option<&str>, target: &str| {
            let path = |name: &str| self.root.join(name);
            verify::shows(&path(base), patch.map(path).as_deref(), &path(target), &progress)
                .map_err(|error| Failure::from_error(&error, Kind::Untrusted, Vec::new()))
        };
        let names = compare(BASE, Some(PATCH), KIOSK_2)?;
        compare(NEW_BASE, None, KIOSK_2)?;
        let more = compare(BASE, Some(EXTENSION), HARBOUR_1)?;
        compare(NEW_BASE, Some(REBUILT), HARBOUR_1)?;
        drop(progress);
        let what = "types, contents, modes, owners, links, attributes, times";
        self.context
            .printer
            .fact("Verified", &format!("base + patch is kiosk-2, and so is the new base: {names} names, {what}"));
        self.context
            .printer
            .fact("Verified", &format!("either base + its extension is harbour-1: {more} names, the same way"));
        Ok(names)
    }

    fn kernel(&self, start: &sample::Start) -> Result<Value, Failure> {
        let printer = self.context.printer;
        let process = kernel::Process {
            arguments: &start.arguments,
            environment: &start.environment,
            directory: sample::DEVICE,
            proof: &format!("{}/{}", sample::DEVICE, sample::GREETING),
        };
        let path = |name: &str| self.root.join(name);
        let told = |text: &str, by: &str| {
            let wanted = sample::greeting(2);
            let read: Value = serde_json::from_str(text).unwrap_or_default();
            if read == wanted || read[sample::GREETING] == wanted {
                return Ok(json!({ "by": by, "printed": wanted }));
            }
            Err(Failure::new(Kind::Environment, format!("the mounted app does not show release 2 but: {text}")))
        };
        match kernel::run(&path(BASE), &path(PATCH), &path("kernel"), &process) {
            Proof::Ran { by, printed } => {
                let proof = told(&printed, by)?;
                printer.fact(
                    "Ran",
                    &format!("kiosk, base and patch mounted by the kernel, with {by}; it says {}", proof["printed"]),
                );
                Ok(proof)
            }
            Proof::Mounted { read } => {
                let proof = told(&read, "mount")?;
                printer.fact(
                    "Mounted",
                    &format!(
                        "base and patch by the kernel; neither crun nor runc is here to run it. It says {}",
                        proof["printed"]
                    ),
                );
                Ok(proof)
            }
            Proof::LeftOut(why) => {
                printer.fact("Left out", &format!("mounting and running by the kernel: {why}"));
                Ok(json!({ "left_out": why }))
            }
            Proof::Failed(why) => {
                printer.warning(&format!("the kernel or the runtime could not mount and run it here: {why}"));
                Ok(json!({ "failed": why }))
            }
        }
    }

    fn sum_up(
        &self,
        figures: &Figures,
        names: usize,
        proof: &Value,
        device: &device::Figures,
        started: Instant,
    ) -> Outcome {
        let printer = self.context.printer;
        if printer.is_json() {
            return Ok(printer.document(&json!({
                "base_bytes": figures.base,
                "patch_bytes": figures.patch,
                "new_base_bytes": figures.new_base,
                "extension_bytes": figures.extension,
                "package_bytes": figures.package,
                "full_bytes": figures.deltas.full,
                "rdiff_bytes": figures.deltas.rdiff,
                "delta_bytes": figures.deltas.delta,
                "bundle_bytes": figures.bundles[0],
                "bundle_with_deltas_bytes": figures.bundles[1],
                "names_compared": names,
                "kernel": proof,
                "device": device,
                "milliseconds": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            }))?);
        }
        self.heading("What it came to");
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
        let times = figures.new_base / figures.patch.max(1);
        table.row(["kiosk-1, whole", &Size(figures.base).to_string(), "root.squashfs"]);
        table.row(["kiosk-2, whole", &Size(figures.new_base).to_string(), "root.squashfs, as a new base"]);
        table.row([
            "kiosk-2, patch",
            &Size(figures.patch).to_string(),
            &format!("root.ovl.squashfs, {times} times less to send"),
        ]);
        let deltas = &figures.deltas;
        let full = "the changed layer, gzipped: what a pull brings";
        table.row(["kiosk-2, in full", &Size(deltas.full).to_string(), full]);
        table.row(["kiosk-2, rdiff", &Size(deltas.rdiff).to_string(), "librsync's delta of these, gzipped"]);
        let times = deltas.full / deltas.delta.max(1);
        let less = format!("{times} times less than in full");
        table.row(["kiosk-2, delta", &Size(deltas.delta).to_string(), &less]);
        table.row(["harbour-1, extension", &Size(figures.extension).to_string(), "root.ovl.squashfs"]);
        let [whole, delta] = figures.bundles;
        table.row(["shop-1.5.0, bundle", &Size(whole).to_string(), "one file: both services' images, their project"]);
        table.row(["shop-1.5.0 from 1.4.2", &Size(delta).to_string(), "the same for who has the release before"]);
        table.row(["package of everything", &Size(figures.package).to_string(), "kiosk.tgz"]);
        device.rows(&mut table);
        printer.plan(&table, &Value::Null);
        printer.fact("Done", &format!("in {}", span(started.elapsed())));
        Ok(())
    }
}
