//! `policy export`: the policy in another form.

use std::path::Path;

use super::{Loaded, picture};
use crate::{Outcome, args::Export, output::Output};

/// `policy export`.
pub(super) fn export(dir: &Path, format: Export, output: &Output) -> anyhow::Result<Outcome> {
    let Some(loaded) = Loaded::read(dir, output)? else { return Ok(Outcome::Found) };
    match format {
        Export::Cedar => output.json(&loaded.set.cedar()?)?,
        Export::Json => output.json(&loaded.set.compiled()?)?,
        Export::Dot => output.data(&picture::edges(&loaded.set, &loaded.set.edges()?).dot())?,
    }
    Ok(Outcome::Done)
}
