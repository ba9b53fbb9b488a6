//! Projects read as Compose reads them: names, variables, several files, `extends`, `include`; and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::{Duration, Instant};

use common::{Texts, one, pin, read, read_with, short};
use umiak_compose::{ComposeError, Project};

/// Services as `name=image`.
fn images(project: &Result<Project, ComposeError>) -> String {
    match project {
        Ok(project) => {
            let images = project
                .services()
                .iter()
                .map(|service| format!("{}={}:{}", service.name, service.image.written(), service.image.target()));
            images.collect::<Vec<_>>().join(" ")
        }
        Err(error) => error.to_string(),
    }
}

fn service(image: &str) -> String {
    format!("services: {{web: {{image: {image}}}}}")
}

#[test]
fn the_names_are_compose_s() {
    let (a, b, over) = (service("a"), service("b"), "services: {web: {image: over}}".to_owned());
    for (files, expected) in [
        (vec![("compose.yaml", &a), ("docker-compose.yml", &b)], "web=a:latest"),
        (vec![("docker-compose.yaml", &b)], "web=b:latest"),
        (vec![("compose.yml", &a), ("compose.override.yaml", &over)], "web=over:latest"),
        (vec![("docker-compose.yml", &a), ("docker-compose.override.yml", &over)], "web=over:latest"),
    ] {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(images(&read(&files)), expected, "{files:?}");
    }
    let none = "the project: there is no compose file: none of compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml";
    assert_eq!(images(&read(&[])), none);
    let files = [("a.yml", a.as_str()), ("b.yml", b.as_str()), (".env", "COMPOSE_FILE=a.yml:b.yml")];
    assert_eq!(images(&read(&files)), "web=b:latest");
    assert_eq!(images(&read_with(&files, &["a.yml"], &[])), "web=a:latest");
    assert_eq!(images(&read_with(&files, &["c.yml"], &[])), "c.yml: there is no such file");
}

#[test]
fn the_environment_wins_over_env() {
    let files = [
        ("compose.yaml", "services: {web: {image: 'app:${TAG:-none}', platform: $P}}"),
        (".env", "TAG=1\nP=linux/arm64"),
    ];
    assert_eq!(images(&read(&files)), "web=app:1");
    assert_eq!(images(&read_with(&files, &[], &[("TAG", "2")])), "web=app:2");
    assert_eq!(read(&files).unwrap().services()[0].platform.as_ref().unwrap().to_string(), "linux/arm64");
    let variables = read(&files).unwrap().variables().clone();
    assert!(variables["P"].required && variables["P"].in_env && !variables["TAG"].required);
}

