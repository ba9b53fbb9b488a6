//! The demo's image layout, read by other people's programs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;

use harness::Place;

#[test]
#[ignore = "needs: skopeo, umoci, root"]
fn the_sample_images_are_images_to_others_and_run_from_umoci_s_unpacking() {
    let place = Place::new("layout-peers");
    place.done("-q demo --keep demo");
    let images = place.path().join("demo/images");
    for tag in ["kiosk-1", "kiosk-2", "harbour-1"] {
        let inspected = Command::new("skopeo").args(["inspect", &format!("oci:{}:{tag}", images.display())]).output();
        let inspected = inspected.expect("skopeo is installed");
        assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
    }
    let bundle = place.path().join("bundle");
    let image = format!("{}:kiosk-2", images.display());
    let unpacked =
        Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle).output().expect("umoci is installed");
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    let ran = Command::new("chroot").arg(bundle.join("rootfs")).args(["/usr/bin/umiak", "--version"]).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).starts_with("umiak "), "{}", String::from_utf8_lossy(&ran.stderr));
}
