//! What every verb gets.

use std::ffi::OsString;

use super::CliError;
use super::arguments::Global;
use super::environment::Environment;
use super::places::Places;
use super::ui::Ui;
use crate::exec::Host;
use crate::image::Store;

/// What a verb needs of the world around it.
#[derive(Debug)]
pub struct Context {
    /// The environment when hpcvm started.
    pub environment: Environment,
    /// Where images, packages and scratch data are.
    pub places: Places,
    /// The terminal.
    pub ui: Ui,
    /// Starts programs.
    pub host: Host,
}

/// `PATH` where the environment has none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Context {
    /// The context that the global options ask for.
    pub fn new(global: Global, ui: Ui, environment: Environment) -> Result<Self, CliError> {
        let places = Places::find(global.store, global.cache, &environment)?;
        let variable = |name: &str, default: &str| -> OsString {
            environment.get(name).map_or_else(|| default.into(), ToOwned::to_owned)
        };
        let host = Host::new(variable("PATH", DEFAULT_PATH), variable("HOME", "/"));
        Ok(Self {
            environment,
            places,
            ui,
            host,
        })
    }

    /// The image store.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::open(&self.places.store)
    }
}
