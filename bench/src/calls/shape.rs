//! Shapes of calls whose system calls are counted.

use std::time::Duration;

use crate::{
    ClosedLoop, Connections, Control, Exchange, LoadError, Loopback, Report, Streams,
    compare::Traffic, echo_loop, lean_loop, stream_loop,
};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// So many connections of HTTP/1.1.
    Http1(usize),
    /// So many streams of one connection of HTTP/2: gRPC.
    Http2(usize),
    /// Messages to an echo, one connection.
    Tcp,
}

/// All shapes.
pub const SHAPES: &[Shape] = &[
    Shape { name: "http1-1", title: "HTTP/1.1, 1 connection", kind: Kind::Http1(1) },
    Shape { name: "http1-32", title: "HTTP/1.1, 32 connections", kind: Kind::Http1(32) },
    Shape { name: "http2", title: "gRPC, 1 connection of 32 streams", kind: Kind::Http2(32) },
    Shape { name: "tcp", title: "TCP, a message and its echo, 1 connection", kind: Kind::Tcp },
];

impl Shape {
    pub(super) const fn traffic(&self) -> Traffic {
        match self.kind {
            Kind::Http1(_) => Traffic::Http1,
            Kind::Http2(_) => Traffic::Grpc,
            Kind::Tcp => Traffic::Echo,
        }
    }

    /// Loads whatever listens there.
    pub(super) async fn apply(&self, entry: Loopback, time: Duration) -> Result<Report, LoadError> {
        let duration = Some(time);
        let kept = Connections::Kept;
        let clients = |clients| ClosedLoop { clients, connections: kept, duration };
        let control = Control::default();
        match self.kind {
            Kind::Http1(count) => Box::pin(lean_loop(entry, clients(count), control)).await,
            Kind::Http2(streams) => {
                let exchange = Exchange::Grpc;
                let load = Streams { connections: 1, streams, exchange, duration };
                Box::pin(stream_loop(entry, load, control)).await
            }
            Kind::Tcp => Box::pin(echo_loop(entry, clients(1), control)).await,
        }
    }
}
