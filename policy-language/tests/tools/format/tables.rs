//! Before and after.

use std::{fs, path::Path};

use super::{check, formatted, unchanged};

#[test]
fn white_space_is_one_step_per_level_one_space_after_colons_and_none_at_the_end() {
    check(
        "version:    cellwall/v1  \nlimits:\n    grant_max:\t8h \t\n\n\n\n    svid_ttl:  1h",
        "version: cellwall/v1\n\nlimits:\n  grant_max: 8h\n\n  svid_ttl: 1h\n",
    );
    check("version : cellwall/v1\nowner:\n   team-a\n", "version: cellwall/v1\nowner: team-a\n");
    check("rules:\n- name: a\n-   name: b\n", "rules:\n  - name: a\n  - name: b\n");
    check(
        "rules:\n  -\n    name: a\n  -   - b\n      - c\n",
        "rules:\n  - name: a\n  - - b\n    - c\n",
    );
    check("version: cellwall/v1\n\n\n", "version: cellwall/v1\n");
    check("\n\nversion: cellwall/v1", "version: cellwall/v1\n");
    check("rules:\n\n\n  - name: a\n\n\n\n  - name: b\n", "rules:\n  - name: a\n\n  - name: b\n");
    check("rules:\nowner:\nx:\n  -\n  - \n", "rules:\nowner:\n\nx:\n  -\n  -\n");
}

#[test]
fn a_blank_line_stands_between_sections_and_groups_of_plain_keys_stay() {
    check(
        "version: cellwall/v1\nowner: a\n\ninclude: [a.yaml]\nrules:\n  - name: a\nguards:\n  - name: b\nprobes: []\n",
        "version: cellwall/v1\nowner: a\n\ninclude: [a.yaml]\n\nrules:\n  - name: a\n\nguards:\n  - name: b\n\nprobes: []\n",
    );
    check(
        "rules:\n  - name: a\n# about guards\nguards:\n  - name: b\n",
        "rules:\n  - name: a\n\n# about guards\nguards:\n  - name: b\n",
    );
}

#[test]
fn brackets_have_no_space_inside_and_one_after_commas() {
    check(
        "a: [ x,y ,  z , ]\nb: { http : 8443,tcp:  1 }\nc: [  ]\nd: {  }\n",
        "a: [x, y, z]\nb: {http: 8443, tcp: 1}\nc: []\nd: {}\n",
    );
    check(
        "a: [x: 1, {y : 2}, [ z ]]\nb: {\"q\":1, 'r' : \"s, t\", u}\n",
        "a: [x: 1, {y: 2}, [z]]\nb: {\"q\": 1, 'r': \"s, t\", u}\n",
    );
    check("a: {x:: , y: 1, z:: }\n", "a: {x::, y: 1, z::}\n");
    check("a: [x: , {y:  }, z : 1]\n", "a: [x:, {y}, z: 1]\n");
    check("probes: [GET /livez,GET /readyz]\n", "probes: [GET /livez, GET /readyz]\n");
}

#[test]
fn the_values_of_a_sections_names_stand_below_each_other() {
    check(
        "workloads:\n  a: {listens: {http: 1}}\n  longer-name: {listens: {http: 2}}\n\n  b: {listens: {http: 3}}\n  # c\n  cc:\n    listens: {http: 4}\n",
        "workloads:\n  a:           {listens: {http: 1}}\n  longer-name: {listens: {http: 2}}\n\n  b: {listens: {http: 3}}\n  # c\n  cc:\n    listens: {http: 4}\n",
    );
    check(
        "operators:\n  viewer: [group/a]\n  auditor: [group/b]\nrules:\n  - name: x\n    from: [a]\n    allow: [{tcp: 1}]\n",
        "operators:\n  viewer:  [group/a]\n  auditor: [group/b]\n\nrules:\n  - name: x\n    from: [a]\n    allow: [{tcp: 1}]\n",
    );
}

