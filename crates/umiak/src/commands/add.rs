//! `umiak add`: puts files on the list for the next commit.

use umiak_repository::{AddOptions, AddReport, ChangeKind, Repository};

use crate::cli::AddArgs;
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Tracks the files that match.
pub fn run(context: &Context<'_>, arguments: &AddArgs) -> Outcome {
    let repository = context.repository()?;
    let patterns = from_root(context, &repository, &arguments.patterns)?;
    if context.talk.dry_run {
        return preview(context, &repository, &patterns, arguments.private_keys);
    }
    let options = AddOptions { raw: arguments.raw, private_keys: arguments.private_keys };
    let report = repository.add(&patterns, options, &context.progress())?;
    tell(context, &report);
    Ok(())
}

fn tell(context: &Context<'_>, report: &AddReport) {
    let printer = context.printer;
    for (path, reason) in &report.refused {
        printer.warning(&format!("`{path}` cannot be tracked: {reason}"));
    }
    for pattern in &report.unmatched {
        printer.warning(&format!("`{pattern}` matches no file"));
    }
    for path in &report.added {
        printer.detail(&format!("{path}"));
    }
    match report.added.len() {
        0 => {}
        1 => printer.fact("Tracked", "1 file"),
        count => printer.fact("Tracked", &format!("{count} files")),
    }
}

/// Patterns are meant from where the user stands; the library takes them from the device's root.
fn from_root(context: &Context<'_>, repository: &Repository, patterns: &[String]) -> Result<Vec<String>, Failure> {
    let here = context.here()?;
    let below = here.strip_prefix(repository.root()).unwrap_or(&here).to_string_lossy().into_owned();
    if below.is_empty() {
        return Ok(patterns.to_vec());
    }
    let place = |pattern: &String| match pattern.trim_start_matches("./") {
        "" | "." => below.clone(),
        inside => format!("{below}/{inside}"),
    };
    Ok(patterns.iter().map(place).collect())
}

/// What is untracked now and matches.
fn preview(context: &Context<'_>, repository: &Repository, patterns: &[String], private_keys: bool) -> Outcome {
    let all = patterns.is_empty() || patterns.iter().any(|pattern| pattern.trim_end_matches('/') == ".");
    let globs = patterns.iter().map(|pattern| umiak_pvr::Glob::parse(pattern.trim_end_matches('/')));
    let globs = globs.collect::<Result<Vec<_>, _>>().map_err(umiak_repository::Error::from)?;
    let below = |path: &str| {
        patterns
            .iter()
            .any(|name| path.strip_prefix(name.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/')))
    };
    let changes = repository.status(&context.progress())?;
    let untracked = changes.into_iter().filter(|change| change.kind == ChangeKind::Untracked).map(|change| change.path);
    let matching = untracked.filter(|path| all || below(path) || globs.iter().any(|glob| glob.matches(path)));
    let files: Vec<_> = matching.collect();
    if !private_keys {
        repository.without_keys(files.iter().map(String::as_str))?;
    }
    files.iter().for_each(|path| context.printer.detail(path));
    context.would(&format!("track {} files", files.len()));
    Ok(())
}
