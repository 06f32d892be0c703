//! The protocol of lines over one TCP connection that is kept open.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, mpsc},
};

use super::{Running, Watch};

#[derive(Debug)]
pub(super) struct Session {
    watch: Watch,
    /// `ENV/WORKLOAD`.
    claim: Arc<str>,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    running: Running,
    writer: OwnedWriteHalf,
    answers: mpsc::Receiver<String>,
}

impl Session {
    pub(super) fn new(watch: Watch, claim: Arc<str>) -> Self {
        Self { watch, claim, open: Mutex::default() }
    }

    /// One line and its answer. A line whose answer stays out is not sent again.
    pub(super) async fn call(&self, address: SocketAddr, sequence: u64) -> Result<(), String> {
        let mut slot = self.open.lock().await;
        let usable = slot.take().filter(|open| open.running.leads_to(address) && !open.is_closed());
        let mut open = match usable {
            Some(open) => open,
            None => self.open(address).await?,
        };
        let amount = sequence % 1000;
        open.say(&format!("POST {sequence} {amount}\n")).await?;
        // Kept only after a whole exchange: the next answer belongs to the next line.
        *slot = Some(open);
        Ok(())
    }

    async fn open(&self, address: SocketAddr) -> Result<Open, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (reader, writer) = stream.into_split();
        // One line is on its way at most; a server that says more waits.
        let (sender, answers) = mpsc::channel(1);
        let running = self.watch.run(address, read(BufReader::new(reader).lines(), sender));
        let mut open = Open { running, writer, answers };
        open.say(&format!("HELLO {}\n", self.claim)).await?;
        Ok(open)
    }
}

impl Open {
    fn is_closed(&self) -> bool {
        self.answers.is_closed()
    }

    async fn say(&mut self, line: &str) -> Result<(), String> {
        self.writer.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
        match self.answers.recv().await {
            Some(answer) if answer.starts_with("OK ") => Ok(()),
            Some(answer) => Err(answer),
            None => Err("closed by the other end".to_owned()),
        }
    }
}

async fn read(mut lines: Lines<BufReader<OwnedReadHalf>>, answers: mpsc::Sender<String>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if answers.send(line).await.is_err() {
            return;
        }
    }
}
