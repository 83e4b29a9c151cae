//! Cold starts: from nothing to the first line of a job's output.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::BenchError;
use super::job::{self, Job};
use super::machine::{self, Facts};
use super::process::{Measured, measure};
use super::report::{Launch, Launched, Report};
use super::subject::{Subject, Turn, turns};
use crate::durable;
use crate::exec::{Host, Invocation};
use crate::guest::initrd;
use crate::hypervisor::accelerator::Accelerator;
use crate::hypervisor::machine::{Boot, Machine, Network};
use crate::hypervisor::qemu;
use crate::image::{KERNEL_FILE, StoredImage};
use crate::units::Bytes;

/// What [`initrd::floor`] prints.
const FLOOR_LINE: &str = "floor";
/// The floor takes a second or two; a host that needs more than this is no place to measure.
const FLOOR_LIMIT: Duration = Duration::from_mins(2);
/// A baseline takes most of a minute on a quiet host.
pub(super) const RUN_LIMIT: Duration = Duration::from_mins(15);

/// What is launched, how often, and with what.
#[derive(Clone, Debug)]
pub struct ColdStarts<'a> {
    /// The hpcvm to launch with.
    pub program: &'a Path,
    /// Options of that program that name its folders.
    pub options: &'a [OsString],
    /// The image measured.
    pub image: &'a StoredImage,
    /// The image compared with; without one it is left out.
    pub baseline: Option<&'a StoredImage>,
    /// What is run in the guests.
    pub job: Job,
    /// Launches of each subject but the baseline.
    pub runs: u32,
    /// Launches of the baseline.
    pub baseline_runs: u32,
    /// What executes the guests' instructions.
    pub accelerator: Accelerator,
    /// An empty private folder: the jobs' working directory and the clones' place.
    pub folder: &'a Path,
}

impl ColdStarts<'_> {
    /// Makes all launches in turn and gives `report` what is found after each, the next turn
    /// with it.
    pub fn run<E: From<BenchError>>(
        &self,
        host: &Host,
        mut report_to: impl FnMut(&Report, &Launch) -> Result<(), E>,
    ) -> Result<Report, E> {
        let floor = self.floor_initrd()?;
        let mut report = self.empty_report(host, "cold")?;
        for turn in self.turns() {
            let load = machine::load();
            let measured = self.launch(host, turn.1, &floor)?;
            let launch = launch(turn, &measured, load);
            report.launches.push(launch);
            report_to(&report, &launch)?;
        }
        Ok(report)
    }

    /// A report of nothing yet.
    pub(super) fn empty_report(&self, host: &Host, experiment: &'static str) -> Result<Report, BenchError> {
        let launched = |image: &&StoredImage| Launched {
            name: image.manifest.name.clone(),
            digest: image.digest,
        };
        let images = [Some(self.image), self.baseline];
        Ok(Report {
            experiment,
            machine: Facts::gather(host, self.image.manifest.architecture, self.accelerator)?,
            images: images.iter().flatten().map(launched).collect(),
            job: self.job,
            launches: Vec::new(),
            memory: Vec::new(),
            rates: Vec::new(),
        })
    }

    /// Launches of the baseline that there can be.
    pub(super) fn baseline_turns(&self) -> u32 {
        self.baseline.map_or(0, |_| self.baseline_runs)
    }

    fn turns(&self) -> Vec<Turn> {
        turns(&Subject::COLD, self.runs, self.baseline_turns())
    }

    fn launch(&self, host: &Host, subject: Subject, floor: &Path) -> Result<Measured, BenchError> {
        match subject {
            Subject::Floor => measure(host, &self.floor(floor)?, FLOOR_LINE, FLOOR_LIMIT),
            _ => self.launch_job(host, subject),
        }
    }

    pub(super) fn launch_job(&self, host: &Host, subject: Subject) -> Result<Measured, BenchError> {
        let (image, boot) = match subject {
            Subject::Bios => (self.image, "bios"),
            // The board and disk controller of a VM that nobody prepared, as the paper's was.
            Subject::Baseline => (self.baseline.unwrap_or(self.image), "bios-ide"),
            _ => (self.image, "direct"),
        };
        measure(host, &self.cold_run(image, boot), job::LINE, RUN_LIMIT)
    }

    /// The job started cold.
    fn cold_run(&self, image: &StoredImage, boot: &str) -> Invocation {
        self.run_of(self.job, image, ["--boot", boot, "--start", "cold"])
    }

    /// A job as a user runs it, with `options` of `hpcvm run`.
    pub(super) fn run_of(
        &self,
        job: Job,
        image: &StoredImage,
        options: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Invocation {
        Invocation::new(self.program)
            .args(self.options)
            .args(["--quiet", "run"])
            .args(options)
            .args((!job.cwd_shared).then_some("--no-cwd"))
            .args(["--accel", self.accelerator.qemu()])
            .arg(&image.folder)
            .arg("--")
            .args(job.command)
            .env("TMPDIR", self.folder)
            .current_dir(self.folder)
    }

    /// The image's kernel in the same machine, less what hpcvm adds to it.
    fn floor(&self, floor: &Path) -> Result<Invocation, BenchError> {
        let manifest = &self.image.manifest;
        let mut command_line = manifest.kernel.command_line.clone();
        // As the launcher does it.
        if manifest.run.cpus == 1 && self.accelerator == Accelerator::Tcg {
            command_line += " nolapic_timer";
        }
        let line = qemu::command_line(&Machine {
            architecture: manifest.architecture,
            accelerator: self.accelerator,
            memory: Bytes(manifest.run.memory),
            cpus: manifest.run.cpus,
            boot: Boot::Direct {
                kernel: self.image.path(KERNEL_FILE),
                initrd: floor.to_owned(),
                command_line,
            },
            disks: Vec::new(),
            shares: Vec::new(),
            network: Network::None,
            // The pipe that is watched.
            console: "/dev/stdout".into(),
            ports: Vec::new(),
            template: None,
        })?;
        Ok(Invocation::new(line.program)
            .args(line.arguments)
            .current_dir(self.folder))
    }

    fn floor_initrd(&self) -> Result<PathBuf, BenchError> {
        let path = self.folder.join("floor-initrd");
        durable::write(&path, &initrd::floor()).map_err(|error| BenchError::Io {
            path: error.path,
            source: error.source,
        })?;
        Ok(path)
    }
}

