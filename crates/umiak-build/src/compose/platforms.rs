//! What an app is made for: the platforms on which every service has an image that runs.
//!
//! Pure. A platform is one of those that the images are made for, and for each the best image of every service is
//! chosen, as an engine on such a device would: arm/v6 serves arm/v7, never the other way. The documents of an app
//! know architectures only; what they say of `arm` is of all its variants together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use umiak_spec::{Platform, PlatformError};

use super::app::Service;
use super::error::ComposeError;
use super::images::{PlatformImage, ServiceImage};

/// A platform of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlatform {
    /// What it is.
    pub platform: Platform,
    /// For each service, in their order, which of its image's platforms is run here.
    pub images: Vec<usize>,
}

/// An architecture that is asked for: `arm64`, or `arm/v7` for a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    architecture: String,
    variant: Option<String>,
}

impl Wanted {
    /// Whether `platform` is one of those that are meant.
    #[must_use]
    pub fn means(&self, platform: &Platform) -> bool {
        let variant = self.variant.is_none() || self.variant == platform.variant;
        platform.os == "linux" && platform.architecture == self.architecture && variant
    }
}

impl Wanted {
    /// Whether a device of this architecture and variant may run an image for `platform`.
    #[must_use]
    pub fn may_take(&self, platform: &Platform) -> bool {
        let device = || Platform::new("linux", &self.architecture, self.variant.as_deref());
        self.means(platform) || self.variant.is_some() && device().rank(platform).is_some()
    }
}

impl FromStr for Wanted {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let bare = text.strip_prefix("linux/").unwrap_or(text);
        let platform: Platform = format!("linux/{bare}").parse()?;
        // `arm` is every variant of it, where a platform would be arm/v7.
        let variant = if bare.contains('/') || bare.starts_with("armhf") || bare.starts_with("armel") {
            platform.variant
        } else {
            None
        };
        Ok(Self { architecture: platform.architecture, variant })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// The platforms of an app whose `services` have `images`.
///
/// # Errors
/// [`ComposeError`]: a wanted architecture that a service has not, or none in common.
pub(super) fn common(
    images: &[ServiceImage],
    services: &[Service],
    wanted: &[Wanted],
) -> Result<Vec<AppPlatform>, ComposeError> {
    let offered: BTreeSet<&Platform> =
        images.iter().flat_map(|image| image.platforms.iter().map(|image| &image.platform)).collect();
    let asked = |platform: &Platform| wanted.is_empty() || wanted.iter().any(|wanted| wanted.means(platform));
    let on = |platform: &Platform| {
        let chosen = services.iter().map(|service| best(service.on(platform), &images.get(service.image)?.platforms));
        Some(AppPlatform { platform: platform.clone(), images: chosen.collect::<Option<_>>()? })
    };
    let platforms: Vec<AppPlatform> = offered.into_iter().filter(|platform| asked(platform)).filter_map(on).collect();
    for wanted in wanted {
        if !platforms.iter().any(|platform| wanted.means(&platform.platform)) {
            return Err(lacking(images, services, wanted));
        }
    }
    if platforms.is_empty() { Err(nothing(images, services)) } else { Ok(platforms) }
}

/// The one of `offered` that an engine on `platform` takes.
pub(super) fn best(platform: &Platform, offered: &[PlatformImage]) -> Option<usize> {
    Platform::choose(std::slice::from_ref(platform), offered.iter().map(|image| &image.platform))
}

/// The first service without an image for `wanted`. Where each has one and no variant serves all, there is none in common.
fn lacking(images: &[ServiceImage], services: &[Service], wanted: &Wanted) -> ComposeError {
    let has = |image: &ServiceImage| image.platforms.iter().any(|image| wanted.means(&image.platform));
    let free = services.iter().filter(|service| service.platform.is_none());
    let mut named = free.filter_map(|service| Some((service, images.get(service.image)?)));
    match named.find(|(_, image)| !has(image)) {
        Some((service, image)) => ComposeError::NotMadeFor {
            image: image.reference.clone(),
            service: service.name.clone(),
            wanted: wanted.to_string(),
            offered: names(image),
        },
        None => nothing(images, services),
    }
}

fn nothing(images: &[ServiceImage], services: &[Service]) -> ComposeError {
    let made_for = |service: &Service| match &service.platform {
        Some(platform) => Some(vec![platform.to_string()]),
        None => images.get(service.image).map(names),
    };
    let named = services.iter().filter_map(|service| Some((service.name.clone(), made_for(service)?)));
    ComposeError::NothingInCommon { services: named.collect() }
}

fn names(image: &ServiceImage) -> Vec<String> {
    image.offered.iter().map(ToString::to_string).collect()
}

/// The platforms by architecture, as the documents of an app have it.
pub(super) fn by_architecture(platforms: &[AppPlatform]) -> BTreeMap<&str, Vec<&AppPlatform>> {
    let mut by: BTreeMap<&str, Vec<&AppPlatform>> = BTreeMap::new();
    for platform in platforms {
        by.entry(platform.platform.architecture.as_str()).or_default().push(platform);
    }
    by
}

#[cfg(test)]
mod tests {
    use umiak_registry::Image;
    use umiak_spec::{Descriptor, Digest, ImageConfig, Limits};

