//! Diagnostics for people (text with the place marked) and for programs (JSON).

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::{Diagnostic, Severity};

/// Each diagnostic with its place marked in its line, a blank line after each. Control characters
/// of what is quoted never reach the terminal.
#[must_use]
pub fn render_text(diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let render = |diagnostic| render_one(&renderer, diagnostic) + "\n\n";
    sorted(diagnostics).into_iter().map(render).collect()
}

fn render_one(renderer: &Renderer, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(printable(&diagnostic.message)).id(diagnostic.code);
    let file = &diagnostic.file;
    let help = diagnostic.help.as_deref().map(printable);
    let help = help.map(|help| Group::with_title(Level::HELP.secondary_title(help)));
    let path = printable(&file.path.display().to_string());
    if file.text.is_empty() {
        let groups: Vec<Group<'_>> = [title.element(Origin::path(path))].into_iter().chain(help).collect();
        return renderer.render(&groups);
    }
    let range = file.clamp(&diagnostic.span).range;
    // Only the marked lines are handed over: the renderer reads all of its source each time.
    let start = file.text[..range.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = file.text[range.end..]
        .find('\n')
        .map_or(file.text.len(), |newline| range.end + newline);
    let annotation = AnnotationKind::Primary.span(range.start - start..range.end - start);
    let snippet = Snippet::source(without_c1(&file.text[start..end]))
        .line_start(file.line_and_column(range.start).0)
        .path(path)
        .annotation(annotation.label(diagnostic.label.as_deref().map(printable)));
    let groups: Vec<Group<'_>> = [title.element(snippet)].into_iter().chain(help).collect();
    renderer.render(&groups)
}

/// `text` with control characters replaced by pictures of them.
fn printable(text: &str) -> String {
    annotate_snippets::normalize_untrusted_str(&without_c1(text))
}

/// Terminals may obey the control characters U+0080 to U+009F (U+009B begins an escape
/// sequence), which the renderer passes on. The dot has as many bytes, so that places
/// in the text stay right.
fn without_c1(text: &str) -> String {
    text.replace(|c| ('\u{80}'..='\u{9f}').contains(&c), "·")
}

/// The diagnostics as a JSON array, in the order of [`render_text`], with a final newline. Lines
/// and columns count from 1, columns in characters; the end is the place behind the last
/// character. A file that could not be read has its problem at line 1, column 1.
#[must_use]
pub fn render_json(diagnostics: &[Diagnostic]) -> String {
    let records: Value = sorted(diagnostics).into_iter().map(record).collect();
    format!("{records:#}\n")
}

fn record(diagnostic: &Diagnostic) -> Value {
    let file = &diagnostic.file;
    let range = file.clamp(&diagnostic.span).range;
    let (line, column) = file.line_and_column(range.start);
    let (end_line, end_column) = file.line_and_column(range.end);
    json!({
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": file.path.to_string_lossy(),
        "line": line,
        "column": column,
        "end-line": end_line,
        "end-column": end_column,
        "label": diagnostic.label,
        "help": diagnostic.help,
    })
}

/// By file and place; the files stay in the order in which they first occur.
fn sorted(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    let first = |diagnostic: &Diagnostic| diagnostics.iter().position(|d| d.file.path == diagnostic.file.path);
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_cached_key(|d| (first(d), d.span.range.start, d.code));
    sorted
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{SourceFile, Span};
    use super::*;

    fn diagnostic(text: &str, range: std::ops::Range<usize>) -> Diagnostic {
        Diagnostic {
            code: "HV0203",
            severity: Severity::Error,
            message: "no such \u{1b}[31mrelease".to_owned(),
            file: Arc::new(SourceFile {
                path: "recipes/é.yaml".into(),
                text: text.to_owned(),
            }),
            span: Span { range },
            label: Some("here".to_owned()),
            help: Some("try another".to_owned()),
        }
    }

    #[test]
    fn text_marks_the_place() {
        let expected = "\
error[HV0203]: no such \u{241b}[31mrelease
 --> recipes/é.yaml:2:4
  |
2 | b: xyz
  |    ^^^ here
  |
help: try another

";
        assert_eq!(render_text(&[diagnostic("a: é\nb: xyz\n", 9..12)], false), expected);
    }

    #[test]
    fn a_file_without_text_has_no_snippet() {
        let expected = "error[HV0203]: no such \u{241b}[31mrelease\n--> recipes/é.yaml\n |\nhelp: try another\n\n";
        assert_eq!(render_text(&[diagnostic("", 0..0)], false), expected);
    }

    #[test]
    fn json_counts_from_one_in_characters() {
        let records: Value = serde_json::from_str(&render_json(&[diagnostic("a: é\nüb: xyz\n", 11..14)])).unwrap();
        let place = ["line", "column", "end-line", "end-column"].map(|key| records[0][key].as_u64());
        assert_eq!(place, [Some(2), Some(5), Some(2), Some(8)]);
        assert_eq!(records[0]["severity"], "error");
    }

    #[test]
    fn no_span_makes_rendering_fail() {
        let reversed = std::ops::Range { start: 7, end: 3 };
        for range in [0..0, 4..5, 3..900, 900..901, 12..12, reversed] {
            let diagnostic = diagnostic("a: é\nb: xyz\n", range);
            assert!(render_text(std::slice::from_ref(&diagnostic), true).contains("HV0203"));
            assert!(render_json(&[diagnostic]).contains("HV0203"));
        }
    }

    #[test]
    fn escape_sequences_of_the_input_are_shown_not_sent() {
        let text = render_text(&[diagnostic("\u{1b}[2J\u{9b}2J", 0..1)], false);
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
    }
}
