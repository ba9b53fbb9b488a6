//! The whole way of a Compose App through real programs: from a folder to a registry, checked against a device profile,
//! carried as one file, and run by a Docker daemon that has no network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Place, Said};
use serde_json::Value;
use umiak_testkit::dockerd::Dockerd;
use umiak_testkit::registry::Registry;

/// A place with the demo's images in `images`, its two projects and its device profile.
fn place(name: &str) -> Place {
    let place = Place::new(name);
    place.done("demo --keep tour -q");
    place
}

/// What Compose says of the project in `directory`; it must succeed.
fn compose(dockerd: &Dockerd, directory: &Path, arguments: &[&str]) -> String {
    let output = dockerd.command("docker-compose").current_dir(directory).args(arguments).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "docker-compose {arguments:?}: {said}");
    said
}

/// Runs the project, whose services must be well, and says which releases they are.
fn up_and_down(dockerd: &Dockerd, directory: &Path) -> String {
    compose(dockerd, directory, &["up", "-d"]);
    let mut said = String::new();
    for service in ["kiosk", "harbour"] {
        compose(dockerd, directory, &["exec", "-T", service, "/usr/bin/umiak", "kiosk", "--probe"]);
        said.push_str(&compose(dockerd, directory, &["exec", "-T", service, "/usr/bin/umiak", "json"]));
    }
    compose(dockerd, directory, &["down"]);
    said
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err))
}

/// Puts the demo's images into the registry, and the projects' compose files name them there.
fn registry(place: &Place, registry: &Registry) {
    for (image, repository) in [("kiosk-1", "kiosk"), ("kiosk-2", "kiosk"), ("harbour-1", "harbour")] {
        place.done(&format!(
            "-i copy oci:tour/images:{image} docker://{}/demo/{repository}:{image}",
            registry.address()
        ));
    }
    for release in ["shop-1", "shop-2"] {
        let file = format!("tour/{release}/docker-compose.yml");
        let text = place.read(&file).replace("registry.example", &registry.address());
        place.write(&file, text);
    }
}

#[test]
#[ignore = "needs: docker-registry, docker.io, docker-compose, iproute2, util-linux, root"]
fn a_folder_becomes_an_app_that_docker_runs_without_a_network() {
    let place = place("compose-engine");
    let server = Registry::start(&place.home()).unwrap();
    registry(&place, &server);
    let app = format!("{}/team/shop", server.address());
    place.done_in("tour/shop-1", &format!("-i compose publish {app}:1.4.2"));
    place.done_in("tour/shop-2", &format!("-i compose publish {app}:1.5.0 --delta-from 1.4.2"));

    // Known to fit before the first byte, and cheaper for who has the release before.
    let fresh = json(&place.done(&format!("-i --json compose check {app}:1.5.0 --device tour/edge-small.json")));
    let update = format!("-i --json compose check {app}:1.5.0 --device tour/edge-small.json --from 1.4.2");
    let update = json(&place.done(&update));
    assert_eq!((&fresh["fits"], &fresh["exact"], &update["fits"]), (&true.into(), &true.into(), &true.into()));
    let download = |answer: &Value| answer["download"].as_u64().unwrap();
    assert!(download(&update) * 20 < download(&fresh), "{} of {}", download(&update), download(&fresh));
    assert_eq!(update["deltas"], 1);

    let bundle = json(&place.done(&format!("-i --json compose bundle {app}:1.4.2 -o shop-1.4.2.tar")));
    assert_eq!(bundle["loadable"], true);
    let delta = json(&place.done(&format!("-i --json compose bundle {app}:1.5.0 --from 1.4.2 -o shop-1.5.0.tar")));
    assert_eq!(delta["loadable"], false);
    assert!(delta["bytes"].as_u64().unwrap() * 20 < bundle["bytes"].as_u64().unwrap(), "{delta}");
    drop(server);

    // From here on there is neither registry nor network. The first release as it is:
    let dockerd = Dockerd::start(&place.home().join("docker")).unwrap();
    let file = |name: &str| place.path().join(name);
    dockerd.docker(&["load", "-i", file("shop-1.4.2.tar").to_str().unwrap()]).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("xf").arg(file("shop-1.4.2.tar")).arg("apps").current_dir(place.path());
    assert!(tar.status().unwrap().success());
    let logs = up_and_down(&dockerd, &file("apps/shop"));
    assert_eq!((logs.matches("\"release\": 1").count(), logs.matches("\"release\": 2").count()), (2, 0), "{logs}");

    // `docker load` does not take a file with deltas for something else.
    assert!(dockerd.docker(&["load", "-i", file("shop-1.5.0.tar").to_str().unwrap()]).is_err());
    // The second release from what the daemon has.
    let mut unpack = place.command(&place.path());
    unpack.args(["compose", "unpack", "shop-1.5.0.tar", "-o", "unpacked"]).env("DOCKER_HOST", dockerd.host());
    let said = place.finish(&mut unpack);
    assert_eq!(said.code, 0, "{}", said.err);
    dockerd.docker(&["load", "-i", file("unpacked/images.tar").to_str().unwrap()]).unwrap();
    let logs = up_and_down(&dockerd, &file("unpacked/shop"));
    assert_eq!((logs.matches("\"release\": 1").count(), logs.matches("\"release\": 2").count()), (1, 1), "{logs}");
    let opening = fs::read_to_string(file("unpacked/shop/settings/opening-hours")).unwrap();
    assert_eq!(opening, "8 to 20\n");
    dockerd.stop().unwrap();
}
