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
