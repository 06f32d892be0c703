//! The loads of this program, one at a time.

use std::time::Duration;

use super::rows::{Load, OPEN_CONNECTIONS};
use crate::{
    Bulk, ClosedLoop, Connections, Control, Exchange, LoadError, Loopback, OpenLoop, Pace, Report,
    Streams, Target, Way, bulk, echo_loop, lean::PATH, lean_loop, lean_open, open_loop, sized_loop,
    stream_loop,
};

/// Connections of a schedule near what proxies can: so many that it goes on while some wait.
const PACED_CONNECTIONS: usize = 128;

/// Puts a load that is not made of others on whatever listens there.
pub(super) async fn one(load: Load, entry: Loopback, time: Duration) -> Result<Report, LoadError> {
    let (duration, control) = (Some(time), Control::default());
    let clients = |clients, connections| ClosedLoop { clients, connections, duration };
    match load {
        Load::Http(count) | Load::Tail(count) => {
            Box::pin(lean_loop(entry, clients(count, Connections::Kept), control)).await
        }
        Load::Sized(count, bytes) => {
            let load = clients(count, Connections::Kept);
            Box::pin(sized_loop(entry, load, bytes, control)).await
        }
        Load::Paced(rate) => {
            let load = OpenLoop { rate, connections: PACED_CONNECTIONS, duration };
            Box::pin(lean_open(entry, load, control)).await
        }
        Load::HttpNew(count) => {
            Box::pin(lean_loop(entry, clients(count, Connections::PerRequest), control)).await
        }
        Load::TcpNew(count) => {
            Box::pin(echo_loop(entry, clients(count, Connections::PerRequest), control)).await
        }
        Load::Grpc(connections, streams) => {
            let exchange = Exchange::Grpc;
            let load = Streams { connections, streams, exchange, duration };
            Box::pin(stream_loop(entry, load, control)).await
        }
        Load::Bulk(streams) => {
            let load = Bulk { streams, way: Way::Down, pace: Pace::Full, duration };
            Box::pin(bulk(entry, load, control)).await
        }
        Load::Open(rate) => {
            let target = Target::nearby(entry, &format!("GET {PATH}"));
            let target = target.map_err(|_| LoadError::Setting("the entry is no target"))?;
            let load = OpenLoop { rate, connections: OPEN_CONNECTIONS, duration };
            Box::pin(open_loop(target, load, control)).await
        }
        Load::IdleHttp | Load::IdleTcp | Load::Start | Load::Share(_) | Load::Two(..) => {
            Err(LoadError::Setting("this row has no load"))
        }
    }
}
