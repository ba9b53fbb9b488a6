//! `run.json` (`service-manifest-run@1`): what the device reads of an app.
//!
//! Same members and values as pvr's template; always JSON, also with two and more `volumes`, where pvr writes a literal
//! `\n` between them. A volume protected by dm-verity keeps its `dm:` prefix, which pvr's template gives only to the root.

use super::args::type_error;
use super::{LXC_CONF, LXC_OVERLAY, ROOT_OVL_SQUASHFS, ROOT_SQUASHFS};
use super::{RenderContext, RenderError, SourceDocument, Storage, starts};
use crate::json::{Object, Value, pretty_fields};

pub(super) fn render(
    source: &SourceDocument,
    context: &RenderContext,
    storage: &Storage,
) -> Result<String, RenderError> {
    let args = source.args();
    let starts = starts(args)?;
    let mut fields: Vec<(&str, Value)> =
        vec![("#spec", "service-manifest-run@1".into()), ("name", context.name.as_str().into())];
    if starts {
        fields.push(("config", LXC_CONF.into()));
    }
    optional(&mut fields, "conditions", args.truthy("PV_CONDITIONS"));
    fields.push(("drivers", drivers(source)?));
    let group = match args.text("PV_GROUP")? {
        None if !args.is_set("PV_RUNLEVEL") => context.default_group.clone(),
        named => named,
    };
    let texts = [
        ("group", group),
        ("runlevel", args.text("PV_RUNLEVEL")?),
        ("restart_policy", args.text("PV_RESTART_POLICY")?),
        ("status_goal", args.text("PV_STATUS_GOAL")?),
    ];
    fields.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?)))));
    optional(&mut fields, "auto_recovery", args.truthy("PV_AUTO_RECOVERY"));
    optional(&mut fields, "automodfw", args.truthy("PV_AUTOMODFW"));
    optional(&mut fields, "remount", args.truthy("PV_REMOUNT"));
    optional(&mut fields, "network", network(source, &context.name)?.as_ref());
    optional(&mut fields, "services", services(source).as_ref());
    fields.push(("storage", storage_value(storage)));
    if starts {
        let list = |name| source.get(name).cloned().unwrap_or(Value::Array(Vec::new()));
        fields.extend([("exports", list("exports")), ("logs", list("logs")), ("type", "lxc".into())]);
        optional(&mut fields, "roles", args.truthy("PV_ROLES"));
    }
    fields.push(("root-volume", root_volume(source).into()));
    fields.push(("volumes", volumes(source)?.into()));
    let borrowed: Vec<_> = fields.iter().map(|(name, value)| (*name, value)).collect();
    Ok(pretty_fields(&borrowed, "", "\t"))
}

fn optional(fields: &mut Vec<(&'static str, Value)>, name: &'static str, value: Option<&Value>) {
    fields.extend(value.map(|value| (name, value.clone())));
}

fn drivers(source: &SourceDocument) -> Result<Value, RenderError> {
    let list = |argument: &str| match source.args().truthy(argument) {
        None => Ok(Value::Array(Vec::new())),
        Some(list @ Value::Array(_)) => Ok(list.clone()),
        Some(one @ Value::String(_)) => Ok(Value::Array(vec![one.clone()])),
        Some(other) => Err(type_error(argument, "a list", other)),
    };
    Ok(Value::object([
        ("manual", list("PV_DRIVERS_MANUAL")?),
        ("required", list("PV_DRIVERS_REQUIRED")?),
        ("optional", list("PV_DRIVERS_OPTIONAL")?),
    ]))
}

/// Place in an address pool of the device.
fn network(source: &SourceDocument, name: &str) -> Result<Option<Value>, RenderError> {
    let args = source.args();
    let Some(pool) = args.text("PV_NETWORK_POOL")? else { return Ok(None) };
    let hostname = args.text("PV_NETWORK_HOSTNAME")?.unwrap_or_else(|| name.to_owned());
    let mut members = vec![("pool", Value::from(pool)), ("hostname", Value::from(hostname))];
    for (member, argument) in [("ip", "PV_NETWORK_IP"), ("mac", "PV_NETWORK_MAC")] {
        members.extend(args.text(argument)?.map(|text| (member, Value::from(text))));
    }
    Ok(Some(Value::object(members)))
}

fn services(source: &SourceDocument) -> Option<Value> {
    let mut members = Object::new();
    for (member, argument) in [("required", "PV_SERVICES_REQUIRED"), ("optional", "PV_SERVICES_OPTIONAL")] {
        if let Some(list) = source.args().truthy(argument) {
            members.insert(member.to_owned(), list.clone());
        }
    }
    (!members.is_empty()).then_some(Value::Object(members))
}

fn storage_value(storage: &Storage) -> Value {
    let volumes = storage.volumes.iter().map(|volume| (volume.name(), volume.persistence.to_value()));
    Value::object(volumes.chain([(LXC_OVERLAY.to_owned(), storage.overlay.to_value())]))
}

/// An extension's root is its overlay (the base is mounted as another app's); everything else has a root of its own.
fn root_volume(source: &SourceDocument) -> String {
    let extension = source.base().is_some() && source.docker_ovl_digest().is_some();
    protected(source, if extension { ROOT_OVL_SQUASHFS } else { ROOT_SQUASHFS })
}

fn volumes(source: &SourceDocument) -> Result<Vec<String>, RenderError> {
    let args = source.args();
    let mut names = args.commas("PV_EXTRA_VOLUMES")?;
    names.extend(args.pairs("PV_VOLUME_MOUNTS")?.into_iter().map(|(volume, _)| volume));
    if source.docker_ovl_digest().is_some() && source.base().is_none() {
        names.push(ROOT_OVL_SQUASHFS.to_owned());
    }
    Ok(names.iter().map(|name| protected(source, name)).collect())
}

fn protected(source: &SourceDocument, volume: &str) -> String {
    let prefix = if source.dm_enabled(volume) { "dm:" } else { "" };
    format!("{prefix}{volume}")
}
