//! The one reading of an answer (HTTP-23). What is refused here has left its connection in doubt,
//! too: whoever asks drops it.

use http::{Response, StatusCode};

use super::{
    Upgrade,
    framing::{self, Doubt, Fields, Length},
};

/// Whether everybody who reads the answer sees the same end of it. hyper lets more pass, and hands
/// on beside its own framing what the workload said of it.
pub(crate) fn check_answer<B>(answer: &Response<B>, asked: Option<&Upgrade>) -> Result<(), Doubt> {
    let fields = Fields::of(answer.headers());
    framing::check_nominations(answer.headers(), &fields)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        // HTTP-12: to what was not asked for nobody switches.
        return asked.ok_or(Doubt)?.check(answer, &fields);
    }
    match (answer.status().as_u16(), framing::length(answer.version(), &fields)?) {
        (100..=199, _) => Err(Doubt),
        // RFC 9112 §6.1, §6.3: there is no body, so none may be announced. Zero announces none.
        (204, Length::Chunked | Length::Known(1..)) => Err(Doubt),
        _ => Ok(()),
    }
}
