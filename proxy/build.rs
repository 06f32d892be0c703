//! How the sidecar is linked.

#![expect(clippy::disallowed_methods, reason = "cargo says by variables what it builds")]

use std::{env, process::Command};

/// Since this release of the C library a program's relative relocations may be packed.
const PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name, value| env::var(name).is_ok_and(|is| is == value);
    let is_ours = env::var("HOST").ok() == env::var("TARGET").ok();
    if is_ours
        && is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && glibc().is_some_and(|release| release >= PACKED)
    {
        // A thirtieth of the program, of which each start reads every byte (decision 27).
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The release of the C library here.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
