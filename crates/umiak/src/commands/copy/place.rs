//! Where a copy goes: DST as it was written, with the tag that is going to be given.

use umiak_spec::{Digest, ImageReference, Selector};

use crate::error::{Failure, Kind};

/// The registry that a reference names.
pub fn host(reference: &ImageReference) -> Option<&str> {
    match reference {
        ImageReference::Registry(name) | ImageReference::Bare(name) => Some(&name.host),
        _ => None,
    }
}

/// DST with the tag that is going to be written: its own, or SRC's.
pub fn place(from: &ImageReference, to: &ImageReference, digest: &Digest) -> Result<ImageReference, Failure> {
    let (tag, wanted) = said(to);
    if let Some(wanted) = wanted.filter(|wanted| wanted != digest) {
        let text = format!("{to} says another digest than {from} has: {digest}");
        return Err(Failure::new(Kind::Usage, text).hint(format!("leave @{wanted} out, or copy what has it")));
    }
    let source = said(from);
    if tag.is_some() || wanted.is_some() {
        return Ok(to.clone());
    }
    // Without either, a registry's image is `latest`, as everywhere.
    let is_registry = matches!(from, ImageReference::Registry(_) | ImageReference::Bare(_));
    let Some(tag) = source.0.or_else(|| (is_registry && source.1.is_none()).then(|| "latest".to_owned())) else {
        return Ok(to.clone());
    };
    let mut place = to.clone();
    match &mut place {
        ImageReference::Layout { selector, .. } | ImageReference::OciArchive { selector, .. } => {
            *selector = Some(Selector::Tag(tag));
        }
        ImageReference::Registry(name) | ImageReference::Bare(name) => name.tag = Some(tag),
        _ => {}
    }
    Ok(place)
}

/// Tag and digest as they were written.
fn said(reference: &ImageReference) -> (Option<String>, Option<Digest>) {
    match reference {
        ImageReference::Layout { selector, .. } | ImageReference::OciArchive { selector, .. } => match selector {
            Some(Selector::Tag(tag)) => (Some(tag.clone()), None),
            Some(Selector::Digest(digest)) => (None, Some(*digest)),
            None => (None, None),
        },
        ImageReference::Registry(name) | ImageReference::Bare(name) => (name.tag.clone(), name.digest),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_the_targets_own_or_the_sources() {
        let digest = Digest::of(b"x");
        let tagged = |from: &str, to: &str| {
            let place = place(&from.parse().unwrap(), &to.parse().unwrap(), &digest);
            place.map(|place| place.to_string())
        };
        for (from, to, wanted) in [
            ("a.example/x:1", "b.example/x:2", "b.example/x:2"),
            ("a.example/x:1", "b.example/x", "b.example/x:1"),
            ("a.example/x", "b.example/x", "b.example/x:latest"),
            ("oci:dir:1", "oci-archive:file", "oci-archive:file:1"),
            ("oci:dir", "oci-archive:file", "oci-archive:file"),
            ("docker-archive:file:x:1", "b.example/x", "b.example/x"),
        ] {
            assert_eq!(tagged(from, to).unwrap(), wanted, "{from} {to}");
        }
        let pinned = format!("b.example/x@{digest}");
        assert_eq!(tagged("a.example/x:1", &pinned).unwrap(), pinned);
        assert_eq!(tagged(&format!("a.example/x@{digest}"), "oci:dir").unwrap(), "oci:dir");
        assert!(tagged("a.example/x:1", &format!("b.example/x@{}", Digest::of(b"y"))).is_err());
    }
}
