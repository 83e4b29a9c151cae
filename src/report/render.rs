//! From facts to HTML.

use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, Output, State, Value};
use sha2::{Digest as _, Sha256};

use super::ReportError;
use super::facts::Facts;
use super::page::Page;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page about an image: one HTML document, the same for the same facts.
pub fn render(facts: &Facts) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    // Whatever the template is called: there is no way to write a value that is not escaped.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.set_formatter(visible);
    environment.add_template("page", TEMPLATE)?;
    let context = minijinja::context! {
        page => Value::from(Serde(Page::of(facts))),
        policy => policy(),
        style => Value::from_safe_string(STYLE.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
    };
    Ok(environment.get_template("page")?.render(context)?)
}

/// Writes a value escaped, with control characters made visible: they mean nothing in HTML, and
/// those that turn the direction of writing can make a name look like another.
fn visible(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = value
        .as_str()
        .filter(|text| !value.is_safe() && text.chars().any(is_hidden));
    let Some(text) = text else {
        return minijinja::escape_formatter(output, state, value);
    };
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hidden(character) {
            write!(shown, "\\u{{{:x}}}", u32::from(character))?;
        } else {
            shown.push(character);
        }
    }
    minijinja::escape_formatter(output, state, &Value::from(shown))
}

/// Control characters but for line feed and tab, and Unicode's invisible formatting.
fn is_hidden(character: char) -> bool {
    let is_format = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    (character.is_control() && !"\n\t".contains(character)) || is_format
}

/// A content security policy under which the page's own style and script work and nothing else
/// does (W3C, "Content Security Policy Level 3").
fn policy() -> String {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        base64(&Sha256::digest(STYLE)),
        base64(&Sha256::digest(SCRIPT)),
    )
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit > chunk.len() {
                '='
            } else {
                char::from(ALPHABET[value as usize])
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn hidden_characters_are_shown() {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(visible);
        let shown = |text: &str| {
            environment
                .render_str("{{ text }}", minijinja::context! { text })
                .unwrap()
        };
        for (text, expected) in [
            ("a\u{202e}b\0<", r"a\u{202e}b\u{0}&lt;"),
            ("two\nlines\t", "two\nlines\t"),
            ("\u{1b}[31m", r"\u{1b}[31m"),
            ("é", "é"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn only_style_and_script_are_written_as_they_are() {
        assert!(!TEMPLATE.contains("safe") && !TEMPLATE.contains("autoescape"));
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</") && !text.contains("<!--"), "{text}");
        }
        for word in ["http:", "https:", "url(", "@import", "@font-face"] {
            assert!(!STYLE.contains(word) && !SCRIPT.contains(word), "{word}");
        }
    }
}
