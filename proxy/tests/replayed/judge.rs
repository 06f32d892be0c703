//! The policy of the fuzz targets, read a second time, of what the workload got. `fuzz/src/lib.rs` is
//! built from this file too.

use cellwall_testkit::strict::Read;

/// Panics unless `read` is a `GET`, `POST` or `PUT` of what is below `/v1/`, but not below
/// `/v1/admin/`, in a spelling that no server is known to read differently.
pub(crate) fn judge(read: &Read) {
    let Read { line, host, .. } = read;
    let (method, target) = line.split_once(' ').unwrap();
    let path = target.split('?').next().unwrap();
    assert!(["GET", "POST", "PUT"].contains(&method), "{line}");
    let rest = path.strip_prefix("/v1/").unwrap_or_else(|| panic!("{line} is not below /v1/"));
    let is_admin = rest.strip_prefix("admin/").is_some_and(|rest| !rest.is_empty());
    assert!(!is_admin, "{line} passed the guard");
    assert!(!path.contains("//"), "{line} has another reading");
    assert!(!path.split('/').any(|one| one == "." || one == ".."), "{line} has another reading");
    let lower = path.to_ascii_lowercase();
    for escape in ["%2e", "%2f", "%5c", "%25", "%00", "%3b", "%61", "\\", ";"] {
        assert!(!lower.contains(escape), "{line} has another reading");
    }
    assert!(!host.is_empty() && !host.bytes().any(|byte| byte.is_ascii_uppercase()), "{host:?}");
}
