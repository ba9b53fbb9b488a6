//! The image that is copied: 300 MB of gzip layers, of noise and of text.

use crate::Failure;
use crate::bench::noise::noise;
use crate::bench::shell::Shell;

/// Layers: MB of the blob, about, and whether it is text, of which gzip takes some.
pub const LAYERS: [(u64, bool); 6] = [(100, false), (70, false), (60, true), (40, false), (20, true), (10, false)];

/// Makes the layout `layout` with the tag `1`, with so many percent of the sizes; returns the bytes of its blobs.
///
/// # Errors
/// It cannot be written.
pub fn make(shell: &Shell, percent: u64) -> Result<u64, Failure> {
    shell.prepare("mkdir -p layout/blobs/sha256 tree")?;
    for (number, (megabytes, is_text)) in LAYERS.into_iter().enumerate() {
        let bytes = noise(number as u64, megabytes * 10_000 * percent);
        let content = if is_text { digits(&bytes[..bytes.len() * 9 / 10]) } else { bytes };
        let path = shell.directory().join(format!("tree/file-{number}"));
        std::fs::write(&path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        shell.prepare(&format!(
            "tar -C tree --sort=name --mtime=@0 --owner=0 --group=0 -cf layer file-{number}; rm tree/file-{number}
             sha256sum layer | cut -c1-64 >> diff-ids; gzip -1n layer
             digest=$(sha256sum layer.gz | cut -c1-64)
             echo \"$digest $(stat -c %s layer.gz)\" >> layers; mv layer.gz layout/blobs/sha256/$digest"
        ))?;
    }
    shell.prepare(DOCUMENTS)?;
    let list = std::fs::read_to_string(shell.directory().join("layers")).map_err(|error| error.to_string())?;
    let sizes = list.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    Ok(sizes.sum())
}

/// Two digits for each byte: what a compressor halves, with some effort.
fn digits(bytes: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

const DOCUMENTS: &str = r#"
put() { digest=$(sha256sum $1 | cut -c1-64); size=$(stat -c %s $1); mv $1 layout/blobs/sha256/$digest; }
ids=$(sed 's/.*/"sha256:&"/' diff-ids | paste -sd,)
printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["/file-0"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$ids" > config
put config; oci=application/vnd.oci.image
config="{\"mediaType\":\"$oci.config.v1+json\",\"digest\":\"sha256:$digest\",\"size\":$size}"
layers=$(sed "s|\(.*\) \(.*\)|{\"mediaType\":\"$oci.layer.v1.tar+gzip\",\"digest\":\"sha256:\1\",\"size\":\2}|" layers | paste -sd,)
printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' $oci.manifest.v1+json "$config" "$layers" > manifest
put manifest
name='"annotations":{"org.opencontainers.image.ref.name":"1"}'
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,%s}]}' \
  $oci.manifest.v1+json $digest $size "$name" > layout/index.json
printf '{"imageLayoutVersion":"1.0.0"}' > layout/oci-layout
"#;
