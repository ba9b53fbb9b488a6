//! A signed package of 300 MB onto a device: taken in, verified and stored, by the memory that takes.

use super::super::noise::noise;
use super::super::shell::Shell;
use super::super::table::Row;
use super::Bench;
use crate::Failure;

const MEMORY_BAR: f64 = 64.0;

/// Bytes of the image's one file; no compressor makes it smaller.
const BYTES: u64 = 300_000_000;

/// A package of an image of this machine's platform, signed. Blocks that do not compress are stored, whatever the compressor.
const PACKAGE: &str = r#"mkdir -p image/blobs/sha256 project home device
put() { digest=$(sha256sum $1 | cut -c1-64); size=$(stat -c %s $1); mv $1 image/blobs/sha256/$digest; }
tar --owner=0 --group=0 --mtime=@1 -cf layer noise; rm noise; put layer; oci=application/vnd.oci.image
arch=$(dpkg --print-architecture)
printf '{"architecture":"%s","os":"linux","config":{"Cmd":["/noise"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $arch $digest > config
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
$UMIAK -q keys export policy > ../device/policy.json; rm -r releases ../image; cd ../device
printf 'store = "%s/store"\nengine = "none"\npolicy = "%s/policy.json"\n\n[daemon]\nsocket = "%s/sock"\n' \
  $PWD $PWD $PWD > umiakd.toml"#;

/// What the device does: from the file on a stick to the revision that is ready to start.
const INSTALL: &str = "cd device; $UMIAKD --config umiakd.toml -q target set ../noise.tgz; \
    $UMIAKD --config umiakd.toml -q update --stage-only";

/// Adds the row.
pub fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let mut shell = Shell::new(&bench.target, "pkg-install")?;
    shell.set("UMIAK", &bench.umiak);
    // Under that name it is the device's program.
    let umiakd = shell.directory().join("umiakd");
    std::fs::copy(&bench.umiak, &umiakd).map_err(|error| format!("cannot copy the program: {error}"))?;
    shell.set("UMIAKD", &umiakd);
    std::fs::write(shell.directory().join("noise"), noise(3, BYTES)).map_err(|error| error.to_string())?;
    shell.prepare(PACKAGE)?;
    let size = shell.size("noise.tgz")?;
    let run = shell.measure(INSTALL)?;
    if !shell.has("device/store") {
        return Err("the device has no store: nothing was installed".into());
    }
    let measure =
        format!("a package of {} MB taken in, verified and stored by a device, peak memory", size / 1_000_000);
    bench.row(Row::memory(measure, run.memory, MEMORY_BAR));
    Ok(())
}