#[test]
fn keys_stand_in_the_order_of_the_language_and_their_comments_move_with_them() {
    check(
        "rules:\n  # about the rule\n  - from: a   # from a\n    review_by: 2026-01-01\n    # why it is\n    # in two lines\n    why: x\n    # its name\n    name: n   # the name\n    role: r\n    # the end\n",
        "rules:\n  # about the rule\n  # its name\n  - name: n   # the name\n    from: a   # from a\n    role: r\n    # why it is\n    # in two lines\n    why: x\n    review_by: 2026-01-01\n    # the end\n",
    );
    check(
        "guards:\n  - {why: x, except: [b], deny: any -> a, name: n}\nnever:\n  - why: w\n    through: any\n    to: b\n    from: a\n    name: n\n",
        "guards:\n  - {name: n, deny: any -> a, except: [b], why: x}\n\nnever:\n  - name: n\n    from: a\n    to: b\n    through: any\n    why: w\n",
    );
    check(
        "grants:\n  - owner: o\n    approved_by: [a, b]\n    why: w\n    expires: e\n    starts: s\n    across: [env]\n    when: c\n    allow:\n      - tcp: 1\n    to: t\n    from: f\n    name: n\n",
        "grants:\n  - name: n\n    from: f\n    to: t\n    allow:\n      - tcp: 1\n    when: c\n    across: [env]\n    starts: s\n    expires: e\n    why: w\n    approved_by: [a, b]\n    owner: o\n",
    );
    check(
        "tests:\n  - {by: b, at: t, call: c, expect: allow}\nworkloads:\n  w:\n    attest: {prod: [x]}\n    id: /i\n    labels: {b: c, a: d}\n    listens: {tcp: 1}\n",
        "tests:\n  - {expect: allow, call: c, at: t, by: b}\n\nworkloads:\n  w:\n    listens: {tcp: 1}\n    labels: {b: c, a: d}\n    id: /i\n    attest: {prod: [x]}\n",
    );
    // Unknown keys, and keys that stand twice, keep their order behind the known.
    check(
        "rules:\n  - zebra: 1\n    apple: 2\n    name: a\n    name: b\n",
        "rules:\n  - name: a\n    name: b\n    zebra: 1\n    apple: 2\n",
    );
    // Sections stand where their author put them.
    unchanged("tests: []\nversion: cellwall/v1\n");
}

#[test]
fn comments_stay_with_what_they_are_about() {
    check(
        "# head\n\n# of the file\nversion: cellwall/v1\nrules:\n      # first\n  - name: a\n    from: b\n    # inside, at the end\n  # before c\n\n\n  - name: c\n # odd\n# last of all\n",
        "# head\n\n# of the file\nversion: cellwall/v1\n\nrules:\n  # first\n  - name: a\n    from: b\n    # inside, at the end\n  # before c\n\n  - name: c\n# odd\n# last of all\n",
    );
    check(
        "rules:\n  - # of the dash\n    # of the name\n    name: a\n  -   # x\n    b\n  - name: # y\n      # z\n      c\n",
        "rules:\n  # of the dash\n  # of the name\n  - name: a\n  # x\n  - b\n  # y\n  # z\n  - name: c\n",
    );
    check(
        "rules:\n  - name: a\n\n  -\n    # c\n    name: b\n",
        "rules:\n  - name: a\n\n  # c\n  - name: b\n",
    );
    check("rules: # all\n- name: a #short\n", "rules:  # all\n  - name: a  #short\n");
    check("# only\n\n\n   # comments   \n", "# only\n\n\n   # comments   \n");
    check("a:\n- b\n# c\n", "a:\n  - b\n# c\n");
}

#[test]
fn comments_beside_stay_in_their_column_and_move_together() {
    unchanged(
        "version: cellwall/v1   # three away\n\nlimits:            # far\n  svid_ttl: 1h     # far\n",
    );
    check(
        "rules:\n  - name:     a       # one\n    from:     b       # two\n",
        "rules:\n  - name: a           # one\n    from: b           # two\n",
    );
    check(
        "rules:\n    -   name: a  # one\n        from: bc # two\n        role: d  # three\n",
        "rules:\n  - name: a   # one\n    from: bc  # two\n    role: d   # three\n",
    );
}

#[test]
fn flows_of_several_lines_keep_their_lines() {
    check(
        "include: [   # which\n      a.yaml, b.yaml,\n\n      # one more\n   c.yaml\n     ]\n",
        "include: [   # which\n  a.yaml, b.yaml,\n\n  # one more\n  c.yaml\n]\n",
    );
    check(
        "rules:\n- from: [a,   # the first\n   b]\n  name: n\n- allow: [{http: GET /a},\n    {http:  GET /b,}, ]\n",
        "rules:\n  - name: n\n    from: [a,   # the first\n      b]\n  - allow: [{http: GET /a},\n      {http: GET /b}]\n",
    );
    check(
        "a: [\n]\nb: {\n  # c\n}\nc: [x,\n  y,\n  ]\n",
        "a: []\nb: {\n  # c\n}\nc: [x,\n  y,\n]\n",
    );
    check("a: {b:\n  }\nc: {d:   ,\n e}\n", "a: {b\n}\nc: {d,\n  e}\n");
    check("rules:\n  - [{\n     a: b\n       }]\n", "rules:\n  - [{\n      a: b\n    }]\n");
}

