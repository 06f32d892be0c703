//! Conditions: whatever the text, there are findings with places, or an answer for every call; and
//! what means the same in logic decides the same.

use std::time::{SystemTime, UNIX_EPOCH};

use cellwall_policy::{Call, Publication, RequestPath, Snapshot, Tls};
use cellwall_policy_language::{Sources, check};
use spiffe::SpiffeId;

use super::documents::placed;

/// The longest text that is worth the time: a condition has 4,096 bytes.
const MAX_TEXT: usize = 1000;

/// Reads a text as the condition of a rule.
pub(crate) fn condition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > MAX_TEXT {
        return;
    }
    let Some(answers) = answers(text) else { return };
    let same = [
        format!("({text})"),
        format!("!(!({text}))"),
        format!("({text}) && ({text})"),
        format!("({text}) || ({text})"),
    ];
    for variant in same {
        // Longer and deeper: it may be more than a condition may hold.
        if let Some(others) = self::answers(&variant) {
            assert_eq!(answers, others, "{variant}");
        }
    }
    if let Some(others) = self::answers(&format!("!({text})")) {
        let both = answers.iter().zip(&others).any(|(one, other)| *one && *other);
        assert!(!both, "a condition and its opposite");
    }
}

/// Whether each call is allowed by a rule with the condition; `None` where it is refused.
fn answers(condition: &str) -> Option<Vec<bool>> {
    let condition = serde_json::to_string(condition).unwrap();
    let text = format!(
        "version: cellwall/v1\nidentity: \"spiffe://a.b/{{env}}/{{workload}}\"\nworkloads:\n  \
         a: {{listens: {{http: 1}}, labels: {{tier: core, zone: z}}}}\n  \
         b: {{listens: {{http: 1}}, labels: {{tier: edge}}}}\n  \
         c: {{listens: {{http: 1}}, labels: {{tier: core}}}}\nsegments:\n  \
         s: {{members: [a, c], mode: enforce}}\n  t: {{members: [b], mode: enforce}}\nrules:\n  \
         - name: r\n    from: any\n    to: c\n    allow: [{{http: GET /}}]\n    \
         when: {condition}\n    across: [env]\n    why: w\n"
    );
    let sources = Sources::single(text);
    let checked = check(&sources);
    placed(&checked.findings, &sources);
    let set = checked.set?;
    let callee = SpiffeId::new("spiffe://a.b/prod/c").unwrap();
    let document = set.compile(&callee, &[], &Publication::default(), UNIX_EPOCH).unwrap();
    let wire = serde_json::to_vec(&document).unwrap();
    let snapshot = Snapshot::new(serde_json::from_slice(&wire).unwrap()).unwrap();
    let path = RequestPath::parse("/").unwrap();
    let call = Call::Http { method: "GET", path: &path };
    let mut answers = Vec::new();
    for caller in ["prod/a", "prod/b", "prod/c", "staging/a", "staging/b", "x/c"] {
        let caller = SpiffeId::new(format!("spiffe://a.b/{caller}")).unwrap();
        for group in ["X25519MLKEM768", "X25519", "secp256r1"] {
            let tls = Tls { version: "1.3", group };
            let decision = snapshot.decide(&caller, &tls, &call, SystemTime::UNIX_EPOCH);
            answers.push(decision.verdict.as_str() == "allow");
        }
    }
    Some(answers)
}
