//! `cellwall-bench report`: pages and plots of results.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use cellwall_bench::{
    compare::Comparison,
    curves::Curves,
    page::{Picture, curves_page, page, pictures, pictures_of_curves},
};
use serde::{Deserialize, de::IgnoredAny};

/// A result.
#[derive(Debug)]
enum Told {
    Comparison(Comparison),
    Curves(Curves),
}

/// What tells one kind from the other.
#[derive(Debug, Deserialize)]
struct Kind {
    rows: Option<IgnoredAny>,
    curves: Option<IgnoredAny>,
}

/// A page of comparisons, or one of curves; and the plots of each result.
pub(crate) fn report(
    files: &[PathBuf],
    out: Option<&Path>,
    plots: Option<&Path>,
) -> anyhow::Result<()> {
    let read = |path: &PathBuf| {
        let told = read(path).with_context(|| path.display().to_string())?;
        Ok((path.clone(), told))
    };
    let results = files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    // Before the page is written: half of what was asked for is nothing.
    let pictures = if plots.is_some() { drawn(&results)? } else { BTreeMap::new() };
    if let Some(out) = out {
        write(out, &whole(results)?)?;
    }
    let Some(folder) = plots else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    pictures.iter().try_for_each(|(name, svg)| write(&folder.join(name), svg))
}

fn read(path: &Path) -> anyhow::Result<Told> {
    let text = fs::read_to_string(path)?;
    Ok(match serde_json::from_str(&text)? {
        Kind { curves: Some(_), .. } => Told::Curves(serde_json::from_str(&text)?),
        Kind { rows: Some(_), .. } => Told::Comparison(serde_json::from_str(&text)?),
        Kind { .. } => bail!("it has neither `rows`, as a comparison, nor `curves`"),
    })
}

/// The plots of all results, by the names of their files.
fn drawn(results: &[(PathBuf, Told)]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (path, told) in results {
        let whose = || path.display().to_string();
        let pictures = match told {
            Told::Comparison(comparison) => pictures(comparison),
            Told::Curves(curves) => pictures_of_curves(curves).with_context(whose)?,
        };
        if pictures.is_empty() {
            bail!("{}: there is nothing to draw: no row or curve with figures", whose());
        }
        for Picture { name, svg } in pictures {
            if all.contains_key(&name) {
                bail!("{}: {name} is drawn already", whose());
            }
            all.insert(name, svg);
        }
    }
    Ok(all)
}

/// The page of all results.
fn whole(results: Vec<(PathBuf, Told)>) -> anyhow::Result<String> {
    let (mut comparisons, mut curves) = (Vec::new(), Vec::new());
    for (path, told) in results {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match told {
            Told::Comparison(comparison) => comparisons.push((name, comparison)),
            Told::Curves(drawn) => curves.push((name, drawn)),
        }
    }
    if curves.is_empty() {
        Ok(page(&comparisons))
    } else if comparisons.is_empty() {
        Ok(curves_page(&curves))
    } else {
        bail!("--out: comparisons and curves are on pages of their own")
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    writeln!(std::io::stdout(), "written: {}", path.display()).context("print")
}
