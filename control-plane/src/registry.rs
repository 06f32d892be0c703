//! Registration entries: which process earns which identity. They come from the policy's `attest`.

use std::fmt;

use cellwall_agent::{Selector, SelectorError, Selectors};
use cellwall_policy_language::Entry;
use spiffe::{SpiffeId, TrustDomain};

/// SPID-08
const MAX_ID_BYTES: usize = 2048;

/// All entries of one policy version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Registry {
    entries: Vec<Registration>,
}

/// One identity and what earns it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// The workload's name in the policy.
    pub workload: String,
    /// The environment's name in the policy.
    pub environment: String,
    /// The identity.
    pub id: SpiffeId,
    /// All of these must hold.
    pub selectors: Vec<Selector>,
}

/// An entry that cannot be registered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("workloads.{workload}.attest.{environment}: {defect}")]
pub struct EntryRefused {
    /// The workload's name in the policy.
    pub workload: String,
    /// The environment's name in the policy.
    pub environment: String,
    /// Why.
    pub defect: EntryDefect,
}

/// Why an entry cannot be registered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntryDefect {
    /// Not a selector that can be attested.
    #[error("{0}")]
    Selector(SelectorError),
    /// It would fit far too many processes (ATT-06).
    #[error(
        "no selector narrows it down to a workload: add `unix:path:` or a `unix:uid:` other than 0"
    )]
    Wide,
    /// The identity is not a workload's of this trust domain.
    #[error("`{0}` is not an identity of trust domain `{1}` that can be given to a workload")]
    Id(SpiffeId, TrustDomain),
}

impl Registry {
    /// Registers the entries of a policy, all or none.
    ///
    /// # Errors
    ///
    /// Every [`EntryRefused`].
    pub fn new(trust_domain: &TrustDomain, entries: &[Entry]) -> Result<Self, Refusals> {
        let (mut registered, mut refused) = (Vec::new(), Vec::new());
        for entry in entries {
            match register(trust_domain, entry) {
                Ok(registration) => registered.push(registration),
                Err(defect) => refused.push(EntryRefused {
                    workload: entry.workload.to_string(),
                    environment: entry.environment.to_string(),
                    defect,
                }),
            }
        }
        if refused.is_empty() { Ok(Self { entries: registered }) } else { Err(Refusals(refused)) }
    }

    /// The identities that a process with these selectors earns, in the policy's order.
    pub fn earned(&self, selectors: &Selectors) -> Vec<SpiffeId> {
        let earned = self.entries.iter().filter(|entry| selectors.earn(&entry.selectors));
        earned.map(|entry| entry.id.clone()).collect()
    }

    /// Every entry, in the policy's order.
    pub fn entries(&self) -> &[Registration] {
        &self.entries
    }
}

fn register(trust_domain: &TrustDomain, entry: &Entry) -> Result<Registration, EntryDefect> {
    let id = &entry.id;
    let usable = id.is_member_of(trust_domain)
        && !id.path().is_empty()
        && id.to_string().len() <= MAX_ID_BYTES
        && !cellwall_policy::is_reserved(id);
    if !usable {
        return Err(EntryDefect::Id(id.clone(), trust_domain.clone()));
    }
    let selectors: Vec<Selector> = entry
        .selectors
        .iter()
        .map(|selector| selector.parse().map_err(EntryDefect::Selector))
        .collect::<Result<_, _>>()?;
    if !selectors.iter().any(Selector::is_narrowing) {
        return Err(EntryDefect::Wide); // ATT-06
    }
    Ok(Registration {
        workload: entry.workload.to_string(),
        environment: entry.environment.to_string(),
        id: id.clone(),
        selectors,
    })
}

/// Every entry that cannot be registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusals(pub Vec<EntryRefused>);

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl std::error::Error for Refusals {}

#[cfg(test)]
mod tests {
    use cellwall_agent::Selector;
    use cellwall_policy_language::Entry;
    use spiffe::{SpiffeId, TrustDomain};

    use super::Registry;

    fn entry(id: &str, selectors: &[&str]) -> Entry {
        Entry {
            workload: "web".into(),
            environment: "prod".into(),
            id: SpiffeId::new(id).unwrap(),
            selectors: selectors.iter().map(|&selector| selector.into()).collect(),
        }
    }

    fn register(entries: &[Entry]) -> Result<Registry, String> {
        let trust_domain = TrustDomain::new("pay.example").unwrap();
        Registry::new(&trust_domain, entries).map_err(|refusals| refusals.to_string())
    }

    const WEB: &str = "spiffe://pay.example/prod/web";

    #[test]
    fn an_entry_without_a_narrowing_selector_is_refused() {
        // ATT-06
        let wide = "workloads.web.attest.prod: no selector narrows it down to a workload: add \
                    `unix:path:` or a `unix:uid:` other than 0";
        for selectors in [&[][..], &["unix:uid:0"], &["unix:gid:7"], &["unix:uid:0", "unix:gid:7"]]
        {
            assert_eq!(register(&[entry(WEB, selectors)]), Err(wide.into()), "{selectors:?}");
        }
        for selectors in [&["unix:uid:7"][..], &["unix:path:/x"], &["unix:uid:0", "unix:path:/x"]] {
            register(&[entry(WEB, selectors)]).unwrap();
        }
    }

    #[test]
    fn every_refused_entry_is_named() {
        let error = register(&[
            entry(WEB, &["unix:uid:7"]),
            entry(WEB, &["k8s:sa:pay/web"]),
            entry("spiffe://other.example/web", &["unix:uid:7"]),
            entry("spiffe://pay.example", &["unix:uid:7"]),
            entry("spiffe://pay.example/cellwall/control-plane", &["unix:uid:7"]),
        ])
        .unwrap_err();
        for part in
            ["k8s:sa:pay/web", "spiffe://other.example/web", "`spiffe://pay.example`", "cellwall/"]
        {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert_eq!(error.split("; ").count(), 4);
    }

    #[test]
    fn a_process_earns_every_identity_whose_selectors_it_has() {
        let db = "spiffe://pay.example/prod/db";
        let registry = register(&[
            entry(db, &["unix:path:/opt/db"]),
            entry(WEB, &["unix:uid:7"]),
            entry("spiffe://pay.example/prod/x", &["unix:uid:7", "unix:path:/opt/x"]),
        ])
        .unwrap();
        let process = [Selector::Uid(7), Selector::Path("/opt/db".into())].into_iter().collect();
        let ids: Vec<String> = registry.earned(&process).iter().map(ToString::to_string).collect();
        assert_eq!(ids, [db, WEB]);
        assert_eq!(registry.earned(&[Selector::Gid(7)].into_iter().collect()), []);
    }
}
