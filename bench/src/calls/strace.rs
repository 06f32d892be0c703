//! Counting with `strace -c`, where the kernel shows no trace points.

use std::{fs, future::Future, io, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use super::{
    CallsError,
    side::Sides,
    tally::{Count, Tally},
};
use crate::{LoadError, Report, perf::interrupt};

/// How long it may take to attach itself, and to end.
const TIME: Duration = Duration::from_secs(20);

/// One for each side, attached.
#[derive(Debug)]
pub(super) struct Strace {
    tracers: Vec<(usize, Tracer)>,
}

/// `strace`, attached to some processes; what it writes goes to a file.
#[derive(Debug)]
pub(super) struct Tracer {
    child: Child,
    folder: TempDir,
    /// Held, so that it can still say that it lets go.
    _errors: Errors,
}

type Errors = Lines<BufReader<ChildStderr>>;

/// What it says of itself, if it is there.
pub(super) async fn version() -> Result<String, String> {
    let output = Command::new("strace").arg("--version").output().await;
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

impl Strace {
    pub(super) async fn attach(sides: &Sides) -> Result<Self, CallsError> {
        let mut tracers = Vec::new();
        for (side, processes) in sides.processes().iter().enumerate() {
            if !processes.is_empty() {
                tracers.push((side, Tracer::attach(&["-c"], processes).await?));
            }
        }
        Ok(Self { tracers })
    }

    /// Counts until the load is over.
    pub(super) async fn count(
        self,
        load: impl Future<Output = Result<Report, LoadError>>,
    ) -> Result<(Report, [Tally; 2]), CallsError> {
        let report = load.await?;
        let mut tallies = <[Tally; 2]>::default();
        for (side, tracer) in self.tracers {
            let text = tracer.end().await?;
            if let Some(tally) = tallies.get_mut(side) {
                *tally = summary(&text);
            }
        }
        Ok((report, tallies))
    }
}

impl Tracer {
    /// Attaches itself to all threads of these processes, now and later.
    pub(super) async fn attach(options: &[&str], processes: &[u32]) -> Result<Self, CallsError> {
        let folder = tempfile::tempdir().map_err(CallsError::system("a folder"))?;
        let mut command = Command::new("strace");
        command.arg("-f").args(options).arg("-o").arg(folder.path().join("trace"));
        for process in processes {
            command.arg("-p").arg(process.to_string());
        }
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(CallsError::system("start strace"))?;
        let errors = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe);
        let errors = errors.map_err(|kind| CallsError::system("strace")(kind.into()))?;
        let mut errors = BufReader::new(errors).lines();
        let attached = tokio::time::timeout(TIME, attached(&mut errors, processes.len())).await;
        let attached = attached.map_err(io::Error::from).flatten();
        attached.map_err(CallsError::system("attach strace"))?;
        Ok(Self { child, folder, _errors: errors })
    }

    /// Lets go of the processes, and returns what was written.
    pub(super) async fn end(mut self) -> Result<String, CallsError> {
        interrupt(&mut self.child, TIME).await.map_err(CallsError::system("end strace"))?;
        let text = fs::read(self.folder.path().join("trace"));
        let text = text.map_err(CallsError::system("what strace has written"))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// It says `Process N attached` for each; its other lines are what went wrong.
async fn attached(errors: &mut Errors, count: usize) -> io::Result<()> {
    let mut said = Vec::new();
    let mut there = 0;
    while there < count {
        let Some(line) = errors.next_line().await? else {
            return Err(io::Error::other(said.join("; ")));
        };
        there += usize::from(line.contains(" attached"));
        said.push(line);
    }
    Ok(())
}

/// `% time, seconds, usecs/call, calls, errors, syscall`; there are no errors where there are none.
fn summary(text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text.lines() {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        let (calls, failed, name) = match fields.as_slice() {
            [_, _, _, calls, name] => (calls, &"0", name),
            [_, _, _, calls, failed, name] => (calls, failed, name),
            _ => continue,
        };
        let (Ok(calls), Ok(failed)) = (calls.parse(), failed.parse()) else { continue };
        if *name != "total" {
            tally.add(name, Count { calls, failed });
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_read_with_and_without_errors() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            60.00    0.001016        1015        12         4 recvfrom\n\
            40.00    0.000140          17         8           sendto\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.001156          20        20         4 total\n";

        let tally = summary(text);

        assert_eq!(tally.by_name["recvfrom"], Count { calls: 12, failed: 4 });
        assert_eq!(tally.by_name["sendto"], Count { calls: 8, failed: 0 });
        assert_eq!(tally.total(), Count { calls: 20, failed: 4 });
    }
}
