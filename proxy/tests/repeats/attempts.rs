//! What is told of two attempts together.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    CANCEL, KEY, NOT_DONE, PAID, REFUSED_STREAM, UNKNOWN, calling, field, head, is, pay, retries,
    text,
};
use crate::{
    fates::LEFT,
    kit::{Sidecar, Town},
    raw_h2::{END_HEADERS, END_STREAM, HEADERS, Leaver, Leaves, STATUS_200, frame, literal},
};

/// A callee's sidecar that leaves requests as it is told; it answers 200 to those of [`ANSWERED`].
async fn leaving(town: &Town) -> (Leaver, Sidecar) {
    let callee = Leaver::sidecar(&town.svid("payments")).await;
    let caller = calling(town, &[callee.address]).await;
    (callee, caller)
}

const ANSWERED: Leaves =
    Leaves::Says(|stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &[STATUS_200]));

const MISSING: Leaves = Leaves::Says(|stream| {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &literal(b":status", b"404"))
});

const DENIED: Leaves = Leaves::Says(|stream| {
    let fields = [literal(b":status", b"403"), literal(b"cellwall-outcome", b"not-done")].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
});

#[tokio::test]
async fn a_declared_call_outlives_goaway_reset_and_the_end_of_its_connection() {
    let town = Town::new().await;
    let (callee, caller) = leaving(&town).await;
    for (way, _) in LEFT {
        callee.next(way).await;
        callee.next(ANSWERED).await;
        let told = pay(caller.outbound["payments"], &text("POST /v1/payments", KEY, "")).await;
        assert_eq!(is(&told), PAID, "{way:?}");
    }
    let told = retries(&caller, "answered").await;
    assert_eq!(told.to_string(), LEFT.len().to_string());
}

#[tokio::test]
async fn of_two_attempts_the_one_that_nobody_knows_about_is_told() {
    let town = Town::new().await;
    let (callee, caller) = leaving(&town).await;
    let (refused, lost) = (Leaves::Reset(REFUSED_STREAM), Leaves::Reset(CANCEL));
    for (first, second, expected, attempts) in [
        (refused, refused, NOT_DONE, None),
        (refused, lost, UNKNOWN, None),
        (refused, ANSWERED, PAID, None),
        (refused, MISSING, (404, None), None),
        (lost, refused, UNKNOWN, Some("2")),
        (lost, lost, UNKNOWN, Some("2")),
        (lost, ANSWERED, PAID, Some("2")),
        // The first one may have been done, and this one be about what it left.
        (lost, MISSING, (404, None), Some("2")),
        (lost, DENIED, UNKNOWN, Some("2")),
        (refused, DENIED, (403, Some("not-done")), None),
        (DENIED, DENIED, (403, Some("not-done")), None),
    ] {
        for way in [first, second] {
            callee.next(way).await;
        }
        let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
        app.write_all(text("POST /v1/payments", KEY, "").as_bytes()).await.unwrap();
        let head = head(&mut app).await;
        let (status, outcome) = expected;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{first:?} {second:?} {head}");
        assert_eq!(field(&head, "cellwall-outcome"), outcome, "{first:?} {second:?}");
        assert_eq!(field(&head, "cellwall-attempts"), attempts, "{first:?} {second:?}");
    }
    // The last one was refused at once, and never again: its second way is still there.
    let told = pay(caller.outbound["payments"], &text("POST /v1/payments", "", "")).await;
    assert_eq!(is(&told), (403, Some("not-done")));
}
