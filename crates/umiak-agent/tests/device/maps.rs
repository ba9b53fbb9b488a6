//! The container `maps` of pvr packages: how it is described, whatever its root is.

use umiak_spec::Digest;

/// Its configuration.
pub const CONF: &[u8] = b"lxc.rootfs.path = overlayfs:/volumes/maps/root.squashfs:/volumes/maps/lxc-overlay/upper\n\
                          lxc.init.cmd = /bin/maps\n";

/// A state of it alone, with the objects at these keys beside its configuration.
pub fn state(objects: &[(&str, &[u8])]) -> String {
    let run = r##"{"#spec":"service-manifest-run@1","name":"maps","type":"lxc","config":"lxc.container.conf",
        "root-volume":"root.squashfs","volumes":[],"storage":{"lxc-overlay":{"persistence":"boot"}}}"##;
    let own = [("maps/lxc.container.conf", CONF)];
    let keys: String =
        own.iter().chain(objects).map(|(key, bytes)| format!(",\"{key}\":\"{}\"", Digest::of(bytes).hex())).collect();
    format!("{{\"#spec\":\"pantavisor-service-system@1\",\"maps/run.json\":{run}{keys}}}")
}
