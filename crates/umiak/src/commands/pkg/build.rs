//! `umiak pkg build`: the packages of all platforms, and one table of what became of each.

use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::{Value, json};
use umiak_pvr::State;
use umiak_release::{
    Arch, Asked, BuildVersion, Built, DeltaState, Effort, Line, Outcome as Done, Project, ReleaseError, Works,
};
use umiak_spec::Limits;
use umiak_ui::{Align, Size, Table};

use super::git::Head;
use super::memory;
use super::sealing::Seal;
use crate::cli::{EffortArg, PkgBuildArgs};
use crate::commands::sources::sources;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Files that a warning names.
const NAMED: usize = 5;

/// Makes them.
pub fn run(context: &Context<'_>, arguments: &PkgBuildArgs) -> Outcome {
    let here = context.here()?;
    let project = Project::find(&here)?;
    let head = Head::of(project.root());
    let pvpkg = project.pvpkg()?;
    let words = &arguments.words;
    let build = build_version(given(words.build.as_ref()), head.as_ref())?;
    if given(words.build.as_ref()).is_none() && head.as_ref().is_some_and(|head| head.dirty) {
        context.printer.warning("files are otherwise than the commit has them after which the packages are called");
    }
    let only = arguments.only.iter().map(|text| Arch::parse(text.trim())).collect::<Result<Vec<_>, _>>()?;
    let seal = Seal::of(context, arguments, head.as_ref())?;
    let sign = |state: &State, apps: &[String]| seal.as_ref().map_or(Ok(Vec::new()), |seal| seal.sign(state, apps));
    let from = arguments.from.as_ref().map(|directory| here.join(directory));
    let asked = Asked {
        only: &only,
        name: given(words.name.as_ref()).unwrap_or(&pvpkg.name),
        version: given(words.version.as_ref()).unwrap_or(&pvpkg.version),
        build: &build,
        sealing: seal.as_ref().map(|seal| seal.sealing(&sign)),
        from: from.as_deref().map(|directory| (directory, effort(arguments.effort))),
        private_keys: arguments.private_keys,
        dry_run: context.talk.dry_run,
    };
    let lines = make(context, arguments, &project, &asked)?;
    tell(context, &project, &lines)?;
    without_deltas(context, from.as_deref(), &lines);
    if let Some(generation) = seal.as_ref().and_then(Seal::generation) {
        context.printer.detail(&format!("signed as generation {generation}"));
    }
    let failed: Vec<Line> = lines.into_iter().filter(|line| line.result.is_err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failures(context, failed)) }
}

/// A word, unless it is empty: a pipeline's variable that is not set is often there and empty.
fn given(word: Option<&String>) -> Option<&str> {
    word.map(String::as_str).filter(|word| !word.is_empty())
}

const fn effort(arguments: EffortArg) -> Effort {
    match arguments {
        EffortArg::Smallest => Effort::Smallest,
        EffortArg::Fast => Effort::Fast,
    }
}

fn build_version(named: Option<&str>, head: Option<&Head>) -> Result<BuildVersion, Failure> {
    match (named, head) {
        (Some(text), _) => Ok(BuildVersion::parse(text)?),
        (None, Some(head)) => Ok(head.build()),
        (None, None) => {
            Err(Failure::new(Kind::Usage, "packages are called after a git commit, and there is none here")
                .hint("name the build yourself: --build-version WORD, or BUILD_VERSION"))
        }
    }
}

fn make(
    context: &Context<'_>,
    arguments: &PkgBuildArgs,
    project: &Project,
    asked: &Asked<'_>,
) -> Result<Vec<Line>, Failure> {
    // Paths in source documents count from the root of the project.
    let sources = sources(context, &arguments.registry.images())?;
    std::env::set_current_dir(project.root()).map_err(|error| Failure::of_io("enter", project.root(), &error))?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let progress = context.progress();
    let works = Works {
        project,
        cache: &context.environment.cache_dir,
        sources: &sources,
        limits: Limits::default(),
        threads,
        jobs: arguments.jobs.unwrap_or(threads),
        memory: arguments.memory.unwrap_or_else(memory::half),
        image_time: context.environment.fixed_time.and_then(|time| u32::try_from(time).ok()).unwrap_or(0),
        observer: &progress,
    };
    Ok(works.build(asked)?)
}

