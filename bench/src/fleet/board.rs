//! Where those that are simulated write down what they saw, and where they are waited for.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::FleetError;

/// How often it is looked at. Nothing is less exact for it: members write down when they saw it.
const LOOK: Duration = Duration::from_millis(5);

/// One entry for each member.
#[derive(Debug)]
pub(super) struct Board<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Board<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Default> Board<T> {
    pub(super) fn new(members: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![T::default(); members])))
    }

    /// One member's word.
    pub(super) fn note(&self, seat: usize, change: impl FnOnce(&mut T)) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = members.get_mut(seat) {
            change(member);
        }
    }

    /// All entries, once all of them fit; `told` is what is said of one that does not.
    pub(super) async fn until(
        &self,
        (what, deadline): (&'static str, Duration),
        fits: impl Fn(usize, &T) -> bool,
        told: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, FleetError> {
        let end = Instant::now() + deadline;
        loop {
            let (missing, first) = self.missing(&fits, &told);
            if missing == 0 {
                return Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone());
            }
            if Instant::now() >= end {
                return Err(FleetError::Late { what, missing, deadline, first });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn missing(
        &self,
        fits: impl Fn(usize, &T) -> bool,
        told: impl Fn(&T) -> String,
    ) -> (usize, String) {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = members.iter().enumerate().filter(|(seat, member)| !fits(*seat, member));
        let mut late = late.map(|(_, member)| member);
        let Some(first) = late.next() else { return (0, String::new()) };
        (late.count() + 1, told(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_late_is_counted_and_the_first_one_is_told() {
        let board = Board::<u32>::new(3);
        board.note(0, |seen| *seen = 7);
        let wanted = ("seven", Duration::ZERO);
        let late = board.until(wanted, |_, seen| *seen == 7, u32::to_string).await.unwrap_err();
        assert_eq!(late.to_string(), "seven: 2 not within 0ns, one of them: 0");

        board.note(1, |seen| *seen = 7);
        board.note(2, |seen| *seen = 7);
        let all = board.until(wanted, |_, seen| *seen == 7, u32::to_string).await.unwrap();
        assert_eq!(all, [7, 7, 7]);
    }
}
