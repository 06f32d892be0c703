//! What one end of a connection saw of the other.

use std::io;

use rustls::{AlertDescription, CommonState, NamedGroup};
use rustls_pki_types::CertificateDer;

/// What one end saw of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Why there was no handshake; `None` when it completed from this side's view.
    pub failure: Option<String>,
    /// The alert that the other end sent, in or after the handshake.
    pub alert: Option<AlertDescription>,
    /// The other end's certificates, leaf first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The protocol that was agreed.
    pub alpn: Option<String>,
    /// The group of the key exchange.
    pub group: Option<NamedGroup>,
    /// Session tickets received; a client's view only.
    pub tickets: u32,
    /// What the first read after the handshake gave.
    pub after: After,
}

/// What the first read after a handshake gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// These bytes.
    Data(Vec<u8>),
    /// The other end closed, with or without a `close_notify`.
    Closed,
    /// The other end sent an alert, or the transport failed.
    Failed(String),
    /// Nothing within the deadline.
    Silence,
    /// There was no handshake.
    NotReached,
}

impl Seen {
    pub(super) fn nothing(failure: &str) -> Self {
        Self {
            failure: Some(failure.to_owned()),
            alert: None,
            certificates: Vec::new(),
            alpn: None,
            group: None,
            tickets: 0,
            after: After::NotReached,
        }
    }

    pub(super) fn failed(error: &io::Error) -> Self {
        Self { alert: alert_in(error), ..Self::nothing(&error.to_string()) }
    }

    pub(super) fn established(connection: &CommonState, after: Result<After, io::Error>) -> Self {
        let certificates = connection.peer_certificates().unwrap_or_default();
        let text = |alpn| String::from_utf8_lossy(alpn).into_owned();
        let (alert, after) = match after {
            Ok(after) => (None, after),
            Err(error) => (alert_in(&error), After::Failed(error.to_string())),
        };
        Self {
            failure: None,
            alert,
            certificates: certificates.iter().map(|der| der.clone().into_owned()).collect(),
            alpn: connection.alpn_protocol().map(text),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
            tickets: 0,
            after,
        }
    }

    /// Whether the other end let this end in: a handshake, and no alert or failure after it.
    pub fn is_let_in(&self) -> bool {
        match self.after {
            After::Data(_) | After::Closed | After::Silence => self.failure.is_none(),
            After::Failed(_) | After::NotReached => false,
        }
    }
}

/// The alert that an I/O error of rustls stands for.
pub fn alert_in(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}
