//! The compose file of an app that is published already, by whomever.
//!
//! Only names of services and their images are looked at: what else is in the file is the business of the device. Services
//! that take theirs by `extends` from the same file are followed.

use crate::error::{At, ComposeError, Place, Problem};
use crate::limits::ComposeLimits;
use crate::yaml::value::expand;
use crate::yaml::{Syntax, Value};

/// The services of a published compose file, in its order, and their images as it has them. `file` is its name, for
/// errors.
///
/// # Errors
/// [`ComposeError`]: it is no YAML, beyond limits, has no services, or one without an image.
pub fn published_services(
    file: &str,
    bytes: &[u8],
    limits: &ComposeLimits,
) -> Result<Vec<(String, String)>, ComposeError> {
    let syntax = Syntax::parse(file, bytes, limits)?;
    let model = expand(&syntax, 0, limits)?;
    let services = model.at(&["services"]).and_then(Value::as_map);
    let services = services.filter(|map| !map.entries.is_empty());
    let services = services.ok_or_else(|| Problem::NoServices.at(Place::file(file)))?;
    let names = services.entries.iter().map(|entry| entry.key.as_str());
    let image = |name: &str| {
        let (mut current, mut left) = (services.get(name)?, limits.chain);
        loop {
            if let Some(image) = current.at(&["image"]).and_then(Value::as_text) {
                return Some(image.to_owned());
            }
            let extends = current.at(&["extends"])?;
            left = left.checked_sub(1)?;
            current = services.get(extends.at(&["service"]).unwrap_or(extends).as_text()?)?;
        }
    };
    let pairs = names.map(|name| match image(name) {
        Some(image) => Ok((name.to_owned(), image)),
        None => {
            let place = services.get(name).map(|service| service.place(std::slice::from_ref(&syntax)));
            Err(Problem::NoImage { service: name.to_owned(), builds: false }.at(place.unwrap_or_default()))
        }
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match published_services("docker-compose.yml", text.as_bytes(), &ComposeLimits::default()) {
            Ok(pairs) => pairs.iter().map(|(name, image)| format!("{name}={image};")).collect(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn others_files_are_read_for_their_images() {
        let text = "x: &x {image: a}\nservices:\n  one: {<<: *x, unheard_of: 1}\n  two: {extends: one}\n  three:\n    extends: {service: two}\n    image: b\n";
        assert_eq!(read(text), "one=a;two=a;three=b;");
        assert_eq!(
            read("services: {a: {extends: b}, b: {extends: a}}"),
            "docker-compose.yml:1:15: service `a` has no image"
        );
        assert_eq!(read("services: {}"), "docker-compose.yml: the project has no services");
    }
}
