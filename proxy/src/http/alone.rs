//! One request on a connection of its own: one that asks to go on in another protocol (HTTP-12).

use std::{sync::Arc, time::SystemTime};

use hyper::{Request, Response, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    body::Body,
    canonical::Upgrade,
    client::{Over, Unsent, answered, drive},
    fate::SendError,
    interim::Interim,
    patience::patience,
    received::Received,
};
use crate::{CloseReason, Drain, heard::Heard, relay::Plain, reproof::Renewal};

/// Fields of another sidecar's answer: those of its workload, of which hyper takes a hundred, and its own.
const MAX_FIELDS: usize = 128;

/// Keeps a connection open beyond the certificates that it was opened with, until the last of these
/// is dropped. Goes with the answer, as one of its extensions.
#[derive(Clone, Debug)]
pub(super) struct HeldOpen {
    _guard: Arc<DropGuard>,
}

impl HeldOpen {
    fn by(mut renewal: Renewal, drain: &Drain) -> Self {
        let over = CancellationToken::new();
        let guard = Arc::new(over.clone().drop_guard());
        drain.services().spawn(async move {
            tokio::select! {
                never = renewal.keep() => match never {},
                () = over.cancelled() => {}
            }
        });
        Self { _guard: guard }
    }
}

/// Sends `request` to our own workload, on a connection of its own. Once that has said 101, whoever
/// drops what came of it resets the connection.
pub(crate) async fn alone_at_workload(
    tcp: TcpStream,
    drain: &Drain,
    request: Request<Body>,
) -> Result<Response<Received>, SendError> {
    alone(Heard::nothing(Plain::asking(tcp)), (drain, None), request).await
}

/// Sends `request` on `io`, which carries no other call before or after it, whatever the answer. A
/// connection to our own workload has no authority to renew.
pub(crate) async fn alone(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (drain, renewal): (&Drain, Option<Renewal>),
    mut request: Request<Body>,
) -> Result<Response<Received>, SendError> {
    const FAILED: SendError = SendError::not_done(CloseReason::ConnectFailed);
    let mut speaking = http1::Builder::new();
    if renewal.is_some() {
        speaking.max_headers(MAX_FIELDS);
    }
    let (mut sender, connection) =
        speaking.handshake(TokioIo::new(io)).await.map_err(|_| FAILED)?;
    let authority = renewal.as_ref().map(|renewal| renewal.authority.clone());
    let kept = renewal.map(|renewal| HeldOpen::by(renewal, drain));
    let over = Over::default();
    let guards = (kept.clone(), over.guard());
    let whole = async move {
        let _until_it_ends = guards;
        connection.with_upgrades().await
    };
    drive(drain, authority.clone(), std::future::pending(), whole);
    let interim = Interim::of(&mut request);
    let waits = (patience(request.headers()), Upgrade::of(request.headers()));
    let answer = tokio::select! {
        biased; // an answer behind too many others is none
        () = interim.too_many() => {
            Err(Unsent::Gone(SendError::unknown(CloseReason::AnswerAmbiguous)))
        }
        answer = answered(waits, &over, sender.try_send_request(request)) => answer,
    };
    let mut response = answer.map_err(|unsent| match unsent {
        Unsent::Returned(_) => FAILED,
        Unsent::Gone(error) => {
            let ended = authority.and_then(|one| one.holds(SystemTime::now()).err());
            error.on_a_connection(ended)
        }
    })?;
    if let Some(kept) = kept {
        response.extensions_mut().insert(kept);
    }
    Ok(response)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{io::ErrorKind, time::Duration};

    use hyper::Request;
    use tokio::{
        io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::{Body, alone_at_workload};
    use crate::Drain;

    /// The head of a request, as the workload reads it.
    pub(in crate::http) async fn head(workload: &mut (impl AsyncRead + Unpin)) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(workload.read_buf(&mut head).await.unwrap(), 0);
        }
    }

    /// How a connection to the workload ends, on which nothing more is said.
    pub(in crate::http) async fn end(mut workload: TcpStream) -> Option<ErrorKind> {
        let mut rest = Vec::new();
        let end = workload.read_to_end(&mut rest);
        let end = tokio::time::timeout(Duration::from_secs(8), end).await.unwrap();
        assert_eq!(rest, b"");
        end.err().map(|error| error.kind())
    }

    /// The same, of one that `says` this to somebody who does not want its answer any more.
    async fn end_of(says: &str) -> Option<ErrorKind> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut workload, _) = listener.accept().await.unwrap();
        let request = Request::get("/").header("host", "a").header("upgrade", "chat");
        let request = request.header("connection", "upgrade").body(Body::ours("")).unwrap();
        let drain = Drain::default();
        let answer = async {
            head(&mut workload).await;
            workload.write_all(says.as_bytes()).await.unwrap();
        };
        drop(tokio::join!(alone_at_workload(tcp, &drain, request), answer));
        end(workload).await
    }

    #[tokio::test]
    async fn a_workload_that_goes_on_alone_is_reset() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ";
        assert_eq!(end_of(&format!("{head}chat\r\n\r\n")).await, Some(ErrorKind::ConnectionReset));
        assert_eq!(end_of(&format!("{head}h2c\r\n\r\n")).await, Some(ErrorKind::ConnectionReset));
        assert_eq!(end_of("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await, None);
    }
}
