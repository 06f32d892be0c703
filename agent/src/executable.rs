//! The SHA-256 of a process's executable, for the audit record of an issuance (OBS-06).

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};

/// Larger files are recorded without a hash: a local user must not make us read for minutes.
const MAX_BYTES: u64 = 1 << 30;
/// Executables remembered. When full, all are forgotten.
const MAX_REMEMBERED: usize = 256;
const CHUNK_BYTES: usize = 128 * 1024;

/// Device, inode, size, and when content and inode last changed.
type Version = (u64, u64, u64, (i64, i64), (i64, i64));

/// Hashes each version of an executable once.
#[derive(Debug, Default)]
pub(crate) struct Executables {
    known: Mutex<HashMap<Version, [u8; 32]>>,
}

impl Executables {
    /// The hash of what the process runs; nothing when we may not read it. Blocks on the disk.
    pub(crate) fn sha256(&self, pid: i32) -> Option<[u8; 32]> {
        let mut file = File::open(format!("/proc/{pid}/exe")).ok()?;
        let version = version_of(&file).ok()?;
        if let Some(hash) = self.with_known(|known| known.get(&version).copied()) {
            return Some(hash);
        }
        let hash = hash(&mut file).ok()?;
        if version_of(&file).ok()? != version {
            return None;
        }
        self.with_known(|known| {
            if known.len() >= MAX_REMEMBERED {
                known.clear();
            }
            known.insert(version, hash);
        });
        Some(hash)
    }

    fn with_known<T>(&self, work: impl FnOnce(&mut HashMap<Version, [u8; 32]>) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn version_of(file: &File) -> io::Result<Version> {
    let metadata = file.metadata()?;
    if metadata.size() > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Ok((metadata.dev(), metadata.ino(), metadata.size(), modified, changed))
}

fn hash(file: &mut impl Read) -> io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        match chunk.get(..count) {
            Some(read) if !read.is_empty() => context.update(read),
            Some(_) | None => break,
        }
    }
    <[u8; 32]>::try_from(context.finish().as_ref()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use aws_lc_rs::digest::{SHA256, digest};

    use super::Executables;

    #[test]
    fn the_hash_is_that_of_the_file_that_runs() {
        let executables = Executables::default();
        let expected = digest(&SHA256, &fs::read("/proc/self/exe").unwrap());
        let pid = process::id().cast_signed();
        for _ in 0..2 {
            assert_eq!(executables.sha256(pid).unwrap().as_slice(), expected.as_ref());
        }
        assert_eq!(executables.sha256(-1), None);
    }
}
