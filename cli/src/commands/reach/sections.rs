//! Environments in which the same holds are shown once.

use cellwall_policy_language::Places;

/// Rows that hold in the same environments.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Section {
    /// `prod; staging and any other are identical`.
    pub(super) head: String,
    /// The numbers of the rows.
    pub(super) rows: Vec<usize>,
}

/// Rows inside of environments, then those across a boundary.
pub(super) fn sections<'a>(
    environments: &[String],
    places: impl Iterator<Item = &'a Places>,
) -> Vec<Section> {
    let places: Vec<&Places> = places.collect();
    let mut groups: Vec<(Vec<&str>, _)> = Vec::new();
    for environment in environments {
        let inside = places.iter().enumerate();
        let inside = inside.filter(|(_, it)| it.environments.contains(environment));
        let rows: Vec<usize> = inside.map(|(at, _)| at).collect();
        match groups.iter_mut().find(|(_, known)| *known == rows) {
            Some((names, _)) => names.push(environment),
            None => groups.push((vec![environment], rows)),
        }
    }
    let mut sections: Vec<Section> =
        groups.into_iter().map(|(names, rows)| Section { head: head(&names), rows }).collect();
    let across: Vec<usize> = places
        .iter()
        .enumerate()
        .filter(|(_, it)| !it.across.is_empty())
        .map(|(at, _)| at)
        .collect();
    if !across.is_empty() {
        sections.push(Section { head: "across a boundary".to_owned(), rows: across });
    }
    // What is empty is worth a line only where there is nothing else.
    if sections.iter().any(|section| !section.rows.is_empty()) {
        sections.retain(|section| !section.rows.is_empty());
    } else {
        sections.truncate(1);
    }
    sections
}

fn head(names: &[&str]) -> String {
    match names {
        [] | [""] => String::new(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one}; {other} is identical"),
        [one, middle @ .., last] => {
            format!("{one}; {} and {last} are identical", middle.join(", "))
        }
    }
}

/// `staging -> prod`, where a boundary is crossed.
pub(super) fn crossing(places: &Places) -> String {
    let pairs: Vec<_> = places.across.iter().map(|(from, to)| format!("{from} -> {to}")).collect();
    pairs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(names: &[&str]) -> Places {
        Places { environments: names.iter().map(|it| it.to_string()).collect(), across: Vec::new() }
    }

    #[test]
    fn environments_with_the_same_rows_are_one_section() {
        let environments = ["prod", "staging", "any other"].map(str::to_owned);
        let rows = [inside(&["prod", "any other"]), inside(&["prod", "staging", "any other"])];
        let found = sections(&environments, rows.iter());
        let expected = [
            Section { head: "prod; any other is identical".to_owned(), rows: vec![0, 1] },
            Section { head: "staging".to_owned(), rows: vec![1] },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_crosses_a_boundary_is_a_section_of_its_own() {
        let across = vec![("staging".to_owned(), "prod".to_owned())];
        let rows = [Places { environments: Vec::new(), across }];
        let found = sections(&["prod".to_owned()], rows.iter());
        let expected = [Section { head: "across a boundary".to_owned(), rows: vec![0] }];
        assert_eq!(found, expected);
        assert_eq!(crossing(&rows[0]), "staging -> prod");
    }
}
