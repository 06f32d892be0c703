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

/// Whether `text` may name a grant: like [`is_name`], and `A-Z`, so that it can be a ticket's
/// number: `INC-4821`.
pub fn is_grant_name(text: &str) -> bool {
    is_name(&text.to_ascii_lowercase())
}

/// Whether `text` names a destination: `payments`, `prod/payments`, or with the port of one of
/// several listeners: `payments:9443`.
pub fn is_destination(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let is_port =
        |port: &str| port.parse().is_ok_and(|number: u16| number > 0 && number.to_string() == port);
    name.split('/').all(is_name) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::{is_destination, is_grant_name, is_name};

    #[test]
    fn a_grant_may_have_the_name_of_a_ticket() {
        assert!(["INC-4821", "a", "inc-1"].iter().all(|name| is_grant_name(name)));
        assert!(["", "-A", "INC_1", "a/b", "É"].iter().all(|name| !is_grant_name(name)));
    }

    #[test]
    fn a_destination_is_a_workload_with_or_without_environment_and_port() {
        for name in ["payments", "prod/payments", "eu/prod/payments:1", "payments:65535"] {
            assert!(is_destination(name), "{name}");
        }
        for text in ["", "/a", "a/", "a:", "a:0", "a:65536", "a:+1", "a:01", "a:1:2", "A", ":1"] {
            assert!(!is_destination(text), "{text}");
        }
    }

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
