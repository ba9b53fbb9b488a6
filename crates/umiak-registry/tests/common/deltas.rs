//! Small deltas: manifests with a subject, and blobs that could be deltas.

use umiak_registry::{Error, Sink, open_sink, put_delta};
use umiak_spec::delta::{Content, LAYER_DELTA, Part};
use umiak_spec::{DeltaManifest, Descriptor, Digest, Observer, ReadAt, Silent, media_type};

use umiak_registry::Context;

/// A delta, and the contents of its parts.
pub struct Sample {
    pub delta: DeltaManifest,
    pub contents: Vec<Vec<u8>>,
}

/// A manifest that something can refer to: it need not be anywhere.
pub fn subject() -> Descriptor {
    Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"target manifest"), 15)
}

/// One for `subject` from the base `name`, with a blob of `size` bytes and a small one.
pub fn sample(subject: &Descriptor, name: &str, size: usize) -> Sample {
    let large: Vec<u8> = (0..size).map(|at| (at.wrapping_mul(37) >> 4).to_le_bytes()[0]).chain(name.bytes()).collect();
    let contents = vec![large, format!("small {name}").into_bytes()];
    let part = |bytes: &Vec<u8>| Part {
        content: Content::Layer,
        to: Digest::of(&[b"makes ", &bytes[..]].concat()),
        blob: Descriptor::new(LAYER_DELTA, Digest::of(bytes), bytes.len() as u64),
    };
    let delta = DeltaManifest {
        subject: subject.clone(),
        base: Some(Digest::of(name.as_bytes())),
        base_config: None,
        base_diff_ids: vec![Digest::of(b"lowest")],
        reused: Vec::new(),
        parts: contents.iter().map(part).collect(),
        full_size: 1 << 20,
        expanded_size: 3 << 20,
        device: Vec::new(),
    };
    Sample { delta, contents }
}

impl Sample {
    /// Stores it in a sink.
    pub fn put(&self, sink: &dyn Sink, tag: Option<&str>, observer: &dyn Observer) -> Result<Descriptor, Error> {
        let contents: Vec<&dyn ReadAt> = self.contents.iter().map(|bytes| bytes as &dyn ReadAt).collect();
        put_delta(sink, &self.delta, &contents, tag, 2, observer)
    }

    /// Stores it where `reference` says.
    pub fn put_to(&self, reference: &str, context: &Context) -> Result<Descriptor, Error> {
        let sink = open_sink(&reference.parse().unwrap(), context)?;
        let tag = sink.tag().map(str::to_owned);
        let stored = self.put(sink.as_ref(), tag.as_deref(), &Silent)?;
        sink.finish(&Silent)?;
        Ok(stored)
    }
}

/// Finds the deltas for `subject` where `reference` says, and reads all of each of them.
pub fn found(reference: &str, subject: &Digest, context: &Context) -> Vec<(Descriptor, Sample)> {
    let source = super::source(reference, context).unwrap();
    let kind = Some(umiak_spec::delta::ARTIFACT_TYPE);
    let referrers = source.referrers(subject, kind, &Silent).unwrap();
    let read = |referrer: umiak_spec::Referrer| {
        let bytes = source.document(&referrer.descriptor, &Silent).unwrap();
        let delta = DeltaManifest::parse(&bytes, &context.limits).unwrap();
        let offer = umiak_spec::delta::Offer::read(&referrer.annotations, &context.limits).unwrap();
        assert_eq!((offer.base, offer.size), (delta.base, delta.size()), "the list says what the manifest says");
        let blobs = delta.parts.iter().map(|part| super::bytes(&source.blob(&part.blob, &Silent).unwrap()));
        let contents = blobs.collect();
        (referrer.descriptor, Sample { delta, contents })
    };
    referrers.into_iter().map(read).collect()
}

/// Compares what was found with what was put, in any order.
pub fn assert_same(found: &[(Descriptor, Sample)], put: &[(&Descriptor, &Sample)]) {
    assert_eq!(found.len(), put.len());
    for (descriptor, sample) in put {
        let (_, same) = found.iter().find(|(found, _)| found.digest == descriptor.digest).unwrap();
        assert_eq!(same.delta, sample.delta);
        assert_eq!(same.contents, sample.contents);
    }
}
