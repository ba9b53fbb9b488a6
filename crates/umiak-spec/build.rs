//! Tells the crate which ARM variant it is compiled for: the compiler says only `arm`, which is v5 as well as v7.

#![allow(clippy::print_stdout, reason = "a build script talks to cargo on standard output")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let architecture = target.split('-').next().unwrap_or_default();
    let variant = match architecture {
        "arm" => "v6",
        name if name.starts_with("armv4") || name.starts_with("armv5") => "v5",
        name if name.starts_with("armv6") => "v6",
        name if name.starts_with("armv7") || name.starts_with("thumbv7") => "v7",
        _ => "",
    };
    println!("cargo::rustc-env=UMIAK_ARM_VARIANT={variant}");
}
