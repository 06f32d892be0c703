//! The one reading of an answer (HTTP-23). What is refused here has left its connection in doubt,
//! too: whoever asks drops it.

use http::Response;

use super::framing::{self, Doubt, Length};

/// Whether everybody who reads the answer sees the same end of it. hyper lets more pass, and hands
/// on beside its own framing what the workload said of it.
pub(crate) fn check_answer<B>(answer: &Response<B>) -> Result<(), Doubt> {
    framing::check_nominations(answer.headers())?;
    match (answer.status().as_u16(), framing::length(answer.version(), answer.headers())?) {
        // HTTP-12: upgrades are never asked for, and what follows one is not HTTP.
        (100..=199, _) => Err(Doubt),
        // RFC 9112 §6.1, §6.3: there is no body, so none may be announced. Zero announces none.
        (204, Length::Chunked | Length::Known(1..)) => Err(Doubt),
        _ => Ok(()),
    }
}
