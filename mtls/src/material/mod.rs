//! One generation of what a handshake needs, built aside and published whole.

use std::{collections::BTreeMap, sync::Arc};

use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use spiffe::{SpiffeId, TrustDomain};

use crate::{
    AnchorDefect, DenyList, Peer, Refusal, Serial,
    anchors::Bundles,
    certificate::Role,
    handshake::Alpn,
    provider::provider,
    verifier::PeerVerifier,
    verify::{Chain, Expected, Trust},
};

/// What a generation is built from.
#[derive(Debug)]
pub struct MaterialInput {
    /// Our X509-SVID, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
    /// The authorities of each trust domain, our own among them.
    pub bundles: BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>,
    /// Whom to refuse all the same.
    pub deny: DenyList,
    /// Counts generations; larger is newer.
    pub generation: u64,
    /// The time at which validity is judged.
    pub now: UnixTime,
}

/// One immutable generation: our SVID and whom we trust. Handshakes of one generation see nothing
/// of another (ID-20); replacing it touches no session in progress (ROT-01).
#[derive(Debug)]
pub struct TlsMaterial {
    own: Peer,
    generation: u64,
    trust: Arc<Trust>,
    resolver: Arc<SingleCertAndKey>,
    defects: Vec<AnchorDefect>,
}

/// What one handshake uses, and where it leaves its proof.
pub(crate) struct Handshake<C> {
    pub(crate) config: Arc<C>,
    pub(crate) verifier: Arc<PeerVerifier>,
}

/// Why a generation cannot be used. The one before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// There is no leaf.
    #[error("the certificate chain is empty")]
    EmptyChain,
    /// The key cannot be used, or does not belong to the leaf.
    #[error("the private key does not fit the leaf")]
    Key(#[source] rustls::Error),
    /// No peer would accept our own SVID.
    #[error("our own svid is refused as {role}: {refusal}")]
    OwnSvid {
        /// `client` or `server`.
        role: &'static str,
        /// What a peer with the same bundles would say.
        refusal: Refusal,
    },
}

impl TlsMaterial {
    /// Checks and builds a generation: the key fits, the dates hold, our own chain verifies
    /// against our own bundle in both roles.
    ///
    /// # Errors
    ///
    /// [`MaterialError`] when peers could not accept our SVID.
    pub fn build(input: MaterialInput) -> Result<Self, MaterialError> {
        let (bundles, defects) = Bundles::read(input.bundles, input.now);
        // The deny list is for peers: being on it ourselves is the business of those who refuse us.
        let trust = Trust { bundles, deny: DenyList::default() };
        let (leaf, intermediates) = input.chain.split_first().ok_or(MaterialError::EmptyChain)?;
        let verify = |role, name| {
            trust
                .verify(Chain { leaf, intermediates }, role, &Expected::AnyTrusted, input.now)
                .map_err(|refusal| MaterialError::OwnSvid { role: name, refusal })
        };
        let own = verify(Role::Server, "server")?;
        verify(Role::Client, "client")?;
        let signer =
            provider().key_provider.load_private_key(input.key).map_err(MaterialError::Key)?;
        let certified = CertifiedKey::new(input.chain, signer);
        certified.keys_match().map_err(MaterialError::Key)?;
        let trust = Arc::new(Trust { deny: input.deny, ..trust });
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        Ok(Self { own, generation: input.generation, trust, resolver, defects })
    }

    /// Our own SPIFFE ID.
    pub fn id(&self) -> &SpiffeId {
        self.own.id()
    }

    /// The same as text, to be kept.
    pub fn shared_id_text(&self) -> Arc<str> {
        self.own.shared_id_text()
    }

    /// The serial number of our leaf.
    pub fn serial(&self) -> &Serial {
        self.own.serial()
    }

    /// When our leaf ends.
    pub fn not_after(&self) -> UnixTime {
        self.own.not_after()
    }

    /// When the first certificate of our own chain ends, anchor included.
    pub fn authority_end(&self) -> UnixTime {
        self.own.authority_end()
    }

    /// Which generation this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The certificates of the bundles that were left out, and why.
    pub fn defects(&self) -> &[AnchorDefect] {
        &self.defects
    }

    /// Each anchor's trust domain and end.
    pub fn anchor_ends(&self) -> impl Iterator<Item = (&TrustDomain, UnixTime)> {
        self.trust.bundles.ends()
    }

    /// The next moment at which an anchor ends and the generation must be built anew (ID-11).
    pub fn next_anchor_end(&self, now: UnixTime) -> Option<UnixTime> {
        self.trust.bundles.next_end(now)
    }

    /// Whether `other` trusts the same authorities and denies the same identities, whatever SVID
    /// we hold ourselves.
    pub fn trusts_like(&self, other: &Self) -> bool {
        self.trust.deny == other.trust.deny && self.trust.bundles.same_as(&other.trust.bundles)
    }

    /// Judges a peer of an open connection by this generation, as if it came now (ROT-05).
    ///
    /// # Errors
    ///
    /// The [`Refusal`] that a handshake would end with: denied, its trust domain or anchor gone, or
    /// a certificate of its path ended.
    pub fn still_trusts(&self, peer: &Peer, now: UnixTime) -> Result<(), Refusal> {
        self.trust.still_holds(peer, now)
    }

    pub(crate) fn server(&self, alpn: &[Alpn]) -> Result<Handshake<ServerConfig>, rustls::Error> {
        let verifier = PeerVerifier::new(self.trust.clone(), Expected::AnyTrusted);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])? // TLS-01
            .with_client_cert_verifier(verifier.clone()) // TLS-03
            .with_cert_resolver(self.resolver.clone());
        config.alpn_protocols = Alpn::wire(alpn);
        // TLS-04: a resumed session would skip the verifier, an early byte would precede it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        Ok(Handshake { config: Arc::new(config), verifier })
    }

    pub(crate) fn client(
        &self,
        expected: &[SpiffeId],
        alpn: &[Alpn],
    ) -> Result<Handshake<ClientConfig>, rustls::Error> {
        let verifier = PeerVerifier::new(self.trust.clone(), Expected::OneOf(expected.into()));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])? // TLS-01
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(self.resolver.clone());
        config.alpn_protocols = Alpn::wire(alpn);
        config.resumption = Resumption::disabled(); // TLS-04
        config.enable_early_data = false; // TLS-04
        config.enable_sni = false; // identity is the SPIFFE ID, and names tell an eavesdropper more
        Ok(Handshake { config: Arc::new(config), verifier })
    }
}

#[cfg(test)]
mod tests;
