//! Canaries: a secret that a test knows, looked for in everything a process lets out (SEC-01 to SEC-04).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// How many bytes of a secret make a find: a 64-bit accident is none.
const ENOUGH: usize = 12;

/// A secret in every form that a log, a file or a dump may show it in.
#[derive(Clone)]
pub struct Canary {
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl std::fmt::Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canary").field("forms", &self.forms.len()).finish()
    }
}

impl Canary {
    /// The private half of a P-256 key in PKCS#8, without what every such key has.
    ///
    /// # Errors
    /// If `pkcs8` is not such a key.
    pub fn of_p256(pkcs8: &[u8]) -> anyhow::Result<Self> {
        // RFC 5915 §3: INTEGER 1, then the private number as an OCTET STRING of 32 bytes.
        let mark = [2, 1, 1, 4, 32];
        let at = pkcs8.windows(mark.len()).position(|window| window == mark);
        let begin = at.context("no P-256 key in PKCS#8")? + mark.len();
        Ok(Self::of(pkcs8.get(begin..begin + 32).context("a key that is cut off")?))
    }

    /// Any secret of at least 20 bytes.
    pub fn of(secret: &[u8]) -> Self {
        let mut forms = vec![("bytes", secret.to_vec()), ("text", hex(secret).into_bytes())];
        forms.push(("upper-case hex", hex(secret).to_uppercase().into_bytes()));
        let list = |separator: &str| {
            let numbers: Vec<String> = secret.iter().map(ToString::to_string).collect();
            numbers.join(separator).into_bytes()
        };
        forms.extend([("a list", list(", ")), ("a short list", list(","))]);
        // Base64 of a text with the secret in it begins at one of three places of a group.
        for (name, skip) in [("base64", 0), ("base64, shifted by 1", 1), ("base64, by 2", 2)] {
            let aligned = secret.get(skip..).unwrap_or_default();
            let whole = aligned.len() / 3 * 3;
            let text = crate::ca::pem("", aligned.get(..whole).unwrap_or_default());
            let text: String = text.lines().filter(|line| !line.starts_with("--")).collect();
            forms.push(("url-safe base64", text.replace('+', "-").replace('/', "_").into()));
            forms.push((name, text.into_bytes()));
        }
        // A part of it is a find as well: dumps wrap, logs are cut.
        let part = |form: &[u8]| {
            let length = form.len().min(ENOUGH.max(form.len() / 2));
            form.get(..length).unwrap_or_default().to_vec()
        };
        Self { forms: forms.into_iter().map(|(name, form)| (name, part(&form))).collect() }
    }

    /// The form in which the secret is in `bytes`, also over the ends of lines, as PEM has it.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        let one_line: Vec<u8> = bytes.iter().copied().filter(|b| !b"\r\n".contains(b)).collect();
        let found = self.forms.iter().find(|(_, form)| {
            let begins = |text: &[u8]| text.windows(form.len()).any(|part| part == form.as_slice());
            begins(bytes) || begins(&one_line)
        });
        found.map(|(name, _)| *name)
    }

    /// The files below `folder`, links not followed, that have it; with the form.
    ///
    /// # Errors
    /// If a folder cannot be read. A file that has gone meanwhile is no error.
    pub fn found_below(&self, folder: &Path) -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
        let mut found = Vec::new();
        for file in files(folder)? {
            let bytes = fs::read(&file).unwrap_or_default();
            found.extend(self.found_in(&bytes).map(|form| (file, form)));
        }
        Ok(found)
    }

    /// What of a running process shows it: its arguments, its environment, its open files.
    ///
    /// # Errors
    /// If the process is gone, or not ours to look at.
    pub fn found_in_process(&self, id: u32) -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
        let process = PathBuf::from(format!("/proc/{id}"));
        let mut places = vec![process.join("cmdline"), process.join("environ")];
        for entry in fs::read_dir(process.join("fd")).context("its open files")? {
            let path = entry?.path();
            // Sockets and pipes are read by others.
            if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
                places.push(path);
            }
        }
        let mut found = Vec::new();
        for place in places {
            let bytes = fs::read(&place).with_context(|| place.display().to_string())?;
            found.extend(self.found_in(&bytes).map(|form| (place, form)));
        }
        Ok(found)
    }
}

/// Every regular file below a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut todo) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::Canary;
    use crate::{
        ca::pem,
        x509::{Algorithm, Key},
    };

    #[test]
    fn a_key_is_found_in_every_form_and_at_every_alignment() {
        let key = Key::generate(Algorithm::P256).pkcs8();
        let der = key.secret_der();
        let canary = Canary::of_p256(der).unwrap();
        let hex: String = der.iter().map(|byte| format!("{byte:02X}")).collect();
        for text in [hex.to_lowercase(), hex, format!("{der:?}")] {
            assert!(canary.found_in(text.as_bytes()).is_some(), "{text}");
        }
        assert_eq!(canary.found_in(der), Some("bytes"));
        for shift in 0..3 {
            let text = pem("KEY", &[&b"xx"[..shift], der].concat());
            assert!(canary.found_in(text.as_bytes()).is_some(), "shift {shift}");
        }
    }

    #[test]
    fn another_key_is_not_found() {
        let [ours, other] = [(); 2].map(|()| Key::generate(Algorithm::P256).pkcs8());
        let canary = Canary::of_p256(ours.secret_der()).unwrap();
        assert_eq!(canary.found_in(other.secret_der()), None);
        assert_eq!(canary.found_in(pem("KEY", other.secret_der()).as_bytes()), None);
    }

    #[test]
    fn what_is_no_key_is_no_canary() {
        assert!(Canary::of_p256(b"not a key").is_err());
    }
}
