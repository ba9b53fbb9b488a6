//! `umiak pkg verify`: packages judged as a device does that installs them.

use std::path::Path;

use serde_json::{Value, json};
use umiak_release::{Judge, Verified};
use umiak_spec::{Limits, Platform};
use umiak_ui::Size;

use crate::cli::PkgVerifyArgs;
use crate::clock;
use crate::commands::signing::{Trusted, trusted};
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Judges each; the first that is bad ends it.
pub fn run(context: &Context<'_>, arguments: &PkgVerifyArgs) -> Outcome {
    let trusted = if arguments.unsigned {
        None
    } else {
        let advice = |failure: Failure| failure.hint("--unsigned leaves signatures alone");
        Some(trusted(context, &arguments.trust).map_err(advice)?)
    };
    let platform = arguments.platform.as_deref().map(str::parse::<Platform>).transpose();
    let platform = platform.map_err(|error| Failure::from_error(&error, Kind::Usage, Vec::new()))?;
    let signers = trusted.as_ref().map(Trusted::signers);
    let mut documents = Vec::new();
    for file in &arguments.files {
        let progress = context.progress();
        let judge = Judge {
            signers: signers.as_ref(),
            // Not the moment of SOURCE_DATE_EPOCH: a certificate is over when it is over.
            now: Some(clock::now(None)),
            strict: arguments.strict,
            platform: platform.as_ref(),
            limits: Limits::default(),
            observer: &progress,
        };
        let found = judge.verify(file)?;
        drop(progress);
        tell(context, file, &found);
        documents.push(value(file, &found));
    }
    if context.printer.is_json() {
        return Ok(context.printer.document(&json!({ "packages": documents }))?);
    }
    Ok(())
}

fn tell(context: &Context<'_>, file: &Path, found: &Verified) {
    let printer = context.printer;
    let contents = &found.contents;
    for name in &contents.ignored {
        printer.warning(&format!("{} has an entry `{name}` that means nothing", file.display()));
    }
    if !contents.state_first {
        printer.warning(&format!("{} has objects before its state: not every reader takes that", file.display()));
    }
    if !contents.canonical {
        printer
            .warning(&format!("the state of {} is not canonical: Pantavisor will not find it signed", file.display()));
    }
    let (objects, bytes) = (contents.objects.len(), Size(contents.objects.values().sum()));
    let apps: Vec<String> = found.apps.iter().map(|(app, platform)| described(app, platform.as_ref())).collect();
    let text = format!("{}: {}, {objects} objects of {bytes}", file.display(), apps.join(", "));
    printer.fact("Verified", &text);
    let Some(signed) = &found.signed else { return printer.note("its signatures were not looked at") };
    for (name, signer) in &signed.signatures {
        let generation =
            signed.generations.get(name).map(|number| format!(", generation {number}")).unwrap_or_default();
        printer.fact("Signed", &format!("{name} by {signer}{generation}"));
    }
    let report = signed.report();
    printer.detail(&format!("protected: {}", report.protected.join(" ")));
    printer.detail(&format!("excluded: {}", report.excluded.join(" ")));
    if !report.notseen.is_empty() {
        printer.note(&format!("no signature covers {}", report.notseen.join(" ")));
    }
}

fn described(app: &str, platform: Option<&Platform>) -> String {
    platform.map_or_else(|| app.to_owned(), |platform| format!("{app} for {platform}"))
}

fn value(file: &Path, found: &Verified) -> Value {
    let apps = found.apps.iter();
    let apps =
        apps.map(|(app, platform)| json!({ "app": app, "platform": platform.as_ref().map(ToString::to_string) }));
    json!({
        "package": file.display().to_string(),
        "apps": apps.collect::<Vec<_>>(),
        "objects": found.contents.objects.len(),
        "object_bytes": found.contents.objects.values().sum::<u64>(),
        "canonical": found.contents.canonical,
        "signatures": found.signed.as_ref().map(|signed| &signed.signatures),
        "generations": found.signed.as_ref().map(|signed| &signed.generations),
        "covered": found.signed.as_ref().map(umiak_sign::SignedState::report),
    })
}