#[test]
fn flows_keep_their_commas_and_blank_lines() {
    // A comma inside of a comment is none.
    check("a: [x # b, c\n  ]\n", "a: [x  # b, c\n]\n");
    check("a: {b: c, # d\n  e: [f, # g, h\n  ]}\n", "a: {b: c,  # d\n  e: [f,  # g, h\n  ]}\n");
    // A blank line is above a later item, or below the comment of the first.
    check("a: [\n\n  b,\n\n  c,\n  d\n]\n", "a: [\n  b,\n\n  c,\n  d\n]\n");
    check(
        "a: [\n\n  # b\n\n  # c\n\n  d,\n\n  # e\n  f\n]\n",
        "a: [\n  # b\n\n  # c\n\n  d,\n\n  # e\n  f\n]\n",
    );
    check("a: [\n\n  # b\n\n  # c\n]\n", "a: [\n  # b\n\n  # c\n]\n");
    // What begins a line inside begins one outside.
    check("a: [\n[b]]\n", "a: [\n  [b]]\n");
    check("a: {b\n  : , c}\nd: {e\n  , f}\n", "a: {b, c}\nd: {e,\n  f}\n");
}

#[test]
fn what_stands_below_in_brackets_is_one_step_deeper() {
    check("a: [b\n    c]\n", "a: [b\n  c]\n");
    check(
        "rules:\n  - allow:\n    - [a,\n    b]\n    - http: GET /a\n      grpc: c\n",
        "rules:\n  - allow:\n      - [a,\n          b]\n      - http: GET /a\n        grpc: c\n",
    );
}

#[test]
fn only_flows_of_one_line_are_ordered_and_stand_below_each_other() {
    for flow in [
        "{labels: {a: b},\n    listens: {http: 1}}",
        "{labels: {a: b\n    c}, listens: {http: 1}}",
        "{labels: {a: b}, listens: {\n    http: 1}}",
        "{labels: {a: b}, listens: {http: 1}\n  }",
        "{\n    labels: {a: b}, listens: {http: 1}}",
        "{labels: {a: b},  # c\n    listens: {http: 1}}",
        "{labels: {\n    # d\n  }, listens: {http: 1}}",
    ] {
        unchanged(&format!("workloads:\n  w: {flow}\n  longer: {{listens: {{http: 2}}}}\n"));
    }
    check(
        "workloads:\n  w: {labels: {}, listens: {http: 1}}\n  longer: {listens: {http: 2}}\n",
        "workloads:\n  w:      {listens: {http: 1}, labels: {}}\n  longer: {listens: {http: 2}}\n",
    );
}

#[test]
fn texts_of_several_lines_keep_what_they_say() {
    check(
        "rules:\n- why: plain and\n      long\n\n      text\n  name: a\n",
        "rules:\n  - name: a\n    why: plain and\n      long\n\n      text\n",
    );
    check(
        "a: \"quoted   \n   text\\   \n     and \\\n  more\"  # c\nb: 'x\n\n\n y'\n",
        "a: \"quoted\n  text\\ \n  and \\\n  more\"  # c\nb: 'x\n\n\n  y'\n",
    );
    check(
        "rules:\n    - why: |   # c\n          one  \n            two\n\n          three\n\n\n      name: a\n    - >-\n\n       x\n       y\n",
        "rules:\n  - name: a\n    why: |   # c\n      one  \n        two\n\n      three\n  - >-\n\n    x\n    y\n",
    );
    check("a:   |\n  x\nb: # c\n  # d\n  >-\n  y\n", "a: |\n  x\n# c\n# d\nb: >-\n  y\n");
    // A tab behind the indentation is the text's own.
    check("a:  |\n  a long first line\n  \tx\n", "a: |\n  a long first line\n  \tx\n");
    check("a: |2\n    x\n   y\n\nb: 1\n", "a: |2\n    x\n   y\n\nb: 1\n");
    check("a: |+\n x\nb:\n- c\n", "a: |+\n  x\nb:\n  - c\n");
    check("a: |+\n x\n ", "a: |+\n  x\n");
    check("a: |+\n x\n  ", "a: |+\n  x\n   \n");
    check("a: |\n x", "a: |\n  x\n");
    check("a: |+\n x\n\n\nb:\n  c: >+\n   y\n\n\n", "a: |+\n  x\n\n\nb:\n  c: >+\n    y\n\n\n");
    check("a: |\n\nb: |-\n   \n# c\n", "a: |\n\nb: |-\n\n# c\n");
    check("a: |\n  x\n  # in the text\n# not in it\n", "a: |\n  x\n  # in the text\n# not in it\n");
}

