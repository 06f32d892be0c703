//! The names that people give: workloads, rules, guards, environments.

/// The longest name, in bytes: a DNS label's limit, so that a name fits wherever one is shown.
pub const MAX_NAME_BYTES: usize = 63;

/// Whether `text` is a name: `a-z`, `0-9` and `-`, neither first nor last a `-`, at most
/// [`MAX_NAME_BYTES`] long. Every name is therefore also a legal SPIFFE path segment.
pub fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= MAX_NAME_BYTES
        && text.bytes().all(legal)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_is_lower_case_letters_digits_and_inner_dashes() {
        let longest = "a".repeat(63);
        for name in ["a", "7", "ledger-db", "a--b", &longest] {
            assert!(is_name(name), "{name}");
        }
        let too_long = "a".repeat(64);
        for text in ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä", "a b", "{a}", &too_long] {
            assert!(!is_name(text), "{text}");
        }
    }
}
