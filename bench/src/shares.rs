//! How answers were shared among clients that never pause.

use serde::{Deserialize, Serialize};

/// How right answers were shared among clients that never pause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// How many clients there were.
    pub clients: u64,
    /// Those without any answer.
    pub starved: u64,
    /// What the one with the fewest had.
    pub least: u64,
    /// What the one with the most had.
    pub most: u64,
    /// The mean.
    pub mean: f64,
}

impl Shares {
    /// Of at least one client.
    pub(crate) fn of(served: &[u64]) -> Option<Self> {
        let (least, most) = (*served.iter().min()?, *served.iter().max()?);
        let starved = served.iter().filter(|count| **count == 0).count();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        #[expect(clippy::cast_precision_loss, reason = "counts of some minutes")]
        let mean = served.iter().sum::<u64>() as f64 / served.len() as f64;
        Some(Self { clients: count(served.len()), starved: count(starved), least, most, mean })
    }

    /// What the one with the fewest had, as a part of the mean: 1 is fair, 0 is starved.
    pub fn fairness(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of some minutes")]
        let least = self.least as f64;
        if self.mean > 0.0 { least / self.mean } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_client_is_told_as_a_part_of_the_mean() {
        let shares = |served: &[u64]| Shares::of(served).map(|it| (it.starved, it.fairness()));
        assert_eq!(shares(&[]), None);
        assert_eq!(shares(&[5, 5]), Some((0, 1.0)));
        assert_eq!(shares(&[2, 6, 4]), Some((0, 0.5)));
        assert_eq!(shares(&[0, 8]), Some((1, 0.0)));
        assert_eq!(shares(&[0]), Some((1, 0.0)));
    }
}
