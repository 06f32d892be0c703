//! What one step of a call costs, in this process and on one thread.
//!
//! Rows take turns, round after round, so that whatever else the machine does meets all of them
//! alike; the best round is what the step costs, the median what the machine made of it. Written by
//! hand because criterion and divan finish one row before they begin the next.
//!
//! Recording a flow is not here: only the proxy can make a record, and it shows in the CPU of its
//! calls.

mod material;
mod policy;
mod step;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use nix::unistd::getppid;
use serde::{Deserialize, Serialize};

use self::step::Step;
pub use self::step::{Kind, ROWS, Row};

/// The form of the document.
pub const SCHEMA: u32 = 1;

/// How long one round of a row lasts, about.
const ROUND: Duration = Duration::from_millis(20);

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Micro {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How many rounds there were.
    pub rounds: usize,
    /// One for each row.
    pub rows: Vec<Cost>,
}

/// What a step costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The row's name.
    pub row: String,
    /// What is done, in a line.
    pub title: String,
    /// How often in a round.
    pub repetitions: u32,
    /// Nanoseconds of one, in the best round.
    pub best_ns: f64,
    /// The same in the median round.
    pub median_ns: f64,
}

/// Why a step cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The policy is none.
    #[error("the policy")]
    Policy(#[source] cellwall_policy::SnapshotError),
    /// An identity of it is none.
    #[error("an identity")]
    Identity(#[source] spiffe::SpiffeIdError),
    /// A path of it has two readings.
    #[error("the path {0}")]
    Path(String),
    /// There are no certificates.
    #[error("no certificates")]
    Certificates(#[source] rcgen::Error),
    /// Their keys cannot be read.
    #[error("a key that is none: {0}")]
    Key(&'static str),
    /// They are refused.
    #[error("certificates that are refused")]
    Material(#[source] cellwall_mtls::MaterialError),
    /// A step did not do what it is for.
    #[error("{row}: {wrong} of {all} went wrong")]
    Wrong {
        /// Which.
        row: &'static str,
        /// How many.
        wrong: u32,
        /// Of how many.
        all: u32,
    },
    /// There is nothing to divide by.
    #[error("rounds and repetitions must be above 0")]
    Nothing,
}

/// Measures these rows, in so many rounds.
///
/// # Errors
/// If a step cannot be made, or does not do what it is for.
pub fn micro(rows: &[&'static Row], rounds: usize) -> Result<Micro, StepError> {
    if rounds == 0 {
        return Err(StepError::Nothing);
    }
    let mut turns = rows.iter().map(|row| Turn::new(row)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..rounds {
        for turn in &mut turns {
            turn.take()?;
        }
    }
    let rows = turns.into_iter().map(Turn::cost).collect();
    Ok(Micro { schema: SCHEMA, rounds, rows })
}

/// Repetitions before those that count: whatever is made with the first ones is there.
const FIRST: u32 = 160;

/// Does the step of a row so often, and returns the nanoseconds of one. `getppid` is called right
/// before and right after and nowhere else: there callgrind begins a count, and ends it.
///
/// # Errors
/// As [`micro`].
pub fn repeat(row: &'static Row, repetitions: u32) -> Result<f64, StepError> {
    if repetitions == 0 {
        return Err(StepError::Nothing);
    }
    let mut step = Step::of(row.kind)?;
    timed(row, &mut step, FIRST)?;
    let began = Instant::now();
    getppid();
    let right = step.repeat(repetitions);
    getppid();
    let took = began.elapsed().as_secs_f64();
    all_right(row, right, repetitions)?;
    Ok(took * 1e9 / f64::from(repetitions))
}

/// One row, and its rounds so far.
struct Turn {
    row: &'static Row,
    step: Step,
    repetitions: u32,
    rounds: Vec<f64>,
}

impl Turn {
    /// Finds out how often a round takes it.
    fn new(row: &'static Row) -> Result<Self, StepError> {
        let mut step = Step::of(row.kind)?;
        let mut repetitions = 1;
        // Doubled until one takes a part of a round; that warms it up too.
        while timed(row, &mut step, repetitions)? < ROUND.as_secs_f64() / 2.0 {
            repetitions *= 2;
        }
        Ok(Self { row, step, repetitions, rounds: Vec::new() })
    }

    fn take(&mut self) -> Result<(), StepError> {
        let took = timed(self.row, &mut self.step, self.repetitions)?;
        self.rounds.push(took * 1e9 / f64::from(self.repetitions));
        Ok(())
    }

    fn cost(mut self) -> Cost {
        self.rounds.sort_by(f64::total_cmp);
        let at = |place: usize| self.rounds.get(place).copied().unwrap_or_default();
        Cost {
            row: self.row.name.to_owned(),
            title: self.row.title.to_owned(),
            repetitions: self.repetitions,
            best_ns: at(0),
            median_ns: at(self.rounds.len() / 2),
        }
    }
}

/// Seconds of so many repetitions, all of which did what they are for.
fn timed(row: &Row, step: &mut Step, repetitions: u32) -> Result<f64, StepError> {
    let began = Instant::now();
    let right = step.repeat(repetitions);
    let took = began.elapsed().as_secs_f64();
    all_right(row, right, repetitions)?;
    Ok(took)
}

const fn all_right(row: &Row, right: u32, all: u32) -> Result<(), StepError> {
    if right == all {
        return Ok(());
    }
    Err(StepError::Wrong { row: row.name, wrong: all.saturating_sub(right), all })
}

/// The costs as a table of plain text.
pub fn table(micro: &Micro) -> String {
    let mut text =
        format!("{:<16}{:>12} {:>12}  of {} rounds\n", "", "best ns", "median ns", micro.rounds);
    for Cost { row, title, best_ns, median_ns, .. } in &micro.rows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{row:<16}{best_ns:>12.1} {median_ns:>12.1}  {title}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_does_what_it_is_for() {
        for row in ROWS {
            let took = repeat(row, 65).unwrap_or_else(|error| panic!("{}: {error}", row.name));
            assert!(took > 0.0, "{}", row.name);
        }
    }

    #[test]
    fn rows_take_turns_and_their_best_round_is_not_above_the_median() {
        let rows = ROWS.iter().filter(|row| row.name.starts_with("path"));
        let micro = micro(&rows.collect::<Vec<_>>(), 3).unwrap();

        assert_eq!((micro.rounds, micro.rows.len()), (3, 2));
        for cost in &micro.rows {
            assert!(0.0 < cost.best_ns && cost.best_ns <= cost.median_ns, "{cost:?}");
            assert!(table(&micro).contains(&cost.title), "{cost:?}");
        }
        assert!(super::micro(&[], 0).is_err());
    }
}
