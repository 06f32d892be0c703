//! What a condition says, and what is no condition.

use std::{cell::Cell, collections::BTreeMap};

use proptest::prelude::*;

use super::{
    Attribute, Condition, Decided, Everybody, Fact, Folded, Known, Scope, parse,
    parse::{Expression, ExpressionKind},
    tokens::Refusal,
};
use crate::{
    model::{Label, WorkloadNumber},
    place::{FileNumber, Place},
};

/// With the variable `env`, the label `tier` of two values, and one workload and segment.
fn typed(text: &str) -> Option<Condition> {
    let value = |value: &str| (value.to_owned(), [WorkloadNumber(0)].into());
    let place = Place::new(FileNumber(0), 0, 0);
    let label = Label { place, values: [value("core"), value("edge")].into() };
    let scope = Scope {
        variables: vec!["env"],
        labels: &[("tier".to_owned(), label)].into(),
        workloads: &[("web".to_owned(), WorkloadNumber(0))].into(),
        segments: &BTreeMap::from([("front".to_owned(), ())]),
        suggestions: Cell::new(0),
    };
    scope.check(&parse(text).ok()?).condition
}

/// The caller is `web` of `front` in `prod`, with `tier: core`; the callee is in `staging`, and has
/// no label.
fn judged(text: &str) -> Decided {
    let known = |attribute: &Attribute| match attribute {
        Attribute::Caller(Fact::Workload) | Attribute::Callee(Fact::Workload) => Known::Text("web"),
        Attribute::Caller(Fact::Segment) | Attribute::Callee(Fact::Segment) => Known::Text("front"),
        Attribute::Caller(Fact::Variable(_)) => Known::Text("prod"),
        Attribute::Callee(Fact::Variable(_)) => Known::Text("staging"),
        Attribute::Caller(Fact::Label(_)) => Known::Text("core"),
        Attribute::Callee(Fact::Label(_)) => Known::Absent,
        Attribute::Tls(_) => Known::Text("1.3"),
    };
    match typed(text).unwrap().fold(&known) {
        Folded::Decided(decided) => decided,
        Folded::Left(left) => panic!("{left:?}"),
    }
}

#[test]
fn a_condition_means_what_it_means_in_cel() {
    const YES: &str = "caller.env == 'prod'";
    const NO: &str = "caller.env == 'dev'";
    const ERROR: &str = "callee.tier == 'core'";
    let shown = |text: &str| text.replace("YES", YES).replace("NO", NO).replace("ERROR", ERROR);
    for (text, expected) in [
        ("YES", Decided::Holds),
        ("NO", Decided::Fails),
        ("ERROR", Decided::Unknown),
        ("!(YES)", Decided::Fails),
        ("!!(YES)", Decided::Holds),
        ("!(ERROR)", Decided::Unknown),
        ("((YES))", Decided::Holds),
        ("YES && NO", Decided::Fails),
        ("YES || NO", Decided::Holds),
        ("NO && ERROR", Decided::Fails),
        ("ERROR && NO", Decided::Fails),
        ("YES || ERROR", Decided::Holds),
        ("ERROR || NO", Decided::Unknown),
        ("ERROR && YES", Decided::Unknown),
        // `&&` binds stronger.
        ("YES || YES && NO", Decided::Holds),
        ("(YES || YES) && NO", Decided::Fails),
        ("NO && NO || YES", Decided::Holds),
        ("NO && (NO || YES)", Decided::Fails),
        ("!(NO) && YES", Decided::Holds),
        ("!(NO && YES) || NO", Decided::Holds),
        ("NO || NO || NO || NO || YES", Decided::Holds),
        ("YES && YES && YES && YES && NO", Decided::Fails),
        ("caller.env != 'dev'", Decided::Holds),
        ("'dev' != caller.env", Decided::Holds),
        ("caller.env != callee.env", Decided::Holds),
        ("callee.tier != 'core'", Decided::Unknown),
        ("caller.tier in ['edge', \"core\"]", Decided::Holds),
        ("caller.tier in ['edge']", Decided::Fails),
        ("caller.tier in ['edge',]", Decided::Fails),
        ("callee.tier in ['edge']", Decided::Unknown),
        ("'prod' in ['prod']", Decided::Holds),
        ("caller.workload == 'web' && callee.segment == 'front'", Decided::Holds),
        ("tls.version == '1.3'", Decided::Holds),
        (" caller.env\n==\t'prod' ", Decided::Holds),
        ("caller.env=='prod'&&!(caller.tier==\"edge\")", Decided::Holds),
    ] {
        assert_eq!(judged(&shown(text)), expected, "{text}");
    }
}

