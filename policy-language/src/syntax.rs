//! What the files say, part by part, each with its place. Names are not yet looked up.

use std::{collections::BTreeSet, time::SystemTime};

use cellwall_policy::{
    CallDocument, HttpVersion, IdempotentBy, IdentityHeader, Mode, ProbeDocument, Protocol, Verdict,
};

use crate::{
    model::{Approval, Governance, Stewardship, Through},
    place::Place,
};

/// A text and its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Everything that all files say.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) identity: Option<Text>,
    pub(crate) include: Vec<Text>,
    pub(crate) workloads: Vec<WorkloadItem>,
    pub(crate) segments: Vec<SegmentItem>,
    pub(crate) roles: Vec<RoleItem>,
    pub(crate) rules: Vec<RuleItem>,
    pub(crate) grants: Vec<GrantItem>,
    pub(crate) guards: Vec<GuardItem>,
    pub(crate) never: Vec<NeverItem>,
    pub(crate) probes: Vec<(Place, ProbeDocument)>,
    /// Without its approvals.
    pub(crate) governance: Governance,
    pub(crate) approvals: Vec<(Text, Approval)>,
    pub(crate) tests: Vec<TestItem>,
}

/// An entry of `workloads`.
#[derive(Debug)]
pub(crate) struct WorkloadItem {
    pub(crate) name: Text,
    pub(crate) listens: Vec<Listener>,
    pub(crate) labels: Vec<(Text, Text)>,
    pub(crate) id: Option<Text>,
    pub(crate) identity_header: Option<IdentityHeaders>,
    /// Selectors by environment.
    pub(crate) attest: Vec<(Text, Vec<Text>)>,
}

/// `identity_header` of a workload.
#[derive(Debug)]
pub(crate) struct IdentityHeaders {
    pub(crate) place: Place,
    /// Ascending, each once.
    pub(crate) headers: BTreeSet<IdentityHeader>,
}

/// `{http: 8443}` in `listens`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    /// Of HTTP: what the workload speaks to its own sidecar.
    pub(crate) version: HttpVersion,
    pub(crate) place: Place,
}

impl Listener {
    /// Whether it receives what is spoken in `protocol`: of TCP only what comes to its port.
    pub(crate) fn receives(&self, protocol: Protocol, port: Option<u16>) -> bool {
        self.protocol == protocol && port.is_none_or(|port| port == self.port)
    }
}

/// An entry of `segments`.
#[derive(Debug)]
pub(crate) struct SegmentItem {
    pub(crate) name: Text,
    pub(crate) members: Vec<Text>,
    pub(crate) mode: Mode,
}

/// An entry of `roles`.
#[derive(Debug)]
pub(crate) struct RoleItem {
    pub(crate) name: Text,
    /// `None` after a mistake.
    pub(crate) to: Option<Text>,
    pub(crate) can: Vec<CallItem>,
}

/// An entry of `rules`, and what a grant shares with it.
#[derive(Debug)]
pub(crate) struct RuleItem {
    pub(crate) name: Text,
    pub(crate) from: Selector,
    pub(crate) target: Target,
    pub(crate) when: Option<Text>,
    pub(crate) across: Vec<Text>,
    pub(crate) why: String,
    pub(crate) stewardship: Stewardship,
}

/// An entry of `grants`.
#[derive(Debug)]
pub(crate) struct GrantItem {
    pub(crate) rule: RuleItem,
    /// Unix seconds.
    pub(crate) starts: u64,
    /// Unix seconds.
    pub(crate) expires: u64,
    pub(crate) expires_place: Place,
    pub(crate) approved_by: Vec<Text>,
}

/// An entry of `never`.
#[derive(Debug)]
pub(crate) struct NeverItem {
    pub(crate) name: Text,
    pub(crate) from: Selector,
    pub(crate) to: Selector,
    pub(crate) through: Through,
    pub(crate) why: String,
}

/// What a rule opens.
#[derive(Debug)]
pub(crate) enum Target {
    /// `role: payment-initiator`.
    Role(Text),
    /// `to: card-vault` and `allow: [...]`.
    Calls(Selector, Vec<CallItem>),
}

/// An entry of `guards`.
#[derive(Debug)]
pub(crate) struct GuardItem {
    pub(crate) name: Text,
    pub(crate) from: Selector,
    pub(crate) to: Selector,
    pub(crate) except: Option<Selector>,
    pub(crate) calls: Vec<CallItem>,
    pub(crate) when: Option<Text>,
    pub(crate) mode: Mode,
    pub(crate) why: String,
    pub(crate) stewardship: Stewardship,
}

/// A call that is allowed.
#[derive(Clone, Debug)]
pub(crate) struct CallItem {
    pub(crate) place: Place,
    pub(crate) call: CallDocument,
    /// By what a request of it may be made twice.
    pub(crate) idempotent: Option<IdempotentBy>,
}

/// An entry of `tests`.
#[derive(Debug)]
pub(crate) struct TestItem {
    pub(crate) expect: Verdict,
    pub(crate) call: Text,
    pub(crate) at: Option<SystemTime>,
    pub(crate) by: Option<Text>,
}

/// Who is meant.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) place: Place,
    pub(crate) kind: SelectorKind,
}

/// The forms of a selector.
#[derive(Clone, Debug)]
pub(crate) enum SelectorKind {
    /// `any`.
    Any,
    /// `NAME`, `segment/NAME`, `spiffe://...`, or a list of these.
    List(Vec<Pick>),
    /// `{label: value}`: all pairs must hold.
    Labels(Vec<(Text, Text)>),
}

/// An element of a list.
#[derive(Clone, Debug)]
pub(crate) enum Pick {
    /// `NAME`.
    Workload(Text),
    /// `segment/NAME`.
    Segment(Text),
    /// `spiffe://...`, of another trust domain.
    Foreign(Text),
}
