//! Six packages: against scripts, again with nothing changed, and in another folder by somebody else at another time.

use super::super::measure::Runs;
use super::super::pairs::Layout;
use super::super::shell::Shell;
use super::super::table::Row;
use super::{Bench, images};
use crate::Failure;
use crate::bench::FORMAT;

const SIX_BAR: f64 = 0.7;
const UNCHANGED_BAR: f64 = 0.02;

/// The least that the app's squashfs of each platform may have, so that the figure is about real images.
const LEAST: u64 = 30 << 20;

/// A project with its source documents and a key, nothing made and nothing cached.
const READY: &str = "rm -rf ours; mkdir -p ours/project ours/home; cd ours/project; \
    $UMIAK -q keys new --subject bench; $UMIAK -q pkg init -p $PLATFORMS \"oci:$IMAGES:six\" web -o \"$FORMAT\"";

const BUILD: &str = "cd ours/project; $UMIAK -q pkg build --build-version 1";

/// The same sources, key and certificates; another folder, user, home, locale, time zone and day.
const ELSEWHERE: &str = "rm -rf other; mkdir -p 'other/a folder' other/home; cp -a ours/project/pvpkg* 'other/a folder/'; \
    cp -a ours/home/pvs other/home/; cp $UMIAK other/umiak; chown -R 12345:12345 other; cd 'other/a folder'; \
    PVR_CONFIG_DIR=$PWD/../home LC_ALL=tr_TR.UTF-8 TZ=Asia/Kathmandu \
    setpriv --reuid=12345 --regid=12345 --clear-groups -- ../umiak -q pkg build -j 1 --build-version 1";

/// Packages that are not the same in both folders.
const DIFFERENT: &str = "for one in ours/project/releases/*.tgz; do \
    cmp -s $one \"other/a folder/releases/${one##*/}\" || echo $one; done > different";

/// One platform after another.
const PEER: &str = "rm -rf peer; mkdir peer; cd peer; while read -r name layers; do \
    mkdir root package package/objects; for layer in $layers; do tar -xzf $layer -C root; done; \
    mksquashfs root root.squashfs $FORMAT -noappend -processors $(nproc) -quiet -no-progress; \
    digest=$(sha256sum root.squashfs | cut -c1-64); mv root.squashfs package/objects/$digest; \
    echo \"{\\\"#spec\\\":\\\"pantavisor-service-system@1\\\",\\\"web/root.squashfs\\\":\\\"$digest\\\"}\" > package/json; \
    tar -cf - -C package json objects | gzip > $name.tgz; rm -r root package; done < ../layers";

/// Adds the rows.
pub fn measure(bench: &mut Bench<'_>, layout: &Layout) -> Result<(), Failure> {
    let mut shell = Shell::new(&bench.target, "pkg")?;
    shell.set("UMIAK", &bench.umiak);
    shell.set("PVR_CONFIG_DIR", shell.directory().join("ours/home"));
    shell.set("PLATFORMS", images::platforms());
    shell.set("IMAGES", &layout.directory);
    shell.set("FORMAT", FORMAT);
    let list: String = images::layers(layout)?.iter().map(|(name, layers)| format!("{name} {layers}\n")).collect();
    std::fs::write(shell.directory().join("layers"), list).map_err(|error| error.to_string())?;
    let (mut ours, mut peer, mut again) = (Runs::default(), Runs::default(), Runs::default());
    for _ in 0..bench.options.runs {
        shell.prepare(READY)?;
        ours.push(shell.measure(BUILD)?);
        again.push(shell.measure(BUILD)?);
        if bench.options.wants("six") {
            peer.push(shell.measure(PEER)?);
        }
    }
    let least = smallest(&shell)?;
    if least < LEAST {
        return Err(format!("the smallest root.squashfs has {least} bytes: these are no images to measure with"));
    }
    let (Some(ours), Some(again)) = (ours.median(), again.median()) else { return Ok(()) };
    if let Some(peer) = peer.median() {
        let measure = format!("six platforms of one image (roots from {} MiB), signed, wall", least >> 20);
        bench.row(Row::times(measure, ours, peer, SIX_BAR));
        bench.row(Row::memory("the same, peak memory".into(), ours.memory, 1024.0));
    }
    if bench.options.wants("unchanged") {
        bench.row(Row::times(
            "`pkg build` again, nothing changed; the first is the peer".into(),
            again,
            ours,
            UNCHANGED_BAR,
        ));
    }
    if bench.options.wants("same") {
        shell.prepare(ELSEWHERE)?;
        shell.prepare(DIFFERENT)?;
        let text = std::fs::read_to_string(shell.directory().join("different")).map_err(|error| error.to_string())?;
        let measure =
            "packages that differ in another folder, by another user, in another locale and time zone, one job";
        #[expect(clippy::cast_precision_loss, reason = "six at most")]
        bench.row(Row::limit(measure.into(), text.lines().count() as f64, "of 6", 0.0));
    }
    Ok(())
}

/// Bytes of the smallest root.
fn smallest(shell: &Shell) -> Result<u64, Failure> {
    let releases = shell.directory().join("ours/project/releases");
    let entries =
        std::fs::read_dir(&releases).map_err(|error| format!("cannot list {}: {error}", releases.display()))?;
    let roots = entries.filter_map(|entry| std::fs::metadata(entry.ok()?.path().join("web/root.squashfs")).ok());
    roots.map(|root| root.len()).min().ok_or_else(|| "there is no root".to_owned())
}
