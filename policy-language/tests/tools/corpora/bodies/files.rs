//! Files: whatever the text, the formatter refuses it or gives one that says the same.

use cellwall_policy_language::{FormatError, Sources, check, format};

/// The longest text that is worth the time.
const MAX_TEXT: usize = 32 * 1024;

/// Formats a text.
pub(crate) fn fmt(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > MAX_TEXT {
        return;
    }
    let once = match format("cellwall.yaml", text) {
        Ok(once) => once,
        Err(FormatError::Syntax(findings)) => return assert_eq!(findings.errors(), 1),
        Err(FormatError::Unsure) => panic!("its formatted form would say something else"),
    };
    let twice = format("cellwall.yaml", &once).unwrap();
    assert_eq!(once, twice);
    let said = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).ok();
    assert_eq!(said(text), said(&once));
    assert_eq!(found(text), found(&once));
    let hashes = |text: &str| text.bytes().filter(|byte| *byte == b'#').count();
    assert_eq!(hashes(text), hashes(&once));
}

/// Codes and messages, without places, in no order.
fn found(text: &str) -> Vec<String> {
    let findings = check(&Sources::single(text)).findings;
    let mut found: Vec<_> =
        findings.0.iter().map(|it| format!("{} {}", it.code, it.message)).collect();
    found.sort();
    found
}
