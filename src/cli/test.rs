//! `hpcvm test`

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Serialize;

use super::{CliError, Context, Exit, accelerator, run, run_libraries, run_request, run_warm, test_clones};
use crate::guest::result_disk::Ending;
use crate::image::manifest::Validation;
use crate::launch::{self, BootImage, LaunchRequest, Streams};
use crate::timing::Timeline;

/// Arguments of `hpcvm test`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Each of the recipe's validation commands runs in a fresh VM. \
                             Exits with 1 when one did not give what the recipe expects.")]
pub struct Args {
    /// A name, NAME@DIGITS, the first digits of a digest, or the path of an image's folder
    image: String,
    #[command(flatten)]
    libraries: run_libraries::LibraryArgs,
    /// Instead, start this many machines warm and compare what must not be alike in them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000))]
    clones: Option<u32>,
    #[command(flatten)]
    place: run_warm::PlaceArgs,
}

/// What came of one validation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Verdict {
    name: String,
    passed: bool,
    status: Option<u8>,
    stdout: String,
    stderr: String,
}

/// More output than this is no answer to a validation.
const KEPT: usize = 1 << 20;

/// Proves an image valid by its recipe's own commands.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let image = context.store().find(&args.image)?;
    image.check_lengths()?;
    let accelerator = accelerator::choose(context, accelerator::Wanted::Auto, image.manifest.architecture)?;
    if let Some(count) = args.clones {
        let defaults = &image.manifest.run;
        let mut request = run_request::plain(context, BootImage::from(&image), defaults, accelerator, Vec::new());
        run_libraries::attach(context, &image, &args.libraries, &mut request)?;
        return test_clones::run(context, &image, &args.place, request, count);
    }
    let mut verdicts = Vec::new();
    for validation in &image.manifest.validation {
        let mut request = run_request::plain(
            context,
            BootImage::from(&image),
            &image.manifest.run,
            accelerator,
            validation.run.iter().map(OsString::from).collect(),
        );
        run_libraries::attach(context, &image, &args.libraries, &mut request)?;
        let verdict = validate(context, &request, validation)?;
        if !context.ui.json() {
            context.ui.print(line(&verdict, validation))?;
        }
        verdicts.push(verdict);
    }
    let passed = verdicts.iter().filter(|verdict| verdict.passed).count();
    if context.ui.json() {
        context
            .ui
            .print_json(&serde_json::json!({"test": 1, "image": image.digest, "validations": verdicts}))?;
    } else {
        let all = verdicts.len();
        context
            .ui
            .print(format!("{}: {passed} of {all} validations passed\n", image.reference()))?;
    }
    Ok(if passed == verdicts.len() {
        Exit::Done
    } else {
        Exit::Found
    })
}

fn validate(context: &Context, request: &LaunchRequest, validation: &Validation) -> Result<Verdict, CliError> {
    let interrupts = run::catch_signals();
    let (stdout, stderr) = (Kept::default(), Kept::default());
    let streams = Streams {
        stdin: Box::new(io::empty()),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
    };
    let mut timeline = Timeline::since(Instant::now());
    let outcome = launch::launch(&context.host, request, streams, interrupts, &mut timeline)?;
    let status = match outcome.ending {
        Ending::Exited(status) => Some(status),
        Ending::Killed(_) | Ending::NotStarted(_) => None,
    };
    let stdout = stdout.text();
    let as_expected = validation.stdout.as_ref().is_none_or(|expected| *expected == stdout);
    Ok(Verdict {
        name: validation.name.clone(),
        passed: as_expected && status == Some(validation.status),
        status,
        stdout,
        stderr: stderr.text(),
    })
}

/// One line for what passed; what was expected and what came for what did not.
fn line(verdict: &Verdict, validation: &Validation) -> String {
    if verdict.passed {
        return format!("ok      {}\n", verdict.name);
    }
    let status = verdict
        .status
        .map_or_else(|| "a signal".to_owned(), |status| format!("status {status}"));
    let expected = validation
        .stdout
        .as_ref()
        .map_or(String::new(), |text| format!(" and {text:?}"));
    format!(
        "FAILED  {}\n        expected status {}{expected}\n        got {status} and {:?}\n        stderr {:?}\n",
        verdict.name, validation.status, verdict.stdout, verdict.stderr
    )
}

/// Keeps what is written to it, up to a limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().expect("no writer panics");
        let room = KEPT.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_what_was_expected_and_what_came() {
        let validation = Validation {
            name: "sum".into(),
            run: vec!["expr".into()],
            stdout: Some("5\n".into()),
            status: 0,
        };
        let verdict = |passed| Verdict {
            name: "sum".into(),
            passed,
            status: Some(1),
            stdout: "6\n".into(),
            stderr: String::new(),
        };
        assert_eq!(line(&verdict(true), &validation), "ok      sum\n");
        let text = line(&verdict(false), &validation);
        assert!(
            text.contains(r#"expected status 0 and "5\n""#) && text.contains(r#"got status 1 and "6\n""#),
            "{text}"
        );
    }

    #[test]
    fn endless_output_is_cut() {
        let mut kept = Kept::default();
        for _ in 0..600 {
            kept.write_all(&[b'y'; 4096]).unwrap();
        }
        assert_eq!(kept.text().len(), KEPT);
    }
}
