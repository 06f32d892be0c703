//! A policy of any size, and the calls that it is asked about.

use cellwall_policy::{
    CallDocument, CallerDocument, Callers, Digest, IdentityHeader, ListensDocument, Mode, Protocol,
    RequestPath, RuleDocument, SCHEMA, SnapshotDocument,
};
use spiffe::SpiffeId;

use super::StepError;

/// Callers that are asked about in turn: as many as call one workload at a time.
const ASKED: usize = 16;

/// Paths that a workload serves.
const TEMPLATES: usize = 1_000;

/// A caller and its call.
pub(super) struct Asked {
    pub(super) id: SpiffeId,
    pub(super) path: RequestPath<'static>,
}

/// The most rules of one callee that a sidecar takes.
const RULES: usize = 10_000;

/// Calls that a policy of so many rights allows, each by another rule as far as there are.
pub(super) fn asked(rights: usize) -> Result<Vec<Asked>, StepError> {
    let of = |one: usize| {
        let caller = one * rights / ASKED;
        let id = SpiffeId::new(format!("spiffe://pay.example/prod/caller-{caller}"));
        let path = format!("/v1/r{}/accounts/a_1", caller % TEMPLATES);
        let read = RequestPath::parse(&path).map(RequestPath::into_owned);
        Ok(Asked {
            id: id.map_err(StepError::Identity)?,
            path: read.map_err(|_| StepError::Path(path.clone()))?,
        })
    };
    (0..ASKED).map(of).collect()
}

/// So many callers, each with a right of its own, and a rule for each as far as a sidecar takes so
/// many; beyond that rules name several callers.
pub(super) fn document(rights: usize) -> SnapshotDocument {
    let rules = rights.min(RULES);
    let name = |one: usize| format!("caller-{one}");
    SnapshotDocument {
        schema: SCHEMA,
        trust_domain: "pay.example".to_owned(),
        callee: "spiffe://pay.example/prod/payments".to_owned(),
        workload: "payments".to_owned(),
        epoch: 1,
        version: 1,
        digest: Digest::default().to_string(),
        issued_at: 1,
        max_age_seconds: 86_400,
        identity_headers: IdentityHeader::USUAL.to_vec(),
        mode: Mode::Enforce,
        listens: vec![ListensDocument::of(Protocol::Http, 8443)],
        identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
        callers: (0..rights).map(|one| CallerDocument { name: name(one), id: None }).collect(),
        rules: (0..rules)
            .map(|one| RuleDocument {
                name: format!("rule-{one}"),
                from: Callers::Named((one..rights).step_by(RULES).map(name).collect()),
                calls: vec![CallDocument::Http {
                    methods: vec!["GET".to_owned()],
                    path: format!("/v1/r{}/accounts/{{id}}", one % TEMPLATES),
                }],
                ..RuleDocument::default()
            })
            .collect(),
        foreign: Vec::new(),
        grants: Vec::new(),
        guards: Vec::new(),
        probes: Vec::new(),
        destinations: Vec::new(),
    }
}
