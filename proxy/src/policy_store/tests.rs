use std::{
    collections::BTreeMap,
    fs,
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use cellwall_policy::{Digest, PolicyVersion, Publication, SignedSnapshot};
use spiffe::SpiffeId;
use tempfile::TempDir;

use super::{ADDRESSES, FolderError, HIGH_WATER, POLICY, PolicyStore};
use crate::directory::Endpoints;

fn id(workload: &str) -> SpiffeId {
    SpiffeId::new(format!("spiffe://pay.example/prod/{workload}")).unwrap()
}

fn publication(epoch: u64, version: u64) -> Publication {
    let digest = Digest::of(&version.to_be_bytes());
    Publication { epoch, version: PolicyVersion(version), digest }
}

/// Any bytes: the store does not judge them.
fn signed(version: u64) -> SignedSnapshot {
    let payload = format!("{{\"version\":{version}}}\n\n\u{0}tail").into_bytes();
    SignedSnapshot { payload, signature: vec![0x30, 0, 10, 0xff] }
}

fn store() -> (TempDir, PolicyStore) {
    let temp = tempfile::tempdir().unwrap();
    let store = PolicyStore::open(&temp.path().join("state")).unwrap();
    (temp, store)
}

fn keep(store: &PolicyStore, version: u64) -> Result<(), String> {
    store
        .keep(&id("a"), &publication(1, version), &signed(version))
        .map_err(|error| error.to_string())
}

/// The mark and the policy of `a`.
fn found(store: &PolicyStore) -> (Option<u64>, Option<SignedSnapshot>) {
    let found = store.find(&id("a")).unwrap();
    (found.high_water.map(|mark| mark.version.0), found.policy.unwrap())
}

/// Keeps a file from being written, as a full disk would: nobody opens a folder for writing.
fn block(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.new"));
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn what_was_kept_is_found_again_as_it_was() {
    let (temp, store) = store();
    assert_eq!(found(&store), (None, None));
    keep(&store, 7).unwrap();
    let known: Endpoints =
        BTreeMap::from([("ledger".into(), ["127.0.0.1:1".parse().unwrap()].into())]);
    store.keep_addresses(&id("a"), &known).unwrap();
    drop(store);
    let store = PolicyStore::open(&temp.path().join("state")).unwrap();
    assert_eq!(found(&store), (Some(7), Some(signed(7))));
    let all = store.find(&id("a")).unwrap();
    assert_eq!(all.high_water, Some(publication(1, 7)));
    assert_eq!(all.addresses.unwrap(), known);
    let other = store.find(&id("b")).unwrap();
    assert_eq!((other.high_water, other.policy.unwrap()), (None, None));
}

#[test]
fn the_files_are_ours_alone() {
    let (temp, store) = store();
    keep(&store, 1).unwrap();
    store.keep_addresses(&id("a"), &Endpoints::new()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let folder = store.folder(&id("a"));
    assert_eq!((mode(&temp.path().join("state")), mode(&folder)), (0o700, 0o700));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, [ADDRESSES, HIGH_WATER, POLICY]);
}

#[test]
fn a_folder_of_others_or_in_use_is_refused() {
    let (temp, store) = store();
    let root = temp.path().join("state");
    let said = PolicyStore::open(&root).unwrap_err().to_string();
    let place = root.display();
    assert_eq!(
        said,
        format!("{place}: in use by another cellwall-proxy; each needs a folder of its own")
    );
    drop(store);
    for mode in [0o750, 0o705, 0o720] {
        fs::set_permissions(&root, Permissions::from_mode(mode)).unwrap();
        let said = PolicyStore::open(&root).unwrap_err().to_string();
        let expected =
            format!("{place}: open to other users (mode {mode:04o}); run: chmod 700 {place}");
        assert_eq!(said, expected);
    }
    fs::set_permissions(&root, Permissions::from_mode(0o700)).unwrap();
    PolicyStore::open(&root).unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(PolicyStore::open(&file), Err(FolderError::Io { .. })));
}

#[test]
fn a_mark_that_lost_a_bit_a_byte_or_its_end_is_not_believed() {
    // POL-02: it must not pass for a lower one
    let (_temp, store) = store();
    keep(&store, 7).unwrap();
    let path = store.folder(&id("a")).join(HIGH_WATER);
    let whole = fs::read(&path).unwrap();
    let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            cases.push(bent);
        }
    }
    cases.push([&whole[..], b"\n"].concat());
    for case in &cases {
        fs::write(&path, case).unwrap();
        let error = store.find(&id("a")).expect_err(&String::from_utf8_lossy(case));
        assert_eq!(error.to_string(), path.display().to_string());
    }
    assert!(cases.len() > 1_000);
    // Another's, whole as it is.
    fs::create_dir(store.folder(&id("b"))).unwrap();
    fs::write(store.folder(&id("b")).join(HIGH_WATER), &whole).unwrap();
    assert!(store.find(&id("b")).is_err());
    fs::write(&path, &whole).unwrap();
    assert_eq!(found(&store).0, Some(7));
}

