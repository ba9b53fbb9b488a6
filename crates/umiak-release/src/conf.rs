//! `container-ci.conf`: which platforms a project is made for, when nobody says otherwise.
//!
//! The file is a shell fragment of `NAME=VALUE` lines. It is read, never run: comments, `export` and quotes are
//! understood; a value with `$` or a backquote is one that only a shell could tell, and is refused where it matters. What
//! the list of platforms is called is not documented by container-ci: the names that its tools could mean are all taken.

use umiak_spec::Platform;

use crate::error::ReleaseError;

/// The file's name, in the root of the project.
pub const CONF: &str = "container-ci.conf";

/// What the list may be called, in this order.
const NAMES: [&str; 4] = ["PLATFORMS", "DOCKER_PLATFORMS", "PLATFORM", "DOCKER_PLATFORM"];

/// The platforms that the text lists, separated by commas or spaces; `None` when it lists none.
///
/// # Errors
/// [`ReleaseError::Conf`] for a list that cannot be read.
pub fn platforms(text: &str) -> Result<Option<Vec<Platform>>, ReleaseError> {
    let values: Vec<(&str, &str)> = text.lines().filter_map(assignment).collect();
    let named = |name: &str| values.iter().rev().find(|(known, _)| *known == name);
    let Some((name, list)) = NAMES.iter().find_map(|name| named(name)) else { return Ok(None) };
    let wrong = |why: String| ReleaseError::Conf(format!("{name} {why}"));
    if list.contains(['$', '`']) {
        return Err(wrong("is a value that only a shell can tell: write the platforms out".to_owned()));
    }
    let words = list.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    let platforms: Vec<Platform> =
        words.map(|word| word.parse().map_err(|error| wrong(format!("{error}")))).collect::<Result<_, _>>()?;
    Ok(Some(platforms).filter(|platforms| !platforms.is_empty()))
}

/// Name and value of a line, if it is an assignment.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or(""),
        // Unquoted, a value ends where the word ends.
        _ => value.split_whitespace().next().unwrap_or(""),
    };
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<String>> {
        Some(platforms(text).unwrap()?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_list_is_found_however_it_is_written() {
        let both = Some(vec!["linux/amd64".to_owned(), "linux/arm/v7".to_owned()]);
        for text in [
            "PLATFORMS=linux/amd64,linux/arm/v7",
            "# of ours\nexport PLATFORMS=\"linux/amd64 linux/arm/v7\" # two\nOTHER=$X\n",
            "DOCKER_PLATFORMS='linux/amd64, linux/arm/v7'\n",
            "PLATFORMS=linux/mips\nPLATFORMS=linux/amd64,linux/arm/v7\n",
        ] {
            assert_eq!(read(text), both, "{text}");
        }
        for none in ["", "# PLATFORMS=linux/amd64", "NAME=web", "PLATFORMS=", "if [ a = b ]; then"] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn what_only_a_shell_can_tell_is_refused() {
        for wrong in ["PLATFORMS=$ALL", "PLATFORMS=`all`", "PLATFORMS=linux", "PLATFORMS=\"linux/amd64 nonsense\""] {
            assert!(matches!(platforms(wrong), Err(ReleaseError::Conf(_))), "{wrong}");
        }
    }
}
