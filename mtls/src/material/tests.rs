use std::collections::BTreeMap;

use cellwall_testkit::ca::TestCa;
use rustls::pki_types::UnixTime;
use spiffe::TrustDomain;

use super::{MaterialInput, TlsMaterial};
use crate::{DenyList, handshake::Alpn};

#[test]
fn every_switch_of_resumption_and_early_data_is_off() {
    // TLS-04: each alone is enough on the wire today; none may get lost
    let ca = TestCa::new("pay.example");
    let svid = ca.svid("spiffe://pay.example/prod/checkout");
    let domain = TrustDomain::new("pay.example").unwrap();
    let material = TlsMaterial::build(MaterialInput {
        chain: svid.chain.clone(),
        key: svid.key.clone_key(),
        bundles: BTreeMap::from([(domain, vec![ca.root()])]),
        deny: DenyList::default(),
        generation: 1,
        now: UnixTime::now(),
    })
    .unwrap();
    let server = material.server(&[Alpn::H2]).unwrap().config;
    assert!(!server.session_storage.can_cache());
    assert_eq!((server.send_tls13_tickets, server.max_tls13_tickets), (0, 0));
    assert_eq!((server.max_early_data_size, server.send_half_rtt_data), (0, false));
    let client = material.client(&[], &[Alpn::H2]).unwrap().config;
    assert_eq!((client.enable_early_data, client.enable_sni), (false, false));
}
