//! What `/proc` says about a process. Racy by itself: [`crate::Caller`] pins it with a pidfd.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{Selector, Selectors};

/// A local process, as the agent attested it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// Its number, as this process sees it.
    pub pid: i32,
    /// When it started, in clock ticks since boot: a recycled pid has another.
    pub started: u64,
    /// Effective user.
    pub uid: u32,
    /// Effective primary group.
    pub gid: u32,
    /// What it is, in the words of registration entries.
    pub selectors: Selectors,
}

/// Why `/proc` gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file of the process cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the process does not look as Linux writes it.
    #[error("{} has an unknown form", .path.display())]
    Unparsable {
        /// Which file.
        path: PathBuf,
    },
}

impl Process {
    /// Reads what the process with this number is now.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] when the process is gone or `/proc` does not show it.
    pub fn read(pid: i32) -> Result<Self, ProcessError> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let started = read(folder.join("stat"), parse_stat)?;
        let (uid, gid) = read(folder.join("status"), parse_status)?;
        let selectors = [Selector::Uid(uid), Selector::Gid(gid)]
            .into_iter()
            .chain(executable(&folder.join("exe")).map(Selector::Path))
            .collect();
        Ok(Self { pid, started, uid, gid, selectors })
    }
}

fn read<T>(path: PathBuf, parse: impl Fn(&[u8]) -> Option<T>) -> Result<T, ProcessError> {
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes).ok_or(ProcessError::Unparsable { path }),
        Err(source) => Err(ProcessError::Unreadable { path, source }),
    }
}

/// proc_pid_stat(5). The name of the command stands in parentheses and may hold any byte but a
/// slash, also `) S 1`: fields are counted from the *last* closing one (ATT-02). Gives the start time.
fn parse_stat(stat: &[u8]) -> Option<u64> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    // Field 3 is the first after the name, the start time is field 22.
    fields.nth(22 - 3)?.parse().ok()
}

/// proc_pid_status(5): `Uid:` and `Gid:` list real, effective, saved and file system ids.
fn parse_status(status: &[u8]) -> Option<(u32, u32)> {
    // The name of the command is escaped by the kernel, so no line of it can be forged.
    let effective = |key: &str| -> Option<u32> {
        let line = status.split(|byte| *byte == b'\n').find_map(|line| {
            line.strip_prefix(key.as_bytes()).and_then(|rest| std::str::from_utf8(rest).ok())
        })?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some((effective("Uid:")?, effective("Gid:")?))
}

/// The path of the executable, if the file at that path is the one that runs (ATT-03). A deleted
/// or replaced file, a memfd and a file that only another mount namespace shows at that path do
/// not earn the selector; nor does a process whose `exe` we may not read.
fn executable(link: &Path) -> Option<String> {
    let path = fs::read_link(link).ok()?.into_os_string().into_string().ok()?;
    if path.ends_with(" (deleted)") {
        return None;
    }
    let (running, named) = (fs::metadata(link).ok()?, fs::metadata(&path).ok()?);
    is_same_file(&running, &named).then_some(path)
}

fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    one.dev() == other.dev() && one.ino() == other.ino()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process};

    use super::{Process, executable, is_same_file, parse_stat, parse_status};
    use crate::Selector;

    fn stat_of(name: &str) -> String {
        format!("4242 ({name}) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 990017 20 21\n")
    }

    #[test]
    fn the_name_of_a_command_cannot_pass_for_fields() {
        // ATT-02
        let expected = Some(990_017);
        for name in ["checkout", "a) S 1", "x) 0 0 0 0 0", "((", "", "a b\nc"] {
            assert_eq!(parse_stat(stat_of(name).as_bytes()), expected, "{name:?}");
        }
    }

    #[test]
    fn a_stat_without_its_fields_is_refused() {
        for stat in ["", "1", "1 (x)", "1 (x) S 1 2 3", "1 (x S 1 2 3 4 5 6 7 8 9 10 11 12 13"] {
            assert_eq!(parse_stat(stat.as_bytes()), None, "{stat:?}");
        }
    }

    #[test]
    fn the_effective_ids_are_taken() {
        let status = b"Name:\ta\\nUid:\t0 0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        assert_eq!(parse_status(status), Some((2, 6)));
        assert_eq!(parse_status(b"Uid:\t1\nGid:\t1\t1\n"), None);
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let this = Process::read(process::id().cast_signed()).unwrap();
        let path = fs::read_link("/proc/self/exe").unwrap().to_str().unwrap().to_owned();
        let expected = [
            Selector::Uid(nix::unistd::geteuid().as_raw()),
            Selector::Gid(nix::unistd::getegid().as_raw()),
            Selector::Path(path),
        ];
        assert_eq!(this.selectors, expected.into_iter().collect());
    }

    #[test]
    fn only_the_file_that_runs_earns_its_path() {
        // ATT-03: links stand in for `/proc/PID/exe`.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run");
        fs::write(&file, "x").unwrap();
        let link = dir.path().join("exe");
        let point_to = |target: &Path| {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).unwrap();
        };
        point_to(&file);
        assert_eq!(executable(&link), file.to_str().map(str::to_owned));
        let deleted = dir.path().join("run (deleted)");
        fs::write(&deleted, "x").unwrap();
        point_to(&deleted);
        assert_eq!(executable(&link), None);
        point_to(&dir.path().join("nothing"));
        assert_eq!(executable(&link), None);
        // Another mount namespace may show another file at the same path.
        let [one, other] = [&file, &deleted].map(|path| fs::metadata(path).unwrap());
        assert!(is_same_file(&one, &one) && !is_same_file(&one, &other));
    }
}
