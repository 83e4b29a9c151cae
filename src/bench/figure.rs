//! Draws launch times like the paper's Figure 4 ([P11]): jobs on one axis, seconds on the other, a
//! line for each image and number of VMs in a slot.
//!
//! The picture is one SVG without scripts or fonts of its own. Its bytes depend on the values alone.

use std::fmt::Write as _;

/// A line of the figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What is launched.
    pub image: String,
    /// VMs in each slot.
    pub vms: u32,
    /// Its points, by rising number of jobs.
    pub points: Vec<Point>,
}

/// Several launches of one scenario; times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Jobs submitted at once.
    pub jobs: u32,
    /// The mean, as in the paper.
    pub mean: f64,
    /// The quickest launch.
    pub min: f64,
    /// The slowest launch.
    pub max: f64,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 520.0;
/// Left, top, right and bottom edge of the plot.
const PLOT: (f64, f64, f64, f64) = (74.0, 64.0, 640.0, 456.0);
/// Colours that can be told apart, also by the colour-blind (Okabe and Ito), by VMs in a slot.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
/// Dashes, by image.
const DASHES: [&str; 4] = ["none", "7 4", "2 3", "9 3 2 3"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.title{font-size:16px;font-weight:600}\
.note{font-size:12px;fill:#57606a}.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#57606a;stroke-width:1}\
.paper{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9da7b1}.grid{stroke:#30363d}\
.axis{stroke:#9da7b1}.paper{fill:#0d1117}}";

/// Where values are on an axis.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let of = |value: f64| {
            if self.logarithmic {
                value.max(1e-9).log10()
            } else {
                value
            }
        };
        let part = (of(value) - of(self.from)) / (of(self.to) - of(self.from));
        self.start + part * (self.end - self.start)
    }

    /// Values that deserve a line.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let steps = [1.0, 2.0, 5.0];
            let decades = -3..6;
            let all = decades.flat_map(|decade| steps.map(|step| step * 10_f64.powi(decade)));
            return all
                .filter(|value| (self.from..=self.to * 1.0001).contains(value))
                .collect();
        }
        let step = nice(self.to / 6.0);
        let mut ticks = Vec::new();
        let mut value = 0.0;
        while value <= self.to * 1.0001 {
            ticks.push(value);
            value += step;
        }
        ticks
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps
        .map(|step| step * power)
        .into_iter()
        .find(|&step| step >= value * 0.9999)
        .unwrap_or(power * 10.0)
}

/// Times between the least and the most, from 0 or, where they span a decade, on a logarithmic axis.
fn time_scale(series: &[Series]) -> Scale {
    let points = || series.iter().flat_map(|series| &series.points);
    let least = points().map(|point| point.min).fold(f64::INFINITY, f64::min);
    let most = points().map(|point| point.max).fold(0.0, f64::max);
    let logarithmic = least.is_finite() && least > 0.0 && most / least >= 8.0;
    Scale {
        from: if logarithmic { least * 0.8 } else { 0.0 },
        to: if most > 0.0 {
            most * if logarithmic { 1.25 } else { 1.08 }
        } else {
            1.0
        },
        start: PLOT.3,
        end: PLOT.1,
        logarithmic,
    }
}

/// Jobs double from step to step.
fn job_scale(series: &[Series]) -> Scale {
    let jobs = || {
        series
            .iter()
            .flat_map(|series| series.points.iter().map(|point| f64::from(point.jobs)))
    };
    let (least, most) = (jobs().fold(f64::INFINITY, f64::min), jobs().fold(1.0, f64::max));
    let least = if least.is_finite() { least } else { 1.0 };
    Scale {
        from: least / 1.25,
        to: most * 1.25,
        start: PLOT.0,
        end: PLOT.2,
        logarithmic: true,
    }
}

