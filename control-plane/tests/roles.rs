//! What this test's program does when another test starts it as a process of its own.
//!
//! A role is an ignored test, run by its exact name. Its arguments follow as `key=value`: to the
//! test harness they are names of tests that do not exist.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cellwall_testkit::{
    client::{Server, request},
    process::Spawn,
};
use nix::unistd::{Uid, setresuid};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::UnixStream};
use tonic::Code;

use crate::workload::{Svids, try_over};

/// Some unprivileged user.
pub(crate) const NOBODY: u32 = 65_534;

/// This program in a role.
pub(crate) fn role(program: &Path, name: &str, dir: &Path, arguments: &[(&str, &Path)]) -> Spawn {
    let spawn = Spawn::new(name, program, dir).args(harness(name));
    spawn.args(arguments.iter().map(|(key, value)| format!("{key}={}", value.display())))
}

pub(crate) fn this_program() -> PathBuf {
    std::fs::read_link("/proc/self/exe").unwrap()
}

fn harness(name: &str) -> [String; 5] {
    ["--exact", &format!("roles::{name}"), "--ignored", "--nocapture", "--test-threads=1"]
        .map(ToOwned::to_owned)
}

fn argument(key: &str) -> Option<PathBuf> {
    let prefix = format!("{key}=");
    std::env::args().find_map(|argument| argument.strip_prefix(&prefix).map(PathBuf::from))
}

/// A copy of the connection that this process was started with as its input.
fn inherited() -> net::UnixStream {
    let connection: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    connection.into()
}

/// Waits on a second socket until the test lets it go on.
async fn wait_for_the_word() {
    let mut control = UnixStream::connect(argument("control").unwrap()).await.unwrap();
    control.read_exact(&mut [0]).await.unwrap();
}

/// Connects, hands the connection to another process, and stays until it is killed.
#[tokio::test]
#[ignore = "a role: opens a connection for another process"]
async fn opener() {
    let (Some(socket), Some(control)) = (argument("socket"), argument("control")) else { return };
    let connection = net::UnixStream::connect(socket).unwrap();
    let mut holder = Command::new(this_program());
    holder.args(harness("holder")).arg(format!("control={}", control.display()));
    let mut holder = holder.stdin(Stdio::from(OwnedFd::from(connection))).spawn().unwrap();
    holder.wait().unwrap();
}

/// Connects, waits for the word, and becomes another program with the same connection.
#[tokio::test]
#[ignore = "a role: becomes another program"]
async fn changeling() {
    let (Some(socket), Some(program)) = (argument("socket"), argument("program")) else { return };
    let connection = net::UnixStream::connect(socket).unwrap();
    wait_for_the_word().await;
    let mut other = Command::new(program);
    other.args(harness("holder"));
    other.arg(format!("control={}", argument("control").unwrap().display()));
    panic!("{}", other.stdin(Stdio::from(OwnedFd::from(connection))).exec());
}

/// Connects, becomes another user at one word, and asks at the next.
#[tokio::test]
#[ignore = "a role: becomes another user"]
async fn turncoat() {
    let Some(socket) = argument("socket") else { return };
    let connection = net::UnixStream::connect(socket).unwrap();
    wait_for_the_word().await;
    let nobody = Uid::from_raw(NOBODY);
    setresuid(nobody, nobody, nobody).unwrap();
    print_line(&json!({ "ready": true }));
    wait_for_the_word().await;
    ask_over(connection).await;
}

/// Does nothing until it is killed.
#[tokio::test]
#[ignore = "a role: is there"]
async fn sleeper() {
    if argument("control").is_some() {
        wait_for_the_word().await;
    }
}

/// Waits for the word, then asks for an SVID over the connection that it was given.
#[tokio::test]
#[ignore = "a role: uses a connection that another process opened"]
async fn holder() {
    if argument("control").is_none() {
        return;
    }
    wait_for_the_word().await;
    ask_over(inherited()).await;
}

async fn ask_over(connection: net::UnixStream) {
    connection.set_nonblocking(true).unwrap();
    let answer = match try_over(UnixStream::from_std(connection).unwrap()).await {
        Ok(mut client) => match Svids::open(&mut client).await {
            Ok(mut svids) => svids.next().await.map_err(|status| status.code()),
            Err(status) => Err(status.code()),
        },
        Err(_) => Err(Code::Unavailable),
    };
    print_line(&match answer {
        Ok(response) => json!({ "svids": response.svids.len() }),
        Err(code) => json!({ "code": format!("{code:?}") }),
    });
}

/// On a line of its own: the test harness prints too.
fn print_line(value: &Value) {
    println!("\n{value}");
}

/// Asks the operators' API as whoever it is.
#[tokio::test]
#[ignore = "a role: asks as another user"]
async fn stranger() {
    let Some(socket) = argument("socket") else { return };
    let answer = request(Server::Unix(socket), "GET /v1/status").await;
    print_line(&json!({ "status": answer.unwrap().status().as_u16() }));
}
