//! Every input that a fuzzer found worth keeping, run again: `fuzz/corpus`, without a fuzzer.

mod bodies;

use std::{fs, path::Path};

/// The largest input and the largest corpora, all together, that belong into the repository.
const MAX_INPUT: u64 = 64 * 1024;
const MAX_ALL: u64 = 1024 * 1024;

/// Runs each input of a target's corpus, and gives their number.
fn replay(target: &str, body: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        let run = std::panic::catch_unwind(|| body(&input));
        assert!(run.is_ok(), "{}", path.display());
        count += 1;
    }
    println!("evidence: {{\"target\": \"{target}\", \"inputs\": {count}}}");
    count
}

#[test]
fn the_corpus_of_policy_documents_is_read_without_a_panic() {
    assert!(replay("policy_documents", bodies::policy_documents) > 0);
}

#[test]
fn the_corpus_of_path_templates_is_decided_as_the_naive_matcher_does() {
    assert!(replay("path_template", bodies::path_template) > 0);
}

#[test]
fn the_corpus_of_conditions_decides_alike_what_means_the_same() {
    assert!(replay("condition", bodies::condition) > 0);
}

#[test]
fn the_corpus_of_files_says_the_same_when_formatted() {
    assert!(replay("fmt", bodies::fmt) > 0);
}

#[test]
fn the_corpora_are_small() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut all = 0;
    for target in fs::read_dir(folder).unwrap() {
        for entry in fs::read_dir(target.unwrap().path()).unwrap() {
            let entry = entry.unwrap();
            let bytes = entry.metadata().unwrap().len();
            assert!(bytes <= MAX_INPUT, "{}", entry.path().display());
            all += bytes;
        }
    }
    assert!(all <= MAX_ALL, "{all} bytes");
}
