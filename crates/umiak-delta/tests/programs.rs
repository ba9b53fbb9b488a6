//! Programs that a compiler and a linker made: functions are added, so everything behind them moves.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Memory, apply_delta, make_delta};
use umiak_delta::{Delta, MakeOptions};

/// A library of `count` functions that call each other and refer to texts and tables.
fn source(count: usize, added: bool) -> String {
    let mut text = String::from("extern int puts(const char *);\nint total;\n");
    for number in 0..count {
        text += &format!("int f{number}(int);\n");
    }
    if added {
        text += "int added(int a) { puts(\"this was not there before\"); total += a * 77; return a ^ 0x5a5a; }\n";
    }
    for number in 0..count {
        let (next, far) = ((number * 7 + 1) % count, (number * 31 + 5) % count);
        let extra = if added && number % 40 == 3 { "a += added(a);" } else { "" };
        text += &format!(
            "int f{number}(int a) {{ {extra} puts(\"function number {number}\"); total += a;\n\
             switch (a) {{ case 0: return f{next}(a + {number}); case 1: return total; case 2: puts(\"two\"); return {number};\n\
             case 3: return f{far}(3); case 4: return a * {number}; case 5: puts(\"five {number}\"); }}\n\
             return f{far}(a - 1) + f{next}(a - 2); }}\n"
        );
    }
    text += "int (*const table[])(int) = {";
    (0..count).for_each(|number| text += &format!("f{number},"));
    text + "};\n"
}

fn compiled(directory: &Path, name: &str, source: &str) -> Vec<u8> {
    let (text, program) = (directory.join(format!("{name}.c")), directory.join(format!("{name}.so")));
    std::fs::write(&text, source).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let done = Command::new(compiler)
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&program, &text])
        .status()
        .expect("a C compiler builds this workspace");
    assert!(done.success());
    std::fs::read(program).unwrap()
}

fn one(bytes: Vec<u8>) -> Memory {
    Memory::new(&[(Vec::new(), "lib.so".to_owned(), bytes)], b"")
}

#[test]
fn what_only_moved_costs_little() {
    let directory = tempfile::tempdir().unwrap();
    let base = one(compiled(directory.path(), "base", &source(1500, false)));
    let target = one(compiled(directory.path(), "target", &source(1500, true)));
    let delta = make_delta(&[&base], &target, &MakeOptions::default());
    assert_eq!(apply_delta(&[&base], &delta).unwrap(), target.bytes);
    let index = Delta::open(delta.as_slice()).unwrap().index().clone();
    assert_eq!(index.features & umiak_delta::index::feature::PROGRAMS, umiak_delta::index::feature::PROGRAMS);
    // Every function calls others, every call changed; bsdiff needs four times this.
    assert!(delta.len() < target.bytes.len() / 50, "{} bytes of {}", delta.len(), target.bytes.len());
}

#[test]
fn a_damaged_program_is_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let base = compiled(directory.path(), "base", &source(12, false));
    let target = compiled(directory.path(), "target", &source(12, true));
    let headers: Vec<usize> =
        (16..64).step_by(2).chain((64..900).step_by(16)).chain((base.len() - 2000..base.len()).step_by(32)).collect();
    for at in headers {
        for value in [0xFF, base[at] ^ 0x80] {
            let mut damaged = base.clone();
            damaged[at] = value;
            let (base, target) = (one(damaged), one(target.clone()));
            let delta = make_delta(&[&base], &target, &MakeOptions::default());
            assert_eq!(apply_delta(&[&base], &delta).unwrap(), target.bytes, "byte {at} is {value}");
        }
    }
}
