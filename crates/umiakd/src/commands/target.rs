//! `umiakd target`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use umiak_agent::{Agent, Onto};
use umiak_spec::Limits;
use umiak_spec::target::{Asked, AskedApp, Origin};
use umiak_ui::Kind;

use super::tx;
use crate::cli::{TargetCommand, TargetSetArgs};
use crate::context::Context;
use crate::error::Failure;
use crate::show::Watch;

/// The longest file.json that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Sets or shows.
pub fn run(context: &Context<'_>, agent: &Agent, command: &TargetCommand, stop: &AtomicBool) -> Result<(), Failure> {
    match command {
        TargetCommand::Set(arguments) => set(context, agent, arguments, stop),
        TargetCommand::Show => show(context, agent),
    }
}

fn set(context: &Context<'_>, agent: &Agent, arguments: &TargetSetArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let words = &arguments.targets;
    let packages: Vec<PathBuf> =
        words.iter().filter_map(|word| package(word)).map(tx::whole).collect::<Result<_, _>>()?;
    if !arguments.replace && packages.len() == words.len() {
        return install(context, agent, words, &packages, stop);
    }
    let asked = asked(words)?;
    agent.judge(&packages, Onto::Nothing, &Watch::new(context.printer, stop))?;
    let names = || match asked.apps.as_slice() {
        [] => "nothing".to_owned(),
        apps => apps.iter().map(|app| app.origin.to_string()).collect::<Vec<_>>().join(" "),
    };
    if context.talk.dry_run {
        context.printer.fact("Would", &format!("set the target to {}", names()));
        return Ok(());
    }
    agent.set_target(&asked)?;
    context.printer.fact("Target", &names());
    if !context.world.by_daemon {
        context.printer.hint("umiakd check shows what an update would do");
    }
    Ok(())
}

/// The file that a word names, if it is a package.
fn package(word: &str) -> Option<&Path> {
    match word.strip_prefix("pvr:") {
        Some(path) => Some(Path::new(path)),
        None => Some(Path::new(word)).filter(|_| spelled(word).starts_with("pvr:")),
    }
}

/// Merges packages into what runs.
fn install(
    context: &Context<'_>,
    agent: &Agent,
    words: &[String],
    packages: &[PathBuf],
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let watch = Watch::new(context.printer, stop);
    let (verb, installed) = match context.talk.dry_run {
        true => ("Would", agent.judge(packages, Onto::Current, &watch)?),
        false => ("Merged", agent.install(packages, &watch)?),
    };
    for (word, installed) in words.iter().zip(&installed) {
        let first = if context.talk.dry_run { "merge " } else { "" };
        context.printer.fact(verb, &format!("{first}{}", tx::told(word, installed)));
    }
    if !context.talk.dry_run && !context.world.by_daemon {
        context.printer.hint("umiakd check shows what an update would do");
    }
    Ok(())
}

/// What the words on the command line ask for: one document, or apps.
fn asked(words: &[String]) -> Result<Asked, Failure> {
    let is_document =
        |word: &&String| Path::new(word).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    match (words.iter().find(is_document), words.len()) {
        (Some(one), 1) => return document(Path::new(one)),
        (Some(one), _) => {
            return Err(Failure::new(Kind::Usage, format!("{one} is a whole target: nothing goes beside it"))
                .hint("name it alone, or name all apps"));
        }
        (None, _) => {}
    }
    let app = |word: &String| {
        // `shop` may be a directory here and an image all the same; `./shop` is no image's name.
        if word.starts_with(['.', '/']) && Path::new(word).is_dir() && !Path::new(word).join("oci-layout").exists() {
            return Err(Failure::new(Kind::Usage, format!("{word} is a directory, and no OCI layout"))
                .hint("an app is a reference such as registry.example/team/shop:stable, or a file"));
        }
        let origin: Origin = spelled(word).parse().map_err(|error| {
            Failure::from_error(&error, Kind::Usage)
                .hint("an app is a reference such as registry.example/team/shop:stable, or a file")
        })?;
        // The daemon reads it again, and stands elsewhere.
        let here = std::env::current_dir().map_err(|error| Failure::of_io("enter", Path::new("."), &error))?;
        Ok(AskedApp::new(origin).below(&here))
    };
    Ok(Asked { apps: words.iter().map(app).collect::<Result<_, Failure>>()?, ..Asked::default() })
}

/// What a word means: a file or directory that is there is what its name says, everything else a reference.
fn spelled(word: &str) -> String {
    let path = Path::new(word);
    if path.join("oci-layout").exists() {
        format!("oci:{word}")
    } else if [".tgz", ".tar.gz", ".delta"].iter().any(|end| word.ends_with(end)) {
        // Also where there is none: no image is called so, and a typing error is no image's name.
        format!("pvr:{word}")
    } else if !path.is_file() {
        word.to_owned()
    } else {
        format!("oci-archive:{word}")
    }
}

fn document(path: &Path) -> Result<Asked, Failure> {
    let unreadable = |error: &std::io::Error| Failure::of_io("read", path, error);
    let length = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if length > LONGEST {
        return Err(Failure::new(Kind::Usage, format!("{} is too long for a target", path.display())));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    let mut asked = Asked::parse(&bytes, &Limits::default()).map_err(|error| {
        Failure::from_error(&error, Kind::Usage)
            .hint(format!("{}: docs/formats/target.md says how one looks", path.display()))
    })?;
    let whole = std::path::absolute(path).map_err(|error| unreadable(&error))?;
    let beside = whole.parent().unwrap_or(Path::new("/"));
    asked.apps = asked.apps.into_iter().map(|app| app.below(beside)).collect();
    Ok(asked)
}

fn show(context: &Context<'_>, agent: &Agent) -> Result<(), Failure> {
    let Some(asking) = agent.target()? else {
        return Err(
            Failure::new(Kind::Usage, "no target is set").hint("umiakd target set registry.example/team/shop:stable")
        );
    };
    // The document is the data, with or without --json.
    Ok(context.printer.data(&String::from_utf8_lossy(&asking.asked.to_bytes()))?)
}
