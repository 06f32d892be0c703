//! `cellwall-bench micro`, and what `cargo instructions` runs under callgrind.

use std::{fs, io::Write as _};

use anyhow::Context as _;
use cellwall_bench::micro::{self, ROWS};

use crate::{args::Micro, rows};

pub(crate) fn micro(args: &Micro) -> anyhow::Result<()> {
    let rows = rows::named(ROWS, &args.rows, |row| row.name)?;
    let measured = micro::micro(&rows, args.rounds)?;
    fs::write(&args.out, serde_json::to_vec_pretty(&measured)?)
        .with_context(|| args.out.display().to_string())?;
    write!(std::io::stdout(), "{}", micro::table(&measured)).context("print")
}

pub(crate) fn repeat(name: &str, repetitions: u32) -> anyhow::Result<()> {
    let nanoseconds = micro::repeat(rows::find(ROWS, name, |row| row.name)?, repetitions)?;
    writeln!(std::io::stdout(), "{nanoseconds:.1}").context("print")
}

pub(crate) fn pure() -> anyhow::Result<()> {
    let names = ROWS.iter().filter(|row| row.is_pure()).map(|row| row.name).collect::<Vec<_>>();
    writeln!(std::io::stdout(), "{}", names.join("\n")).context("print")
}
