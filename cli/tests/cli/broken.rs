//! Broken policies, each with all that `policy validate` prints. `CELLWALL_BLESS=1` writes what is
//! printed now; read it before it is committed: whoever made the mistake has nothing else.

use std::{fs, path::Path};

use crate::run::Shell;

fn is_blessed() -> bool {
    std::env::var_os("CELLWALL_BLESS").is_some()
}

#[test]
fn every_broken_policy_says_what_is_wrong_and_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut count = 0;
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == "yaml")) {
        let shell = Shell::bare();
        fs::copy(file, shell.path("cellwall.yaml")).unwrap();
        let run = shell.run(&["policy", "validate", ".", "-q"]);
        let expected = file.with_extension("txt");
        if is_blessed() {
            fs::write(&expected, &run.stdout).unwrap();
        }
        let is_right = run.code == 3
            && run.stderr.is_empty()
            && fs::read_to_string(&expected).is_ok_and(|text| text == run.stdout);
        if !is_right {
            wrong.push(format!("{}:\n{}{}", file.display(), run.stdout, run.stderr));
        }
        count += 1;
    }
    println!("evidence: {{\"policies\": {count}, \"wrong\": {}}}", wrong.len());
    assert!(count >= 25, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
