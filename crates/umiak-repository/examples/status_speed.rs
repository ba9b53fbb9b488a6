//! Measures the bar on `status`: in a repository of 20 000 files the second run takes at most a tenth of the first.
//!
//! `cargo run --release -p umiak-repository --example status_speed [BYTES PER FILE [LATER RUNS]]`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::time::Instant;

use umiak_repository::{AddOptions, InitOptions, Repository};
use umiak_spec::Silent;

fn main() -> Result<(), Box<dyn Error>> {
    let size: usize = std::env::args().nth(1).map_or(Ok(16 << 10), |size| size.parse())?;
    let temp = tempfile::tempdir()?;
    let root = temp.path();
    for index in 0_u32..20_000 {
        let directory = root.join(format!("app{}/dir{}", index % 20, index % 400));
        fs::create_dir_all(&directory)?;
        let content: Vec<u8> = index.to_le_bytes().iter().copied().cycle().take(size).collect();
        fs::write(directory.join(format!("file{index}")), content)?;
    }
    let repository = Repository::init(root, &InitOptions::default())?;
    timed("add", || repository.add(&[], AddOptions::default(), &Silent).map(drop))?;
    timed("commit", || repository.commit("all", None, &Silent).map(drop))?;
    fs::remove_file(root.join(".pvr/umiak-stat"))?;
    let status = || repository.status(&Silent).map(|changes| assert!(changes.is_empty(), "{changes:?}"));
    let first = timed("first status", status)?;
    let mut second = f64::INFINITY;
    for _ in 0..std::env::args().nth(2).map_or(Ok(3), |runs| runs.parse())? {
        second = second.min(timed("later status", status)?);
    }
    println!("later / first    {:8.3}", second / first);
    Ok(())
}

fn timed<E>(what: &str, work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    work()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    println!("{what:<16} {took:8.1} ms");
    Ok(took)
}