#[test]
fn a_policy_file_without_its_form_is_no_policy_and_loses_not_the_mark() {
    let (_temp, store) = store();
    keep(&store, 7).unwrap();
    let path = store.folder(&id("a")).join(POLICY);
    let whole = fs::read_to_string(&path).unwrap();
    for bad in [
        String::new(),
        "{}\n".to_owned(),
        whole.replace("\"schema\":1", "\"schema\":2"),
        whole.replace("\"signature\"", "\"sign\""),
        whole.replacen('{', "{\"more\":1,", 1),
        whole.replacen("255", "256", 1),
        whole.lines().next().unwrap().to_owned(),
    ] {
        fs::write(&path, &bad).unwrap();
        let found = store.find(&id("a")).unwrap();
        assert_eq!(found.high_water, Some(publication(1, 7)));
        assert!(found.policy.is_err(), "{bad}");
    }
    store.set_aside(&id("a")).unwrap();
    assert_eq!(found(&store), (Some(7), None));
    assert!(store.folder(&id("a")).join("policy.refused").exists());
}

#[test]
fn what_could_not_be_written_leaves_nothing_older_behind() {
    let (_temp, store) = store();
    keep(&store, 7).unwrap();
    let folder = store.folder(&id("a"));
    let (policy, mark) = (block(&folder, POLICY), block(&folder, HIGH_WATER));
    // The same publication again: what is there is as good.
    let said = keep(&store, 7).unwrap_err();
    assert!(said.contains("the same publication as it came before"), "{said}");
    assert_eq!(found(&store), (Some(7), Some(signed(7))));
    let said = keep(&store, 8).unwrap_err();
    assert!(said.ends_with("a restart without the control plane will deny"), "{said}");
    assert_eq!(found(&store), (Some(7), None));
    fs::remove_dir(mark).unwrap();
    keep(&store, 9).unwrap_err();
    assert_eq!(found(&store), (Some(9), None));
    fs::remove_dir(policy).unwrap();
    keep(&store, 10).unwrap();
    assert_eq!(found(&store), (Some(10), Some(signed(10))));
}

#[test]
fn a_policy_that_can_be_neither_replaced_nor_removed_is_said_so() {
    let (_temp, store) = store();
    keep(&store, 7).unwrap();
    let folder = store.folder(&id("a"));
    fs::remove_file(folder.join(POLICY)).unwrap();
    fs::create_dir(folder.join(POLICY)).unwrap();
    let said = keep(&store, 8).unwrap_err();
    assert!(said.contains("cannot be removed either: remove it"), "{said}");
    // The mark refuses it after a restart.
    assert_eq!(store.find(&id("a")).unwrap().high_water, Some(publication(1, 8)));
}

#[test]
fn work_that_waited_for_the_disk_does_not_undo_what_overtook_it() {
    let (_temp, store) = store();
    keep(&store, 8).unwrap();
    keep(&store, 7).unwrap();
    assert_eq!(found(&store), (Some(8), Some(signed(8))));
    store.recalled(&id("a"), &publication(2, 1), None).unwrap();
    keep(&store, 9).unwrap();
    assert_eq!(found(&store).0, Some(1));
}
