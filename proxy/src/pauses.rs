//! When to try again: later and later, and no two of a fleet at once (ROT-11).

use std::time::Duration;

use rand::Rng as _;

/// After an attempt that failed.
const FIRST: Duration = Duration::from_millis(100);

/// After a stream that was open: those of the whole fleet have probably ended with it.
const SCATTER: Duration = Duration::from_secs(1);

/// Short enough to be back within 5 s of the control plane's return.
const LONGEST: Duration = Duration::from_secs(3);

/// The pauses between attempts to reach one server.
#[derive(Debug)]
pub(crate) struct Pauses {
    ceiling: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { ceiling: FIRST }
    }
}

impl Pauses {
    /// Those after something that everybody saw at the same moment.
    pub(crate) fn scattered() -> Self {
        Self { ceiling: SCATTER }
    }

    /// The next pause: anything up to a ceiling, which doubles.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(LONGEST);
        let least = ceiling / 20;
        let range = u64::try_from((ceiling - least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(rand::rng().next_u64() % range.max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{LONGEST, Pauses};

    const FLEET: usize = 1_000;
    const INTERVAL: Duration = Duration::from_millis(100);

    /// After a common end of all streams: when each of a fleet comes first once the server is back.
    fn arrivals(away: Duration) -> Vec<Duration> {
        let arrival = |_| {
            let mut pauses = Pauses::scattered();
            let mut at = Duration::ZERO;
            loop {
                at += pauses.next();
                if at >= away {
                    return at - away;
                }
            }
        };
        (0..FLEET).map(arrival).collect()
    }

    #[test]
    fn a_fleet_comes_back_scattered_and_soon() {
        // ROT-11
        let mut figures = Vec::new();
        for away in [0, 50, 500, 2_000, 30_000, 600_000].map(Duration::from_millis) {
            let arrivals = arrivals(away);
            let mut intervals = vec![0_usize; 40];
            for arrival in &arrivals {
                intervals[usize::try_from(arrival.as_millis() / INTERVAL.as_millis()).unwrap()] +=
                    1;
            }
            let (most, last) = (*intervals.iter().max().unwrap(), *arrivals.iter().max().unwrap());
            figures.push(json!({
                "away_ms": away.as_millis(), "proxies": FLEET, "most_in_100_ms": most,
                "last_after_ms": last.as_millis(),
            }));
            // Evenly over 1 s would be 100 in each interval; the worst moment to be back has 130.
            assert!(most <= FLEET / 5, "{figures:?}");
            assert!(last <= LONGEST, "{figures:?}");
        }
        println!("evidence: {}", json!({ "outages": figures }));
    }

    #[test]
    fn pauses_grow_to_a_ceiling_and_are_never_none() {
        let mut pauses = Pauses::default();
        let ceilings: Vec<_> = (0..8)
            .map(|_| {
                let ceiling = pauses.ceiling;
                let pause = pauses.next();
                assert!(pause >= ceiling / 20 && pause <= ceiling, "{pause:?} of {ceiling:?}");
                ceiling.as_millis()
            })
            .collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1_600, 3_000, 3_000, 3_000]);
    }
}
