//! Runs `cellwall` in a folder of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// The manual's example, with a folder `policy` around it.
pub(crate) struct Shell {
    home: TempDir,
}

/// What a run printed, and its exit code.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-language/tests/plain");
        let policy = home.path().join("policy");
        fs::create_dir_all(policy.join("segments")).unwrap();
        for file in ["cellwall.yaml", "segments/payments.yaml"] {
            fs::copy(example.join(file), policy.join(file)).unwrap();
        }
        Self { home }
    }

    /// An empty folder.
    pub(crate) fn bare() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Changes a file of the policy.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path("policy").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// The program, in the folder, with an environment that says nothing.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cellwall"));
        command.args(args).current_dir(self.home.path()).env_clear();
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}
