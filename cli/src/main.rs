//! cellwall: what operators type.

mod args;
mod client;
mod commands;
mod output;
mod paint;
mod table;

use std::process::ExitCode;

use args::{Args, Command};
use output::Output;

fn main() -> ExitCode {
    let args = args::parse();
    let output = Output::new(&args.global);
    if !args.command.formats().contains(&output.format()) {
        let known = args.command.formats().iter().filter_map(clap::ValueEnum::to_possible_value);
        let known: Vec<_> = known.map(|it| it.get_name().to_owned()).collect();
        output.complain(&format!("this command prints {}", known.join(", ")));
        return Outcome::Usage.into();
    }
    match run(&args, &output) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            output.error(&error);
            Outcome::Failed.into()
        }
    }
}

/// How a command ended: the exit codes, each with one meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Done, nothing to report.
    Done,
    /// Could not do it.
    Failed,
    /// What was typed cannot be done.
    Usage,
    /// Did it, and found something.
    Found,
    /// The answer is `deny`.
    Denied,
    /// There are changes, and somebody asked.
    Changes,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Usage => 2,
            Outcome::Found => 3,
            Outcome::Denied => 5,
            Outcome::Changes => 6,
        })
    }
}

fn run(args: &Args, output: &Output) -> anyhow::Result<Outcome> {
    let socket = &args.global.socket;
    match &args.command {
        Command::Policy(args::Policy::Validate { dir }) => commands::validate(dir, output),
        Command::Policy(args::Policy::Test { dir, coverage }) => {
            commands::test(dir, *coverage, output)
        }
        Command::Policy(args::Policy::Fmt { path, check }) => {
            commands::format_files(&commands::Format { path, check: *check }, output)
        }
        Command::Policy(args::Policy::Schema) => commands::print_schema(output),
        Command::Policy(args::Policy::Apply { dir, message, wait }) => {
            let apply = commands::Apply { dir, message, wait: *wait };
            block_on(commands::apply(socket, &apply, output))
        }
        Command::Policy(args::Policy::Reach(command)) => commands::reach(command, output),
        Command::Check => block_on(commands::check(socket, output)),
        Command::Explain { question, policy, proxy } => match policy {
            _ if commands::is_code(question) => commands::explain_code(question, output),
            policy if commands::is_decision(question) => {
                let policy = policy.as_deref();
                let sources = commands::Sources { socket, proxy: *proxy, policy };
                block_on(commands::explain_decision(question, &sources, output))
            }
            Some(dir) => commands::explain_offline(dir, question, output),
            None => block_on(commands::explain(socket, question, output)),
        },
        Command::Identity(args::Identity::List) => block_on(commands::identities(socket, output)),
        Command::Proxy(args::Proxy::Status) => block_on(commands::proxies(socket, output)),
        Command::Load(args::Load::Run(run)) => block_on(commands::load_run(socket, run, output)),
        Command::Load(args::Load::Report { before, after }) => {
            commands::load_report(before, after.as_deref(), output)
        }
        Command::Version => commands::version(output),
    }
}

/// One request at a time needs one thread.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}
