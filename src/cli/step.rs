//! The steps of a long undertaking, shown as they come and go.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::ui::{Steps as Shown, Ui};
use crate::progress::Progress;

/// A step that has begun. [`Step::finish`] says how long it took; a step that is dropped before
/// was cut short by an error, which has its own words.
#[derive(Debug)]
#[must_use = "the step ends when the guard is dropped"]
pub struct Step<'ui> {
    ui: &'ui Ui,
    name: String,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl<'ui> Step<'ui> {
    pub(super) fn begin(ui: &'ui Ui, name: &str, detail: &str) -> Self {
        let bar = (ui.steps() == Shown::Spinner).then(|| spinner(name));
        let step = Self {
            ui,
            name: name.to_owned(),
            begun: Instant::now(),
            bar,
        };
        step.tell("begin", detail);
        step
    }

    /// Says what the step has come to.
    pub fn detail(&self, detail: &str) {
        self.tell("detail", detail);
    }

    /// Ends the step and says how long it took.
    pub fn finish(self) {
        let took = self.begun.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.ui.complain(&format!("{:>12}  {}\n", self.name, seconds(took)));
            return;
        }
        match self.ui.steps() {
            Shown::Lines => self.ui.complain(&format!("{}: done in {}\n", self.name, seconds(took))),
            Shown::Json => self.ui.complain(&event(&self.name, "end", "", Some(took))),
            Shown::Silent | Shown::Spinner => {}
        }
    }

    fn tell(&self, what: &str, detail: &str) {
        match (self.ui.steps(), &self.bar) {
            (_, Some(bar)) => bar.set_message(detail.to_owned()),
            (Shown::Lines, _) => self.ui.complain(&format!("{}: {detail}\n", self.name)),
            (Shown::Json, _) => self.ui.complain(&event(&self.name, what, detail, None)),
            _ => {}
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix:>10}  {elapsed}  {wide_msg}")
        .expect("the template is a constant that a test draws");
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_prefix(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// One line of the documented form: `{"step": NAME, "event": "begin" | "detail" | "end", ...}`.
fn event(name: &str, what: &str, detail: &str, took: Option<Duration>) -> String {
    let mut object = serde_json::json!({"step": name, "event": what});
    if !detail.is_empty() {
        object["detail"] = detail.into();
    }
    if let Some(took) = took {
        object["seconds"] = took.as_secs_f64().into();
    }
    format!("{object}\n")
}

/// Shows the steps that library code reports, one after the other.
///
/// A step ends when the next begins, and the last with [`Steps::finish`].
#[derive(Debug)]
pub struct Steps<'ui> {
    ui: &'ui Ui,
    current: Mutex<Option<Step<'ui>>>,
}

impl<'ui> Steps<'ui> {
    /// Nothing has begun yet.
    #[must_use]
    pub fn new(ui: &'ui Ui) -> Self {
        Self {
            ui,
            current: Mutex::new(None),
        }
    }

    /// Ends the last step.
    pub fn finish(self) {
        let last = self
            .current
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(step) = last {
            step.finish();
        }
    }
}

impl Progress for Steps<'_> {
    fn step(&self, name: &str, detail: &str) {
        let mut current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match current.take() {
            Some(step) if step.name == name => {
                step.detail(detail);
                *current = Some(step);
            }
            before => {
                if let Some(step) = before {
                    step.finish();
                }
                *current = Some(self.ui.step(name, detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_one_json_object_a_line() {
        let lines = [
            event("bootstrap", "begin", "12 packages", None),
            event("bootstrap", "end", "", Some(Duration::from_millis(1500))),
        ];
        assert_eq!(
            lines.concat(),
            "{\"step\":\"bootstrap\",\"event\":\"begin\",\"detail\":\"12 packages\"}\n\
             {\"step\":\"bootstrap\",\"event\":\"end\",\"seconds\":1.5}\n"
        );
    }

    #[test]
    fn the_spinner_can_be_drawn() {
        let bar = spinner("bootstrap");
        bar.set_message("12 packages");
        bar.finish_and_clear();
    }
}
