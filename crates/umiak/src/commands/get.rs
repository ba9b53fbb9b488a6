//! `umiak get` and `umiak merge`: takes another device's files into the committed state.

use umiak_pvr::Reference;
use umiak_repository::{Repository, TransferReport};
use umiak_ui::Size;

use super::elsewhere::Source;
use super::preview;
use crate::cli::FromArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// What happens to JSON documents that both sides have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Theirs replaces ours.
    Replace,
    /// They are merged member by member.
    Merge,
}

/// Takes the other device's state and objects.
pub fn run(context: &Context<'_>, arguments: &FromArgs, way: Way) -> Outcome {
    let repository = context.repository()?;
    let from = source(&repository, arguments.from.as_deref())?;
    let report = match Source::find(context, from)? {
        Some(device) => {
            if context.talk.dry_run {
                let theirs = device.selected(context)?;
                return preview::laid_over(context, &repository.pristine()?, &theirs, way == Way::Merge);
            }
            let progress = context.progress();
            match way {
                Way::Replace => repository.get_from(&device, &device.parts, &progress),
                Way::Merge => repository.merge_from(&device, &device.parts, &progress),
            }?
        }
        None => {
            let reference = Reference::parse(from)?;
            if context.talk.dry_run {
                return preview::transfer(context, &repository.pristine()?, &[reference], way == Way::Merge);
            }
            let progress = context.progress();
            match way {
                Way::Replace => repository.get(&reference, &progress),
                Way::Merge => repository.merge(&reference, &progress),
            }?
        }
    };
    tell(context, &report);
    Ok(())
}

/// Says what was taken, and how to get it into the files.
pub fn tell(context: &Context<'_>, report: &TransferReport) {
    let counted = [("added", &report.added), ("changed", &report.changed), ("removed", &report.removed)];
    for (word, paths) in counted {
        paths.iter().for_each(|path| context.printer.detail(&format!("{word} {path}")));
    }
    let mut parts: Vec<_> = counted
        .iter()
        .filter(|(_, paths)| !paths.is_empty())
        .map(|(word, paths)| format!("{} {word}", paths.len()))
        .collect();
    if parts.is_empty() {
        return context.printer.note("Nothing new");
    }
    if report.stored.objects > 0 {
        parts.push(format!("{} new in the object pool", Size(report.stored.bytes)));
    }
    context.printer.fact("Took", &parts.join(", "));
    context.printer.hint("`umiak checkout` writes the files");
}

fn source<'a>(repository: &'a Repository, given: Option<&'a str>) -> Result<&'a str, Failure> {
    given.or_else(|| repository.last_source()).ok_or_else(|| {
        Failure::new(Kind::Usage, "there is no device to take from")
            .hint("name a directory, a package file or a device's address")
    })
}
