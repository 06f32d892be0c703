//! A file that another process appends lines to.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Gives the lines of a growing file, each once.
#[derive(Clone, Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    /// Begins at this byte; lines before it are not given.
    pub fn new(path: &Path, offset: u64) -> Self {
        Self { path: path.to_owned(), offset }
    }

    /// Forgets what is there now: only what comes later will be given.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn skip(&mut self) -> io::Result<()> {
        self.lines().map(drop)
    }

    /// The whole lines that have come since the last call. A file that is not there has none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn lines(&mut self) -> io::Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // The last line may be half written.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(whole);
        self.offset += u64::try_from(whole).unwrap_or(u64::MAX);
        Ok(String::from_utf8_lossy(&bytes).lines().map(ToOwned::to_owned).collect())
    }

    /// As [`Tail::lines`], those alone that are JSON.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn json(&mut self) -> io::Result<Vec<Value>> {
        let lines = self.lines()?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}
