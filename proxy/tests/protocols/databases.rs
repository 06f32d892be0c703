//! Databases as declared TCP: PostgreSQL, plain and with TLS of its own, and MariaDB, whose server
//! speaks first.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::process::{Process, Spawn};
use nix::unistd::geteuid;
use serde_json::json;

use super::{LONG, Scene, all, certificate, free_port, local, prints, program, runs, says, serves};
use crate::kit::eventually;

const TCP: CallDocument = CallDocument::Tcp { port: 8443 };

/// Whom a database runs as, which will not run as root.
const NOBODY: u32 = 65_534;

/// A folder below `folder` that belongs to the database.
fn database_folder(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let own = folder.join("database");
    fs::create_dir(&own).unwrap();
    given(&own);
    own
}

/// Gives this to the database's user.
fn given(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A program that runs as the database's user.
fn as_database(name: &str, folder: &Path) -> Spawn {
    let spawn = Spawn::new(name, &program(name), folder);
    if geteuid().is_root() { spawn.user(NOBODY) } else { spawn }
}

/// PostgreSQL with TLS allowed, and where it is.
async fn postgres(folder: &Path) -> (Process, u16) {
    let own = database_folder(folder);
    let data = own.join("data");
    let certificate = certificate(&own).await;
    certificate.iter().for_each(|file| given(Path::new(file)));
    let initdb = as_database("initdb", folder).args(["-A", "trust", "-U", "postgres", "-N", "-D"]);
    let status = initdb.arg(&data).start().unwrap().ended(LONG).await.unwrap();
    assert!(status.success(), "initdb: {status}");
    let port = free_port().await;
    let [file, key] = certificate;
    let spawn = as_database("postgres", folder).arg("-D").arg(&data);
    let spawn = spawn.arg("-k").arg(&own).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    let tls = ["ssl=on", &format!("ssl_cert_file={file}"), &format!("ssl_key_file={key}")];
    let spawn = spawn.args(tls.iter().flat_map(|setting| ["-c", setting]));
    let process = spawn.start().unwrap();
    let ready = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    eventually("postgres", async || {
        says(&program("psql"), &["-XAtc", "select 1", &ready]).await == "1"
    })
    .await;
    (process, port)
}

/// Says each statement, waits for the answer that it has to have, and then turns; how many answers.
async fn in_turns((scene, client): (&mut Scene, &mut Process), steps: &[(&str, &str)]) -> usize {
    for (number, (statement, answer)) in steps.iter().enumerate() {
        client.say(statement).await.unwrap();
        let printed = prints(client, number + 1, |_| true).await;
        assert_eq!(printed.last().unwrap(), answer, "{statement}");
        scene.turn().await;
    }
    steps.len()
}

/// Transactions of one session, with a turn in each; `tls` is what the server says of its own TLS.
async fn session(sslmode: &str, tls: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (_postgres, port) = postgres(folder.path()).await;
    let mut scene = Scene::beside(("ledger-db", Protocol::Tcp), &[TCP], local(port)).await;
    let at = |port: u16| format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let through = format!("{} sslmode={sslmode}", at(scene.door().port()));
    let spawn = Spawn::new("psql", &program("psql"), folder.path());
    let spawn = spawn.args(["-XAtq", "-v", "ON_ERROR_STOP=1", &through]).with_input();
    let mut client = spawn.start().unwrap();
    let steps = [
        ("select ssl, coalesce(version, '') from pg_stat_ssl where pid = pg_backend_pid();", tls),
        ("create table payment (id int primary key); select 'made';", "made"),
        ("begin; insert into payment select generate_series(1, 1000); select 'open';", "open"),
        ("insert into payment values (1001); commit; select sum(id) from payment;", "501501"),
        ("begin; insert into payment values (0); select count(*) from payment;", "1002"),
    ];
    let lines = in_turns((&mut scene, &mut client), &steps).await;
    // A long statement, with a turn while it runs.
    client
        .say("select count(*) from (select pg_sleep(0.001) from payment) as slow;")
        .await
        .unwrap();
    scene.turn().await;
    prints(&client, lines + 1, |_| true).await;
    let asleep = "do $$ begin raise notice 'asleep'; perform pg_sleep(600); end $$;";
    client.say(asleep).await.unwrap();
    eventually("asleep", async || all(client.stderr()).concat().contains("asleep")).await;
    let ended = scene.ended(&mut client).await;
    // What was not committed is not there.
    let direct = ["-XAtc", "select count(*), min(id) from payment", &at(port)];
    assert_eq!(runs(&program("psql"), &direct).await, "1001|1\n");
    let exchanged = json!({
        "sslmode": sslmode, "the_servers_tls": tls, "statements": lines + 2,
        "rows_committed": 1001, "rows_of_the_transaction_that_was_cut": 0,
    });
    let versions = [
        says(&program("psql"), &["--version"]).await,
        says(&program("postgres"), &["--version"]).await,
    ];
    scene.shows([&versions[0], &versions[1]], exchanged, Some(ended));
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn postgresql_without_tls_of_its_own() {
    Box::pin(session("disable", "f|")).await;
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn postgresql_that_negotiates_tls_itself() {
    Box::pin(session("require", "t|TLSv1.3")).await;
}

#[tokio::test]
#[ignore = "a role: `cargo evidence requests 4` gets the programs and runs it"]
async fn mariadb_whose_server_speaks_first() {
    let folder = tempfile::tempdir().unwrap();
    let own = database_folder(folder.path());
    let port = free_port().await;
    let messages = program("mariadbd").parent().unwrap().join("root/usr/share/mysql");
    let _server = as_database("mariadbd", folder.path())
        .args(["--no-defaults", "--skip-grant-tables", "--bind-address=127.0.0.1"])
        .arg(format!("--datadir={}", own.display()))
        .arg(format!("--socket={}/socket", own.display()))
        .arg(format!("--lc-messages-dir={}", messages.display()))
        .arg(format!("--port={port}"))
        .start()
        .unwrap();
    serves(local(port)).await;
    let mut scene = Scene::beside(("ledger-db", Protocol::Tcp), &[TCP], local(port)).await;
    let door = format!("--port={}", scene.door().port());
    let common = ["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "-NBn"];
    let spawn = Spawn::new("mariadb", &program("mariadb"), folder.path());
    let mut client = spawn.args(common).arg(door).with_input().start().unwrap();
    let table = "create database bank; use bank; create table payment (id int) engine=innodb; \
                 select 'made';";
    let steps = [
        (table, "made"),
        ("begin; insert into payment select seq from seq_1_to_1000; select 'open';", "open"),
        ("insert into payment values (1001); commit; select sum(id) from payment;", "501501"),
        ("begin; insert into payment values (0); select count(*) from payment;", "1002"),
    ];
    let lines = in_turns((&mut scene, &mut client), &steps).await;
    client.say("select sleep(600);").await.unwrap();
    let direct = format!("--port={port}");
    let asks = async |question: &str| {
        let arguments = [&common[..], &[&direct, "-e", question]].concat();
        runs(&program("mariadb"), &arguments).await
    };
    let asleep =
        "select count(*) from information_schema.processlist where info like 'select s%(600)'";
    eventually("asleep", async || asks(asleep).await == "1\n").await;
    let ended = scene.ended(&mut client).await;
    eventually("its end at the server", async || {
        asks("select count(*), coalesce(min(id), 0) from bank.payment").await == "1001\t1\n"
    })
    .await;
    let exchanged = json!({
        "statements": lines + 1, "rows_committed": 1001, "rows_of_the_transaction_that_was_cut": 0,
    });
    let versions = [
        says(&program("mariadb"), &["--no-defaults", "--version"]).await,
        says(&program("mariadbd"), &["--no-defaults", "--version"]).await,
    ];
    let versions = versions.each_ref().map(|version| {
        version.rsplit('/').next().unwrap_or_default().trim_start_matches("debian/")
    });
    scene.shows(versions, exchanged, Some(ended));
}
