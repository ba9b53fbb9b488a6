//! LZMA2: cuts the coded block into chunks and frames them.
//!
//! Guarantees chunks of at most 64 KiB coded and 2 MiB plain, and that a chunk that does not shrink is stored plain.

use crate::find::{Finder, PAD};
use crate::model::Model;
use crate::parse::{Parser, Scene};
use crate::price::Prices;
use crate::range::RangeEncoder;
use crate::settings::Settings;
use crate::survey::Survey;

/// Most bytes a chunk may have, coded.
const CODED_MAX: usize = 1 << 16;
/// Most bytes a chunk may have, plain.
const PLAIN_MAX: usize = 1 << 21;
/// No operation takes more coded bytes than this, nor covers more plain bytes than 273.
const OP_MAX: usize = 64;

/// Ends the chunks.
pub(crate) const END: u8 = 0;

/// Work space of the LZMA2 encoder.
pub(crate) struct Lzma2 {
    padded: Vec<u8>,
    finder: Finder,
    parser: Parser,
    model: Box<Model>,
    prices: Box<Prices>,
    rc: RangeEncoder,
}

/// What the next LZMA chunk must reset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Reset {
    Nothing = 0x80,
    State = 0xA0,
    StateAndProps = 0xC0,
    All = 0xE0,
}

impl Lzma2 {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            padded: Vec::new(),
            finder: Finder::new(settings.block_size()),
            parser: Parser::new(settings),
            model: Box::new(Model::new()),
            prices: Box::new(Prices::new()),
            rc: RangeEncoder::new(),
        }
    }

    /// Appends chunks with `plain` to `out`, beginning with a dictionary reset; the end is left to the caller.
    pub(crate) fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let survey = Survey::of(plain);
        self.padded.clear();
        self.padded.extend_from_slice(plain);
        self.padded.resize(plain.len() + PAD, 0);
        self.finder.index(&self.padded, plain.len());
        if survey.flat() && !self.finder.any(&self.padded, plain.len()) {
            store(out, plain, Reset::All);
            return;
        }
        let pb = survey.position_bits();
        let mut reset = Reset::All;
        let mut from = 0;
        self.parser.restart();
        self.start(pb, plain.len());
        while from < plain.len() {
            let to = self.chunk(plain.len(), from);
            let coded = self.rc.finish();
            if coded.len() < to - from {
                header(out, reset, pb, to - from, coded.len());
                out.extend_from_slice(coded);
                reset = Reset::Nothing;
            } else {
                store(out, &plain[from..to], reset);
                reset = if reset >= Reset::StateAndProps { Reset::StateAndProps } else { Reset::State };
                self.start(pb, plain.len());
            }
            from = to;
        }
    }

    /// A decoder that resets its state is where we are.
    fn start(&mut self, pb: u32, len: usize) {
        self.model.reset(pb);
        self.prices.reset(&self.model, len);
        self.parser.ops.clear();
    }

    /// Codes from `from` until the block or the room in the chunk ends. Returns where.
    fn chunk(&mut self, len: usize, from: usize) -> usize {
        self.rc.restart();
        let mut pos = from;
        while pos < len {
            if self.parser.ops.is_empty() {
                self.prices.refresh(&self.model);
                let scene = Scene { padded: &self.padded, len, model: &self.model, prices: &self.prices };
                self.parser.run(scene, &self.finder, pos);
            }
            while let Some(op) = self.parser.ops.pop() {
                if self.rc.finished_len() + OP_MAX > CODED_MAX || pos - from + op.len as usize > PLAIN_MAX {
                    self.parser.ops.push(op);
                    return pos;
                }
                self.model.encode(&mut self.rc, &self.padded, pos, op);
                self.prices.used(if pos == 0 { 0 } else { self.padded[pos - 1] }, op);
                pos += op.len as usize;
            }
        }
        pos
    }
}

/// The header of a coded chunk.
fn header(out: &mut Vec<u8>, reset: Reset, pb: u32, plain: usize, coded: usize) {
    let (plain, coded) = (plain - 1, coded - 1);
    out.push(reset as u8 | (plain >> 16) as u8);
    out.extend([(plain >> 8) as u8, plain as u8, (coded >> 8) as u8, coded as u8]);
    if reset >= Reset::StateAndProps {
        out.push((pb * 45 + 3) as u8);
    }
}

/// Plain bytes, in chunks of at most 64 KiB.
fn store(out: &mut Vec<u8>, plain: &[u8], reset: Reset) {
    for (i, piece) in plain.chunks(CODED_MAX).enumerate() {
        out.push(if reset == Reset::All && i == 0 { 1 } else { 2 });
        let len = piece.len() - 1;
        out.extend([(len >> 8) as u8, len as u8]);
        out.extend_from_slice(piece);
    }
}
