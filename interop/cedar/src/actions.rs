//! Which action of the export a random call is one of, by the templates that the action is said to be
//! about. Shares nothing with what made them.

use cellwall_policy_language::CedarAction;

use crate::{
    naive::Request,
    random::{Asked, WORKLOADS},
};

/// The action that a request is one of; `None` where the callee does not speak it, or where nothing
/// owns it.
pub(super) fn action<'a>(asked: &Asked, actions: &'a [CedarAction]) -> Option<&'a CedarAction> {
    let (callee, _) = WORKLOADS.get(asked.callee)?;
    let mine: Vec<&CedarAction> = actions.iter().filter(|it| it.callee == *callee).collect();
    match &asked.request {
        Request::Tcp(port) => mine.into_iter().find(|it| it.example == format!("tcp:{port}")),
        Request::Grpc(service, method) => grpc(&mine, service, method),
        Request::Http(method, path) => http(&mine, method, path),
    }
}

fn grpc<'a>(mine: &[&'a CedarAction], service: &str, method: &str) -> Option<&'a CedarAction> {
    let grpc =
        |action: &&&CedarAction| action.example.contains('/') && !action.example.contains(' ');
    let first = |text: String| {
        let has = |it: &&&CedarAction| it.templates.first() == Some(&text);
        mine.iter().filter(grpc).find(has).copied()
    };
    first(format!("{service}/{method}"))
        .or_else(|| first(format!("{service}/*")))
        .or_else(|| mine.iter().filter(grpc).find(|it| it.templates.is_empty()).copied())
}

/// The kind with the most templates that match is the one that all of them match.
fn http<'a>(mine: &[&'a CedarAction], method: &str, path: &str) -> Option<&'a CedarAction> {
    let is_encoded = path.contains("%2F");
    let is_other = |action: &CedarAction| {
        !is_encoded && action.templates.is_empty() && action.but_for_slash.is_empty()
    };
    let of_method = |action: &CedarAction| action.example.split(' ').next() == Some(method);
    // A guard is about each reading, and about a slash at the end of it.
    let readings: Vec<String> = read(path).into_iter().flat_map(with_and_without_slash).collect();
    let guarded = |template: &String| readings.iter().any(|it| fits(template, it));
    let owned = |template: &String| fits(template, path) && takes(template, path);
    let kept = |template: &String| fits(template, path) && !takes(template, path);
    mine.iter()
        .copied()
        .filter(|action| action.example.contains(' '))
        .filter(|action| action.example.contains("%2F") == is_encoded)
        .filter(|action| is_other(action) || of_method(action))
        .filter(|action| action.templates.iter().all(owned))
        .filter(|action| action.refusing.iter().all(kept))
        .filter(|action| action.but_for_slash.iter().all(guarded))
        .max_by_key(|it| it.templates.len() + it.refusing.len() + it.but_for_slash.len())
}

/// Every reading of a path: each encoded slash as a letter, and as a slash.
fn read(path: &str) -> Vec<String> {
    let mut readings = vec![String::new()];
    for (at, part) in path.split("%2F").enumerate() {
        let signs: &[&str] = if at == 0 { &[""] } else { &["~", "/"] };
        let longer =
            |it: &String| signs.iter().map(|sign| format!("{it}{sign}{part}")).collect::<Vec<_>>();
        readings = readings.iter().flat_map(longer).collect();
    }
    readings
}

fn with_and_without_slash(path: String) -> [String; 2] {
    let bare = path.trim_end_matches('/');
    [bare.to_owned(), format!("{bare}/")]
}

/// The segments of a path or template, and whether it ends in a slash.
fn parts(text: &str) -> (Vec<&str>, bool) {
    let inner = text.trim_start_matches('/');
    let slash = inner.is_empty() || inner.ends_with('/');
    (inner.split('/').filter(|part| !part.is_empty()).collect(), slash)
}

/// Whether a path is one of a template, if that takes what is encoded in it.
fn fits(template: &str, path: &str) -> bool {
    let ((template, wanted), (path, slash)) = (parts(template), parts(path));
    let tail = template.last().is_some_and(|last| last.ends_with("...}"));
    let fixed = template.len() - usize::from(tail);
    let length = if tail { path.len() > fixed } else { path.len() == fixed };
    let same = |(one, other): (&&str, &&str)| one == other || one.starts_with('{');
    wanted == slash && length && template.iter().take(fixed).zip(&path).all(same)
}

/// Whether a template that a path is one of takes each encoded slash in it.
fn takes(template: &str, path: &str) -> bool {
    let ((template, _), (path, _)) = (parts(template), parts(path));
    let parameter = |at: usize| template.get(at).or(template.last()).copied().unwrap_or_default();
    let mut encoded = path.iter().enumerate().filter(|(_, segment)| segment.contains("%2F"));
    encoded.all(|(at, _)| parameter(at).contains("%2F"))
}
