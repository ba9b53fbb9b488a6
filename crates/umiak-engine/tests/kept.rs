//! What is kept and what is shared: volumes, writable roots, images, networks, ports.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use device::{Device, NEXT, NoImages, REVISION, shell, volume};
use umiak_engine::{Condition, Engine, EngineError, Placed};
use umiak_spec::service::{
    Attachment, Bind, Mount, MountKind, Network, Persistence, Port, Private, Propagation, Protocol, Root, Service,
};

both! {
    volumes_are_kept_as_long_as_said
    a_writable_root_lasts_as_long_as_said
    images_are_stacked_and_shared
    services_find_one_another_and_ports_lead_to_them
    a_first_process_collects_orphans
}

fn ended(device: &Device, service: &str) {
    device.wait(service, |seen| matches!(seen.condition, Condition::Exited { code: 0, .. }));
}

fn volumes_are_kept_as_long_as_said(device: &mut Device) {
    let script = "cat /kept/seed; for v in kept revision boot; do cat /$v/mine 2>/dev/null; echo $v written > /$v/mine; done; cat /given/file";
    let mut service = shell("web", script);
    service.mounts = vec![
        volume("kept", Persistence::Persistent, "/data"),
        volume("revision", Persistence::Revision, "/revision"),
        volume("boot", Persistence::Boot, "/boot"),
        Mount { target: "/kept".into(), ..volume("kept", Persistence::Persistent, "/data") },
        Mount {
            target: "/given".into(),
            read_only: true,
            kind: MountKind::Bind(Bind {
                source: "files".into(),
                create: false,
                recursive: true,
                propagation: Propagation::Private,
            }),
        },
    ];
    fs::create_dir_all(device.path("project/files")).unwrap();
    fs::write(device.path("project/files/file"), "from the project\n").unwrap();
    for (revision, before) in [(REVISION, &[][..]), (NEXT, &["kept written", "boot written"][..])] {
        let mut deployment = device.deployment(revision, [service.clone()]);
        deployment.project = Some(device.path("project"));
        device.start(&deployment).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        let done =
            || {
                device.engine.observe().unwrap().iter().any(|seen| {
                    seen.revision == revision && matches!(seen.condition, Condition::Exited { code: 0, .. })
                })
            };
        while !done() {
            assert!(Instant::now() < end, "{:?}", device.all("web"));
            std::thread::sleep(Duration::from_millis(3));
        }
        let output = device.output("web");
        let last = output.iter().rposition(|line| line.starts_with("from the image")).unwrap();
        let seen: Vec<&str> = output[last..].iter().map(String::as_str).collect();
        // `cat` of the seed ends without a new line.
        let first = seen[0].strip_prefix("from the image").unwrap();
        let mut seen: Vec<&str> = seen[1..].to_vec();
        seen.extend((!first.is_empty()).then_some(first));
        for wanted in before {
            assert!(seen.contains(wanted), "{wanted} in {seen:?}");
        }
        assert!(!seen.contains(&"revision written") && seen.contains(&"from the project"), "{seen:?}");
    }
    let kept = device.path("volumes").join(&device.app);
    assert!(kept.join("revisions/001122334455/volumes/revision/mine").exists());
    device.engine.remove(&device.app, REVISION).unwrap();
    assert!(!kept.join("revisions/001122334455").exists() && kept.join("volumes/kept/mine").exists());
    assert!(matches!(device.engine.purge(&device.app), Err(EngineError::Deployed(_))));
    device.engine.remove(&device.app, NEXT).unwrap();
    device.engine.purge(&device.app).unwrap();
    assert!(!kept.exists());
}

fn a_writable_root_lasts_as_long_as_said(device: &mut Device) {
    let script = "cat /mine 2>/dev/null; echo written > /mine";
    let with = |name: &str, root| Service { root, ..shell(name, script) };
    let keeps = with("keeps", Root::Writable(Persistence::Revision));
    let forgets = with("forgets", Root::Writable(Persistence::Boot));
    let deployment = device.run([keeps, forgets]);
    for round in 0..2 {
        for name in ["keeps", "forgets"] {
            ended(device, name);
            // The second start finds what the first wrote.
            assert_eq!(device.output(name).len(), round, "{name}");
            device.engine.start(&deployment, name).unwrap();
        }
    }
    ["keeps", "forgets"].iter().for_each(|name| ended(device, name));
    // As after a start of the device: nothing in the run directory.
    for name in ["keeps", "forgets"] {
        umiak_mount::unmount(&device.instance(name, "root")).unwrap();
        fs::remove_dir_all(device.instance(name, "")).unwrap();
    }
    device.start(&deployment).unwrap();
    ended(device, "keeps");
    ended(device, "forgets");
    assert_eq!((device.output("keeps").len(), device.output("forgets").len()), (3, 2));
}

