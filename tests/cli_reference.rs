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
         [errors.md](errors.md).\n\n\
         Results go to standard output; steps, warnings and errors go to standard error. With `--json`,\n\
         results are one JSON document, and each step, warning and error is one JSON object on a line of its own:\n\n\
         ```text\n\
         {\"step\":\"bootstrap\",\"event\":\"begin\",\"detail\":\"84 packages\"}\n\
         {\"step\":\"bootstrap\",\"event\":\"detail\",\"detail\":\"unpacking\"}\n\
         {\"step\":\"bootstrap\",\"event\":\"end\",\"seconds\":17.9}\n\
         {\"error\":{\"code\":\"HV1001\",\"blame\":\"host\",\"message\":\"...\",\"causes\":[],\"help\":\"...\",\"exit-code\":122}}\n\
         ```\n\n\
         The global options, described first, are understood by every verb.\n",
    );
    describe(&mut page, &command, "hpcvm");
    page
}

fn describe(page: &mut String, command: &clap::Command, path: &str) {
    let help = command.clone().bin_name(path).render_long_help().to_string();
    let help = match help.split_once("\nGlobal options:") {
        Some((own, rest)) if path != "hpcvm" => {
            // What follows the options, if anything, starts in the first column again.
            let mut rest = rest.lines().skip_while(|line| line.is_empty() || line.starts_with(' '));
            let after = rest.next().map_or_else(String::new, |first| {
                rest.fold(format!("\n{first}"), |text, line| text + "\n" + line)
            });
            own.to_owned() + &after
        }
        _ => help,
    };
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
