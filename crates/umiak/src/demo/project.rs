//! The demo's compose project in three releases, and the profile of a device to check it against.
//!
//! Both services run the sample's images, named by digest: so the project is published without a registry, into the
//! layout that the images are in.

use std::fs;
use std::io;
use std::path::Path;

use umiak_spec::Platform;

use super::deltas::manifest;
use super::failed;
use crate::error::Outcome;

/// Host and path of the images: nobody has this host.
const REPOSITORY: &str = "registry.example/demo";

/// The device's profile.
pub const PROFILE: &str = "edge-small.json";

/// Writes `shop-1` to `shop-3`, whose images are in the layout `images`, and the profile, below `root`.
///
/// # Errors
/// The file system's.
pub fn write(root: &Path, images: &Path) -> Outcome {
    for (release, kiosk) in [(1, "kiosk-1"), (2, "kiosk-2"), (3, "kiosk-3")] {
        let (kiosk, harbour) = (manifest(images, kiosk)?, manifest(images, "harbour-1")?);
        let directory = root.join(format!("shop-{release}"));
        let write = || -> io::Result<()> {
            fs::create_dir_all(directory.join("settings"))?;
            fs::write(directory.join("settings/opening-hours"), "8 to 20\n")?;
            fs::write(directory.join("docker-compose.yml"), compose_file(&kiosk, &harbour))
        };
        write().map_err(failed("write", &directory))?;
    }
    let profile = root.join(PROFILE);
    fs::write(&profile, device()).map_err(failed("write", &profile))
}

fn compose_file(kiosk: &str, harbour: &str) -> String {
    format!(
        "# Two kiosks that share most of what they are made of.\n\
         x-kiosk: &kiosk\n\
         \x20 command: [kiosk]\n\
         \x20 network_mode: none  # it only says which release it is\n\
         \x20 healthcheck:\n\
         \x20   test: [CMD, /usr/bin/umiak, kiosk, --probe]\n\
         \x20   interval: 1s\n\
         services:\n\
         \x20 kiosk:\n\
         \x20   image: {REPOSITORY}/kiosk@{kiosk}\n\
         \x20   <<: *kiosk\n\
         \x20 harbour:\n\
         \x20   image: {REPOSITORY}/harbour@{harbour}\n\
         \x20   <<: *kiosk\n"
    )
}

/// 1 GiB of flash of which little is taken, for images of this machine's platform.
fn device() -> String {
    let platform = Platform::host();
    format!(
        "{{\n\
         \x20 \"name\": \"edge-small\",\n\
         \x20 \"platform\": \"{platform}\",\n\
         \x20 \"engine\": \"docker\",\n\
         \x20 \"watermark\": 85,\n\
         \x20 \"file-systems\": [\n\
         \x20   {{\"name\": \"/\", \"kind\": \"ext4\", \"size\": \"1 GiB\", \"free\": \"700 MiB\", \"inodes-free\": 60000}}\n\
         \x20 ]\n\
         }}\n"
    )
}