fn images_are_stacked_and_shared(device: &mut Device) {
    // Two layers above: one that adds and hides, one more that is empty but for a name.
    let tree = device.path("upper-tree");
    fs::create_dir_all(tree.join("srv")).unwrap();
    fs::write(tree.join("srv/index.html"), "replaced\n").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("data"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    )
    .unwrap();
    let upper = device.path("upper.squashfs");
    device::squash(&tree, &upper);
    let script = "cat /srv/index.html; ls -d /data /bin 2>/dev/null; sleep 1000";
    let mut deployment = device.deployment(
        REVISION,
        (0..12).map(|number| {
            let mut service = shell(&format!("s{number}"), script);
            service.stop_grace = Duration::ZERO;
            service
        }),
    );
    for Placed { lowers, .. } in &mut deployment.services {
        lowers.insert(0, upper.clone());
    }
    device.start(&deployment).unwrap();
    assert_eq!(device.loops(), 1, "one loop device for all");
    device.wait_for_words("s11", "/bin");
    assert_eq!(device.output("s11"), ["replaced", "/bin"]);
    device.engine.remove(&device.app, REVISION).unwrap();
    assert_eq!(device.loops(), 0);
}

fn services_find_one_another_and_ports_lead_to_them(device: &mut Device) {
    let on = |service: &mut Service, networks: &[&str], ports: Vec<Port>| {
        let attached =
            networks.iter().map(|name| Attachment { aliases: vec!["shop-front".into()], ..Attachment::new(name) });
        service.network = Network::Private(Private { attached: attached.collect(), ports });
    };
    let mut web = shell("web", "exec httpd -f -p 80 -h /srv");
    let port = Port { host: None, published: Some(8088), target: 80, protocol: Protocol::Tcp };
    on(&mut web, &["front", "back"], vec![port]);
    web.process.user.user = umiak_spec::service::Identity::Number(33);
    let mut near = shell("near", "until wget -q -O - http://shop-front/index.html; do sleep 0.05; done; sleep 1000");
    on(&mut near, &["back"], vec![]);
    let mut far = shell("far", "wget -q -T 2 -O - http://web/index.html || echo no way; sleep 1000");
    on(&mut far, &["elsewhere"], vec![]);
    let mut beside = shell("beside", "until wget -q -O - http://127.0.0.1/index.html; do sleep 0.05; done; sleep 1000");
    beside.network = Network::Service("web".into());
    let mut alone = shell("alone", "ls /sys/class/net; sleep 1000");
    alone.network = Network::None;
    let mut all = [web, near, far, beside, alone];
    all.iter_mut().for_each(|service| service.stop_grace = Duration::ZERO);
    let deployment = device.run(all);
    device.wait_for_words("near", "hello from the service");
    device.wait_for_words("beside", "hello from the service");
    device.wait_for_words("far", "no way");
    device.wait_for_words("alone", "lo");
    assert_eq!(device.output("alone"), ["lo"]);
    let mut stream = TcpStream::connect("127.0.0.1:8088").unwrap();
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("hello from the service"), "{answer}");
    // The port is taken: whoever wants it too is told so.
    let mut second = shell("second", "sleep 1000");
    let port = Port { host: None, published: Some(8088), target: 80, protocol: Protocol::Tcp };
    on(&mut second, &["front"], vec![port]);
    let next = device.deployment(NEXT, [second]);
    let error = device.start(&next).unwrap_err().to_string();
    assert!(error.contains("8088"), "{error}");
    device.engine.ready(&deployment, &NoImages).unwrap();
    device.engine.remove(&device.app, REVISION).unwrap();
    assert!(TcpStream::connect("127.0.0.1:8088").is_err());
    let links = std::process::Command::new("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    device.engine.remove(&device.app, NEXT).unwrap();
    assert!(links.matches(": umiak").count() <= 1, "only the other revision's is left: {links}");
}

fn a_first_process_collects_orphans(device: &mut Device) {
    // The shim of this test needs libraries, which busybox's image does not have: they come along.
    let shim = env!("CARGO_BIN_EXE_umiak-shim");
    let listed = std::process::Command::new("ldd").arg(shim).output().unwrap();
    let mut service = shell("web", "(sleep 0.05 & ) ; sleep 0.2; ps -o pid,stat,args; exit 5");
    for path in String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let bind = Bind { source: path.into(), create: false, recursive: false, propagation: Propagation::Private };
        service.mounts.push(Mount { target: path.into(), read_only: true, kind: MountKind::Bind(bind) });
    }
    service.init = true;
    device.run([service]);
    device.wait("web", |seen| seen.condition == Condition::Exited { code: 5, stopped: false });
    let output = device.output("web");
    assert!(output.iter().any(|line| line.contains(".umiak-init")), "{output:?}");
    assert!(!output.iter().any(|line| line.contains(" Z ")), "{output:?}");
}
