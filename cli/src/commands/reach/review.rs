//! `policy review`: what to look at before a date is moved, and moving it.

use std::{fs, path::Path};

use anyhow::Context;
use cellwall_policy_language::{Review, Reviewed, Sources, check};
use serde_json::json;
use time::{Date, Duration, OffsetDateTime, macros::format_description};

use super::{Loaded, edges::note};
use crate::{Outcome, commands::policy::plural, output::Output, paint::Colour};

/// PCI DSS 1.2.7: at least once every six months.
const PERIOD: Duration = Duration::days(182);
/// The root file of every policy.
const ROOT: &str = "cellwall.yaml";

/// `policy review`.
pub(super) fn review(path: &Path, bump: Option<&str>, output: &Output) -> anyhow::Result<Outcome> {
    let today = OffsetDateTime::now_utc().date();
    let date = match bump.map(|text| parse(text).map(|date| (text, date))) {
        None => None,
        Some(Some((text, date))) if date > today => Some(text),
        Some(_) => {
            output.complain("the date is not a coming day as YYYY-MM-DD");
            return Ok(Outcome::Usage);
        }
    };
    let (dir, file) = folder_of(path)?;
    let Some(loaded) = Loaded::read(&dir, output)? else { return Ok(Outcome::Found) };
    let mut reviews = loaded.set.reviews(&loaded.folder.sources)?;
    reviews.retain(|review| file.as_ref().is_none_or(|file| review.file == *file));
    if let Some(date) = date {
        return bumped(&dir, &loaded.folder.sources, (&reviews, date), output);
    }
    let next = today.checked_add(PERIOD).unwrap_or(today);
    if output.is_json() {
        let next = written(next);
        output.json(&json!({"schema_version": 1, "next": next, "reviews": reviews}))?;
        return Ok(Outcome::Done);
    }
    if reviews.is_empty() {
        output.data("no statement has a `review_by`")?;
        return Ok(Outcome::Done);
    }
    let texts: Vec<String> =
        reviews.iter().map(|review| text(review, (&loaded, next), output)).collect();
    output.data(&texts.join("\n"))?;
    output.hint(&format!("`cellwall policy review {} --bump DATE` writes it", path.display()));
    Ok(Outcome::Done)
}

fn text(review: &Review, (loaded, next): (&Loaded, Date), output: &Output) -> String {
    let place = format!("{}:{}", loaded.folder.path(&review.file), review.line);
    let head = format!(
        "{place}  review_by {}, {}",
        review.review_by,
        plural(review.statements.len(), "statement")
    );
    let mut text = format!("{}\n", output.painter().paint(Colour::Bold, head));
    for Reviewed { kind, name, line, owner, why, edges, tests, .. } in &review.statements {
        let owner = owner.as_deref().map_or_else(String::new, |owner| format!("   owner {owner}"));
        text.push_str(&format!("\n  {kind} {name}  :{line}{owner}\n    why   {why}\n"));
        let mut word = "opens";
        for edge in edges {
            let note = note(&edge.passage);
            let line = format!("{} -> {} {} {note}", edge.caller, edge.callee, edge.call);
            text.push_str(&format!("    {word:<5} {}\n", line.trim_end()));
            word = "";
        }
        if edges.is_empty() && *kind != "guard" {
            text.push_str("    opens nothing\n");
        }
        word = "test";
        for test in tests {
            text.push_str(&format!("    {word:<5} {test}\n"));
            word = "";
        }
        if tests.is_empty() {
            text.push_str("    test  none\n");
        }
    }
    text.push_str(&format!("\n  if all of it is still needed, line {}:\n", review.line));
    text.push_str(&format!("    review_by: {}\n", written(next)));
    text
}

/// The folder of a policy, and the file of it that is meant.
fn folder_of(path: &Path) -> anyhow::Result<(std::path::PathBuf, Option<String>)> {
    if path.is_dir() || !path.exists() {
        return Ok((path.to_owned(), None));
    }
    let mut dir = path.parent();
    while let Some(folder) = dir {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if folder.join(ROOT).is_file() {
            let file = path.strip_prefix(folder).unwrap_or(path);
            return Ok((folder.to_owned(), Some(file.to_string_lossy().into_owned())));
        }
        dir = dir.and_then(Path::parent);
    }
    anyhow::bail!("there is no {ROOT} above {}", path.display())
}

/// Writes the date in the place of each other date, and nothing else.
fn bumped(
    dir: &Path,
    sources: &Sources,
    (reviews, date): (&[Review], &str),
    output: &Output,
) -> anyhow::Result<Outcome> {
    let mut changed = sources.clone();
    // From the end, so that places before stay.
    for review in reviews.iter().rev() {
        let Some(text) = changed.files.get_mut(&review.file) else { continue };
        let quote = review.review_by.chars().next().filter(|it| matches!(it, '"' | '\''));
        let quote = quote.map_or_else(String::new, String::from);
        text.replace_range(review.bytes.clone(), &format!("{quote}{date}{quote}"));
    }
    if check(&changed).set.is_none() {
        anyhow::bail!("the policy would not be valid with {date}");
    }
    let mut lines = 0;
    for (name, text) in &changed.files {
        if sources.files.get(name) != Some(text) {
            let path = dir.join(name);
            replace(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    for review in reviews {
        lines += usize::from(review.review_by.trim_matches(['"', '\'']) != date);
    }
    output.data(&format!("{} now {date}", plural(lines, "review date")))?;
    Ok(Outcome::Done)
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("yaml.new");
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::metadata(path)?.permissions())?;
    fs::rename(&beside, path)
}

fn parse(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

fn written(date: Date) -> String {
    date.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}
