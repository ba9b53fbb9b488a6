//! The daemon's copies of our images: there, missing, or damaged; refilled from our store; taken away when nothing of ours
//! uses them any more.
//!
//! A copy is there when the daemon has an image of our name whose layers are those of the configuration that the name
//! stands for; with the classic store its ID is that configuration's digest. The classic store says so too while
//! directories of layers are gone: where these are on this device they are looked at. What files have in them is not: the daemon has no
//! digests of them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use umiak_spec::Digest;

use super::client::{Client, escaped, said};
use super::load::{Parts, load};
use super::name;
use crate::{EngineError, Images};

/// Images of the daemon that are asked for layers that a new one may share.
const COMPARED_MAX: usize = 64;

/// How it is with a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Copy {
    There,
    Missing,
    /// What is wrong.
    Damaged(String),
}

/// What the daemon says of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(rename = "RootFS")]
    root: Option<RootFs>,
    graph_driver: Option<GraphDriver>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    name: String,
    data: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    driver: String,
    #[serde(default)]
    docker_root_dir: PathBuf,
}

/// Whether the daemon has the image, whole as far as can be seen.
pub(super) fn look(client: &Client, parts: &Parts) -> Result<Copy, EngineError> {
    let found: Option<Inspected> = client.find(&inspect_path(&name::image(&parts.config)), "look at an image")?;
    let Some(image) = found else { return Ok(Copy::Missing) };
    let layers: Vec<String> = parts.diff_ids.iter().map(Digest::to_string).collect();
    let found = image.root.as_ref().and_then(|root| root.layers.clone()).unwrap_or_default();
    if found != layers {
        return Ok(Copy::Damaged("its layers are others than its configuration names".into()));
    }
    // With containerd's store the ID is that of a manifest, which the daemon made of the layers.
    if image.graph_driver.as_ref().is_some_and(|driver| driver.name == "overlay2") {
        if image.id != parts.config.to_string() {
            return Ok(Copy::Damaged(format!("its ID is {}", image.id)));
        }
        let info: Info = client.get("/info", "say where it keeps layers")?;
        if let Some(missing) = missing(&image, &info) {
            return Ok(Copy::Damaged(format!("{} is gone", missing.display())));
        }
    }
    Ok(Copy::There)
}

/// A directory of a layer that should be there and is not.
fn missing(image: &Inspected, info: &Info) -> Option<PathBuf> {
    // A daemon whose files are not to be seen here cannot be judged by them.
    if info.driver != "overlay2" || !info.docker_root_dir.join("overlay2").is_dir() {
        return None;
    }
    let data = image.graph_driver.as_ref()?.data.as_ref()?;
    let directories =
        ["LowerDir", "UpperDir"].into_iter().filter_map(|key| data.get(key)).flat_map(|list| list.split(':'));
    let mut directories = directories.map(Path::new).filter(|path| path.starts_with(&info.docker_root_dir));
    directories.find_map(|directory| {
        // Beside `diff` lie the short name by which the layers above call this one, and which ones are below.
        let link = directory.with_file_name("link");
        [directory.to_owned(), link].into_iter().find(|path| !path.exists())
    })
}

/// Makes sure that the daemon has the image; whether it had to be given it.
pub(super) fn ensure(client: &Client, parts: &Parts, images: &dyn Images) -> Result<bool, EngineError> {
    match look(client, parts)? {
        Copy::There => return Ok(false),
        Copy::Missing => {}
        Copy::Damaged(_) => discard(client, &parts.config)?,
    }
    let present = shared(client, parts)?;
    if let Err(error) = load(client, parts, images, present) {
        // It may lack a layer that another image of its names: then it gets them all.
        let refused = matches!(error, EngineError::Program { .. });
        if present == 0 || !refused {
            return Err(error);
        }
        load(client, parts, images, 0)?;
    }
    match look(client, parts)? {
        Copy::There => Ok(true),
        Copy::Missing => Err(said("load an image", &format!("{} is not there afterwards", name::image(&parts.config)))),
        Copy::Damaged(why) => {
            let words = format!("its store is damaged ({why}) and other images hold on to that layer");
            Err(said("load an image", &words))
        }
    }
}

/// How many layers at the bottom another image of the daemon has as well, whole. Only the classic store knows how to use them.
fn shared(client: &Client, parts: &Parts) -> Result<usize, EngineError> {
    let info: Info = client.get("/info", "say what it is")?;
    if info.driver != "overlay2" {
        return Ok(0);
    }
    let images: Vec<Listed> = client.get("/images/json", "list its images")?;
    // Those of ours are the likely ones.
    let ours = |image: &Listed| image.repo_tags.iter().flatten().any(|tag| tag.starts_with(name::REPOSITORY));
    let (mut first, others): (Vec<Listed>, Vec<Listed>) = images.into_iter().partition(ours);
    first.extend(others);
    let mut most = 0;
    for image in first.iter().take(COMPARED_MAX) {
        let Some(image) = client.find::<Inspected>(&inspect_path(&image.id), "look at an image")? else { continue };
        let layers = image.root.as_ref().and_then(|root| root.layers.as_deref()).unwrap_or_default();
        let same = layers.iter().zip(&parts.diff_ids).take_while(|(here, wanted)| **here == wanted.to_string()).count();
        if same > most && missing(&image, &info).is_none() {
            most = same;
        }
    }
    Ok(most)
}

/// Takes our name from an image; with its last name the image goes. One that something else uses stays.
pub(super) fn discard(client: &Client, config: &Digest) -> Result<(), EngineError> {
    let path = format!("/images/{}", escaped(&name::image(config)));
    // 409: a container of someone else's uses it.
    client.tell("DELETE", &path, None, "remove an image", &[200, 404, 409], client.patience).map(drop)
}

/// Our images that are not among `used`.
pub(super) fn unused(client: &Client, used: &[Digest]) -> Result<Vec<Digest>, EngineError> {
    let images: Vec<Listed> = client.get("/images/json", "list its images")?;
    let tags = images.iter().flat_map(|image| image.repo_tags.iter().flatten());
    let ours = tags.filter_map(|tag| tag.strip_prefix(name::REPOSITORY)?.strip_prefix(':'));
    let digests = ours.filter_map(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    Ok(digests.filter(|digest| !used.contains(digest)).collect())
}

fn inspect_path(name: &str) -> String {
    format!("/images/{}/json", escaped(name))
}
