//! What the program was built with, for run records.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let level = env::var("OPT_LEVEL").unwrap_or_default();
    let cuda = match env::var_os("CARGO_FEATURE_CUDA") {
        Some(_) => ", CUDA",
        None => "",
    };
    println!(
        "cargo:rustc-env=NOVIC_TOOLCHAIN={}, optimisation {level}{cuda}",
        version.unwrap_or_default()
    );
}
