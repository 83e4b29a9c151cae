//! The command line reference `docs/cli.md`: generated, committed, compared. `HPCVM_BLESS=1`
//! writes it.

use std::fmt::Write as _;
use std::path::Path;

const PAGE: &str = "docs/cli.md";

fn reference() -> String {
    let mut command = hpcvm::cli::command().term_width(100).color(clap::ColorChoice::Never);
    command.build();
    let mut page = String::from(
        "# Command line reference\n\n\
         Generated from the program's own help: `HPCVM_BLESS=1 cargo test --test cli_reference`.\n\
         What exit codes mean is in [exit-codes.md](exit-codes.md), what error codes mean in \
         [errors.md](errors.md).\n",
    );
    describe(&mut page, &command, "hpcvm");
    page
}

fn describe(page: &mut String, command: &clap::Command, path: &str) {
    let help = command.clone().bin_name(path).render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    write!(page, "\n## `{path}`\n\n```text\n{}\n```\n", lines.join("\n")).unwrap();
    for inner in command.get_subcommands() {
        describe(page, inner, &format!("{path} {}", inner.get_name()));
    }
}

#[test]
fn the_committed_reference_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let generated = reference();
    if std::env::var_os("HPCVM_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (old, new)) in committed.lines().zip(generated.lines()).enumerate() {
        assert_eq!(
            old,
            new,
            "{PAGE}:{}: HPCVM_BLESS=1 cargo test --test cli_reference",
            number + 1
        );
    }
    assert!(
        committed == generated,
        "{PAGE} is old: HPCVM_BLESS=1 cargo test --test cli_reference"
    );
}
