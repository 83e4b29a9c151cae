//! Whom a submission and its slots tell of their moments: a timing logger, started where none runs.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{CliError, Context};
use crate::durable;
use crate::exec::Invocation;
use crate::scheduler::Kind;
use crate::timing::LoggerError;
use crate::timing::address::Address;
use crate::timing::client::{self, LoggerStatus};
use crate::timing::event::JobKey;
use crate::timing::logger::SOCKET_FILE;
use crate::timing::sender::{Destination, Sender};

/// How long a logger may take to begin.
const BEGINNING: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const GLANCE: Duration = Duration::from_millis(5);
/// A logger that was started for a submission ends after this time without a connection.
const IDLE: &str = "1h";
/// What a process that ends waits for a logger that is there to take its last events: on a quiet host it
/// takes them within some milliseconds, on a busy one they would be missed.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Whether a timing log is kept.
#[derive(Debug, clap::Args)]
pub(super) struct TimingArgs {
    /// Have launches tell a timing logger what they do; one is started where none serves DIR
    /// [default: that of `HPCVM_LOG`, or hpcvm/log in the XDG state folder]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "an option whose value may be left out")]
    timing_log: Option<Option<PathBuf>>,
}

/// Whom the job tells, if anybody: who asked for a log gets one or an error; where only the
/// environment names one, a log that cannot be kept is no reason not to submit.
pub(super) fn destination(context: &Context, args: &TimingArgs, kind: Kind) -> Result<Option<Destination>, CliError> {
    let named = context.environment.get("HPCVM_LOG").map(PathBuf::from);
    let (folder, was_asked) = match (&args.timing_log, named) {
        (Some(Some(folder)), _) => (folder.clone(), true),
        (Some(None), named) => (named.unwrap_or_else(|| context.places.log.clone()), true),
        (None, Some(named)) => (named, false),
        (None, None) => return Ok(None),
    };
    match reach(context, &folder, kind) {
        Ok(destination) => Ok(Some(destination)),
        Err(error) if was_asked => Err(error),
        Err(error) => {
            context.ui.note(&format!("there is no timing log: {}", error.message));
            Ok(None)
        }
    }
}

fn reach(context: &Context, folder: &Path, kind: Kind) -> Result<Destination, CliError> {
    let folder = std::path::absolute(folder).map_err(failed(folder))?;
    let socket = folder.join(SOCKET_FILE);
    let status = match client::status(&socket) {
        Ok(status) => status,
        Err(LoggerError::Unreachable { .. }) => begin(context, &folder, &socket)?,
        Err(error) => return Err(error.into()),
    };
    let mut key = [0; 16];
    fill_randomly(&mut key)?;
    let job = JobKey::of(key);
    let token = client::token(&socket, &job)?;
    let address = match (kind, status.tcp.as_deref().and_then(reachable)) {
        (Kind::Local, _) => Address::Unix(socket),
        (_, Some(address)) => address,
        (_, None) => {
            context
                .ui
                .note("the timing logger has no TCP address: launches on other nodes will not reach it");
            Address::Unix(socket)
        }
    };
    Ok(Destination { address, job, token })
}

/// Starts a logger that outlives us, and waits until it answers. Of two that are started at once
/// one serves the folder, and both callers find that.
fn begin(context: &Context, folder: &Path, socket: &Path) -> Result<LoggerStatus, CliError> {
    durable::create_private_folder(folder)?;
    let said = folder.join("logger.log");
    let words = File::options()
        .append(true)
        .create(true)
        .open(&said)
        .map_err(failed(&said))?;
    let program = std::env::current_exe().map_err(failed(folder))?;
    let invocation = Invocation::new(program)
        .args(["log", "serve", "--listen", "0.0.0.0:0", "--idle", IDLE, "--log"])
        .arg(folder);
    let copy = words.try_clone().map_err(failed(&said))?;
    let mut logger = context.host.spawn_background(&invocation, copy, words)?;
    let until = Instant::now() + BEGINNING;
    loop {
        match client::status(socket) {
            Ok(status) => return Ok(status),
            Err(error) if Instant::now() > until => return Err(error.into()),
            // Its own words say why, unless another one was first.
            Err(error)
                if logger
                    .try_wait()
                    .is_ok_and(|ended| ended.is_some_and(|status| !status.success())) =>
            {
                thread::sleep(GLANCE);
                return client::status(socket).map_err(|_| why(&said, error).into());
            }
            Err(_) => thread::sleep(GLANCE),
        }
    }
}

/// The error with the last words of the logger that did not begin.
fn why(said: &Path, error: LoggerError) -> LoggerError {
    let words = std::fs::read_to_string(said).unwrap_or_default();
    match (error, words.lines().last()) {
        (LoggerError::Unreachable { address, .. }, Some(line)) => LoggerError::Unreachable {
            address,
            source: io::Error::other(line.to_owned()),
        },
        (error, _) => error,
    }
}

/// The address under which other hosts find what listens on `listens`.
fn reachable(listens: &str) -> Option<Address> {
    let address: std::net::SocketAddr = listens.parse().ok()?;
    let host = if address.ip().is_unspecified() {
        super::launch::node()
    } else {
        address.ip().to_string()
    };
    Some(Address::Tcp(host, address.port()))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> LoggerError + use<> {
    let path = path.to_owned();
    move |source| LoggerError::Folder {
        path: path.clone(),
        source,
    }
}

fn fill_randomly(bytes: &mut [u8]) -> Result<(), LoggerError> {
    let path = Path::new("/dev/urandom");
    let filled = File::open(path).and_then(|mut file| file.read_exact(bytes));
    filled.map_err(failed(path))
}

/// Begins to tell `destination`, without ever waiting for it.
pub(super) fn sender(destination: &Destination, task: Option<u64>) -> Option<Arc<Sender>> {
    let mut identity = [0; 8];
    fill_randomly(&mut identity)
        .inspect_err(|error| tracing::warn!(%error, "the timing log will not have this"))
        .ok()?;
    // Numbers of JSON are exact up to 53 bits in most readers.
    let identity = u64::from_le_bytes(identity) >> 11;
    Some(Arc::new(Sender::start(destination.clone(), task, identity)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_on_all_addresses_is_found_by_the_host_s_name() {
        let here = super::super::launch::node();
        for (listens, address) in [
            ("0.0.0.0:4100", format!("tcp:{here}:4100")),
            ("[::]:4100", format!("tcp:{here}:4100")),
            ("10.0.0.7:1", "tcp:10.0.0.7:1".to_owned()),
        ] {
            assert_eq!(reachable(listens).unwrap().to_string(), address);
        }
        assert_eq!(reachable("nonsense"), None);
    }
}