#[test]
fn files_are_merged_by_the_specification() {
    let base = "\
services:
  web:
    image: a
    command: [one, two]
    environment: [A=1, B=2]
    ports: ['80:80', '127.0.0.1:443:443']
    volumes: ['./x:/data', 'named:/keep']
    labels: {a: '1'}
    dns: 1.1.1.1
    networks: [front]
    logging: {driver: json-file, options: {max-size: 1m}}
    depends_on: [db]
    privileged: true
    healthcheck: {test: [CMD, a], interval: 1s}
    cap_add: [NET_ADMIN]
    extra_hosts: {h: 10.0.0.1}
    ulimits: {nofile: 10}
  db: {image: d}
networks: {front: , back: }
volumes: {named: }
";
    let over = "\
services:
  web:
    command: three
    environment: {B: '3', C: }
    ports: ['80:80', '8080:80']
    volumes: ['./y:/data/']
    labels: [b=2]
    dns: [8.8.8.8, 1.1.1.1]
    networks: {back: {aliases: [w]}}
    logging: {driver: syslog}
    depends_on: {db: {condition: service_healthy}}
    privileged: !reset null
    healthcheck: {test: [CMD, b]}
    cap_add: !override [SYS_TIME]
    extra_hosts: ['i=10.0.0.2']
    ulimits: {nofile: {soft: 1, hard: 2}}
";
    let project = read(&[("compose.yaml", base), ("compose.override.yaml", over)]).unwrap();
    let pinned = pin(&project);
    assert!(!pinned.kept);
    assert_eq!(
        short(&pinned.text),
        "\
services:
  web:
    image: docker.io/library/a@sha256:eb796b
    command: three
    environment:
      A: \"1\"
      B: \"3\"
      C:
    ports:
      - \"80:80\"
      - \"127.0.0.1:443:443\"
      - \"8080:80\"
    volumes:
      - ./y:/data/
      - named:/keep
    dns:
      - 1.1.1.1
      - 8.8.8.8
    networks:
      front:
      back:
        aliases:
          - w
    logging:
      driver: syslog
    depends_on:
      db:
        condition: service_healthy
    healthcheck:
      test:
        - CMD
        - b
      interval: 1s
    cap_add:
      - SYS_TIME
    extra_hosts:
      - h:10.0.0.1
      - i=10.0.0.2
    ulimits:
      nofile:
        soft: 1
        hard: 2
    labels:
      a: \"1\"
      b: \"2\"
      io.compose-spec.config-hash: HASH
  db:
    image: docker.io/library/d@sha256:e6800c
    labels:
      io.compose-spec.config-hash: \"HASH\"
networks:
  front:
  back:
volumes:
  named:
"
    );
}

#[test]
fn services_extend_others_here_and_elsewhere() {
    let files: Texts<'_> = &[
        (
            "docker-compose.yml",
            "services:\n  web:\n    extends: {file: lib/common.yml, service: app}\n    environment: {B: 2}\n  two: {extends: web, image: c}\n",
        ),
        (
            "lib/common.yml",
            "services:\n  app:\n    extends: base\n    env_file: app.env\n    volumes: ['./d:/d', 'v:/v']\n  base: {image: 'b:${T}', environment: {A: 1}, build: ./b}\n",
        ),
        (".env", "T=7"),
    ];
    let missing = read(files);
    assert_eq!(images(&missing), "lib/common.yml:5:25: service `web` names volume `v`, which is not there");
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.replace(", 'v:/v'", ""))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let project = read(&files);
    assert_eq!(images(&project), "web=b:7 two=c:latest");
    let pinned = pin(&project.unwrap());
    let web = pinned.text.split("  two:").next().unwrap();
    assert!(web.contains("env_file: ./lib/app.env\n") && web.contains("- ./lib/d:/d\n"), "{web}");
    assert!(web.contains("A: 1\n") && web.contains("B: 2\n") && !web.contains("build"), "{web}");
}

#[test]
fn included_projects_keep_their_variables_and_paths() {
    let files: Texts<'_> = &[
        (
            "compose.yaml",
            "include:\n  - infra/compose.yaml\n  - path: [mon/a.yaml, mon/b.yaml]\n    env_file: mon/v.env\n    project_directory: .\nservices: {web: {image: w, depends_on: [db]}}\n",
        ),
        (
            "infra/compose.yaml",
            "services:\n  db:\n    image: 'd:${D}'\n    environment: {D: '$D', T: '$T', U: '${U:-x}', M: '$$D'}\n    volumes: ['./data:/data']\n    env_file: [{path: db.env, required: false}]\nconfigs: {c: {file: c.txt}}\n",
        ),
        ("infra/.env", "D=9\nT=inner"),
        (".env", "T=outer"),
        ("mon/a.yaml", "services: {mon: {image: 'm:${V}'}}"),
        ("mon/b.yaml", "services: {mon: {volumes: ['./m:/m']}}"),
        ("mon/v.env", "V=3"),
    ];
    let project = read(files);
    assert_eq!(images(&project), "web=w:latest db=d:9 mon=m:3");
    let text = pin(&project.unwrap()).text;
    for line in [
        "D: \"9\"",
        "T: $T",
        "U: \"${U:-x}\"",
        "M: $$D",
        "- ./infra/data:/data",
        "- path: ./infra/db.env",
        "file: ./infra/c.txt",
        "- ./m:/m",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    assert!(!text.contains("include"));
    let conflict: Texts<'_> = &[
        ("compose.yaml", "include: [b.yaml]\nservices: {web: {image: a}}"),
        ("b.yaml", "services: {web: {image: b}}"),
    ];
    assert_eq!(images(&read(conflict)), "compose.yaml:1:11: service `web` is defined elsewhere already, differently");
}