#[test]
fn line_ends_byte_order_marks_and_document_starts_are_read() {
    check(
        "\u{feff}version: cellwall/v1\r\nrules:\r\n- name: a\r\n",
        "version: cellwall/v1\n\nrules:\n  - name: a\n",
    );
    check("a: |\r\n  x\r\n  y\r\nb: \"c\r\n  d\"\r\n", "a: |\n  x\n  y\nb: \"c\n  d\"\n");
    check("# c\n---   # d\n\n\nversion:  cellwall/v1\n", "# c\n---   # d\nversion: cellwall/v1\n");
    check("---\nversion:  cellwall/v1\n", "---\nversion: cellwall/v1\n");
    check("---   # c\nversion:  cellwall/v1\n", "---   # c\nversion: cellwall/v1\n");
}

#[test]
fn what_has_no_form_here_is_left_as_it_is() {
    for text in [
        "",
        "\n\n",
        "{version:   cellwall/v1}\n",
        "- a\n-   b\n",
        "just text  \n",
        "? a\n: b\n",
        "a:  !!str b\n",
        "%YAML 1.2\n---\na:   b\n",
        "a:  {b: # c\n  d}\n",
        "a:  {b: # c\n  [d], e: f}\n",
        "a:  {b: # c\n  []}\n",
        "a:  {b # c\n  : d}\n",
        "a:  {? b : c}\n",
        "a:  {[b]: c}\n",
        "a:   b\n: c\n",
        "a:  |\n b\n\t\n",
        "a:  |\n \tb\n",
        "a:   b\n...\n",
        "[a]:   b\n",
        "--- \n",
    ] {
        unchanged(text);
    }
}

#[test]
fn real_documents_read_well_already() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [
        "../deploy/demo/policy/cellwall.yaml",
        "../deploy/demo/policy/segments/payments.yaml",
        "tests/example/cellwall.yaml",
    ] {
        unchanged(&fs::read_to_string(root.join(file)).unwrap());
    }
    let text = fs::read_to_string(root.join("tests/example/segments/payments.yaml")).unwrap();
    let changed: Vec<_> = {
        let formatted = formatted(&text);
        let lines = text.lines().zip(formatted.lines());
        lines.filter(|(one, next)| one != next).map(|(_, line)| line.to_owned()).collect()
    };
    assert_eq!(
        changed,
        [
            "  ledger-db:  {listens: {tcp: 5432}, labels: {tier: data}, id: \"/{env}/vm/ledger-db\"}",
            "    starts: 2026-03-02T10:00:00Z",
        ]
    );
}

/// The manual's table of orders, against the formatter.
#[test]
fn the_manual_lists_the_order_of_keys() {
    let manual = crate::documents::file("../docs/policy.md");
    let sections = [
        ("a rule", "rules"),
        ("a guard", "guards"),
        ("a grant", "grants"),
        ("a test", "tests"),
        ("what must never be", "never"),
    ];
    for (what, section) in sections {
        let row = format!("| {what} | `");
        let line = manual.lines().find_map(|line| line.strip_prefix(&row)).unwrap();
        let order: Vec<_> = line.trim_end_matches("` |").split(' ').collect();
        let item = |keys: &[&str]| keys.iter().map(|key| format!("{key}: x")).collect::<Vec<_>>();
        let mut backwards = order.clone();
        backwards.reverse();
        let text = |keys: &[&str]| format!("{section}:\n  - {}\n", item(keys).join("\n    "));
        check(&text(&backwards), &text(&order));
    }
    let order = manual.lines().find_map(|line| line.strip_prefix("| a workload | `")).unwrap();
    check(
        "workloads:\n  a: {attest: {}, identity_header: [], id: /a, labels: {}, listens: {}}\n",
        "workloads:\n  a: {listens: {}, labels: {}, id: /a, identity_header: [], attest: {}}\n",
    );
    assert_eq!(order, "listens labels id identity_header attest` |");
}
