//! The socket: whoever connects is asked of the kernel who they are.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use cellwall_agent::Socket;
use http::StatusCode;
use nix::unistd::geteuid;
use tokio::{net::UnixStream, sync::Semaphore};

use super::Operators;
use crate::http::{Limits, Problem, converse};

/// Operators and their scripts.
const CONNECTIONS: usize = 64;
const LIMITS: Limits = Limits { head: Duration::from_secs(5), whole: Duration::from_secs(30) };
/// Pause after a failed `accept`, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of the socket, as the kernel says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Operator {
    /// Their user.
    pub uid: u32,
    /// Their process; 0 if it is hidden from us.
    pub pid: i32,
}

impl Operator {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), pid: credentials.pid().unwrap_or_default() })
    }

    /// Root, or the user that cellwalld runs as. The socket's mode says the same; this also holds
    /// when somebody changes the mode.
    fn is_entitled(self, ours: u32) -> bool {
        self.uid == 0 || self.uid == ours
    }

    /// The name in the audit log.
    pub fn name(self) -> String {
        format!("uid:{} pid:{}", self.uid, self.pid)
    }
}

/// Serves operators until the process stops.
pub async fn serve(socket: Socket, operators: Operators) {
    let drain = operators.drain.clone();
    let router = super::router(operators).layer(middleware::from_fn(require_operator));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
            let stream = socket.accept().await?;
            Ok::<_, io::Error>((Operator::of(&stream)?, stream, slot))
        };
        let accepted = tokio::select! {
            () = drain.stop().cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            Ok((operator, stream, slot)) => {
                let (router, stop): (Router, _) = (router.clone(), drain.stop().clone());
                drain.spawn(async move {
                    let mark = move |extensions: &mut http::Extensions| {
                        extensions.insert(operator);
                    };
                    converse(stream, router, LIMITS, stop, mark).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "operator socket: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One door to every route (CP-02).
async fn require_operator(request: Request, next: Next) -> Response {
    let ours = geteuid().as_raw();
    match request.extensions().get::<Operator>() {
        Some(operator) if operator.is_entitled(ours) => next.run(request).await,
        operator => {
            tracing::warn!(?operator, "operator refused");
            let detail = "only root and the user of cellwalld may use this socket";
            Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Operator;

    #[test]
    fn only_root_and_our_own_user_are_operators() {
        let entitled = |uid, ours| Operator { uid, pid: 1 }.is_entitled(ours);
        assert!(entitled(0, 0) && entitled(0, 1000) && entitled(1000, 1000));
        assert!(!entitled(1000, 0) && !entitled(1001, 1000));
    }
}
