//! HTTP/1.1 with keep-alive connections from a pool.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Running, Watch};

#[derive(Debug)]
pub(super) struct Pool {
    watch: Watch,
    idle: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    running: Running,
    sender: SendRequest<Full<Bytes>>,
}

impl Pool {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, idle: Mutex::default() }
    }

    /// One request; never sent a second time, whatever happens to it.
    pub(super) async fn call(
        &self,
        address: SocketAddr,
        method: &str,
        path: &str,
    ) -> Result<(), String> {
        let body = if matches!(method, "GET" | "HEAD" | "DELETE") {
            Full::default()
        } else {
            Full::from(r#"{"amount":1200,"currency":"EUR"}"#)
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.watch.to.as_ref())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| error.to_string())?;
        let mut open = self.take(address).await?;
        let response =
            open.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        self.give_back(open);
        if status.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Err(format!("status {}: {text}", status.as_u16()))
    }

    /// A connection that is ready: an idle one that has not been closed meanwhile, or a new one.
    async fn take(&self, address: SocketAddr) -> Result<Open, String> {
        while let Some(mut open) = self.pop() {
            if open.running.leads_to(address) && open.sender.ready().await.is_ok() {
                return Ok(open);
            }
        }
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let io = TokioIo::new(stream);
        let (sender, connection) = handshake(io).await.map_err(|error| error.to_string())?;
        // How it ended is of no interest: that it ended is counted.
        let running = self.watch.run(address, async move { drop(connection.await) });
        Ok(Open { running, sender })
    }

    fn pop(&self) -> Option<Open> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, open: Open) {
        if !open.sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(open);
        }
    }
}
