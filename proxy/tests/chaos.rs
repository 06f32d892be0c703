//! A TCP relay that cuts connections after as many bytes as it is told.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Where and how one connection is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cut {
    pub(crate) of: Sent,
    /// So many bytes pass, and no more.
    pub(crate) after: u64,
    pub(crate) how: How,
}

/// Whose bytes are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sent {
    /// Of whoever connects.
    There,
    /// Of whoever is connected to.
    Back,
}

/// What both ends see of a cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// A reset.
    Reset,
    /// The end of the stream, as if it were whole.
    End,
}

/// The relay; it ends with this.
pub(crate) struct Chaos {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Chaos {
    /// Passes on to `target`. The plan says where each connection is cut, by its number.
    pub(crate) async fn start(
        target: SocketAddr,
        plan: impl Fn(u64) -> Cut + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(plan);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                connections.spawn(pass(tcp, target, plan(number)));
                // What has ended is forgotten.
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, _tasks: tasks }
    }
}

async fn pass(mut near: TcpStream, target: SocketAddr, cut: Cut) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    {
        let (mut from_near, mut to_near) = near.split();
        let (mut from_far, mut to_far) = far.split();
        let limit = |of| if cut.of == of { cut.after } else { u64::MAX };
        let there = copy(&mut from_near, &mut to_far, limit(Sent::There));
        let back = copy(&mut from_far, &mut to_near, limit(Sent::Back));
        let _ = tokio::try_join!(there, back);
    }
    if cut.how == How::Reset {
        for tcp in [&near, &far] {
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

/// `Ok` at the end of the stream, `Err` where everything ends.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut limit: u64,
) -> Result<(), ()> {
    let mut bytes = vec![0; 16 * 1024];
    while limit > 0 {
        let most = usize::try_from(limit).map_or(bytes.len(), |limit| limit.min(bytes.len()));
        let read = from.read(&mut bytes[..most]).await.map_err(drop)?;
        if read == 0 {
            return to.shutdown().await.map_err(drop);
        }
        to.write_all(&bytes[..read]).await.map_err(drop)?;
        limit -= u64::try_from(read).unwrap();
    }
    Err(())
}
