//! A Workload API whose every message is written by the test.

mod service;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cellwall_api::workload::{
    X509svidResponse, spiffe_workload_api_server::SpiffeWorkloadApiServer,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Status, transport::Server};

pub use self::{service::Calls, state::X509State};
use self::{service::Service, state::Script};
use crate::tasks::Tasks;

/// A Workload API server on a unix socket. It attests nobody: whoever connects gets what the test
/// published last, and everything published after that.
#[derive(Debug)]
pub struct ScriptedWorkloadApi {
    socket: PathBuf,
    script: Arc<Script>,
    last_serial: Mutex<Option<String>>,
    tasks: Tasks,
}

impl ScriptedWorkloadApi {
    /// Listens on `workload.sock` in `dir`. Until something is published, calls stay open and
    /// silent.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn start(dir: &Path) -> io::Result<Self> {
        let socket = dir.join("workload.sock");
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let incoming = UnixListenerStream::new(UnixListener::bind(&socket)?);
        let script = Arc::new(Script::default());
        let service = SpiffeWorkloadApiServer::new(Service::new(script.clone()));
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let stopped = spawner.stopped().cancelled_owned();
        let server = Server::builder().add_service(service);
        spawner.spawn_graceful(async move {
            // A socket that fails shows as calls that fail.
            drop(server.serve_with_incoming_shutdown(incoming, stopped).await);
        });
        Ok(Self { socket, script, last_serial: Mutex::default(), tasks })
    }

    /// `unix:/path`, as `SPIFFE_ENDPOINT_SOCKET` and `--workload-api` take it.
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends this state, whole, on every open stream, and first thing on every stream to come.
    pub fn publish(&self, state: &X509State) {
        *self.last_serial.lock().unwrap_or_else(PoisonError::into_inner) = state.serial_hex();
        self.publish_message(state.to_message());
    }

    /// The serial number of the first SVID of the state published last, in lower-case hex.
    pub fn last_serial(&self) -> Option<String> {
        self.last_serial.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As [`ScriptedWorkloadApi::publish`], with a message that need not make sense.
    pub fn publish_message(&self, message: X509svidResponse) {
        self.script.answer(Ok(message));
    }

    /// Withdraws everything: open streams and calls to come end with `PermissionDenied` (WAPI-14).
    pub fn redact(&self) {
        self.fail(Status::permission_denied("no identity issued"));
    }

    /// Ends open streams, and calls to come, with this status.
    pub fn fail(&self, status: Status) {
        self.script.answer(Err(status));
    }

    /// Ends open streams with `Unavailable`; calls to come get the last state at once (WAPI-03).
    pub fn cut_streams(&self) {
        self.script.cut(&Status::unavailable("cut by the test"));
    }

    /// What was called so far.
    pub fn calls(&self) -> Calls {
        self.script.calls()
    }

    /// Streams that are open now.
    pub fn open_streams(&self) -> usize {
        self.script.open_streams()
    }

    /// Stops serving and removes the socket. Start another one on the same directory to come back.
    ///
    /// # Errors
    /// If the socket cannot be removed.
    pub async fn stop(self) -> io::Result<()> {
        self.cut_streams();
        self.tasks.stop().await;
        fs::remove_file(&self.socket)
    }
}

impl Drop for ScriptedWorkloadApi {
    fn drop(&mut self) {
        self.cut_streams();
    }
}
