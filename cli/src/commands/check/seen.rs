//! What can be seen of the mesh through the operators' API, and what it means.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{Check, Level};
use crate::{
    client,
    commands::{
        fleet::{Identities, Identity, Proxies, Proxy},
        policy::plural,
    },
    table::{instant, short},
};

/// Between cellwalld's clock and ours: SVIDs live for minutes.
const CLOCK_LIMIT: Duration = Duration::seconds(5);

/// An authority that ends sooner needs a successor now.
const AUTHORITY_SOON: Duration = Duration::days(14);

/// Which part of its life an SVID has left at least when renewals work: they come at half.
const LEFT_AT_LEAST: f64 = 0.25;

pub(super) const CONTROL: &str = "control plane";
const IDENTITIES: &str = "authority and identities";
const POLICY: &str = "policy";
const DATA: &str = "data plane";

#[derive(Debug, Deserialize)]
struct Status {
    version: String,
    policy_version: u64,
    policy_applied_at: Option<String>,
    policy_applied_by: Option<String>,
    now: String,
    authority_not_after: String,
    issues: bool,
    started_at: String,
}

/// Everything that was seen.
pub(super) struct Seen {
    status: Status,
    sidecars: Vec<Proxy>,
    identities: Vec<Identity>,
    decisions: usize,
    now: OffsetDateTime,
}

impl Seen {
    /// Everything that was looked at.
    pub(super) fn checks(&self, socket: &Path) -> Vec<Check> {
        let mut checks = vec![self.reachable(socket), self.clock(), self.authority()];
        checks.extend(self.identities());
        checks.push(self.policy());
        checks.extend(self.enforcement());
        checks.extend(self.data_plane());
        checks
    }

    fn reachable(&self, socket: &Path) -> Check {
        let up = instant(&self.status.started_at).map(|at| short(self.now - at));
        let (version, socket) = (&self.status.version, socket.display());
        let up = up.unwrap_or_else(|| "?".to_owned());
        ok(CONTROL, format!("cellwalld {version} answers at {socket}, up {up}"))
    }

    fn clock(&self) -> Check {
        let Some(theirs) = instant(&self.status.now) else {
            return warn(CONTROL, "cellwalld does not say what time it is", None);
        };
        let skew = (self.now - theirs).abs();
        let text = format!(
            "clock of cellwalld and of this machine: {} ms apart",
            skew.whole_milliseconds()
        );
        if skew < CLOCK_LIMIT {
            ok(CONTROL, text)
        } else {
            fail(CONTROL, text, Some("SVIDs live for minutes: set the clocks".to_owned()))
        }
    }

    fn authority(&self) -> Check {
        let Some(end) = instant(&self.status.authority_not_after) else {
            return warn(IDENTITIES, "the authority's end is not known", None);
        };
        let left = end - self.now;
        let text = format!("X.509 authority ends in {}", short(left));
        if !self.status.issues || left <= Duration::ZERO {
            let hint = "cellwalld issues no SVID any more; see its log".to_owned();
            fail(IDENTITIES, text, Some(hint))
        } else if left < AUTHORITY_SOON {
            warn(IDENTITIES, text, Some("plan its successor: docs/operations.md".to_owned()))
        } else {
            ok(IDENTITIES, text)
        }
    }

    fn identities(&self) -> Vec<Check> {
        let held: Vec<_> = self.identities.iter().filter(|one| one.instances > 0).collect();
        let mut checks = Vec::new();
        for one in &held {
            let at = |text: &Option<String>| text.as_deref().and_then(instant);
            let name = named(&one.environment, &one.workload);
            if at(&one.not_after).is_some_and(|end| end <= self.now) {
                let text = format!("the SVID of {name} has ended");
                checks.push(fail(IDENTITIES, text, Some(renewals())));
            } else if at(&one.renew_at).is_some_and(|due| due < self.now) {
                let text = format!("the SVID of {name} renews late");
                checks.push(warn(IDENTITIES, text, Some(renewals())));
            }
        }
        if checks.is_empty() {
            let (all, used) = (plural_identities(self.identities.len()), held.len());
            checks.push(ok(IDENTITIES, format!("{all}, {used} in use, none late")));
        }
        checks
    }

    fn policy(&self) -> Check {
        let Status { policy_version: version, policy_applied_at, policy_applied_by, .. } =
            &self.status;
        let Some(at) = policy_applied_at.as_deref().and_then(instant) else {
            let hint = "nothing is allowed without one: cellwall policy apply".to_owned();
            return fail(POLICY, "no policy has been applied", Some(hint));
        };
        let by = policy_applied_by.as_deref().unwrap_or("?");
        ok(
            POLICY,
            format!("version {version} in force for {}, applied by {by}", short(self.now - at)),
        )
    }

