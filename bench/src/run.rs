//! `cellwall-bench run`: one load, of any kind.

use cellwall_bench::{
    Bulk, ClosedLoop, Connections, Control, Exchange, Idle, LoadError, Loopback, Pace, Report,
    Spoken, Streams, Way, bulk, echo_loop, lean_loop, machine, stream_loop,
};

use crate::args::{Kind, Run};

pub(crate) async fn run(args: &Run) -> anyhow::Result<Report> {
    machine::open_files();
    let server = Loopback::new(args.target)?;
    let (clients, duration) = (args.connections, Some(args.duration));
    let closed = |connections| ClosedLoop { clients, connections, duration };
    let streams = |exchange| {
        let (connections, streams) = (args.connections, args.streams);
        Streams { connections, streams, exchange, duration }
    };
    let bytes = |way, pace| Bulk { streams: clients, way, pace, duration };
    let control = Control::default();
    let report = match args.kind {
        Kind::Http1 => lean_loop(server, closed(Connections::Kept), control).await,
        Kind::Http1New => lean_loop(server, closed(Connections::PerRequest), control).await,
        Kind::Http2 => stream_loop(server, streams(Exchange::Get), control).await,
        Kind::Grpc => stream_loop(server, streams(Exchange::Grpc), control).await,
        Kind::Tcp => echo_loop(server, closed(Connections::Kept), control).await,
        Kind::TcpNew => echo_loop(server, closed(Connections::PerRequest), control).await,
        Kind::Down => bulk(server, bytes(Way::Down, Pace::Full), control).await,
        Kind::Up => bulk(server, bytes(Way::Up, Pace::Full), control).await,
        Kind::Slow => bulk(server, bytes(Way::Down, Pace::Slow(args.bytes)), control).await,
        Kind::IdleHttp => idle(server, Spoken::Http, args).await,
        Kind::IdleTcp => idle(server, Spoken::Tcp, args).await,
    };
    Ok(report?)
}

/// Opens connections and holds them for a while.
async fn idle(server: Loopback, spoken: Spoken, args: &Run) -> Result<Report, LoadError> {
    let idle = Idle::open(server, spoken, args.connections).await?;
    tokio::time::sleep(args.duration).await;
    Ok(idle.close().await)
}
