//! The whole command line reference is one snapshot: a change of a word of it is a change in a review.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::{Place, assert_snapshot};

/// The commands of the first page, in its order.
fn commands(page: &str) -> Vec<String> {
    let listed = |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.len() > 18;
    let lines = page.lines().skip_while(|line| *line != "Apps:").take_while(|line| !line.contains("--json"));
    let names = lines.filter(listed).map(|line| line[..18].trim().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_page_of_help_is_as_reviewed() {
    let place = Place::new("reference");
    let first = place.done("--help").out;
    let mut reference = format!("$ umiak --help\n{first}");
    let commands = commands(&first);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let page = place.done(&format!("{command} --help")).out;
        // The options that every command has are on the first page.
        let own = page.split("\nTalk (anywhere on the line):").next().unwrap_or_default();
        let rest = page.split_once("always` or `never`").map_or("", |(_, rest)| rest);
        let rest = rest.split_once("[default: auto]").map_or("", |(_, rest)| rest);
        reference.push_str(&format!("\n\n$ umiak {command} --help\n{}{}\n", own, rest.trim_end()));
    }
    let reference: String = reference.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_snapshot("reference", &reference);
}

#[test]
fn pvr_s_spellings_are_understood() {
    let place = Place::new("spellings");
    for line in [
        "co -hl --help",
        "checkout --hardlink --help",
        "reset -c --help",
        "ci -m x --help",
        "j -c --help",
        "ap l --help",
        "c --help",
        "m --help",
        "app update -patch x --help",
        "export -p a,b --help",
        "add -r --help",
    ] {
        assert_eq!(place.run(line).code, 0, "{line}");
    }
}

#[test]
fn a_wrong_line_is_told_on_stderr_with_code_2() {
    let place = Place::new("wrong");
    let mut told = String::new();
    for line in [
        "comit",
        "app add nginx",
        "app update --patch --newbase x",
        "app add --fro nginx:1 nginx",
        "app add --group data --runlevel data --from x y",
        "status --color sometimes",
        "putobjects --force https://pvr.example/me/device",
        "login",
        "device create",
        "sig add",
        "sig add --part web",
        "keys new --authority x --bare",
        "-c conf claim",
    ] {
        let said = place.run(line);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line}");
        told.push_str(&format!("$ umiak {line}\n{}\n", said.err));
    }
    assert_snapshot("wrong", &told);
}

#[test]
fn with_json_errors_are_json_lines() {
    let place = Place::new("json-errors");
    for line in ["--json comit", "--json claim", "claim --json"] {
        let said = place.run(line);
        let object: serde_json::Value =
            serde_json::from_str(&said.err).unwrap_or_else(|_| panic!("{line}: {}", said.err));
        assert_eq!((object["type"].as_str(), object["exit"].as_i64()), (Some("error"), Some(2)), "{line}");
        assert_eq!(said.code, 2);
    }
}

#[test]
fn asking_for_nothing_gives_the_first_page_on_stderr() {
    let said = Place::new("nothing").run("");
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("Device directory:"));
}

#[test]
fn completion_scripts_know_the_commands() {
    let place = Place::new("completion");
    for shell in ["bash", "zsh", "fish"] {
        let script = place.done(&format!("completion {shell}")).out;
        assert!(script.contains("checkout") && script.contains("newbase"), "{shell}");
    }
}
