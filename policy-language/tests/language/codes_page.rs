//! docs/codes.md: the pages of all codes, one below the other.
//!
//! `CELLWALL_BLESS=1 cargo test -p cellwall-policy-language --test language codes_page` writes it.

use std::{env, fs, path::Path};

use cellwall_policy_language::{CODE_PAGES, CodePage};

/// The longest line of a paragraph.
const LINE_WIDTH: usize = 120;

const HEAD: &str = "\
# Codes

Every finding of `cellwall policy validate` has a code, and `cellwall explain CODE` prints its page. This file is all of
them, made from `CODE_PAGES` in `policy-language/src/codes`; a test compares the two.

The examples are parts of a file. Around them are the workloads `checkout` and `payments` (HTTP), `ledger` (gRPC) and
`ledger-db` (TCP, 5432), the first in the segment `edge`, which is in `audit`, the others in `core`, which is enforced.
";

fn page(page: &CodePage) -> String {
    let mut text = format!("\n## {}\n\n**{}**\n", page.code, page.title);
    for paragraph in page.text.split("\n\n") {
        text.push('\n');
        text.push_str(&wrapped(paragraph));
    }
    let block = |part: &str| format!("\n```yaml\n{}\n```\n", part.trim_end());
    text + &block(page.example) + "\nMended:\n" + &block(page.mended)
}

/// Words in lines, each ended.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::new()];
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= LINE_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_page_of_codes_is_made_from_the_codes() {
    let made = HEAD.to_owned() + &CODE_PAGES.iter().map(page).collect::<String>();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/codes.md");
    if env::var_os("CELLWALL_BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, made, "CELLWALL_BLESS=1 writes it anew");
}
