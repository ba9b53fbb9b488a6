//! The whole program on a device: real layouts, the real store, real containers, and the power cut in the middle of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

mod device;

use std::fs;
use std::os::unix::fs::FileExt;

use device::{Device, FAILS, RUNS, said};

/// Every how many operations the power is cut; a prime, so that other ones are met as the program changes.
const STRIDE: u64 = 13;

/// A device for which three releases are there.
fn released() -> Device {
    let device = Device::new();
    for (name, script, filling) in [("one", RUNS, 1), ("two", RUNS, 2), ("bad", FAILS, 3)] {
        device.release(name, script, filling);
    }
    device
}

#[test]
#[ignore = "needs: crun, busybox-static, iproute2, mount, root"]
fn a_device_updates_goes_back_by_itself_and_by_hand() {
    let device = released();
    device.done("target set oci:one");
    device.done("check --explain");
    device.done("update");
    assert_eq!(device.runs(), ("one".into(), "running".into()));
    assert!(device.done("logs").contains("one/one  release"));

    device.done("target set oci:two");
    let told = device.done("update");
    assert!(told.contains("Committed") && told.contains("umiakd rollback"), "{told}");
    assert_eq!(device.runs(), ("two".into(), "running".into()));

    device.done("target set oci:bad");
    let failed = device.run("update");
    assert_eq!(failed.code, Some(6), "{}", failed.text);
    assert!(failed.text.contains("runs again"), "{}", failed.text);
    assert_eq!(device.runs(), ("two".into(), "running".into()));
    let again = device.run("update");
    assert_eq!(again.code, Some(6), "{}", again.text);

    device.done("rollback");
    assert_eq!(device.runs(), ("one".into(), "running".into()));
    device.done("export one exported");
    assert!(device.path("exported/oci-layout").exists());
    device.done("support -o support.tar.gz");
    device.done("prune");
    assert!(device.done("fsck").contains("Verified"));
    assert!(device.done("history").contains("went back from"));
}

#[test]
#[ignore = "needs: crun, busybox-static, iproute2, mount, root"]
fn an_update_that_is_cut_off_goes_on_with_the_same_command() {
    let device = released();
    device.done("target set oci:one");
    device.done("update");
    let mut cuts = 0;
    // From one to two and back again, each time cut off somewhere else, until an update gets through.
    for number in (1..).step_by(usize::try_from(STRIDE).unwrap()) {
        let to = if cuts % 2 == 0 { "two" } else { "one" };
        device.done(&format!("target set oci:{to}"));
        let cut = said(&device.command("update --again").env("UMIAK_CRASH_AT", number.to_string()).output().unwrap());
        let (runs, _) = device.runs();
        assert!(["one", "two"].contains(&runs.as_str()), "after a cut at {number}: {runs}");
        if cut.code == Some(0) {
            break;
        }
        assert_eq!(cut.code, None, "at {number} nothing was cut: {}", cut.text);
        device.done("update --again");
        assert_eq!(device.runs(), (to.to_owned(), "running".into()), "cut at {number}");
        cuts += 1;
    }
    println!("cut off at {cuts} operations");
    assert!(cuts > 3);
    assert!(device.done("fsck").contains("Verified"));
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn a_damaged_layer_is_mended_without_its_source_while_its_service_runs() {
    let device = released();
    device.done("target set oci:one");
    device.done("update");
    fs::remove_dir_all(device.path("one")).unwrap();
    let layers = fs::read_dir(device.path("data/store/layers")).unwrap().map(|entry| entry.unwrap().path());
    let damaged: Vec<_> = layers.map(|layer| layer.join("image.squashfs")).filter(|image| image.exists()).collect();
    for image in &damaged {
        // Where a squashfs image has its tables.
        let file = fs::OpenOptions::new().read(true).write(true).open(image).unwrap();
        let place = file.metadata().unwrap().len() - 100;
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[!byte[0]], place).unwrap();
    }
    let found = device.run("fsck");
    assert_eq!(found.code, Some(4), "{}", found.text);
    let repaired = device.done("fsck --repair");
    assert_eq!(repaired.matches(": repaired").count(), damaged.len(), "{repaired}");
    assert!(device.done("fsck").contains("Verified"));
    assert_eq!(device.runs(), ("one".into(), "running".into()));
}
