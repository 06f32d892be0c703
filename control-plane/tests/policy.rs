//! A small policy in which this test's process may be a workload.

/// A policy in which each workload, `web` or `db`, is attested by the selectors given for it.
pub(crate) fn policy(attest: &[(&str, &[String])]) -> String {
    let of = |name: &str| {
        let found = attest.iter().find(|(workload, _)| *workload == name);
        found.map_or_else(String::new, |(_, selectors)| {
            format!(", attest: {{prod: [{}]}}", selectors.join(", "))
        })
    };
    let (web, db) = (of("web"), of("db"));
    format!(
        r#"version: cellwall/v1
identity: "spiffe://pay.example/{{env}}/{{workload}}"
workloads:
  web: {{listens: {{http: 8443}}{web}}}
  db: {{listens: {{tcp: 5432}}{db}}}
segments:
  all: {{members: [web, db], mode: enforce}}
rules:
  - name: web-db
    from: web
    to: db
    allow:
      - tcp: 5432
    why: a test
tests:
  - expect: allow
    call: prod/web -> prod/db tcp:5432
    by: web-db
"#
    )
}

/// The selector of a program.
pub(crate) fn path(program: &std::path::Path) -> String {
    format!("\"unix:path:{}\"", program.display())
}

/// The selector of this test's program.
pub(crate) fn this_path() -> String {
    path(&std::fs::read_link("/proc/self/exe").unwrap())
}

/// The selector of this test's user; root is too many for an entry of its own.
pub(crate) fn this_gid() -> String {
    format!("\"unix:gid:{}\"", nix::unistd::getegid())
}

/// This process is `web`.
pub(crate) fn we_are_web() -> String {
    policy(&[("web", &[this_path()])])
}

/// The same without `db` and without rules: whoever was `db` is nobody.
pub(crate) fn web_alone() -> String {
    let both = we_are_web().replace("  db: {listens: {tcp: 5432}}\n", "");
    both.replace("[web, db]", "[web]").split("rules:").next().unwrap().to_owned()
}

/// This process is `web` and `db`.
pub(crate) fn we_are_both() -> String {
    policy(&[("web", &[this_path()]), ("db", &[this_path(), this_gid()])])
}

/// This process is nobody.
pub(crate) fn we_are_nobody() -> String {
    policy(&[("web", &["\"unix:path:/nobody/runs/this\"".into()])])
}