#[test]
fn circles_are_found_and_named() {
    let include: Texts<'_> = &[("compose.yaml", "include: [a/b.yaml]"), ("a/b.yaml", "include: [../compose.yaml]")];
    assert_eq!(
        images(&read(include)),
        "a/b.yaml:1:11: files that include one another go in a circle: compose.yaml -> a/b.yaml -> compose.yaml"
    );
    let circle = |text: &str| images(&one(text));
    assert_eq!(
        circle("services: {a: {extends: b, image: x}, b: {extends: {service: a}}}"),
        "docker-compose.yml:1:25: services that extend one another go in a circle: \
         a (docker-compose.yml) -> b (docker-compose.yml) -> a (docker-compose.yml)"
    );
    assert_eq!(
        circle(
            "services: {a: {image: x, depends_on: [b]}, b: {image: x, links: ['c:alias']}, c: {image: x, network_mode: 'service:b'}}"
        ),
        "docker-compose.yml:1:55: services that wait for one another go in a circle: b -> c -> b"
    );
    assert_eq!(
        circle("services: {a: {image: x, depends_on: [a]}}"),
        "docker-compose.yml:1:23: services that wait for one another go in a circle: a -> a"
    );
    assert_eq!(
        circle("services: {a: {image: x, labels: &l {x: *l}}}"),
        "docker-compose.yml:1:41: the alias stands inside of what it names"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, message, hint) in [
        (
            "services:\n  web:\n    imgae: x\n",
            "docker-compose.yml:3:5: `imgae` is not a key of `services` `web`",
            "did you mean `image`?",
        ),
        ("servces: {}", "docker-compose.yml:1:1: `servces` is not a key of a compose file", "did you mean `services`?"),
        (
            "services: {web: {image: x, deploy: {resources: {limit: 1}}}}",
            "docker-compose.yml:1:49: `limit` is not a key of `resources`",
            "did you mean `limits`?",
        ),
        (
            "services: {web: {image: x, qqqqqqqq: 1}}",
            "docker-compose.yml:1:28: `qqqqqqqq` is not a key of `services` `web`",
            "keys of your own begin with `x-`",
        ),
        (
            "services: {web: {build: .}}",
            "docker-compose.yml:1:17: service `web` has no image",
            "a device does not build: build and push the image, and give `web` its name with `image:`",
        ),
        (
            "services: {web: {ports: [1]}}",
            "docker-compose.yml:1:17: service `web` has no image",
            "give `web` an `image:`",
        ),
        ("services: {web: {image: [x]}}", "docker-compose.yml:1:25: `image` must be a single value, not a list", ""),
        ("services: [web]", "docker-compose.yml:1:11: `services` must be a map, not a list", ""),
        ("services: {}", "docker-compose.yml:1:1: the project has no services", ""),
        ("", "docker-compose.yml: the project has no services", ""),
        ("- a", "docker-compose.yml:1:1: a compose file must be a map, not a list", ""),
        ("services: {web: {image: x}, web: {image: y}}", "docker-compose.yml:1:29: the key `web` is there twice", ""),
        ("services:\n  web: {image: x\n", "docker-compose.yml:3:1: it is not YAML: ", ""),
        ("services: {web: {image: *x}}", "docker-compose.yml:1:25: it is not YAML: ", ""),
        ("a: 1\n---\nb: 2", "docker-compose.yml:2:1: a second YAML document begins here: one file, one document", ""),
        (
            "services: {web: {image: !cut x}}",
            "docker-compose.yml:1:25: the tag `!cut` means nothing in a compose file",
            "",
        ),
        (
            "services: {web: {image: 'x:${T}'}}",
            "docker-compose.yml:1:25: the variable `T` has no value",
            "set `T` in the environment or in .env, or give it a default: ${T:-…}",
        ),
        (
            "services: {web: {image: 'x:${T:?say which}'}}",
            "docker-compose.yml:1:25: the variable `T` has no value: say which",
            "set `T` in the environment or in .env, or give it a default: ${T:-…}",
        ),
        (
            "services: {web: {image: x, command: 'a $1'}}",
            "docker-compose.yml:1:37: `a $1` is not a valid use of a variable: a name, a brace or another `$` must follow `$`",
            "a `$` that is meant as such is written `$$`",
        ),
        ("services: {web: {image: 'X'}}", "docker-compose.yml:1:25: service `web` has no usable image", ""),
        ("services: {web: {image: 'oci:dir'}}", "docker-compose.yml:1:25: service `web` has no usable image", ""),
        (
            "services: {web: {image: x, networks: [n]}}",
            "docker-compose.yml:1:39: service `web` names network `n`, which is not there",
            "",
        ),
        (
            "services: {web: {image: x, depends_on: [n]}}",
            "docker-compose.yml:1:17: service `web` names service `n`, which is not there",
            "",
        ),
        (
            "include: ['https://x/y']\nservices: {web: {image: x}}",
            "docker-compose.yml:1:11: `https://x/y` is not a file: only files can be included",
            "",
        ),
    ] {
        let error = one(text).expect_err(text);
        let told = error.to_string();
        assert!(
            if message.ends_with(": ") { told.starts_with(message) } else { told == message },
            "{text}\n{told}\n{message}"
        );
        assert_eq!(error.hint().unwrap_or_default(), hint, "{text}");
    }
    assert!(one("services: {web: {image: x, depends_on: {n: {condition: service_started, required: false}}}}").is_ok());
}

