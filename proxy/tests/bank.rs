//! A workload that pays, or does not, as the test says; and a wire to it that can be cut.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Notify, task::JoinSet};

use crate::{kit::eventually, played::accepting};

/// What becomes of a payment that came whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Does {
    /// It is answered.
    Pays,
    /// The connection ends without a word.
    Dies,
    /// The same as soon as its head is there.
    DiesAtOnce,
    /// Nothing, for as long as the connection lasts.
    Waits,
    /// It is refused in the words of a sidecar.
    Pretends,
}

/// A request as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Came {
    pub(crate) line: String,
    /// Name and value of every header, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// The workload; it ends with this.
pub(crate) struct Bank {
    pub(crate) address: SocketAddr,
    does: Arc<Mutex<VecDeque<Does>>>,
    came: Arc<Mutex<Vec<Came>>>,
    _tasks: JoinSet<()>,
}

impl Bank {
    pub(crate) async fn open() -> Self {
        let does = Arc::<Mutex<VecDeque<Does>>>::default();
        let came = Arc::<Mutex<Vec<Came>>>::default();
        let (script, ledger) = (does.clone(), came.clone());
        let (address, tasks) = accepting(move |tcp| {
            let (script, ledger) = (script.clone(), ledger.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (script, ledger) = (script.clone(), ledger.clone());
                async move {
                    let does = script.lock().unwrap().pop_front().unwrap_or(Does::Pays);
                    if does == Does::DiesAtOnce {
                        return Err("dies");
                    }
                    let came = Came::of(request).await.map_err(|_| "not whole")?;
                    ledger.lock().unwrap().push(came);
                    does.done().await
                }
            });
            async move {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await;
            }
        })
        .await;
        Self { address, does, came, _tasks: tasks }
    }

    /// What it does with the next payments; with those after them it pays.
    pub(crate) fn next(&self, does: &[Does]) {
        self.does.lock().unwrap().extend(does);
    }

    /// What has come since this was asked last.
    pub(crate) fn came(&self) -> Vec<Came> {
        std::mem::take(&mut *self.came.lock().unwrap())
    }

    /// Waits until something has come since then.
    pub(crate) async fn has_come(&self) {
        eventually("a payment", async || !self.came.lock().unwrap().is_empty()).await;
    }
}

impl Came {
    async fn of(request: Request<Incoming>) -> hyper::Result<Self> {
        let (head, body) = request.into_parts();
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = head.headers.iter();
        Ok(Self {
            line: format!("{} {}", head.method, head.uri),
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: body.collect().await?.to_bytes(),
        })
    }
}

impl Does {
    async fn done(self) -> Result<Response<Full<Bytes>>, &'static str> {
        let mut response = Response::new(Full::from("paid"));
        match self {
            Self::Pays => {}
            Self::Dies | Self::DiesAtOnce => return Err("dies"),
            Self::Waits => std::future::pending().await,
            Self::Pretends => {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                let words = http::HeaderValue::from_static("not-done");
                response.headers_mut().insert("cellwall-outcome", words);
            }
        }
        Ok(response)
    }
}

/// A wire; it ends with this.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    cut: Arc<Notify>,
    opened: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Wire {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let (cut, opened) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (heard, counted) = (cut.clone(), opened.clone());
        let (address, tasks) = accepting(move |mut near| {
            let heard = heard.clone();
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                let Ok(mut far) = TcpStream::connect(target).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = heard.notified() => {}
                }
            }
        })
        .await;
        Self { address, cut, opened, _tasks: tasks }
    }

    /// How many connections there have been.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Ends all connections that there are. Those that come later pass.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}
