//! `hpcvm local-queue`: the commands of the scheduler `local`.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use clap::Subcommand;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::{CliError, Context, Exit};
use crate::durable::WriteError;
use crate::exec::Invocation;
use crate::scheduler::queue::{Deletion, Queue, serve};

/// Arguments of `hpcvm local-queue`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Take a wrapper; prints the job's number
    Submit {
        /// Do not start it until it is released
        #[arg(long)]
        hold: bool,
        /// The wrapper
        wrapper: PathBuf,
    },
    /// List jobs that have not ended
    List,
    /// Start a held job
    Release {
        /// The job's number
        job: u64,
    },
    /// Delete a job, or one task of it
    Delete {
        /// The job's number
        job: u64,
        /// The task's number
        task: Option<u32>,
    },
    /// Run a job's tasks
    #[command(hide = true)]
    Serve {
        /// The job's number
        job: u64,
    },
}

/// Does what the scheduler's commands do elsewhere.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let queue = Queue::below(&context.places.state);
    match &args.what {
        What::Submit { hold, wrapper } => {
            let folder = std::env::current_dir().map_err(|source| WriteError {
                path: wrapper.clone(),
                source,
            })?;
            let job = queue.add(wrapper, &folder, *hold)?;
            if !hold {
                start(context, job.job)?;
            }
            context.ui.print(format!("{}\n", job.job))?;
        }
        What::List => context.ui.print(queue.list()?)?,
        What::Release { job } => {
            queue.release(*job)?;
            start(context, *job)?;
        }
        What::Delete { job, task } => queue.delete(*job, *task)?,
        What::Serve { job } => {
            let (tell, messages) = channel();
            listen(tell.clone());
            serve(&context.host, &queue, *job, &variables(context), (tell, messages))?;
        }
    }
    Ok(Exit::Done)
}

/// Starts a job's process, which outlives this one.
fn start(context: &Context, job: u64) -> Result<(), CliError> {
    let nowhere = || {
        let path = PathBuf::from("/dev/null");
        File::options()
            .write(true)
            .open(&path)
            .map_err(|source| WriteError { path, source })
    };
    let invocation = variables(context).into_iter().fold(
        Invocation::new("/proc/self/exe").args(["local-queue", "serve", &job.to_string()]),
        |invocation, (name, value)| invocation.env(name, value),
    );
    context.host.spawn_background(&invocation, nowhere()?, nowhere()?)?;
    Ok(())
}

/// What tasks find of the submitter's environment: where hpcvm's own things are.
fn variables(context: &Context) -> Vec<(OsString, OsString)> {
    let variables = context.environment.all().into_iter();
    let ours = |name: &OsString| {
        name.to_str()
            .is_some_and(|name| name.starts_with("HPCVM_") || name.starts_with("XDG_") || name == "TMPDIR")
    };
    variables.filter(|(name, _)| ours(name)).collect()
}

/// SIGUSR1 says that the job's folder says more; what ends a process ends the job, but for the
/// end of the terminal that it was submitted from.
fn listen(tell: Sender<Deletion>) {
    // Refused only for signals that cannot be caught, which these can.
    if let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1]) {
        thread::spawn(move || {
            for signal in signals.forever() {
                let what = match signal {
                    SIGHUP => continue,
                    SIGUSR1 => Deletion::AsWritten,
                    _ => Deletion::All,
                };
                if tell.send(what).is_err() {
                    return;
                }
            }
        });
    }
}