pub(super) fn launch((round, subject): Turn, measured: &Measured, load: Option<f64>) -> Launch {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    Launch {
        round,
        subject,
        first_line: measured.first_line.as_secs_f64(),
        total: measured.total.as_secs_f64(),
        cpu_first_line: seconds(measured.cpu_first_line),
        cpu_total: seconds(measured.cpu_total),
        load,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::image::manifest::tests::{ARTEFACTS, manifest};

    fn image() -> StoredImage {
        StoredImage {
            digest: Digest::of(b"x"),
            folder: "/store/images/x".into(),
            manifest: manifest("minimal-i386", &ARTEFACTS),
        }
    }

    fn cold<'a>(image: &'a StoredImage, folder: &'a Path, options: &'a [OsString]) -> ColdStarts<'a> {
        ColdStarts {
            program: Path::new("/bin/hpcvm"),
            options,
            image,
            baseline: None,
            job: Job::ECHO,
            runs: 1,
            baseline_runs: 3,
            accelerator: Accelerator::Tcg,
            folder,
        }
    }

    #[test]
    fn jobs_are_launched_as_users_launch_them() {
        let image = image();
        let options = ["--store".into(), "/store".into()];
        let cold = cold(&image, Path::new("/tmp/b"), &options);
        assert_eq!(
            cold.cold_run(&image, "bios").to_string(),
            "TMPDIR=/tmp/b /bin/hpcvm --store /store --quiet run --boot bios --start cold --accel tcg /store/images/x -- echo hpcvm-bench"
        );
        let shell = ColdStarts {
            job: Job::SHELL,
            ..cold
        };
        assert_eq!(
            shell.cold_run(&image, "direct").to_string(),
            "TMPDIR=/tmp/b /bin/hpcvm --store /store --quiet run --boot direct --start cold --no-cwd --accel tcg /store/images/x -- sh -c 'echo hpcvm-bench'"
        );
    }

    #[test]
    fn the_floor_has_the_images_kernel_and_command_line() {
        let image = image();
        let cold = cold(&image, Path::new("/tmp/b"), &[]);
        let line = cold.floor(Path::new("/tmp/b/floor-initrd")).unwrap().to_string();
        for part in [
            "-kernel /store/images/x/kernel -initrd /tmp/b/floor-initrd",
            "quiet nolapic_timer'",
            "path=/dev/stdout",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("virtio-blk"), "{line}");
    }

    #[test]
    fn without_a_baseline_there_is_no_turn_for_it() {
        let image = image();
        let subjects = cold(&image, Path::new("/tmp/b"), &[]).turns();
        assert!(subjects.iter().all(|(_, subject)| *subject != Subject::Baseline));
        assert_eq!(subjects.len(), 6);
    }
}
