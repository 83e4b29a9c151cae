//! The paper's experiment ([P11], Figure 4): images x VMs in a slot x jobs at once, each scenario
//! launched several times.
//!
//! Every launch is written to the results file before the next begins, so that what was measured
//! outlives a launch that fails, and a grid that was interrupted goes on where it was.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BenchError;
use super::figure::{Point, Series};

/// What is to be launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Images, by reference.
    pub images: Vec<String>,
    /// VMs in each slot.
    pub vms: Vec<u32>,
    /// Jobs submitted at once, as an array.
    pub jobs: Vec<u32>,
    /// Launches of each scenario.
    pub repeats: u32,
}

/// One cell of the grid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The image.
    pub image: String,
    /// VMs in each slot.
    pub vms: u32,
    /// Jobs at once.
    pub jobs: u32,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} VMs in a slot, {} jobs", self.image, self.vms, self.jobs)
    }
}

/// One launch of a scenario. All times are in seconds since `submit` was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Launched {
    /// What was launched.
    pub scenario: Scenario,
    /// Which repeat it was, from 1.
    pub repeat: u32,
    /// The image's digest.
    pub digest: String,
    /// The scheduler's number of the job.
    pub job: String,
    /// When the first line of each VM's job arrived, by task and VM.
    pub first_line: Vec<f64>,
    /// When the last VM was discarded.
    pub all_discarded: f64,
    /// The load of the submitting host just before, where it tells; results of older versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
}

impl Launched {
    /// When the last VM's job had said its first line: the scenario's launch time.
    #[must_use]
    pub fn until_last(&self) -> f64 {
        self.first_line.iter().copied().fold(0.0, f64::max)
    }
}

impl Grid {
    /// All scenarios in the order of their launches, once: the quick ones of each image first, and each
    /// repeat of the whole grid before the next, so that an interrupted grid has all of it in part.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        for image in &self.images {
            for &vms in &self.vms {
                for &jobs in &self.jobs {
                    scenarios.push(Scenario {
                        image: image.clone(),
                        vms,
                        jobs,
                    });
                }
            }
        }
        scenarios.sort_by_key(|scenario| {
            let position = self.images.iter().position(|image| *image == scenario.image);
            (position, scenario.vms * scenario.jobs)
        });
        scenarios
    }

    /// What is left to launch after `done`, in order.
    #[must_use]
    pub fn left(&self, done: &[Launched]) -> Vec<(Scenario, u32)> {
        let is_done = |scenario: &Scenario, repeat| {
            let same = |launched: &Launched| launched.scenario == *scenario && launched.repeat == repeat;
            done.iter().any(same)
        };
        let scenarios = self.scenarios();
        let all =
            (1..=self.repeats).flat_map(|repeat| scenarios.iter().cloned().map(move |scenario| (scenario, repeat)));
        all.filter(|(scenario, repeat)| !is_done(scenario, *repeat)).collect()
    }
}

/// The launches that the file at `path` holds; none where there is no file. A line that was cut
/// short by a crash is passed over.
pub fn read(path: &Path) -> Result<Vec<Launched>, BenchError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(BenchError::io(path))?,
    };
    let lines: Result<Vec<String>, _> = BufReader::new(file).lines().collect();
    let lines = lines.map_err(BenchError::io(path))?;
    Ok(lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Appends a launch to the file at `path`, on disk when this returns.
pub fn append(path: &Path, launched: &Launched) -> Result<(), BenchError> {
    let mut line = serde_json::to_vec(launched).expect("a launch has string keys only");
    // After a line that was cut short, an empty one does no harm.
    line.insert(0, b'\n');
    line.push(b'\n');
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).open(path);
    let written = file.and_then(|mut file| file.write_all(&line).and_then(|()| file.sync_data()));
    written.map_err(BenchError::io(path))
}

/// The lines of the figure: the mean over all launches of a scenario, as in the paper, of the time
/// until the last VM's job had said its first line.
#[must_use]
pub fn series(launches: &[Launched]) -> Vec<Series> {
    let mut images: Vec<&str> = Vec::new();
    let mut times: BTreeMap<(usize, u32), BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for launched in launches {
        let scenario = &launched.scenario;
        let image = images
            .iter()
            .position(|&image| image == scenario.image)
            .unwrap_or_else(|| {
                images.push(&scenario.image);
                images.len() - 1
            });
        let line = times.entry((image, scenario.vms)).or_default();
        line.entry(scenario.jobs).or_default().push(launched.until_last());
    }
    let line = |((image, vms), points): ((usize, u32), BTreeMap<u32, Vec<f64>>)| Series {
        image: images[image].to_owned(),
        vms,
        points: points.into_iter().map(|(jobs, times)| point(jobs, &times)).collect(),
    };
    times.into_iter().map(line).collect()
}

