//! A signed package of 300 MB onto a device: taken in, verified, stored and running, by the memory and the room that takes.

use super::super::agent::device::Device;
use super::super::agent::figures;
use super::super::device_program;
use super::super::noise::noise;
use super::super::shell::Shell;
use super::super::table::Row;
use super::Bench;
use crate::{Failure, command};

const MEMORY_BAR: f64 = 64.0;

/// Bytes of the image's large file; no compressor makes it smaller.
const BYTES: u64 = 300_000_000;

/// Where Debian has the image's program, which needs no other file.
const BUSYBOX: &str = "/bin/busybox";

/// A package of an image of this machine's platform, signed. Blocks that do not compress are stored, whatever the compressor.
const PACKAGE: &str = r#"mkdir -p image/blobs/sha256 project home device
put() { digest=$(sha256sum $1 | cut -c1-64); size=$(stat -c %s $1); mv $1 image/blobs/sha256/$digest; }
mkdir bin; cp $BUSYBOX bin/busybox
tar --owner=0 --group=0 --mtime=@1 -cf layer bin noise; rm -r bin noise; put layer; oci=application/vnd.oci.image
arch=$(dpkg --print-architecture)
printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/bin/busybox","sleep","1000000"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $arch $digest > config
layer="{\"mediaType\":\"$oci.layer.v1.tar\",\"digest\":\"sha256:$digest\",\"size\":$size}"; put config
printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"sha256:%s","size":%s},"layers":[%s]}' \
  $oci.manifest.v1+json $oci.config.v1+json $digest $size "$layer" > manifest; put manifest
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"1"}}]}' \
  $oci.manifest.v1+json $digest $size > image/index.json
printf '{"imageLayoutVersion":"1.0.0"}' > image/oci-layout
cd project; export PVR_CONFIG_DIR=$PWD/../home
$UMIAK -q keys new --subject bench
$UMIAK -q pkg init -p linux/$arch oci:../image:1 noise -o '-comp lz4'
$UMIAK -q pkg build --build-version 1 > /dev/null; mv releases/*.tgz ../noise.tgz
$UMIAK -q keys export policy > ../policy.json; rm -r releases ../image"#;

/// Adds the rows.
///
/// # Errors
/// No root; a command failed.
pub fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    if !command::is_root() {
        return Err("a device of the bench mounts file systems and runs containers: it needs root".into());
    }
    let umiakd = device_program(bench.options, &bench.umiak)?;
    let mut shell = Shell::new(&bench.target, "pkg-install")?;
    shell.set("UMIAK", &bench.umiak);
    shell.set("BUSYBOX", BUSYBOX);
    std::fs::write(shell.directory().join("noise"), noise(3, BYTES)).map_err(|error| error.to_string())?;
    shell.prepare(PACKAGE)?;
    let (package, policy) = (shell.directory().join("noise.tgz"), shell.directory().join("policy.json"));
    let megabytes = shell.size("noise.tgz")? / 1_000_000;
    let device = Device::new(shell.directory(), "pkg", &umiakd, Some(&policy))?;
    let update = device.update(&package.display().to_string(), None)?;
    let memory =
        [update.setting, update.staging, update.switching].map(|run| run.memory).into_iter().fold(0.0, f64::max);
    let what = format!("a package of {megabytes} MB onto a device");
    bench.row(Row::memory(format!("{what}, verified, stored and running: peak memory"), memory, MEMORY_BAR));
    figures::said(&what, &update).into_iter().for_each(|row| bench.row(row));
    Ok(())
}
