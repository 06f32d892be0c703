//! What a large fleet costs: reads, checks and compiles a made-up policy, and prints one line of
//! JSON. `cargo run --release -p cellwall-policy-language --example scale WORKLOADS [RULES-EACH]`
#![expect(clippy::expect_used, reason = "a measurement")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Instant, UNIX_EPOCH},
};

use cellwall_policy::{Publication, Snapshot};
use cellwall_policy_language::{Sources, load};
use spiffe::SpiffeId;

/// Workloads of one file, which is one segment.
const SEGMENT: usize = 50;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let workloads = numbers.next().and_then(Result::ok).expect("how many workloads");
    let each = numbers.next().map_or(10, |number| number.expect("how many rules each"));
    let sources = documents(workloads, each);
    let bytes: usize = sources.files.values().map(String::len).sum();

    let started = Instant::now();
    let set = load(&sources).expect("a policy without mistakes");
    let loaded = started.elapsed();

    let started = Instant::now();
    let (mut total, mut largest) = (0, 0);
    let mut documents = Vec::with_capacity(workloads);
    for number in 0..workloads {
        let id = SpiffeId::new(format!("spiffe://pay.example/prod/{}", name(number)));
        let publication = Publication::default();
        let compiled = set.compile(&id.expect("an ID"), &[], &publication, UNIX_EPOCH);
        let wire = serde_json::to_vec(&compiled.expect("a policy")).expect("JSON");
        (total, largest) = (total + wire.len(), largest.max(wire.len()));
        documents.push(wire);
    }
    let compiled = started.elapsed();

    let started = Instant::now();
    for wire in &documents {
        Snapshot::new(serde_json::from_slice(wire).expect("a document")).expect("a policy");
    }
    let indexed = started.elapsed();

    let figures = serde_json::json!({
        "workloads": workloads,
        "rules": workloads * each,
        "documents_bytes": bytes,
        "load_seconds": loaded.as_secs_f64(),
        "compile_all_seconds": compiled.as_secs_f64(),
        "compile_one_us": compiled.as_secs_f64() * 1e6 / workloads as f64,
        "snapshot_mean_bytes": total / workloads,
        "snapshot_largest_bytes": largest,
        "snapshots_total_bytes": total,
        "index_one_us": indexed.as_secs_f64() * 1e6 / workloads as f64,
    });
    println!("{figures}");
}

fn name(number: usize) -> String {
    format!("w{number}")
}

/// `each` rules about every workload: from a neighbour, a segment, a label; some with a condition.
fn documents(workloads: usize, each: usize) -> Sources {
    let mut files = BTreeMap::new();
    let root = "version: cellwall/v1\nidentity: \"spiffe://pay.example/{env}/{workload}\"\n\
                include: [segments/*.yaml]\nguards:\n  - name: no-cross-env\n    deny: any -> any\n    \
                when: caller.env != callee.env\n    why: environments never mix\n";
    files.insert("cellwall.yaml".to_owned(), root.to_owned());
    for segment in 0..workloads.div_ceil(SEGMENT) {
        let members = segment * SEGMENT..((segment + 1) * SEGMENT).min(workloads);
        let mut text = format!("version: cellwall/v1\nowner: team-{segment}\nworkloads:\n");
        for number in members.clone() {
            let tier = number % 4;
            let _ = writeln!(
                text,
                "  {}: {{listens: {{http: 8443}}, labels: {{tier: t{tier}}}}}",
                name(number)
            );
        }
        let names: Vec<_> = members.clone().map(name).collect();
        let _ = writeln!(
            text,
            "segments:\n  s{segment}: {{members: [{}], mode: enforce}}\nrules:",
            names.join(", ")
        );
        for number in members {
            for rule in 0..each {
                let (from, when) = match rule % 10 {
                    8 => (format!("segment/s{segment}"), "    when: caller.tier == \"t1\"\n"),
                    9 => (format!("[segment/s{segment}, {}]", name((number + 7) % workloads)), ""),
                    _ => (name((number * 31 + rule * 17 + 1) % workloads), ""),
                };
                let _ = write!(
                    text,
                    "  - name: r{number}-{rule}\n    from: {from}\n    to: {}\n    allow:\n      \
                     - http: GET,POST /v1/r{rule}/accounts/{{id}}\n      - http: PUT /v1/r{rule}/limits\n\
                     {when}    why: a made-up need\n",
                    name(number)
                );
            }
        }
        files.insert(format!("segments/s{segment}.yaml"), text);
    }
    Sources { root: "cellwall.yaml".to_owned(), files }
}