fn point(jobs: u32, times: &[f64]) -> Point {
    #[expect(clippy::cast_precision_loss, reason = "nobody launches that often")]
    let count = times.len() as f64;
    Point {
        jobs,
        mean: times.iter().sum::<f64>() / count,
        min: times.iter().copied().fold(f64::INFINITY, f64::min),
        max: times.iter().copied().fold(0.0, f64::max),
    }
}

/// One line for each VM of each launch: `image,vms,jobs,repeat,job,first_line,all_discarded`.
#[must_use]
pub fn csv(launches: &[Launched]) -> String {
    let mut text = "image,vms,jobs,repeat,job,first_line,all_discarded\n".to_owned();
    for launched in launches {
        let Scenario { image, vms, jobs } = &launched.scenario;
        let (repeat, job, end) = (launched.repeat, &launched.job, launched.all_discarded);
        for first_line in &launched.first_line {
            let _ = writeln!(text, "{image},{vms},{jobs},{repeat},{job},{first_line:.4},{end:.4}");
        }
    }
    text
}

/// Means of each scenario as a table: a row for each image and number of VMs, a column for each
/// number of jobs.
#[must_use]
pub fn table(launches: &[Launched]) -> String {
    let series = series(launches);
    let mut jobs: Vec<u32> = series
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.jobs))
        .collect();
    jobs.sort_unstable();
    jobs.dedup();
    let mut text = format!("{:<26}", "seconds until the last");
    for jobs in &jobs {
        let _ = write!(text, "{:>10}", format!("{jobs} jobs"));
    }
    text.push('\n');
    for line in &series {
        let _ = write!(text, "{:<26}", format!("{} x {}", line.image, line.vms));
        for jobs in &jobs {
            let mean = line
                .points
                .iter()
                .find(|point| point.jobs == *jobs)
                .map(|point| point.mean);
            let mean = mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}"));
            let _ = write!(text, "{mean:>10}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid {
            images: vec!["minimal".to_owned(), "baseline".to_owned()],
            vms: vec![1, 4],
            jobs: vec![1, 2],
            repeats: 2,
        }
    }

    fn launched(scenario: &Scenario, repeat: u32, first_line: &[f64]) -> Launched {
        Launched {
            scenario: scenario.clone(),
            repeat,
            digest: "0".repeat(64),
            job: "7".to_owned(),
            first_line: first_line.to_vec(),
            all_discarded: 9.0,
            load: None,
        }
    }

    #[test]
    fn a_grid_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.jsonl");
        let grid = grid();
        let all = grid.left(&read(&path).unwrap());
        assert_eq!(all.len(), 16);
        assert_eq!(all[0].0.to_string(), "minimal, 1 VMs in a slot, 1 jobs");
        append(&path, &launched(&all[0].0, 1, &[1.5])).unwrap();
        // A crash in the midst of a line.
        let half = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&half[..], b"{\"scenario\":"].concat()).unwrap();
        append(&path, &launched(&all[1].0, 1, &[1.5])).unwrap();
        let done = read(&path).unwrap();
        assert_eq!(done.len(), 2);
        assert_eq!(grid.left(&done), all[2..]);
    }

    #[test]
    fn a_scenario_takes_as_long_as_its_last_vm() {
        let scenario = &grid().scenarios()[0];
        let launches = [launched(scenario, 1, &[1.0, 3.0]), launched(scenario, 2, &[2.0, 5.0])];
        let series = series(&launches);
        let point = series[0].points[0];
        assert!(
            (point.mean - 4.0).abs() < 1e-9 && (point.min - 3.0).abs() < 1e-9,
            "{point:?}"
        );
        insta::assert_snapshot!(table(&launches), @"
        seconds until the last        1 jobs
        minimal x 1                     4.00
        ");
        insta::assert_snapshot!(csv(&launches), @"
        image,vms,jobs,repeat,job,first_line,all_discarded
        minimal,1,1,1,7,1.0000,9.0000
        minimal,1,1,1,7,3.0000,9.0000
        minimal,1,1,2,7,2.0000,9.0000
        minimal,1,1,2,7,5.0000,9.0000
        ");
    }
}
