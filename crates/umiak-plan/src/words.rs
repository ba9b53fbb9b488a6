//! What a planner says to people: why an update does not fit, and why it is done as it is.

use umiak_spec::Size;

use crate::answer::{Answer, Resource, Shortfall, Verdict};
use crate::device::Device;

impl Answer {
    /// Why the update does not fit, a sentence for each file system and resource; empty when it fits.
    #[must_use]
    pub fn refusal(&self, device: &Device) -> Vec<String> {
        match &self.verdict {
            Verdict::Fits => vec![],
            Verdict::Shortfall(all) => all.iter().map(|shortfall| self.sentence(device, shortfall)).collect(),
        }
    }

    fn sentence(&self, device: &Device, short: &Shortfall) -> String {
        let amount = |number: u64| match short.resource {
            Resource::Bytes => Size(number).to_string(),
            Resource::Inodes => format!("{number} inodes"),
        };
        let step = self.steps.get(short.step);
        let step = step.map_or_else(String::new, |step| format!("{} {}", step.action.word(), step.what));
        format!(
            "{} needs {} and has {} to give{}: {} too little, first at `{step}`",
            name(device, short.file_system),
            amount(short.needed),
            amount(short.available),
            kept(device, short),
            amount(short.missing()),
        )
    }

    /// What there is too little of, in a few words: `/ lacks 9.2 MiB`. Empty when it fits.
    #[must_use]
    pub(crate) fn lacks(&self, device: &Device) -> String {
        let Verdict::Shortfall(all) = &self.verdict else { return String::new() };
        let lack = |short: &Shortfall| match short.resource {
            Resource::Bytes => format!("{} lacks {}", name(device, short.file_system), Size(short.missing())),
            Resource::Inodes => format!("{} lacks {} inodes", name(device, short.file_system), short.missing()),
        };
        all.iter().map(lack).collect::<Vec<_>>().join(", ")
    }
}

fn name(device: &Device, file_system: usize) -> &str {
    device.file_systems.get(file_system).map_or("?", |file_system| file_system.name.as_str())
}

/// Why a file system gives less than is free.
fn kept(device: &Device, short: &Shortfall) -> String {
    let file_system = device.file_systems.get(short.file_system);
    let Some(file_system) = file_system.filter(|_| short.resource == Resource::Bytes) else { return String::new() };
    let size = |blocks: u64| Size(blocks.saturating_mul(u64::from(file_system.block_size)));
    let (free, watermark) = (size(file_system.free), device.watermark);
    let kept = watermark.kept(file_system.blocks);
    if kept >= file_system.reserved {
        format!(" ({free} free, {} stay free by the watermark of {watermark})", size(kept))
    } else {
        format!(" ({free} free, {} of them for root)", size(file_system.reserved))
    }
}
