//! Golden examples of pinned files: what is edited, and what stays as it was to the byte.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{one, pin, short};

/// The pinned text, and that it is the project's own with edits.
fn kept(text: &str) -> String {
    let pinned = pin(&one(text).unwrap());
    assert!(pinned.kept, "written anew:\n{}", pinned.text);
    short(&pinned.text)
}

#[test]
fn comments_anchors_and_order_stay() {
    let text = "\
# The shop.
x-logging: &logging   # for all
  driver: json-file
services:

  web:            # front
    image: nginx:1.25   # LTS
    build: ./web
    logging: *logging
    ports: [\"80:80\"]
  db:
    logging: *logging
    image: \"registry.example/team/db:2\"
    build:
      context: .
      # deep
      args: {A: 1}
    labels:
      team: shop
volumes: {}   # none
";
    assert_eq!(
        kept(text),
        "\
# The shop.
x-logging: &logging   # for all
  driver: json-file
services:

  web:            # front
    labels: {io.compose-spec.config-hash: \"HASH\"}
    image: docker.io/library/nginx@sha256:b07c1f   # LTS
    logging: *logging
    ports: [\"80:80\"]
  db:
    logging: *logging
    image: \"registry.example/team/db@sha256:b0ac41\"
    labels:
      io.compose-spec.config-hash: \"HASH\"
      team: shop
volumes: {}   # none
"
    );
}

/// Projects of one file, and the same pinned.
#[test]
fn pins_go_where_the_value_is() {
    for (what, text, expected) in [
        (
            "an anchor that only images use",
            "services:\n  a: {image: &i 'x:1'} # one\n  b:\n    image: *i\n",
            "services:\n  a: {labels: {io.compose-spec.config-hash: \"HASH\"}, image: &i 'docker.io/library/x@sha256:3ef3b2'} # one\n  b:\n    labels: {io.compose-spec.config-hash: \"HASH\"}\n    image: *i\n",
        ),
        (
            "a merge key",
            "x-app: &app\n  image: x:1 # here\n  build: .\n  labels: {l: '1'}\nservices:\n  a:\n    <<: *app\n    labels: {m: '2'}\n  b:\n    <<: *app\n  c: *app\n",
            "x-app: &app\n  image: docker.io/library/x@sha256:3ef3b2 # here\n  labels: {l: '1'}\nservices:\n  a:\n    <<: *app\n    labels: {io.compose-spec.config-hash: \"HASH\", m: '2'}\n  b:\n    labels: {l: \"1\", io.compose-spec.config-hash: \"HASH\"}\n    <<: *app\n  c: {<<: *app, labels: {l: \"1\", io.compose-spec.config-hash: \"HASH\"}}\n",
        ),
        (
            "an anchor that other things use too",
            "x-name: &n x:1\nservices:\n  a:\n    image: *n\n    command: *n\n",
            "x-name: &n x:1\nservices:\n  a:\n    labels: {io.compose-spec.config-hash: \"HASH\"}\n    image: docker.io/library/x@sha256:3ef3b2\n    command: *n\n",
        ),
        (
            "an image that other things refer to",
            "services:\n  a:\n    image: &n x:1\n    command: *n\n",
            "services:\n  a:\n    labels: {io.compose-spec.config-hash: \"HASH\"}\n    image: &n docker.io/library/x@sha256:3ef3b2\n    command: x:1\n",
        ),
        (
            "a variable",
            "services:\n  a:\n    image: ${R:-x}:${T:-1}\n    command: $T\n",
            "services:\n  a:\n    labels: {io.compose-spec.config-hash: \"HASH\"}\n    image: docker.io/library/x@sha256:3ef3b2\n    command: $T\n",
        ),
        (
            "labels as a list, as nothing, as an alias, and there already",
            "x-l: &l [a=b]\nx-m: &m {c: d}\nservices:\n  a:\n    image: x:1\n    labels:\n    - \"a=b\" # c\n  b:\n    image: x:1\n    labels:\n  c: {image: 'x:1', labels: []}\n  d: {image: 'x:1', labels: *l}\n  e: {image: 'x:1', labels: *m}\n  f:\n    image: x:1\n    labels:\n      - io.compose-spec.config-hash=old\n  g:\n    image: x:1\n    labels:\n      io.compose-spec.config-hash: old\n",
            "x-l: &l [a=b]\nx-m: &m {c: d}\nservices:\n  a:\n    image: docker.io/library/x@sha256:3ef3b2\n    labels:\n    - io.compose-spec.config-hash=HASH\n    - \"a=b\" # c\n  b:\n    image: docker.io/library/x@sha256:3ef3b2\n    labels: {io.compose-spec.config-hash: \"HASH\"}\n  c: {image: 'docker.io/library/x@sha256:3ef3b2', labels: [io.compose-spec.config-hash=HASH]}\n  d: {image: 'docker.io/library/x@sha256:3ef3b2', labels: {a: b, io.compose-spec.config-hash: \"HASH\"}}\n  e: {image: 'docker.io/library/x@sha256:3ef3b2', labels: {<<: *m, io.compose-spec.config-hash: \"HASH\"}}\n  f:\n    image: docker.io/library/x@sha256:3ef3b2\n    labels:\n      - io.compose-spec.config-hash=HASH\n  g:\n    image: docker.io/library/x@sha256:3ef3b2\n    labels:\n      io.compose-spec.config-hash: \"HASH\"\n",
        ),
        (
            "extends within the file",
            "services:\n  a:\n    image: x:1\n    build: {context: .}\n    labels: {l: '1'}\n  b:\n    extends: a\n    build: ./b\n",
            "services:\n  a:\n    image: docker.io/library/x@sha256:3ef3b2\n    labels: {io.compose-spec.config-hash: \"HASH\", l: '1'}\n  b:\n    labels: {io.compose-spec.config-hash: \"HASH\"}\n    extends: a\n",
        ),
        (
            "build in every position, with CRLF",
            "services:\r\n  a: {build: ., image: 'x:1'}\r\n  b: {image: 'x:1', build: {context: .}}\r\n  c:\r\n    build:\r\n      dockerfile_inline: |\r\n        FROM x\r\n\r\n        RUN y\r\n    image: x:1\r\n",
            "services:\r\n  a: {labels: {io.compose-spec.config-hash: \"HASH\"}, image: 'docker.io/library/x@sha256:3ef3b2'}\r\n  b: {labels: {io.compose-spec.config-hash: \"HASH\"}, image: 'docker.io/library/x@sha256:3ef3b2'}\r\n  c:\r\n    labels: {io.compose-spec.config-hash: \"HASH\"}\r\n    image: docker.io/library/x@sha256:3ef3b2\r\n",
        ),
        (
            "JSON",
            "{\"services\": {\"a\": {\"image\": \"x:1\", \"labels\": {}}}}",
            "{\"services\": {\"a\": {\"image\": \"docker.io/library/x@sha256:3ef3b2\", \"labels\": {io.compose-spec.config-hash: \"HASH\"}}}}",
        ),
        (
            "letters of more than one byte",
            "# Grüße 🚢\nservices:\n  \"ü\": # é\n    command: \"日本\"\n    image: x:1 # ö\n",
            "# Grüße 🚢\nservices:\n  \"ü\": # é\n    labels: {io.compose-spec.config-hash: \"HASH\"}\n    command: \"日本\"\n    image: docker.io/library/x@sha256:3ef3b2 # ö\n",
        ),
    ] {
        assert_eq!(kept(text), expected, "{what}");
    }
}

#[test]
fn what_edits_cannot_say_is_written_anew() {
    for text in [
        "services:\n  a:\n    image: x:1\n    build: &b {context: .}\n    healthcheck: {test: [CMD]}\n    x-build: *b\n",
        "x-s: &s\n  a: {image: 'x:1'}\nservices: *s\n",
        "services:\n  a:\n    image: x:1\n    labels: &l {k: v}\n    environment: *l\n",
    ] {
        let pinned = pin(&one(text).unwrap());
        assert!(!pinned.kept, "{}", pinned.text);
        assert!(short(&pinned.text).contains("image: docker.io/library/x@sha256:3ef3b2\n"), "{}", pinned.text);
    }
}

#[test]
fn the_hash_changes_with_the_service_and_with_nothing_else() {
    let hash = |text: &str, env: &str, file: &str| {
        let files = [("docker-compose.yml", text), (".env", env), ("a.env", file)];
        pin(&common::read(&files).unwrap()).services[0].config_hash
    };
    let text = "services:\n  a:\n    image: x:1\n    env_file: a.env\n    command: [$A, '5']\n    labels: {l: '1'}\n  b: {image: y}\n";
    let base = hash(text, "A=1\nB=2", "V=1");
    for (what, same) in [
        (
            "order",
            text.replace("    env_file: a.env\n", "")
                .replace("labels: {l: '1'}\n", "labels: {l: \"1\"} # c\n    env_file: a.env\n"),
        ),
        ("another service", text.replace("image: y", "image: z")),
        ("build", text.replace("    image: x:1\n", "    image: x:1\n    build: .\n")),
        ("a hash that is there", text.replace("{l: '1'}", "{l: '1', io.compose-spec.config-hash: x}")),
        ("anchors", text.replace("{l: '1'}", "&l {l: &m '1'}")),
    ] {
        assert_eq!(hash(&same, "A=1\nB=2", "V=1"), base, "{what}");
    }
    assert_eq!(hash(text, "A=1\nB=3", "V=1"), base, "a variable that it does not use");
    for (what, other) in [
        ("image", text.replace("x:1", "x:2")),
        ("type", text.replace("'5'", "5")),
        ("label", text.replace("l: '1'", "l: '2'")),
        ("key", text.replace("    env_file", "    tty: true\n    env_file")),
    ] {
        assert_ne!(hash(&other, "A=1\nB=2", "V=1"), base, "{what}");
    }
    assert_ne!(hash(text, "A=2\nB=2", "V=1"), base, "a variable that it uses");
    assert_ne!(hash(text, "A=1\nB=2", "V=2"), base, "a file of variables");
}

#[test]
fn what_the_caller_finds_is_handed_on() {
    let project = one("services: {a: {image: x}, b: {image: y}}").unwrap();
    let mut asked = vec![];
    let result = project.pinned(|service| {
        asked.push(service.name.clone());
        Err::<umiak_spec::Digest, Box<dyn std::error::Error>>("no such tag".into())
    });
    assert_eq!(result.unwrap_err().to_string(), "no such tag");
    assert_eq!(asked, ["a"]);
}