#[test]
fn a_label_that_is_called_like_something_else_has_no_meaning_in_a_condition() {
    let place = Place::new(FileNumber(0), 7, 1);
    let label = || Label { place, values: [("x".to_owned(), [WorkloadNumber(0)].into())].into() };
    let labels = ["workload", "segment", "env", "tier"].map(|name| (name.to_owned(), label()));
    let scope = Scope {
        variables: vec!["env"],
        labels: &labels.into(),
        workloads: &[("x".to_owned(), WorkloadNumber(0))].into(),
        segments: &BTreeMap::from([("x".to_owned(), ())]),
        suggestions: Cell::new(0),
    };
    let mistakes = |text: &str| {
        let typed = scope.check(&parse(text).unwrap());
        typed.mistakes.into_iter().map(|it| (it.message, it.related)).collect::<Vec<_>>()
    };
    for name in ["caller.workload", "callee.segment", "caller.env"] {
        let expected =
            (format!("`{name}` has two meanings"), Some((place, "a label is called so too")));
        assert_eq!(mistakes(&format!("{name} == 'x'")), [expected]);
    }
    assert_eq!(mistakes("caller.tier == 'x'"), []);
}

fn refused(text: &str) -> Refusal {
    parse(text).unwrap_err()
}

#[test]
fn what_other_languages_write_is_refused_with_what_to_write_here() {
    for (text, help) in [
        ("caller.env = 'a'", "write `==`"),
        ("caller.env === 'a'", "write `==`"),
        ("caller.env !== 'a'", "write `!=`"),
        ("caller.env <> 'a'", "write `!=`"),
        ("caller.env is 'a'", "write `==`"),
        ("caller.env ne 'a'", "write `!=`"),
        (
            "caller.env == true",
            "a condition compares attributes; one that always holds is left out",
        ),
        ("caller.env == 'a' AND caller.env == 'b'", "write `&&`"),
        ("caller.env == 'a' or caller.env == 'b'", "write `||`"),
        ("caller.env == 'a' | caller.env == 'b'", "write `||`"),
        ("caller.env == 'a' & caller.env == 'b'", "write `&&`"),
        ("not (caller.env == 'a')", "write `!(...)`"),
        ("!caller.env == 'a'", "write `a != b`, or `!(...)` around the whole comparison"),
        ("caller.env < 'a'", "texts are equal or not: compare with `==`, `!=` or `in [...]`"),
        ("caller.env == 1", "every attribute is a text: write `\"1\"`"),
        ("caller.env == 1.5", "every attribute is a text: write `\"1.5\"`"),
        (
            "caller.env + 'a' == 'b'",
            "attributes are compared as they are, with `==`, `!=` or `in [...]`",
        ),
        ("caller.env matches 'a.*'", "compare whole texts: with `==`, or with `in [\"a\", \"b\"]`"),
        ("caller.env.endsWith('a')", "compare whole texts: with `==`, or with `in [\"a\", \"b\"]`"),
        ("caller.env == `a`", "write plain quotes: `\"prod\"` or `'prod'`"),
        ("caller.env == {a}", "a list stands in brackets: `[\"a\", \"b\"]`"),
        ("['a'] == caller.env", "a list stands right of `in`: `caller.env in [\"a\", \"b\"]`"),
        ("in ['a']", "an attribute stands left of `in`: `caller.env in [\"a\", \"b\"]`"),
        ("caller.env in ['a' 'b']", "write `[\"a\", \"b\"]`"),
        ("caller.labels.tier == 'a'", "labels stand directly: `caller.LABEL`"),
        ("caller['tier'] == 'a'", "write `caller.NAME`"),
        (
            "has(caller.tier)",
            "compare it: an attribute that a workload does not have is neither equal nor unequal",
        ),
        ("caller.env == 'a' ? 'b' : 'c'", "write two statements, one for each case"),
        ("caller.env == \u{7}", "a condition compares attributes: `caller.env == \"prod\"`"),
    ] {
        assert_eq!(refused(text).help, help, "{text}");
    }
}

#[test]
fn the_reason_stands_where_the_mistake_is() {
    for (text, at) in [
        ("caller.env = 'a'", "="),
        ("caller.env == 'a' and callee.env == 'a'", "and"),
        ("caller.env == 'a')", ")"),
        ("caller.env in ['a', env]", "env"),
        ("caller.env == 'a", "'a"),
        ("caller.env == 'a\nb'", "'a"),
        ("caller.env == 'a\\b'", "\\"),
        ("caller.env", "caller.env"),
        ("caller.env == prod", "prod"),
        ("caller.env == 42", "42"),
        ("caller.env == 'ä' && callee.env == §", "§"),
    ] {
        let Refusal { range, .. } = refused(text);
        assert_eq!(text.get(range), Some(at), "{text}");
    }
    // The first bracket, which is the one that stays open.
    assert_eq!(refused("(caller.env == 'a' && (callee.env == 'a')").range, 0..1);
    assert_eq!(refused("").range, 0..0);
    assert_eq!(refused("  ").range, 0..2);
}

