//! The folder in which a grid's results are kept, whole after every launch.
//!
//! ```text
//! launches.jsonl   every launch, one a line: what a grid that goes on begins with
//! launches.csv     every VM of every launch
//! figure.json      the means, and on what they were measured
//! figure.svg       the same, drawn like the paper's Figure 4
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::BenchError;
use super::figure::{Series, svg};
use super::grid::{self, Launched, Scenario};
use crate::digest::Digest;
use crate::durable;

const LAUNCHES: &str = "launches.jsonl";
const FIGURE: &str = "figure.json";

/// Where launches are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// The scheduler.
    pub scheduler: String,
    /// The host that submits, in a few words.
    pub machine: String,
    /// The day of the last launch.
    pub date: String,
}

/// The results in a folder.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    launches: Vec<Launched>,
}

impl Results {
    /// Opens the results in `folder`, which is made where it is not there. What was measured with
    /// another scheduler or other images under these names does not go together with what will be.
    pub fn open(folder: &Path, scheduler: &str, images: &[(String, Digest)]) -> Result<Self, BenchError> {
        fs::create_dir_all(folder).map_err(BenchError::io(folder))?;
        let other = |why: String| BenchError::OtherResults {
            folder: folder.to_owned(),
            why,
        };
        let figure = fs::read(folder.join(FIGURE)).unwrap_or_default();
        let figure: Value = serde_json::from_slice(&figure).unwrap_or_default();
        match figure["scheduler"].as_str() {
            Some(before) if before != scheduler => return Err(other(format!("they are {before}'s"))),
            _ => {}
        }
        let launches = grid::read(&folder.join(LAUNCHES))?;
        for (image, digest) in images {
            let mut same = launches.iter().filter(|launched| launched.scenario.image == *image);
            if same.any(|launched| launched.digest != digest.to_string()) {
                return Err(other(format!("they are of another {image}")));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            launches,
        })
    }

    /// All launches so far, in their order.
    #[must_use]
    pub fn launches(&self) -> &[Launched] {
        &self.launches
    }

    /// Keeps a launch, then draws everything anew.
    pub fn add(&mut self, launched: Launched, ground: &Ground) -> Result<(), BenchError> {
        grid::append(&self.folder.join(LAUNCHES), &launched)?;
        self.launches.push(launched);
        self.draw(ground)
    }

    fn draw(&self, ground: &Ground) -> Result<(), BenchError> {
        let series = grid::series(&self.launches);
        let Ground {
            scheduler,
            machine,
            date,
        } = ground;
        let figure = json!({
            "figure": 1,
            "scheduler": scheduler,
            "machine": machine,
            "date": date,
            "launches": self.launches.len(),
            "load": self.loads(),
            "series": series.iter().map(line).collect::<Vec<_>>(),
        });
        let load = self
            .loads()
            .map(|(least, most)| format!("; load {least:.0} to {most:.0}"));
        let note = format!(
            "{machine}; {scheduler}; {date}; {} launches{}",
            self.launches.len(),
            load.unwrap_or_default()
        );
        let drawn = svg("Launch times of arrays of VMs", &note, &series);
        for (name, text) in [
            ("launches.csv", grid::csv(&self.launches)),
            (FIGURE, format!("{figure:#}\n")),
            ("figure.svg", drawn),
        ] {
            durable::write(&self.folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// The least and the most load of the submitting host before a launch, where it was noted.
    fn loads(&self) -> Option<(f64, f64)> {
        let loads = self.launches.iter().filter_map(|launched| launched.load);
        loads.fold(None, |range, load| {
            let (least, most) = range.unwrap_or((load, load));
            Some((load.min(least), load.max(most)))
        })
    }

    /// Seconds that `left` will take, as far as launches so far tell: as long as the same scenario
    /// took, or else per VM as long as any took.
    #[must_use]
    pub fn remaining(&self, left: &[(Scenario, u32)]) -> Option<f64> {
        let vms = |scenario: &Scenario| f64::from(scenario.vms) * f64::from(scenario.jobs);
        let mean = |of: &dyn Fn(&Launched) -> Option<f64>| {
            let values: Vec<f64> = self.launches.iter().filter_map(of).collect();
            #[expect(clippy::cast_precision_loss, reason = "nobody launches that often")]
            let count = values.len() as f64;
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)
        };
        let of = |(scenario, _): &(Scenario, u32)| {
            let per_vm = |launched: &Launched| launched.all_discarded / vms(&launched.scenario);
            let same = |launched: &Launched| (launched.scenario == *scenario).then_some(launched.all_discarded);
            let same_image =
                |launched: &Launched| (launched.scenario.image == scenario.image).then(|| per_vm(launched));
            mean(&same)
                .or_else(|| Some(mean(&same_image)? * vms(scenario)))
                .or_else(|| Some(mean(&|launched| Some(per_vm(launched)))? * vms(scenario)))
        };
        left.iter().map(of).sum()
    }
}

fn line(line: &Series) -> Value {
    let points: Vec<Value> = line
        .points
        .iter()
        .map(|point| json!({"jobs": point.jobs, "mean": point.mean, "min": point.min, "max": point.max}))
        .collect();
    json!({"image": line.image, "vms": line.vms, "points": points})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Problem as _;

    fn scenario(jobs: u32) -> Scenario {
        Scenario {
            image: "minimal".to_owned(),
            vms: 1,
            jobs,
        }
    }

    fn launched(jobs: u32, seconds: f64) -> Launched {
        Launched {
            scenario: scenario(jobs),
            repeat: 1,
            digest: Digest::of(b"image").to_string(),
            job: "1".to_owned(),
            first_line: vec![seconds - 1.0],
            all_discarded: seconds,
            load: Some(seconds / 2.0),
        }
    }

    fn ground() -> Ground {
        Ground {
            scheduler: "slurm".to_owned(),
            machine: "2 cores".to_owned(),
            date: "2026-11-23".to_owned(),
        }
    }

    #[test]
    fn everything_is_written_after_each_launch_and_goes_on_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results");
        let images = [("minimal".to_owned(), Digest::of(b"image"))];
        let mut results = Results::open(&path, "slurm", &images).unwrap();
        assert_eq!(results.remaining(&[(scenario(2), 1)]), None);
        results.add(launched(1, 4.0), &ground()).unwrap();
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        assert!(read("figure.svg").contains("2 cores; slurm; 2026-11-23; 1 launches; load 2 to 2"));
        assert!(read("launches.csv").ends_with("minimal,1,1,1,1,3.0000,4.0000\n"));
        let figure: Value = serde_json::from_str(&read("figure.json")).unwrap();
        assert_eq!(figure["series"][0]["points"][0]["mean"], 3.0);

        let again = Results::open(&path, "slurm", &images).unwrap();
        assert_eq!(again.launches(), results.launches());
        // One as before, and one of twice as many VMs.
        assert_eq!(again.remaining(&[(scenario(1), 2), (scenario(2), 1)]), Some(12.0));
        assert_eq!(again.remaining(&[]), Some(0.0));
        for (scheduler, digest) in [("gridengine", "image"), ("slurm", "other")] {
            let images = [("minimal".to_owned(), Digest::of(digest.as_bytes()))];
            let error = Results::open(&path, scheduler, &images).unwrap_err();
            assert_eq!(error.code(), "HV1505", "{error}");
        }
    }
}