/// Large and hostile files are refused before they cost anything.
#[test]
fn bombs_are_refused_quickly() {
    let mut laughs = "a0: &a0 [x]\n".to_owned();
    for level in 1..40 {
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
    }
    let anchors = |count: usize| (0..count).map(|at| format!("x-{at}: &a{at} 1\n")).collect::<String>();
    let merges = {
        let mut text = "x-0: &m0 {k: v}\n".to_owned();
        for level in 1..200 {
            text.push_str(&format!(
                "x-{level}: &m{level} {{<<: *m{}, k{level}: {{<<: *m{}}}}}\n",
                level - 1,
                level - 1
            ));
        }
        text
    };
    for (what, text, message) in [
        (
            "2 MiB of anchors",
            anchors(100_000),
            "docker-compose.yml: it is beyond the limit of 1048576 bytes in a compose file",
        ),
        (
            "many anchors",
            anchors(20_000),
            "docker-compose.yml:1001:9: it is beyond the limit of 1000 anchors in a compose file",
        ),
        ("laughs", laughs, "once aliases are followed"),
        ("merges", merges, "once aliases are followed"),
        ("depth", "[".repeat(500_000), "recursion limit exceeded"),
        (
            "block depth",
            (0..1000).map(|at| format!("{}a:\n", " ".repeat(at))).collect(),
            "it is beyond the limit of 64 nested values",
        ),
        (
            "values",
            format!("x: [{}]", "1,".repeat(200_000)),
            "it is beyond the limit of 100000 values in a compose file",
        ),
        (
            "variables",
            format!("services: {{web: {{image: '{}'}}}}", "${A:-".repeat(100_000)),
            "is not a valid use of a variable",
        ),
    ] {
        assert!(what != "2 MiB of anchors" || text.len() > 1 << 20);
        let start = Instant::now();
        let error = one(&text).expect_err(what).to_string();
        assert!(error.contains(message), "{what}: {error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
    }
}
