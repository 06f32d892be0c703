//! What is judged is what is sent, and what other proxies make of the same bytes.

use serde_json::{Map, Value};

use super::super::{Effort, Shown, steps};
use crate::{
    cargo::{self, Profile},
    interop::ready,
};

/// The least cases of each kind.
const LEAST: [(&str, u64); 4] =
    [("heads", 70), ("frames", 60), ("paths", 300), ("spoofed callers", 60)];

/// The packages of Debian that other proxies are in, and the program there.
const NGINX: (&[&str], &str) = (&["nginx"], "usr/sbin/nginx");
const HAPROXY: (&[&str], &str) = (
    &["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
    "usr/sbin/haproxy",
);

/// 2. The corpus over each pair of protocols (T5), and over HTTP/1.1 through other proxies.
pub(super) fn corpus(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let pairs = steps::all_figures(("cellwall-proxy", "main", "confusion::"), &programs)?;
    for (kind, least) in LEAST {
        let of_kind = pairs.iter().filter(|pair| pair.get("kind") == Some(&kind.into()));
        let fewest = of_kind.map(|pair| number(pair, "cases")).min().unwrap_or_default();
        shown.goal(&format!("{kind}: at least {least} over each pair"), fewest >= least);
    }
    let all = |name| pairs.iter().map(|pair| number(pair, name)).sum::<u64>();
    shown.figure("pairs", pairs.len());
    shown.figure("cases", all("cases"));
    shown.figure("requests_read_by_the_workload", all("read"));
    shown.figure("read_otherwise_than_judged", all("confused"));
    shown.goal("the workload read what was judged, in every case", all("confused") == 0);
    let crooked = ("cellwall-proxy", "main", "spoofs::");
    let spoofs = steps::all_figures(crooked, &programs)?;
    shown.figure("spoofs", Value::from(spoofs.into_iter().map(Value::Object).collect::<Vec<_>>()));
    if effort == Effort::Full {
        others(&mut shown, &programs)?;
    }
    Ok(shown)
}

/// The same bytes through Envoy, HAProxy and nginx.
fn others(shown: &mut Shown, programs: &std::path::Path) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for (name, program) in [
        ("envoy", ready::envoy(programs)),
        ("haproxy", ready::debian(programs, HAPROXY)),
        ("nginx", ready::debian(programs, NGINX)),
    ] {
        shown.goal(&format!("{name} is here (or it did not run)"), program.is_ok());
        match program {
            Ok(program) => found.push(format!("{name}={}", program.display())),
            Err(why) => println!("  {name} did not run: {why:#}"),
        }
    }
    let probe = ("cellwall-proxy", "main", "confusion::peers::what_other_proxies_let_through");
    let figures = steps::figures_with(probe, ("CELLWALL_PEERS", &found.join(",")))?;
    println!(
        "  {:<10} {:<16} {:>6} {:>8} {:>8} {:>10} {:>9}",
        "proxy", "list", "cases", "as ours", "refused", "otherwise", "mistaken"
    );
    for (proxy, lists) in &figures {
        for (list, counts) in lists.as_object().into_iter().flatten() {
            let Some(counts) = counts.as_object() else { continue };
            let [cases, same, refused, other, mistaken] =
                ["cases", "as_ours", "refused", "read_otherwise", "mistaken"]
                    .map(|name| number(counts, name));
            println!(
                "  {proxy:<10} {list:<16} {cases:>6} {same:>8} {refused:>8} {other:>10} {mistaken:>9}"
            );
        }
    }
    shown.figures.insert("other_proxies".to_owned(), Value::Object(figures));
    Ok(())
}

fn number(figures: &Map<String, Value>, name: &str) -> u64 {
    figures.get(name).and_then(Value::as_u64).unwrap_or_default()
}