    /// Whether each sidecar enforces the version in force.
    fn enforcement(&self) -> Vec<Check> {
        let version = self.status.policy_version;
        let mut checks = Vec::new();
        for one in &self.sidecars {
            let name = name(one);
            let enforces =
                one.policy_version.map_or_else(|| "none".to_owned(), |it| it.to_string());
            if one.sync == "nacked" {
                let reason = one.reason.as_deref().unwrap_or("no reason given");
                let text = format!("{name} refused version {version}: {reason}");
                let hint = format!("it enforces version {enforces}; see its log");
                checks.push(fail(POLICY, text, Some(hint)));
            } else if one.policy_version != Some(version) {
                let text = format!("{name} enforces version {enforces}, not {version}");
                let hint = "on its way, or the sidecar hangs: cellwall proxy status".to_owned();
                checks.push(warn(POLICY, text, Some(hint)));
            }
        }
        let all = self.sidecars.len();
        if checks.is_empty() && all > 0 {
            checks.push(ok(POLICY, format!("enforced by {all} of {all} connected sidecars")));
        }
        checks
    }

    fn data_plane(&self) -> Vec<Check> {
        let connected = plural(self.sidecars.len(), "sidecar");
        let mut checks = vec![if self.sidecars.is_empty() {
            let hint = "their logs say `control stream ended`, and why".to_owned();
            warn(DATA, "no sidecar is connected", Some(hint))
        } else {
            ok(DATA, format!("{connected} connected"))
        }];
        checks.extend(self.sidecars.iter().filter_map(|one| self.svid(one)));
        let other = |one: &&Proxy| one.software != self.status.version;
        for one in self.sidecars.iter().filter(other) {
            let (name, software) = (name(one), &one.software);
            let text = format!("{name} runs {software}, cellwalld {}", self.status.version);
            checks.push(warn(DATA, text, Some("install one release everywhere".to_owned())));
        }
        let denied = match self.decisions {
            1000 => "1000 or more".to_owned(),
            count => count.to_string(),
        };
        let text = format!("{denied} denied or audited calls reported in the last hour");
        checks.push(ok(DATA, text));
        checks
    }

    /// A sidecar whose SVID is nearly or wholly at its end.
    fn svid(&self, one: &Proxy) -> Option<Check> {
        let left = instant(&one.svid_not_after)? - self.now;
        let name = name(one);
        if left <= Duration::ZERO {
            let text = format!("{name} is connected with an SVID that has ended");
            return Some(fail(DATA, text, Some(renewals())));
        }
        let identity = self.identities.iter().find(|it| it.spiffe_id == one.spiffe_id)?;
        let at = |text: &Option<String>| text.as_deref().and_then(instant);
        let life = at(&identity.not_after)? - at(&identity.issued_at)?;
        let late = left < life * LEFT_AT_LEAST;
        late.then(|| {
            let text = format!("the SVID of {name} ends in {}", short(left));
            warn(DATA, text, Some(renewals()))
        })
    }
}

/// A sidecar as people tell it apart.
fn name(one: &Proxy) -> String {
    format!("{} ({})", named(&one.environment, &one.workload), one.instance)
}

/// Asks for everything.
pub(super) async fn look(socket: &Path) -> anyhow::Result<Seen> {
    let status = serde_json::from_value(client::get(socket, "/v1/status").await?.success()?)?;
    let now = OffsetDateTime::now_utc();
    let Proxies { proxies: sidecars } =
        serde_json::from_value(client::get(socket, "/v1/proxies").await?.success()?)?;
    let Identities { identities } =
        serde_json::from_value(client::get(socket, "/v1/identities").await?.success()?)?;
    let decisions = client::get(socket, "/v1/decisions?limit=1000").await?.success()?;
    let decisions = decisions.get("decisions").and_then(Value::as_array).cloned();
    let recent = |decision: &&Value| {
        let at = decision.get("at").and_then(Value::as_str).and_then(instant);
        at.is_some_and(|at| now - at < Duration::HOUR)
    };
    let decisions = decisions.unwrap_or_default().iter().filter(recent).count();
    Ok(Seen { status, sidecars, identities, decisions, now })
}

fn named(environment: &str, workload: &str) -> String {
    if environment.is_empty() { workload.to_owned() } else { format!("{environment}/{workload}") }
}

fn plural_identities(count: usize) -> String {
    if count == 1 { "1 identity".to_owned() } else { format!("{count} identities") }
}

fn renewals() -> String {
    "does its sidecar reach the Workload API? see its log, and cellwalld's".to_owned()
}

fn ok(category: &'static str, text: impl Into<String>) -> Check {
    Check { category, level: Level::Ok, text: text.into(), hint: None }
}

fn warn(category: &'static str, text: impl Into<String>, hint: Option<String>) -> Check {
    Check { category, level: Level::Warn, text: text.into(), hint }
}

fn fail(category: &'static str, text: impl Into<String>, hint: Option<String>) -> Check {
    Check { category, level: Level::Fail, text: text.into(), hint }
}
