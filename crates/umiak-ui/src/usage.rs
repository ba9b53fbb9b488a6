//! A command line that was not understood, told in our form: what is wrong, what was meant perhaps, the usage.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::Diagnostic;

/// Exit code for a command line that cannot be understood or does not make sense.
pub const USAGE: u8 = 2;

/// The parser's complaint as a diagnostic.
#[must_use]
pub fn diagnostic(error: &clap::Error) -> Diagnostic {
    let message = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            text(error, ContextKind::InvalidSubcommand).map(|name| format!("there is no command `{name}`"))
        }
        ErrorKind::UnknownArgument => {
            text(error, ContextKind::InvalidArg).map(|name| format!("`{name}` is not expected here"))
        }
        ErrorKind::MissingRequiredArgument => {
            text(error, ContextKind::InvalidArg).map(|names| format!("missing: {names}"))
        }
        _ => None,
    };
    let rendered = error.render().to_string();
    let mut hints: Vec<_> = suggestion(error).into_iter().collect();
    hints.extend(
        rendered.lines().find_map(|line| line.strip_prefix("Usage: ")).map(|usage| format!("usage is {usage}")),
    );
    Diagnostic {
        message: message.unwrap_or_else(|| first_paragraph(&rendered)),
        causes: Vec::new(),
        outcome: None,
        hints,
        exit: USAGE,
    }
}

/// What the parser says first, on one line.
fn first_paragraph(rendered: &str) -> String {
    let paragraph = rendered.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ").replace('\'', "`")
}

/// The word that was meant, most probably: the parser lists the likeliest last.
fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let meant = kinds.into_iter().find_map(|kind| text(error, kind))?;
    let likeliest = meant.rsplit(", ").next()?.to_owned();
    Some(format!("did you mean `{likeliest}`?"))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        _ => None,
    }
}
