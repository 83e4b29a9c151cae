//! The hpcvm program: everything is in the library's [`hpcvm::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hpcvm::cli::start(std::env::args_os()).into()
}