/// One line a platform.
fn tell(context: &Context<'_>, project: &Project, lines: &[Line]) -> Outcome {
    let shown = |path: &Path| path.strip_prefix(project.root()).unwrap_or(path).display().to_string();
    for built in lines.iter().filter_map(|line| line.result.as_ref().ok()) {
        for (app, reference, platform) in &built.images {
            context.printer.detail(&format!("{app}: {reference}, made for {platform}"));
        }
        let warnings = built.apps.iter().flat_map(|app| &app.warnings);
        warnings.for_each(|warning| context.printer.warning(warning));
    }
    for line in lines {
        let replaced = line.result.as_ref().map_or(&[][..], |built| &built.replaced);
        if !replaced.is_empty() {
            context.printer.warning(&otherwise(line.arch, replaced, context.talk.dry_run));
        }
    }
    if context.printer.is_json() {
        let value: Vec<Value> = lines.iter().map(|line| value(line, &shown)).collect();
        return Ok(context.printer.document(&json!({ "packages": value }))?);
    }
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]).flush();
    for line in lines {
        let arch = line.arch.as_str();
        match &line.result {
            Ok(built) => {
                let size = built.file.map(|(bytes, _)| Size(bytes).to_string()).unwrap_or_default();
                table.row([arch, word(built.outcome), &size, &shown(&built.package)]);
                if let Some(delta) = &built.delta {
                    let (state, size) = (delta_word(delta.state), Size(delta.bytes).to_string());
                    table.row(["", state, &size, &shown(&delta.path)]);
                }
            }
            Err(error) => table.row([arch, "failed", "", &error.to_string()]),
        }
    }
    Ok(context.printer.data(&table.to_string())?)
}

/// Says which files are made again though nothing asks for it but that they are otherwise.
fn otherwise(arch: Arch, files: &[String], dry_run: bool) -> String {
    let named = files.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = files.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    let done = if dry_run { "would be" } else { "were" };
    format!("in releases/{arch} files were otherwise than a build leaves them, and {done} made again: {named}{more}")
}

/// Says which packages have no release before them in the directory that was named.
fn without_deltas(context: &Context<'_>, from: Option<&Path>, lines: &[Line]) {
    let Some(from) = from else { return };
    for line in lines {
        let first = |built: &Built| built.delta.is_none() && built.outcome != Done::Planned;
        if line.result.as_ref().is_ok_and(first) {
            let text = format!("{} has no other release of {}: no delta", from.display(), line.arch);
            context.printer.note(&text);
        }
    }
}

const fn word(done: Done) -> &'static str {
    match done {
        Done::Made => "made",
        Done::Unchanged => "unchanged",
        Done::Planned => "to be made",
    }
}

const fn delta_word(state: DeltaState) -> &'static str {
    match state {
        DeltaState::Made => "made",
        DeltaState::Unchanged => "unchanged",
        DeltaState::NotWorth => "not worth it",
    }
}

fn value(line: &Line, shown: &dyn Fn(&Path) -> String) -> Value {
    let arch = line.arch.as_str();
    let built = match &line.result {
        Ok(built) => built,
        Err(error) => return json!({ "arch": arch, "outcome": "failed", "error": error.to_string() }),
    };
    let images = built
        .images
        .iter()
        .map(|(app, reference, platform)| json!({ "app": app, "image": reference, "platform": platform.to_string() }));
    json!({
        "arch": arch,
        "outcome": word(built.outcome),
        "package": shown(&built.package),
        "bytes": built.file.map(|(bytes, _)| bytes),
        "digest": built.file.map(|(_, digest)| digest.to_string()),
        "images": images.collect::<Vec<_>>(),
        "replaced": built.replaced,
        "delta": built.delta.as_ref().map(|delta| json!({
            "delta": shown(&delta.path),
            "base": delta.base,
            "bytes": delta.bytes,
            "outcome": delta_word(delta.state),
        })),
    })
}

/// Tells each failure but the last, which is the command's.
fn failures(context: &Context<'_>, failed: Vec<Line>) -> Failure {
    let mut last = None;
    for Line { arch, result } in failed {
        let Err(error) = result else { continue };
        if let Some(before) = last.replace(named(arch, error)) {
            let _ = Failure::told(&before, context.printer);
        }
    }
    last.unwrap_or_else(|| Failure::new(Kind::Environment, "a platform failed"))
}

/// The failure with the platform's name in front, and what is true of several platforms.
fn named(arch: Arch, error: ReleaseError) -> Failure {
    match Failure::from(error) {
        Failure::Told(mut diagnostic) => {
            diagnostic.message = format!("{arch}: {}", diagnostic.message);
            diagnostic.outcome =
                Some("its package is the one that was there, or the one made now; neither is half".to_owned());
            Failure::Told(diagnostic)
        }
        failure => failure,
    }
}