/// The figure with this title; `note` says on what machine and when.
#[must_use]
pub fn svg(title: &str, note: &str, series: &[Series]) -> String {
    let (x, y) = (job_scale(series), time_scale(series));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
        escape(title),
        escape(&describe(series)),
    );
    let mut text = |class: &str, x: f64, y: f64, more: &str, words: &str| {
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\"{more}>{}</text>",
            escape(words)
        );
    };
    text("title", PLOT.0, 28.0, "", title);
    text("note", PLOT.0, 47.0, "", note);
    let middle = f64::midpoint(PLOT.0, PLOT.2);
    text(
        "",
        middle,
        PLOT.3 + 42.0,
        " text-anchor=\"middle\"",
        "jobs submitted at once (logarithmic)",
    );
    let turned = format!(
        " text-anchor=\"middle\" transform=\"rotate(-90 20 {:.1})\"",
        f64::midpoint(PLOT.1, PLOT.3)
    );
    let axis = if y.logarithmic {
        "seconds until the last job runs (logarithmic)"
    } else {
        "seconds until the last job runs"
    };
    text("", 20.0, f64::midpoint(PLOT.1, PLOT.3), &turned, axis);
    draw_axes(&mut svg, series, &x, &y);
    let images = images(series);
    if !series.is_empty() {
        let _ = writeln!(
            svg,
            "<text class=\"note\" x=\"{}\" y=\"{}\">image x VMs in a slot</text>",
            PLOT.2 + 18.0,
            PLOT.1 + 10.0
        );
    }
    for (index, line) in series.iter().enumerate() {
        let look = Look::of(line, series, &images);
        draw_line(&mut svg, line, &look, &x, &y);
        draw_key(&mut svg, index, line, &look);
    }
    svg + "</svg>\n"
}

/// The figure in words, for who does not see it.
fn describe(series: &[Series]) -> String {
    let of = |line: &Series| {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|point| format!("{} jobs {:.2} s", point.jobs, point.mean))
            .collect();
        format!("{} with {} VMs in a slot: {}", line.image, line.vms, points.join(", "))
    };
    series.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn images(series: &[Series]) -> Vec<&str> {
    let mut images: Vec<&str> = Vec::new();
    for line in series {
        if !images.contains(&line.image.as_str()) {
            images.push(&line.image);
        }
    }
    images
}

/// Colour and dash of a line.
struct Look {
    colour: &'static str,
    dash: &'static str,
}

impl Look {
    fn of(line: &Series, all: &[Series], images: &[&str]) -> Self {
        let mut numbers: Vec<u32> = all.iter().map(|line| line.vms).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let position = numbers.iter().position(|&vms| vms == line.vms).unwrap_or_default();
        let image = images.iter().position(|&image| image == line.image).unwrap_or_default();
        Self {
            colour: COLOURS[position % COLOURS.len()],
            dash: DASHES[image % DASHES.len()],
        }
    }
}

fn draw_axes(svg: &mut String, series: &[Series], x: &Scale, y: &Scale) {
    for value in y.ticks() {
        let at = y.at(value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            PLOT.0,
            PLOT.2,
            PLOT.0 - 8.0,
            at + 4.0,
            short(value)
        );
    }
    let mut jobs: Vec<u32> = series
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.jobs))
        .collect();
    jobs.sort_unstable();
    jobs.dedup();
    for jobs in jobs {
        let at = x.at(f64::from(jobs));
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{at:.1}\" y1=\"{}\" x2=\"{at:.1}\" y2=\"{}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{jobs}</text>",
            PLOT.3,
            PLOT.3 + 5.0,
            PLOT.3 + 20.0
        );
    }
    let _ = writeln!(
        svg,
        "<path class=\"axis\" fill=\"none\" d=\"M{} {} V{} H{}\"/>",
        PLOT.0, PLOT.1, PLOT.3, PLOT.2
    );
}

