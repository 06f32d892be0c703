//! The workload as a TCP server with a protocol of lines.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::{Saw, Shared};

/// The longest line that is read; a longer one ends the connection.
const MAX_LINE: u64 = 4096;

pub(super) async fn serve(stream: TcpStream, connection: u64, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    let mut hello = None;
    let mut answered = 0u64;
    loop {
        let mut line = Vec::new();
        let read = (&mut stream).take(MAX_LINE).read_until(b'\n', &mut line).await;
        if read.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        if hello.is_none() && verb == "HELLO" {
            hello = Some(rest.to_owned());
        }
        let saw = Saw::Tcp { hello: hello.clone(), verb: verb.to_owned(), bytes: line.len() };
        if shared.saw(connection, Vec::new(), saw).is_err() {
            return;
        }
        answered += 1;
        let answer = match verb {
            _ if hello.is_none() => "ERR say HELLO first\n".to_owned(),
            "HELLO" | "POST" => format!("OK {answered}\n"),
            _ => "ERR unknown verb\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