#[test]
fn a_text_that_does_not_end_in_its_line_is_not_taken_for_one_with_an_escape() {
    for (text, message) in [
        ("caller.env == 'a\nb'", "a text without its closing quote"),
        ("caller.env == 'a", "a text without its closing quote"),
        ("caller.env == 'a\\b'", "a text in a condition has no escapes"),
    ] {
        assert_eq!(refused(text).message, message, "{text}");
    }
}

#[test]
fn what_is_not_joined_is_no_chain() {
    let kind = |text: &str| parse(text).unwrap().kind;
    assert!(matches!(kind("caller.env == 'a'"), ExpressionKind::Equal(..)));
    assert!(matches!(kind("(caller.env == 'a')"), ExpressionKind::Equal(..)));
    let ExpressionKind::All(parts) = kind("caller.env == 'a' && tls.version == '1.3'") else {
        panic!("no chain");
    };
    assert!(parts.iter().all(|part| matches!(part.kind, ExpressionKind::Equal(..))));
}

#[test]
fn a_condition_is_tried_once_for_each_way_in_which_its_values_can_be_equal() {
    let (mine, none) = (["env".to_owned()].into(), [].into());
    for (text, across, tries) in [
        // Of each: nothing, what is named, and as many others as are free.
        ("tls.version == '1.3'", None, 3),
        ("tls.version == '1.3' && tls.group == 'X25519'", None, 25),
        // The other side is free too, where it has to be the same.
        ("caller.env == 'a'", None, 3),
        ("caller.env == 'a'", Some(&mine), 3),
        ("caller.env == 'a'", Some(&none), 16),
        ("caller.env == callee.env", Some(&none), 9),
        ("caller.env == callee.env", Some(&mine), 9),
    ] {
        let condition = typed(text).unwrap();
        let nobody_else = || [Vec::new()].into();
        let everybody =
            Everybody { callers: nobody_else(), callees: nobody_else(), across, foreign: false };
        let tried = |most: usize| {
            let mut left = most;
            let outcomes = condition.outcomes(&condition.facts(), &everybody, &mut left);
            (outcomes.is_some(), most - left)
        };
        assert_eq!(tried(tries), (true, tries), "{text} {across:?}");
        assert_eq!(tried(tries - 1), (false, 0), "{text} {across:?}");
    }
}

#[test]
fn a_condition_is_neither_too_long_nor_too_deep_nor_too_wide() {
    // AZ-07
    let deep = |levels: usize| format!("{}'a' == 'a'{}", "(".repeat(levels), ")".repeat(levels));
    assert!(parse(&deep(32)).is_ok());
    assert_eq!(refused(&deep(33)).message, "a condition nested too deeply");
    let negated = |times: usize| format!("{}('a' == 'a')", "!".repeat(times));
    assert!(parse(&negated(31)).is_ok());
    assert_eq!(refused(&negated(32)).message, "a condition nested too deeply");
    // Each half of a chain is a level: 28 and 4, and the comparison.
    let chained = |times: usize| {
        let chain = vec!["'a' == 'a'"; 16].join("&&");
        format!("{}({chain})", "!".repeat(times))
    };
    assert!(parse(&chained(27)).is_ok());
    assert_eq!(refused(&chained(28)).message, "a condition nested too deeply");
    // What is closed is no longer around what comes next.
    assert!(parse(&["('a' == 'a')"; 40].join("&&")).is_ok());
    // Two for each comparison, one for each sign between.
    let wide = |last: &str| format!("{}&&{last}", ["'a'!=''"; 341].join("&&"));
    assert!(parse(&wide("'a'==''")).is_ok());
    assert_eq!(refused(&wide("'a'!=''")).message, "a condition of more than 1024 parts");
    let long = |bytes: usize| format!("caller.env == '{}'", "a".repeat(bytes - 16));
    assert!(parse(&long(4096)).is_ok());
    assert_eq!(refused(&long(4097)).message, "a condition longer than 4096 bytes");
}

/// Whether each part stands inside of what it is a part of.
fn is_nested(expression: &Expression, text: &str) -> bool {
    text.get(expression.range.clone()).is_some() && !expression.range.is_empty()
}

proptest! {
    #[test]
    fn any_text_is_a_condition_or_has_a_reason_inside_of_it(
        text in prop_oneof![
            any::<String>(),
            "[a-z.=!&|()\\[\\]\"', ä]{0,40}",
            prop::collection::vec(
                prop::sample::select(vec![
                    "caller.", "env", "callee.tier", "tls.version", "==", "!=", "!", "&&", "||",
                    "(", ")", "[", "]", ",", "in", "'a'", "\"b\"", " ", "and", "1", ".",
                ]),
                0..20,
            )
            .prop_map(|words| words.concat()),
        ],
    ) {
        match parse(&text) {
            Ok(expression) => prop_assert!(is_nested(&expression, &text), "{expression:?}"),
            Err(Refusal { range, message, help }) => {
                prop_assert!(text.get(range.clone()).is_some(), "{range:?}");
                prop_assert!(!message.is_empty() && !help.is_empty());
            }
        }
    }
}
