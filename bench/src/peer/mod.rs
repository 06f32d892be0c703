//! Proxies that are compared: where they are described, and how one is started and ended.
//!
//! A folder each, with `about.json` and a script `run`. The script gets by environment `CERTS`
//! (`ca.pem`, `client.pem`, `client.key`, `server.pem`, `server.key`), `WORK` (a folder of its own),
//! `ENTRY` (where the load will come), `BETWEEN` (where the two sides meet), `BACKEND`, `DIRECT` (the
//! backend as the load reaches it without any proxy), `CALLER` (an address of the caller's side that the
//! callee's can reach), `PROTOCOL` (`http1`, `http2`, `tcp`), `LAYER` (4 or 7) and `PAIR` (options for
//! `cellwall-pair`; others do not know them). It runs on the caller's side; where the callee's is in
//! another namespace, `start server` of `pair.sh` starts its processes there. It starts both sides, prints one line
//! `{"ready": true, "pids": [[..], [..]], "version": ".."}` and ends both at SIGTERM. One with a policy
//! adds `denied`, where somebody calls whom it denies everything. Where it lacks a program it prints
//! `{"ready": false, "why": ".."}` and ends.

mod certificates;
mod running;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::{
    certificates::write_certificates,
    running::{Running, Scene, Started},
};

/// What is spoken through the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in plain text, with prior knowledge.
    Http2,
    /// Bytes.
    Tcp,
}

impl Protocol {
    /// The word for it in the environment of a script.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Tcp => "tcp",
        }
    }
}

/// One way to set up a pair of proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// What it is called in results.
    pub name: String,
    /// 4 if it passes bytes, 7 if it sees requests, 0 if it is no proxy.
    pub layer: u8,
    /// What goes through it.
    pub protocols: Vec<Protocol>,
    /// One line about how it is set up.
    pub about: String,
    /// Options for `cellwall-pair`.
    pub pair: Vec<String>,
    folder: PathBuf,
}

impl Contender {
    /// The same, with more options for `cellwall-pair`.
    #[must_use]
    pub fn with(&self, options: impl IntoIterator<Item = String>) -> Self {
        let mut more = self.clone();
        more.pair.extend(options);
        more
    }
}

/// A folder's `about.json`: one entry for each way to set it up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    name: String,
    layer: u8,
    protocols: Vec<Protocol>,
    about: String,
}

/// What ours has where nothing else is said: the design's number of rules.
const RULES: &str = "--rules=1000";

/// Why a peer could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// A file of it cannot be read or written.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Its description is not one.
    #[error("{}", .0.display())]
    About(PathBuf, #[source] serde_json::Error),
    /// Nobody is called this.
    #[error("no peer {name}; there are {there}")]
    Unknown {
        /// Who was asked for.
        name: String,
        /// All that there are.
        there: String,
    },
    /// There is no certificate.
    #[error("no certificates")]
    Certificates(#[source] rcgen::Error),
    /// It does not start.
    #[error("{name}: {what}: {log}")]
    Start {
        /// Who.
        name: String,
        /// What is wrong.
        what: String,
        /// The end of what it wrote.
        log: String,
    },
    /// The kernel does not let us.
    #[error("{name}: {what}")]
    Kernel {
        /// Who.
        name: String,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// All that are described in a folder, by name; or those of these names, in their order.
///
/// # Errors
/// If a description cannot be read, or a name is nobody's.
pub fn contenders(folder: &Path, names: &[String]) -> Result<Vec<Contender>, PeerError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        |error| PeerError::File(path, error)
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(error(folder))? {
        let entry = entry.map_err(error(folder))?.path();
        let about = entry.join("about.json");
        if about.is_file() {
            let text = fs::read_to_string(&about).map_err(error(&about))?;
            let ways = serde_json::from_str::<Vec<About>>(&text);
            let ways = ways.map_err(|error| PeerError::About(about.clone(), error))?;
            all.extend(ways.into_iter().map(|way| Contender {
                name: way.name,
                layer: way.layer,
                protocols: way.protocols,
                about: way.about,
                pair: vec![RULES.to_owned()],
                folder: entry.clone(),
            }));
        }
    }
    all.sort_by(|a, b| (a.layer, &a.name).cmp(&(b.layer, &b.name)));
    if names.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| {
        let found = all.iter().find(|contender| contender.name == *name);
        found.cloned().ok_or_else(|| PeerError::Unknown {
            name: name.clone(),
            there: all.iter().map(|there| there.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
    }

    #[test]
    fn every_peer_of_the_repository_is_described_and_has_its_script() {
        let all = contenders(&ours(), &[]).unwrap();
        let names = all.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>();

        assert_eq!(
            names,
            [
                "none",
                "envoy-tcp",
                "ghostunnel",
                "haproxy-tcp",
                "nginx",
                "relay",
                "stunnel",
                "bare",
                "envoy-http",
                "haproxy-http",
                "ours",
            ]
        );
        for peer in all {
            assert!(peer.folder.join("run").is_file(), "{}", peer.name);
            assert!(!peer.protocols.is_empty() && !peer.about.is_empty(), "{}", peer.name);
        }
    }

    #[test]
    fn those_that_are_named_come_in_the_order_of_their_names() {
        let some = contenders(&ours(), &["ours".to_owned(), "none".to_owned()]).unwrap();
        assert_eq!([&some[0].name, &some[1].name], ["ours", "none"]);

        let nobody = contenders(&ours(), &["varnish".to_owned()]).unwrap_err();
        assert!(nobody.to_string().starts_with("no peer varnish; there are none, "), "{nobody}");
    }
}
