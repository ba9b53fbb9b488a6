//! `umiak image measure`.

use std::num::NonZeroUsize;
use std::path::Path;

use umiak_build::measure::{Measuring, Which};
use umiak_registry::Context as Sources;
use umiak_spec::app::measures::{EXT4_BLOCK_SIZES, Measures};
use umiak_spec::app::{AppError, ArchitectureMeta, LayersMeta};
use umiak_spec::{ImageReference, Limits, Observer};
use umiak_ui::Size;

use super::{platforms, reference};
use crate::cli::{ImageMeasureArgs, MeasureFormat};
use crate::commands::beside::Beside;
use crate::commands::sources::sources;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Measures images, or puts documents together.
pub fn run(context: &Context<'_>, arguments: &ImageMeasureArgs) -> Outcome {
    if arguments.merge {
        let bytes = match arguments.format {
            MeasureFormat::Foundries => merge_metadata(&arguments.images)?.to_bytes(),
            MeasureFormat::Umiak => merge_measures(&arguments.images)?.to_bytes(),
        };
        return publish(context, arguments, &bytes, "Merged", &format!("{} documents", arguments.images.len()));
    }
    if arguments.attach {
        return attach(context, arguments);
    }
    let block = arguments.fs_block_size;
    if !EXT4_BLOCK_SIZES.contains(&block) {
        let text = format!("ext4 is measured with blocks of 1024, 2048 and 4096 bytes, not of {block}");
        return Err(Failure::new(Kind::Usage, text).hint("--format umiak has counts for other file systems"));
    }
    let measures = measure(context, arguments)?;
    let meta = measures.layers_meta(block).unwrap_or_default();
    let layers = meta.architectures.values().flat_map(|architecture| architecture.layers.values());
    let (size, usage) = layers.fold((0_u64, 0_u64), |(size, usage), layer| {
        (size.saturating_add(layer.size), usage.saturating_add(layer.usage))
    });
    let bytes = match arguments.format {
        MeasureFormat::Foundries => metadata(meta, arguments.all_platforms),
        MeasureFormat::Umiak => measures.to_bytes(),
    };
    let text = format!("{} layers: {} in files, {} on a device", measures.layers.len(), Size(size), Size(usage));
    publish(context, arguments, &bytes, "Measured", &text)
}

fn measure(context: &Context<'_>, arguments: &ImageMeasureArgs) -> Result<Measures, Failure> {
    let asked = Asked::of(context, arguments)?;
    let progress = context.progress();
    Ok(measuring(context, arguments.device, &progress).images(&asked.sources, &asked.images, &asked.which)?)
}

/// What is measured.
struct Asked {
    images: Vec<ImageReference>,
    sources: Sources,
    which: Which,
}

impl Asked {
    fn of(context: &Context<'_>, arguments: &ImageMeasureArgs) -> Result<Self, Failure> {
        let images = arguments.images.iter().map(|image| reference(image)).collect::<Result<Vec<_>, _>>()?;
        let which = match arguments.all_platforms {
            true => Which::All,
            false => Which::Best(platforms(&arguments.sources)?),
        };
        Ok(Self { images, sources: sources(context, &arguments.sources)?, which })
    }
}

fn measuring<'a>(context: &'a Context<'_>, device: bool, observer: &'a dyn Observer) -> Measuring<'a> {
    Measuring {
        cache: Some(&context.environment.cache_dir),
        device,
        limits: Limits::default(),
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        observer,
    }
}

/// The measures go to where the images are.
fn attach(context: &Context<'_>, arguments: &ImageMeasureArgs) -> Outcome {
    let asked = Asked::of(context, arguments)?;
    if context.talk.dry_run {
        context.would(&format!("measure and attach to {}", arguments.images.join(", ")));
        return Ok(());
    }
    let progress = context.progress();
    let attached = measuring(context, true, &progress).attach(&asked.sources, &asked.images, &asked.which)?;
    drop(progress);
    for attached in &attached {
        let digest = context.printer.digest(&attached.artifact.digest);
        context.printer.fact("Attached", &format!("{digest} to {} for {}", attached.image, attached.platform));
    }
    Ok(())
}

/// The metadata as CI exchanges it: of one architecture alone, without the blobs' sizes; or of all.
fn metadata(mut meta: LayersMeta, all: bool) -> Vec<u8> {
    let one = meta.architectures.len() == 1 && !all;
    match meta.architectures.values_mut().next().filter(|_| one) {
        Some(architecture) => {
            architecture.layers.values_mut().for_each(|layer| layer.archive_size = None);
            architecture.to_bytes()
        }
        None => meta.to_bytes(),
    }
}

/// `ARCHITECTURE=FILE` of each build to what the publisher takes.
fn merge_metadata(words: &[String]) -> Result<LayersMeta, Failure> {
    let mut merged = LayersMeta::default();
    for word in words {
        let Some((architecture, file)) = word.split_once('=') else {
            let text = format!("`{word}` does not say which architecture it is of");
            return Err(Failure::new(Kind::Usage, text).hint("write ARCHITECTURE=FILE: amd64=a.json"));
        };
        let meta = ArchitectureMeta::parse(&read(file)?, &Limits::default()).map_err(|error| refused(file, &error))?;
        merged.add(architecture, meta).map_err(|error| refused(file, &error))?;
    }
    Ok(merged)
}

fn merge_measures(files: &[String]) -> Result<Measures, Failure> {
    let mut merged = Measures::default();
    for file in files {
        let measures = Measures::parse(&read(file)?, &Limits::default()).map_err(|error| refused(file, &error))?;
        merged.merge(measures).map_err(|error| refused(file, &error))?;
    }
    Ok(merged)
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::of_io("read", Path::new(file), &error);
    let length = std::fs::metadata(file).map_err(failed)?.len();
    let limit = Limits::default().document;
    if length > limit {
        let text = format!("{file} has {}, and such documents have at most {}", Size(length), Size(limit));
        return Err(Failure::new(Kind::Untrusted, text));
    }
    std::fs::read(file).map_err(failed)
}

fn refused(file: &str, error: &AppError) -> Failure {
    let failure =
        Failure::from_error(error, Kind::Untrusted, vec!["`umiak image measure` writes such documents".into()]);
    failure.because(vec![format!("in {file}")])
}

/// To stdout, or to a file with a word on it.
fn publish(context: &Context<'_>, arguments: &ImageMeasureArgs, bytes: &[u8], verb: &str, text: &str) -> Outcome {
    let Some(output) = &arguments.output else {
        return Ok(context.printer.data_bytes(&[bytes, b"\n"].concat())?);
    };
    if context.talk.dry_run {
        context.would(&format!("write {} to {}", Size(bytes.len() as u64), output.display()));
        return Ok(());
    }
    Beside::write(output, bytes)?;
    context.printer.fact(verb, &format!("{text}; {} in {}", Size(bytes.len() as u64), output.display()));
    Ok(())
}