    use super::*;

    fn image(platforms: &[&str]) -> ServiceImage {
        let offered = platforms.iter().map(|text| text.parse().unwrap()).collect();
        let platforms = platforms.iter().map(|text| {
            let config = ImageConfig::parse(b"{}", &Limits::default()).unwrap();
            let image = Image { reference: String::new(), manifest: None, config, layers: Vec::new() };
            PlatformImage { platform: text.parse().unwrap(), image }
        });
        let descriptor = Descriptor::new("", Digest::of(b""), 0);
        ServiceImage { reference: "x".into(), descriptor, platforms: platforms.collect(), offered }
    }

    fn app(images: &[ServiceImage], wanted: &[&str]) -> Result<Vec<(String, Vec<usize>)>, ComposeError> {
        app_with(images, wanted, None)
    }

    /// The same with a platform that the first service asks for.
    fn app_with(
        images: &[ServiceImage],
        wanted: &[&str],
        first: Option<&str>,
    ) -> Result<Vec<(String, Vec<usize>)>, ComposeError> {
        let service = |image: usize| {
            let platform = first.filter(|_| image == 0).map(|text| text.parse().unwrap());
            Service { name: format!("service{image}"), reference: String::new(), platform, image }
        };
        let services: Vec<_> = (0..images.len()).map(service).collect();
        let wanted: Vec<Wanted> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        let platforms = common(images, &services, &wanted)?;
        Ok(platforms.into_iter().map(|platform| (platform.platform.to_string(), platform.images)).collect())
    }

    #[test]
    fn an_app_is_made_for_what_every_service_is_made_for() {
        let images = [image(&["linux/amd64", "linux/arm64"]), image(&["linux/arm/v7", "linux/arm64", "linux/amd64"])];
        let both = app(&images, &[]).unwrap();
        assert_eq!(both, [("linux/amd64".into(), vec![0, 2]), ("linux/arm64".into(), vec![1, 1])]);
        assert_eq!(app(&images, &["arm64"]).unwrap().len(), 1);
        let Err(ComposeError::NotMadeFor { service, offered, .. }) = app(&images, &["amd64", "arm"]) else {
            panic!("arm is not in common");
        };
        assert_eq!((service.as_str(), offered.len()), ("service0", 2));
        let apart = [image(&["linux/amd64"]), image(&["linux/arm64"])];
        assert!(matches!(app(&apart, &[]), Err(ComposeError::NothingInCommon { services }) if services.len() == 2));
    }

    /// A service may ask for a platform of its own: 32-bit code on a 64-bit device.
    #[test]
    fn a_service_that_names_its_platform_has_it_everywhere() {
        let images = [image(&["linux/arm/v7", "linux/amd64"]), image(&["linux/arm64", "linux/amd64"])];
        let both = app_with(&images, &[], Some("linux/arm/v7")).unwrap();
        assert_eq!(both, [("linux/amd64".into(), vec![0, 1]), ("linux/arm64".into(), vec![0, 0])]);
        assert!(matches!(
            app_with(&images, &[], Some("linux/riscv64")),
            Err(ComposeError::NothingInCommon { services }) if services[0].1 == ["linux/riscv64"]
        ));
    }

    #[test]
    fn variants_stay_distinct_and_lower_ones_serve_higher_ones() {
        let images = [image(&["linux/arm/v6"]), image(&["linux/arm/v6", "linux/arm/v7"])];
        let both = app(&images, &["arm"]).unwrap();
        assert_eq!(both, [("linux/arm/v6".into(), vec![0, 0]), ("linux/arm/v7".into(), vec![0, 1])]);
        assert_eq!(app(&images, &["arm/v7"]).unwrap(), both[1..]);
        // No device with v6 runs the second service.
        let images = [image(&["linux/arm/v6"]), image(&["linux/arm/v7"])];
        assert_eq!(app(&images, &[]).unwrap(), [("linux/arm/v7".into(), vec![0, 0])]);
        assert!(
            matches!(app(&images, &["arm/v6"]), Err(ComposeError::NotMadeFor { service, .. }) if service == "service1")
        );
    }
}