fn draw_line(svg: &mut String, line: &Series, look: &Look, x: &Scale, y: &Scale) {
    let place = |point: &Point| (x.at(f64::from(point.jobs)), y.at(point.mean));
    let points: Vec<String> = line
        .points
        .iter()
        .map(|point| {
            let (x, y) = place(point);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let _ = writeln!(
        svg,
        "<g stroke=\"{0}\" fill=\"{0}\"><polyline fill=\"none\" stroke-width=\"2\" stroke-dasharray=\"{1}\" points=\"{2}\"/>",
        look.colour,
        look.dash,
        points.join(" ")
    );
    for point in &line.points {
        let (at, mean) = place(point);
        let _ = writeln!(
            svg,
            "<path stroke-width=\"1\" d=\"M{at:.1} {:.1} V{:.1}\"/><circle stroke=\"none\" cx=\"{at:.1}\" cy=\"{mean:.1}\" r=\"3.5\">\
             <title>{}, {} VMs in a slot, {} jobs: {:.3} s ({:.3} to {:.3})</title></circle>",
            y.at(point.min),
            y.at(point.max),
            escape(&line.image),
            line.vms,
            point.jobs,
            point.mean,
            point.min,
            point.max
        );
    }
    svg.push_str("</g>\n");
}

fn draw_key(svg: &mut String, index: usize, line: &Series, look: &Look) {
    let y = PLOT.1 + 34.0 + 22.0 * f64::from(u32::try_from(index).unwrap_or(u32::MAX));
    let x = PLOT.2 + 18.0;
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\" stroke=\"{2}\" stroke-width=\"2\" stroke-dasharray=\"{3}\"/>\
         <text x=\"{4}\" y=\"{5:.1}\">{6} x {7}</text>",
        y - 4.0,
        x + 30.0,
        look.colour,
        look.dash,
        x + 38.0,
        y,
        escape(&line.image),
        line.vms
    );
}

fn short(value: f64) -> String {
    if value >= 1.0 || value == 0.0 {
        format!("{value:.0}").replace("-0", "0")
    } else {
        format!("{value}")
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(slowest: f64) -> Vec<Series> {
        let series = |image: &str, vms: u32, factor: f64| Series {
            image: image.to_owned(),
            vms,
            points: [1, 2, 4, 8, 16]
                .map(|jobs| {
                    let mean = factor * f64::from(vms) * (1.0 + f64::from(jobs) / 16.0);
                    Point {
                        jobs,
                        mean,
                        min: mean * 0.9,
                        max: mean * 1.2,
                    }
                })
                .to_vec(),
        };
        vec![
            series("minimal-i386", 1, 1.5),
            series("minimal-i386", 4, 1.5),
            series("un<optimised>", 1, slowest),
        ]
    }

    #[test]
    fn the_axis_is_logarithmic_where_a_decade_is_spanned() {
        let figure = svg("Launch times", "2 cores", &example(40.0));
        assert!(figure.contains("until the last job runs (logarithmic)"));
        assert!(figure.contains("un&lt;optimised&gt;") && !figure.contains("un<optimised>"));
        assert_eq!(figure.matches("<polyline").count(), 3);
        assert_eq!(figure.matches("<circle").count(), 15);
        let linear = svg("Launch times", "2 cores", &example(1.5)[..1]);
        assert!(linear.contains("until the last job runs") && !linear.contains("runs (logarithmic)"));
    }

    #[test]
    fn points_are_where_their_values_are() {
        let scale = time_scale(&example(1.5)[..1]);
        assert!((scale.at(0.0) - PLOT.3).abs() < 1e-9);
        assert!(scale.at(1.0) > scale.at(2.0));
        let jobs = job_scale(&example(1.5));
        let steps = [1.0, 2.0, 4.0, 8.0].map(|n| jobs.at(n * 2.0) - jobs.at(n));
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-6), "{steps:?}");
    }

    #[test]
    fn nothing_measured_is_still_a_picture() {
        let figure = svg("None", "", &[]);
        assert!(figure.starts_with("<svg") && figure.ends_with("</svg>\n"));
        assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
    }

    #[test]
    fn ticks_are_round() {
        for (value, expected) in [(0.13, 0.2), (0.2, 0.2), (3.0, 5.0), (7.0, 10.0)] {
            assert!((nice(value) - expected).abs() < 1e-9, "{value}");
        }
    }
}
