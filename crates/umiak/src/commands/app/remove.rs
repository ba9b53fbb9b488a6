//! `umiak app rm`: an app's directory goes.

use umiak_pvr::app::SRC_JSON;

use super::info;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Removes the app, unless others extend it.
pub fn run(context: &Context<'_>, name: &str) -> Outcome {
    let repository = context.repository()?;
    let name = name.trim_matches('/');
    let directory = repository.app_dir(name)?;
    if !directory.join(SRC_JSON).is_file() {
        return Err(umiak_repository::Error::NoSuchApp(name.to_owned()).into());
    }
    for other in repository.apps()? {
        if info::source_document(&repository.app_dir(&other)?)?.base() == Some(name) {
            return Err(Failure::new(Kind::Usage, format!("app `{other}` extends `{name}`"))
                .hint(format!("remove `{other}` first, or make it extend another app: umiak app update --base")));
        }
    }
    if context.talk.dry_run {
        context.would(&format!("remove {}", directory.display()));
        return Ok(());
    }
    repository.remove_app(name, &context.progress())?;
    context.printer.fact("Removed", name);
    let left = [format!("_config/{name}"), format!("_sigs/{name}.json")];
    for path in left.iter().filter(|path| repository.root().join(path).exists()) {
        context.printer.hint(&format!("{path} is still there: remove it, too, unless another app takes that name"));
    }
    Ok(())
}
