//! Why each layer comes as it does, in words.

use std::collections::BTreeSet;

use umiak_spec::{Digest, Size};

use super::choice::{self, Pace, Reclaim};
use super::forms;
use super::scene::{Missing, Part, Scene};
use crate::answer::{Answer, Choice, Way};
use crate::task::Form;
use crate::wanted::Layer;

/// The choice that was looked at first: what would have been fetched least, without a pain.
type First<'a> = Option<&'a (&'a choice::Choice<'a>, Answer)>;

/// What was chosen for each wanted layer, in the order of apps and stacks.
pub(super) fn of<'a>(scene: &Scene<'a>, chosen: &choice::Choice<'a>, first: First<'_>) -> Vec<Choice> {
    let forms = forms::chosen(scene, chosen);
    let mut seen = BTreeSet::new();
    let mut choices = Vec::new();
    for app in &scene.apps {
        for service in &app.services {
            for layer in service.image.layers.iter().filter(|layer| seen.insert(layer.diff_id)) {
                let whose = format!("{}/{}", app.name, service.name);
                let form = forms.get(&layer.diff_id).cloned();
                choices.push(one(scene, chosen, first, layer, (whose, form)));
            }
        }
    }
    let lacks = first.map_or_else(String::new, |(_, answer)| answer.lacks(scene.device));
    choices.extend(super::objects::reasons(scene, chosen, &lacks));
    choices
}

fn one<'a>(
    scene: &Scene<'a>,
    chosen: &choice::Choice<'a>,
    first: First<'_>,
    layer: &Layer,
    (whose, form): (String, Option<Form>),
) -> Choice {
    let (way, download, mut why) = match scene.layers.get(&layer.diff_id) {
        None => (Way::Here, 0, "unchanged: it is here".to_owned()),
        Some(missing) => match part_for(scene, chosen, &layer.diff_id) {
            Some(part) => by_delta(scene, part, first, layer),
            None if scene.has(&layer.digest, layer.size) => (Way::Blob, 0, "its blob is here".to_owned()),
            None => (Way::Full, scene.rest(layer), in_full(scene, first, missing)),
        },
    };
    if let Some(missing) = scene.layers.get(&layer.diff_id) {
        why.push_str(&kept(scene, missing, chosen.patches, form.as_ref()));
    }
    let form = form.unwrap_or(Form::Whole);
    Choice { layer: layer.diff_id, whose, way, form, download, full: layer.size, why }
}

fn part_for<'a>(scene: &Scene<'a>, chosen: &choice::Choice<'a>, layer: &Digest) -> Option<Part<'a>> {
    // The first that makes it: no layer is made twice.
    let found = chosen.parts.iter().copied().find(|part| part.part.makes.contains(layer));
    found.filter(|_| scene.layers.contains_key(layer))
}

fn by_delta(scene: &Scene<'_>, part: Part<'_>, first: First<'_>, layer: &Layer) -> (Way, u64, String) {
    let download = scene.cost_of(part);
    let among = match part.part.makes.len() {
        0 | 1 => String::new(),
        several => format!(" for {several} layers"),
    };
    let here = if download < part.part.size { ", part of which is here" } else { "" };
    let mut why = format!(
        "delta from {}: {}{among}{here} instead of {}",
        part.delta.from,
        Size(download),
        Size(scene.rest(layer))
    );
    if let Some((least, answer)) = first
        && let Some(other) = least.parts.iter().find(|other| other.part.makes.contains(&layer.diff_id))
        && other.part.blob != part.part.blob
    {
        let lacks = answer.lacks(scene.device);
        why.push_str(&format!("; by the one from {} it would not fit: {lacks}", other.delta.from));
    }
    (Way::Delta { delta: part.delta.digest, part: part.part.blob }, download, why)
}

/// Why a layer is fetched as its blob.
fn in_full(scene: &Scene<'_>, first: First<'_>, missing: &Missing<'_>) -> String {
    let diff_id = &missing.layer.diff_id;
    if let Some((least, answer)) = first
        && let Some(part) = least.parts.iter().find(|part| part.part.makes.contains(diff_id))
    {
        let lacks = answer.lacks(scene.device);
        return format!("in full: by the delta from {} it would not fit: {lacks}", part.delta.from);
    }
    let deltas = scene.wanted.deltas.iter();
    let mut leading = deltas.filter(|delta| delta.parts.iter().any(|part| part.makes.contains(diff_id)));
    let Some(delta) = leading.next() else { return "in full: no delta leads to it".into() };
    let all: Vec<_> = [delta].into_iter().chain(leading).collect();
    if !all.iter().any(|delta| scene.has_base(delta)) {
        let names: BTreeSet<&str> = all.iter().map(|delta| delta.from.as_str()).collect();
        let names = Vec::from_iter(names).join(", ");
        return format!("in full: the delta from {names} starts from what is not here");
    }
    if scene.fetched(&missing.layer.digest, missing.layer.size) > 0 {
        return "in full: the rest of its blob is no more than a delta".into();
    }
    "in full: no delta is smaller".into()
}

/// How it is kept, where that is a choice.
fn kept(scene: &Scene<'_>, missing: &Missing<'_>, patches: choice::Patches, form: Option<&Form>) -> String {
    let Some(patch) = forms::patch(scene, missing, patches.max(choice::Patches::Known)) else { return String::new() };
    let most = if patch.bound { "at most " } else { "" };
    let bytes = Size(patch.files.image.saturating_add(patch.files.skeleton));
    let whole = missing.layer.known_files();
    let instead = whole
        .map_or_else(String::new, |files| format!(" instead of {}", Size(files.image.saturating_add(files.skeleton))));
    match form {
        Some(Form::Patch { base, .. }) => {
            format!("; kept as a patch of layer {}: {most}{bytes}{instead}", base.short())
        }
        _ => "; kept whole: a patch would take no less in the end".into(),
    }
}

/// Why the update is done in this order and at this price.
pub(super) fn notes(scene: &Scene<'_>, chosen: &choice::Choice<'_>, first: First<'_>, fits: bool) -> Vec<String> {
    let lacks = first.map_or_else(String::new, |(_, answer)| answer.lacks(scene.device));
    if lacks.is_empty() {
        return vec![];
    }
    let mut notes = Vec::new();
    let removed = match chosen.reclaim {
        Reclaim::Nothing => None,
        Reclaim::Leftovers => Some("what belongs to no app"),
        Reclaim::Obsolete => Some("what no app uses"),
    };
    notes.extend(removed.map(|removed| match fits {
        true => format!("{removed} is removed first: without that {lacks}"),
        false => format!("this is when {removed} is removed first: without that {lacks}"),
    }));
    if fits && chosen.pace == Pace::OneByOne && !scene.layers.is_empty() {
        notes.push(format!("layers are fetched and made one by one: all at once {lacks}"));
    }
    notes
}
