//! The one thread that touches the database, and the handle to it.

use std::{
    io,
    path::Path,
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, Savepoint};
use tokio::sync::{mpsc, oneshot};

use super::{DatabaseError, database};

/// Work that waits for the thread. Full: refused, and the caller's caller tries again.
const QUEUE: usize = 1024;
/// Work that shares one commit, and so one wait for the disk.
const GROUP: usize = 128;

/// A handle to the database; cheap to clone. What it answered is on the disk.
#[derive(Clone, Debug)]
pub struct Store {
    queue: mpsc::Sender<Box<dyn Work>>,
}

/// Owns the writer's thread.
#[derive(Debug)]
pub struct StoreThread(JoinHandle<()>);

/// Why the database gave no answer. Nothing of the work was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting for the disk already.
    #[error("the database is too busy")]
    Busy,
    /// The thread has ended: the process is stopping.
    #[error("the database is closed")]
    Closed,
    /// SQLite refused the work.
    #[error("the database refused")]
    Refused(#[source] rusqlite::Error),
    /// The commit failed, for example for want of space: nothing of it counts.
    #[error("the database could not commit: {0}")]
    Commit(String),
}

impl Store {
    /// Opens the database and starts its thread.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the file cannot be opened or is another release's.
    pub fn open(path: &Path) -> Result<(Self, StoreThread), DatabaseError> {
        let database = database::open(path)?;
        let (queue, work) = mpsc::channel(QUEUE);
        let thread = spawn(move || serve(database, work)).map_err(DatabaseError::Thread)?;
        Ok((Self { queue }, StoreThread(thread)))
    }

    /// Runs `work` by itself or not at all, and answers once it is on the disk.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { work: Some(work), result: None, reply };
        self.queue.try_send(Box::new(task)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl StoreThread {
    /// Waits until the last handle is gone and everything is on the disk. Blocks.
    pub fn join(self) {
        // A panic of the thread was reported when it happened.
        let _ = self.0.join();
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("store".into()).spawn(body)
}

fn serve(mut database: Connection, mut queue: mpsc::Receiver<Box<dyn Work>>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let committed = commit(&mut database, &mut group).map_err(|error| error.to_string());
        for work in group {
            work.answer(&committed);
        }
    }
}

fn commit(database: &mut Connection, group: &mut [Box<dyn Work>]) -> rusqlite::Result<()> {
    let mut transaction = database.transaction()?;
    for work in group {
        work.run(transaction.savepoint()?)?;
    }
    transaction.commit()
}

/// One caller's work, of whatever type.
trait Work: Send {
    /// Runs it; what fails leaves no trace in the transaction.
    fn run(&mut self, savepoint: Savepoint<'_>) -> rusqlite::Result<()>;
    /// Tells the caller, now that the whole group is committed or is not.
    fn answer(self: Box<Self>, committed: &Result<(), String>);
}

struct Task<T, F> {
    work: Option<F>,
    result: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, savepoint: Savepoint<'_>) -> rusqlite::Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = work(&savepoint);
        // A savepoint that is not committed is rolled back when it is dropped.
        let released = if result.is_ok() { savepoint.commit() } else { savepoint.finish() };
        self.result = Some(result);
        released
    }

    fn answer(self: Box<Self>, committed: &Result<(), String>) {
        let answer = match (committed, self.result) {
            (Err(error), _) => Err(StoreError::Commit(error.clone())),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), Some(Err(error))) => Err(StoreError::Refused(error)),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // The caller may have gone: its work stands all the same.
        let _ = self.reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;
    use tokio::task::JoinSet;

    use super::{Store, StoreError};
    use crate::store::DatabaseError;

    fn insert(database: &Connection, purpose: &str) -> rusqlite::Result<usize> {
        database.execute("INSERT INTO secrets VALUES (?1, x'00')", [purpose])
    }

    fn count(path: &Path) -> i64 {
        let database = Connection::open(path).unwrap();
        database.query_row("SELECT count(*) FROM secrets", [], |row| row.get(0)).unwrap()
    }

    #[tokio::test]
    async fn what_was_answered_is_on_the_disk_and_what_failed_left_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let (store, thread) = Store::open(&path).unwrap();
        let mut tasks = JoinSet::new();
        for index in 0..50 {
            let store = store.clone();
            tasks.spawn(async move {
                let work = move |database: &Connection| {
                    insert(database, &index.to_string())?;
                    if index % 2 == 1 { insert(database, "0") } else { Ok(1) }
                };
                store.run(work).await.is_ok()
            });
        }
        let done = tasks.join_all().await.into_iter().filter(|done| *done).count();
        assert_eq!(done, 25);
        assert_eq!(count(&path), 25);
        drop(store);
        thread.join();
        assert_eq!(count(&path), 25);
    }

    #[tokio::test]
    async fn work_that_fails_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _thread) = Store::open(&dir.path().join("test.db")).unwrap();
        let (bad, good) = tokio::join!(
            store.run(|database| database.execute("INSERT INTO nothing VALUES (1)", [])),
            store.run(|database| insert(database, "a")),
        );
        assert!(matches!(bad, Err(StoreError::Refused(_))));
        assert_eq!(good.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_database_of_another_release_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        assert!(matches!(Store::open(&path), Err(DatabaseError::Version { found: 7, .. })));
    }
}
