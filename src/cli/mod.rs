//! The command line: one file per verb. The only code that prints or reads the environment.
//!
//! A new verb is one file with its `Args` and `run`, and one line each here, in
//! [`arguments::Verb`] and in [`Verb::run`](arguments::Verb::run).

mod accelerator;
mod arguments;
mod bench;
mod build;
mod check;
mod completions;
mod context;
mod doctor;
mod environment;
mod error;
mod exit;
mod image;
mod image_table;
mod libs;
mod libs_add;
mod libs_report;
mod libs_table;
mod log;
mod man;
mod places;
mod program;
mod recipe_file;
mod run;
mod run_advice;
mod run_libraries;
mod run_request;
mod run_scan;
mod run_warm;
mod scan;
mod scan_graph;
mod scan_image;
mod scan_plugins;
mod scan_report;
mod schema;
mod site;
mod step;
mod template;
mod test;
mod test_clones;
mod ui;

pub use arguments::{Arguments, Global, Verb, command};
pub use context::Context;
pub use environment::Environment;
pub use error::CliError;
pub use exit::{EXIT_CODES, Exit};
pub use places::{Places, PlacesError};
pub use program::start;
pub use step::{Step, Steps};
pub use ui::{OutputError, Style, Ui};
