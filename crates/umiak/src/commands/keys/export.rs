//! `umiak keys export`.

use serde_json::json;
use umiak_sign::{Algorithm, PublicKey};

use super::Files;
use crate::cli::{ExportArg, KeysExportArgs};
use crate::commands::beside::Beside;
use crate::commands::signing::text;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Where Pantavisor looks for authorities, and for a key without certificates.
const TRUST: &str = "/etc/pantavisor/pvs/trust";

/// Prints what devices need of a key.
pub fn run(context: &Context<'_>, arguments: &KeysExportArgs) -> Outcome {
    let files = Files::named(context, arguments.dir.as_deref(), &arguments.name)?;
    if !files.public().exists() {
        let text = format!("there is no key `{}` in {}", files.name, files.directory.display());
        return Err(Failure::new(Kind::Usage, text).hint("`umiak keys new` makes one"));
    }
    let public = text(&files.public())?;
    let authority = files.authority().exists().then(|| text(&files.authority())).transpose()?;
    let printed = match (arguments.what, authority) {
        (ExportArg::Public, _) => public,
        (ExportArg::Authority, Some(authority)) => authority,
        (ExportArg::Authority, None) => {
            let text = format!("the key `{}` has no authority", files.name);
            return Err(Failure::new(Kind::Usage, text).hint("`umiak keys export public` prints the key"));
        }
        (ExportArg::Policy, authority) => policy(&files.name, &public, authority.as_deref())?,
        (ExportArg::TrustStore, authority) => trust_store(context, public, authority)?,
    };
    match &arguments.output {
        None => Ok(context.printer.data(&printed)?),
        Some(file) if context.talk.dry_run => {
            context.would(&format!("write {}", file.display()));
            Ok(())
        }
        Some(file) => {
            Beside::write(file, printed.as_bytes())?;
            context.printer.fact("Wrote", &file.display().to_string());
            Ok(())
        }
    }
}

/// The whole policy of a device that takes nothing but what is signed by this key, or by keys of this authority.
fn policy(name: &str, public: &str, authority: Option<&str>) -> Result<String, Failure> {
    let (member, pem) = authority.map_or(("keys", public), |authority| ("authorities", authority));
    let policy = json!({
        "version": 1,
        member: { name: pem },
        // What belongs to no app, `#spec` first of all, is in every package and signed in few.
        "default": { "accept": "signed", "signers": [name], "cover": "parts" },
    });
    let text = serde_json::to_string_pretty(&policy).map_err(std::io::Error::from)?;
    Ok(text + "\n")
}

/// What Pantavisor verifies with, and where it goes there.
fn trust_store(context: &Context<'_>, public: String, authority: Option<String>) -> Result<String, Failure> {
    let wrong = |error: umiak_sign::KeyError| Failure::new(Kind::Untrusted, error.to_string());
    if PublicKey::from_pem(&public).map_err(wrong)?.algorithm() != Algorithm::Rsa {
        context
            .printer
            .warning("Pantavisor takes ECDSA signatures in another form than pvr makes them: use RSA for it");
    }
    let (name, text) = match authority {
        Some(authority) => ("ca-certificates.crt", authority),
        None => ("pub.pem", public),
    };
    context.printer.note(&format!("Belongs on the device as {TRUST}/{name}"));
    Ok(text)
}
