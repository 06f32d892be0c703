//! `identity_header` of a workload.

use super::Case;

const WEB: &str = "listens: {http: 8443}";

pub(super) const CASES: &[Case] = &[
    Case {
        from: WEB,
        to: "listens: {http: 8443}, identity_header: [x-forwarded-client-cert, x-spiffe-id]",
        findings: &[],
    },
    Case {
        from: WEB,
        to: "listens: {http: 8443}, identity_header: [x-spiffe-id, x-forwarded-client-crt]",
        findings: &["CW0004 4:63-85 no sidecar says who calls in `x-forwarded-client-crt`"],
    },
    Case {
        from: WEB,
        to: "listens: {http: 8443}, identity_header: [X-Spiffe-Id]",
        findings: &["CW0004 4:50-61 no sidecar says who calls in `X-Spiffe-Id`"],
    },
    Case {
        from: WEB,
        to: "listens: {http: 8443}, identity_header: [x-spiffe-id, x-spiffe-id]",
        findings: &["CW0101 4:63-74 `x-spiffe-id` stands twice"],
    },
    Case {
        from: WEB,
        to: "listens: {http: 8443}, identity_header: x-spiffe-id",
        findings: &["CW0004 4:49-60 expected a list of headers, found a text"],
    },
    Case {
        from: WEB,
        to: "listens: {http: 8443}, identity_header: []",
        findings: &["CW0004 4:49-50 a list of headers that names none"],
    },
    Case {
        from: "{tcp: 5432}, labels",
        to: "{tcp: 5432}, identity_header: [x-spiffe-id], labels",
        findings: &["CW0009 6:30-45 `db` listens for no requests that have headers"],
    },
    Case {
        from: "{tcp: 5432}, labels",
        to: "[{tcp: 5432}, {http: 9187}], identity_header: [x-forwarded-client-cert], labels",
        findings: &[],
    },
    Case {
        from: "workloads:\n",
        to: "identity_header: [x-spiffe-id]\nworkloads:\n",
        findings: &["CW0009 3:1-16 `identity_header` does not stand in a policy file"],
    },
];
