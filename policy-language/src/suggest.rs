//! Did you mean ...?

/// The longest text that is taken for a misspelt name, in bytes: comparing costs its square.
const MAX_BYTES: usize = 128;

/// The name that is nearest to a misspelt one, if one is near enough.
pub(crate) fn nearest<'a>(
    misspelt: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if misspelt.len() > MAX_BYTES {
        return None;
    }
    let limit = (misspelt.chars().count() / 3).max(1);
    names
        .into_iter()
        .filter(|name| name.len().abs_diff(misspelt.len()) <= limit * 4)
        .map(|name| (strsim::damerau_levenshtein(misspelt, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_name_is_suggested_only_when_it_is_near() {
        let names = ["checkout", "payments", "fraud"];
        for (misspelt, expected) in [
            ("checkot", Some("checkout")),
            ("chekcout", Some("checkout")),
            ("payment", Some("payments")),
            ("fruad", Some("fraud")),
            ("ledger", None),
            ("x", None),
            ("chekcoout", Some("checkout")),
            // Two characters too many, of four bytes each.
            ("payments\u{1f600}\u{1f600}", Some("payments")),
        ] {
            assert_eq!(nearest(misspelt, names), expected, "{misspelt}");
        }
        for (bytes, is_compared) in [(128, true), (129, false)] {
            let long = "a".repeat(bytes);
            assert_eq!(nearest(&long, [long.as_str()]).is_some(), is_compared, "{bytes}");
        }
    }
}
