//! The parser: chooses the operations that cover the plain bytes most cheaply at today's prices.
//!
//! From the current position it extends a front of reached positions, keeping for each the cheapest way there, until all
//! ways meet in one position, a match is long enough to be taken at once, or the front is full. It keeps one way for each
//! position, and looks one literal ahead past a copy that ends in a difference (literal, then the same distance again).

use crate::find::{Finder, Found, Match, common, load};
use crate::model::{Context, LITERAL, MAX_MATCH, Model, Op, POS_STATES, len_state};
use crate::price::Prices;
use crate::range::price;
use crate::settings::Settings;

/// Positions in a front.
const FRONT: usize = 2048;
/// Nodes: the front and whatever one node can reach beyond it, to a power of two.
const NODES: usize = 4096;
const _: () = assert!(FRONT + 2 * MAX_MATCH + 2 < NODES);

/// The cheapest known way to a position in one number, so that the cheaper of two is the smaller:
/// price (22 bits), kind (3), extra (9), length of the last operation (9), `back` (21).
type Way = u64;

const PRICE_AT: u32 = 42;
const KIND_AT: u32 = 39;
const EXTRA_AT: u32 = 30;
const LEN_AT: u32 = 21;
const BACK_MASK: u64 = (1 << LEN_AT) - 1;

/// How a way ends.
const BY_LITERAL: u64 = 0;
const BY_SHORT: u64 = 1;
const BY_REP: u64 = 2;
const BY_MATCH: u64 = 3;
/// A literal, then the newest distance; extra is 1.
const BY_LITERAL_REP: u64 = 4;
/// A copy by `back` of `extra - 1` bytes, a literal, then the newest distance.
const BY_COPY_LITERAL_REP: u64 = 5;

/// State after an operation of each kind, by the state before.
const NEXT_STATE: [[u8; 16]; 8] = [
    [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5, 0, 0, 0, 0],
    [9, 9, 9, 9, 9, 9, 9, 11, 11, 11, 11, 11, 0, 0, 0, 0],
    [8, 8, 8, 8, 8, 8, 8, 11, 11, 11, 11, 11, 0, 0, 0, 0],
    [7, 7, 7, 7, 7, 7, 7, 10, 10, 10, 10, 10, 0, 0, 0, 0],
    [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0],
    [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0],
    [0; 16],
    [0; 16],
];

/// Work space of the parser.
pub(crate) struct Parser {
    ways: Box<[Way; NODES]>,
    contexts: Box<[Context; NODES]>,
    /// The chosen operations, last one first.
    pub(crate) ops: Vec<Op>,
    nice: usize,
    hurry: Way,
    end: usize,
    found: Found,
    /// The position `found` is of.
    found_at: usize,
}

/// What the parser reads.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) padded: &'a [u8],
    pub(crate) len: usize,
    pub(crate) model: &'a Model,
    pub(crate) prices: &'a Prices,
}

/// A node being extended.
#[derive(Clone, Copy)]
struct Node {
    pos: usize,
    cur: usize,
    left: usize,
    at: Context,
    st: usize,
    ps: usize,
}

impl Parser {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            ways: Box::new([Way::MAX; NODES]),
            contexts: Box::new([Context::default(); NODES]),
            ops: Vec::new(),
            nice: settings.nice_len(),
            hurry: Way::from(settings.hurry()),
            end: 0,
            found: Found::default(),
            found_at: usize::MAX,
        }
    }

    /// Forgets the last block.
    pub(crate) fn restart(&mut self) {
        self.ops.clear();
        self.found_at = usize::MAX;
    }

    /// Chooses operations from `start` (before the end of the block) on: at least one, left in `ops`, last one first.
    pub(crate) fn run(&mut self, scene: Scene<'_>, finder: &Finder, start: usize) {
        self.ops.clear();
        let at = scene.model.at;
        let left = (scene.len - start).min(MAX_MATCH);
        if self.found_at != start {
            finder.find(scene.padded, start, left, &mut self.found);
        }
        if let Some(op) = self.at_once(scene, start, left, &at) {
            self.ops.push(op);
            return;
        }
        self.ways[0] = 0;
        self.contexts[0] = at;
        self.end = 0;
        let mut cur = 0;
        loop {
            let pos = start + cur;
            let left = (scene.len - pos).min(MAX_MATCH);
            if cur > 0 {
                self.contexts[cur & (NODES - 1)] = self.context_of(cur);
                if cur + 1 < self.end && cur < FRONT && self.run_over(cur) {
                    cur += 1;
                    continue;
                }
                finder.find(scene.padded, pos, left, &mut self.found);
                if self.found.longest() >= self.nice || cur >= FRONT {
                    self.found_at = pos;
                    break;
                }
            }
            self.extend(scene, pos, cur, left);
            cur += 1;
            if cur == self.end {
                break;
            }
        }
        self.collect(cur);
    }

    /// Is the next position reached at (nearly) no more than this one? Then the cheapest way most likely runs over this
    /// position in a copy, and what could start here is not looked at.
    #[inline(always)]
    fn run_over(&self, cur: usize) -> bool {
        let here = self.ways[cur & (NODES - 1)] >> PRICE_AT;
        let next = self.ways[(cur + 1) & (NODES - 1)] >> PRICE_AT;
        next <= here + self.hurry
    }

    /// The operation to take without weighing, if a copy is long enough or there is none.
    #[inline(always)]
    fn at_once(&self, scene: Scene<'_>, pos: usize, left: usize, at: &Context) -> Option<Op> {
        let mut best = Op { back: LITERAL, len: 1 };
        for (i, &dist) in at.reps.iter().enumerate() {
            let back = dist as usize + 1;
            if back <= pos {
                let len = common(scene.padded, pos - back, pos, 0, left) as u32;
                if len > best.len {
                    best = Op { back: i as u32, len };
                }
            }
        }
        if best.len as usize >= self.nice {
            return Some(best);
        }
        let longest = self.found.matches().last()?;
        (longest.len as usize >= self.nice).then_some(Op { back: longest.dist + 4, len: longest.len })
    }

    /// The context after the cheapest way to `cur`.
    #[inline(always)]
    fn context_of(&self, cur: usize) -> Context {
        let way = self.ways[cur & (NODES - 1)];
        let back = (way & BACK_MASK) as u32;
        let from = self.contexts[(cur - step(way)) & (NODES - 1)];
        let [a, b, c, d] = from.reps;
        // Literals are kept with `back` 0, which leaves the distances as they are.
        let first = if back >= 4 { back - 4 } else { from.reps[back as usize & 3] };
        Context {
            state: NEXT_STATE[(way >> KIND_AT & 7) as usize][usize::from(from.state & 15)],
            reps: [first, if back >= 1 { a } else { b }, if back >= 2 { b } else { c }, if back >= 3 { c } else { d }],
        }
    }

    /// Walks the cheapest way back from `cur` and leaves its operations in `ops`.
    fn collect(&mut self, mut cur: usize) {
        while cur > 0 {
            let way = self.ways[cur & (NODES - 1)];
            let back = (way & BACK_MASK) as u32;
            let len = (way >> LEN_AT & 0x1FF) as u32;
            match way >> KIND_AT & 7 {
                BY_LITERAL => self.ops.push(Op { back: LITERAL, len: 1 }),
                BY_SHORT | BY_REP | BY_MATCH => self.ops.push(Op { back, len }),
                kind => {
                    self.ops.push(Op { back: 0, len });
                    self.ops.push(Op { back: LITERAL, len: 1 });
                    if kind == BY_COPY_LITERAL_REP {
                        self.ops.push(Op { back, len: (way >> EXTRA_AT & 0x1FF) as u32 - 1 });
                    }
                }
            }
            cur -= step(way);
        }
    }

    /// Makes the front reach `to`.
    #[inline(always)]
    fn reach(&mut self, to: usize) {
        while self.end < to {
            self.end += 1;
            self.ways[self.end & (NODES - 1)] = Way::MAX;
        }
    }

    #[inline(always)]
    fn offer(&mut self, to: usize, way: Way) {
        let node = &mut self.ways[to & (NODES - 1)];
        *node = way.min(*node);
    }

    /// Offers every way onwards from node `cur` at `pos`.
    #[inline(always)]
    fn extend(&mut self, scene: Scene<'_>, pos: usize, cur: usize, left: usize) {
        let Scene { padded, model, prices, .. } = scene;
        let at = self.contexts[cur & (NODES - 1)];
        let st = usize::from(at.state & 15);
        let ps = pos & model.pos_mask & (POS_STATES - 1);
        let node = Node { pos, cur, left, at, st, ps };
        let so_far = (self.ways[cur & (NODES - 1)] >> PRICE_AT) as u32;
        let here = load(padded, pos);
        let before = if pos == 0 { 0 } else { padded[pos - 1] };
        // One bit for each recent distance that gives two bytes, and whether the newest gives one.
        let mut usable = 0u32;
        for (i, &dist) in at.reps.iter().enumerate() {
            let back = dist as usize + 1;
            let ok = back <= pos && (load(padded, pos.wrapping_sub(back)) ^ here) & 0xFFFF == 0;
            usable |= u32::from(ok) << i;
        }
        let rep0 = at.reps[0] as usize + 1;
        let matched = if rep0 <= pos { padded[pos - rep0] } else { 0 };
        let same = rep0 <= pos && here as u8 == matched;
        if left < 2 {
            usable = 0;
        }

        let copy_price = so_far + price(model.is_match[st][ps], 1);
        let literal_price =
            so_far + price(model.is_match[st][ps], 0) + prices.literal(model, &at, before, here as u8, matched);
        self.reach(cur + 1);
        self.offer(cur + 1, way(literal_price, BY_LITERAL, 0, 1, 0));
        let rep_price = copy_price + price(model.is_rep[st], 1);
        if same {
            let short = rep_price + price(model.is_rep0[st], 0) + price(model.is_rep0_long[st][ps], 0);
            self.offer(cur + 1, way(short, BY_SHORT, 0, 1, 0));
        } else if rep0 <= pos && left > 2 {
            self.literal_then_rep(scene, &node, literal_price);
        }
        let covered = if usable != 0 { self.reps(scene, &node, usable, rep_price) } else { 1 };
        if self.found.longest() > covered {
            self.copies(scene, &node, copy_price + price(model.is_rep[st], 0), covered);
        }
    }

    /// A literal, then the newest distance again.
    #[inline(always)]
    fn literal_then_rep(&mut self, scene: Scene<'_>, node: &Node, so_far: u32) {
        let next = node.pos + 1;
        let back = node.at.reps[0] as usize + 1;
        if (load(scene.padded, next) ^ load(scene.padded, next - back)) & 0xFFFF != 0 {
            return;
        }
        let len = common(scene.padded, next - back, next, 2, (node.left - 1).min(self.nice));
        let st = NEXT_STATE[0][node.st];
        let price = so_far + rep0_price(scene, usize::from(st & 15), next, len);
        self.reach(node.cur + 1 + len);
        self.offer(node.cur + 1 + len, way(price, BY_LITERAL_REP, 1, len, 0));
    }

    /// The recent distances in `usable`. Returns the length that the newest one covers.
    #[inline(always)]
    fn reps(&mut self, scene: Scene<'_>, node: &Node, mut usable: u32, rep_price: u32) -> usize {
        let Scene { padded, model, prices, .. } = scene;
        let Node { pos, cur, left, at, st, ps } = *node;
        let mut covered = 1;
        while usable != 0 {
            let i = usable.trailing_zeros();
            usable &= usable - 1;
            let back = at.reps[i as usize & 3] as usize + 1;
            let len = common(padded, pos - back, pos, 2, left.min(self.nice));
            let base = rep_price
                + match i {
                    0 => price(model.is_rep0[st], 0) + price(model.is_rep0_long[st][ps], 1),
                    1 => price(model.is_rep0[st], 1) + price(model.is_rep1[st], 0),
                    _ => price(model.is_rep0[st], 1) + price(model.is_rep1[st], 1) + price(model.is_rep2[st], i - 2),
                };
            self.reach(cur + len);
            let fixed = way(base, BY_REP, 0, 0, i);
            for l in 2..=len {
                let more = way(prices.rep_len[ps][l & 511], 0, 0, l, 0);
                self.offer(cur + l, fixed + more);
            }
            self.then_literal_and_rep(scene, node, len, i, base + prices.rep_len[ps][len & 511]);
            if i == 0 {
                covered = len;
            }
        }
        covered
    }

    /// Copies from the places found; lengths up to `covered` are cheaper by the newest distance.
    #[inline(always)]
    fn copies(&mut self, scene: Scene<'_>, node: &Node, base: u32, covered: usize) {
        let Node { cur, ps, .. } = *node;
        let prices = scene.prices;
        self.reach(cur + self.found.longest());
        let mut l = covered + 1;
        for i in 0..self.found.matches().len() {
            let Match { len, dist } = self.found.matches()[i];
            let len = len as usize;
            if l > len {
                continue;
            }
            let fixed = way(base, BY_MATCH, 0, 0, dist + 4);
            let mut price = 0;
            while l <= len {
                price = prices.match_len[ps][l & 511] + prices.distance(len_state(l), dist);
                self.offer(cur + l, fixed + way(price, 0, 0, l, 0));
                l += 1;
            }
            self.then_literal_and_rep(scene, node, len, dist + 4, base + price);
        }
    }

    /// After a copy of `len` bytes that ends in a difference: a literal, then the same distance again.
    #[inline(always)]
    fn then_literal_and_rep(&mut self, scene: Scene<'_>, node: &Node, len: usize, back: u32, so_far: u32) {
        let next = node.pos + len + 1;
        if len + 3 > node.left {
            return;
        }
        let dist = if back >= 4 { back - 4 } else { node.at.reps[back as usize & 3] } as usize + 1;
        if (load(scene.padded, next) ^ load(scene.padded, next - dist)) & 0xFFFF != 0 {
            return;
        }
        let again = common(scene.padded, next - dist, next, 2, (node.left - len - 1).min(self.nice));
        let st = NEXT_STATE[if back >= 4 { BY_MATCH } else { BY_REP } as usize][node.st];
        let ps = (next - 1) & scene.model.pos_mask & (POS_STATES - 1);
        let literal = price(scene.model.is_match[usize::from(st & 15)][ps], 0)
            + scene.prices.literal(
                scene.model,
                &Context { state: st, reps: [0; 4] },
                scene.padded[next - 2],
                scene.padded[next - 1],
                scene.padded[next - 1 - dist],
            );
        let st = NEXT_STATE[0][usize::from(st & 15)];
        let price = so_far + literal + rep0_price(scene, usize::from(st & 15), next, again);
        let to = node.cur + len + 1 + again;
        self.reach(to);
        self.offer(to, way(price, BY_COPY_LITERAL_REP, len + 1, again, back));
    }
}

#[inline(always)]
fn way(price: u32, kind: u64, extra: usize, len: usize, back: u32) -> Way {
    u64::from(price) << PRICE_AT
        | kind << KIND_AT
        | (extra as u64) << EXTRA_AT
        | (len as u64) << LEN_AT
        | u64::from(back)
}

/// Bytes a way covers.
#[inline(always)]
fn step(way: Way) -> usize {
    ((way >> LEN_AT & 0x1FF) + (way >> EXTRA_AT & 0x1FF)) as usize
}

/// Price of the newest distance for `len` bytes at `pos` in state `st`.
#[inline(always)]
fn rep0_price(scene: Scene<'_>, st: usize, pos: usize, len: usize) -> u32 {
    let model = scene.model;
    let ps = pos & model.pos_mask & (POS_STATES - 1);
    price(model.is_match[st][ps], 1)
        + price(model.is_rep[st], 1)
        + price(model.is_rep0[st], 0)
        + price(model.is_rep0_long[st][ps], 1)
        + scene.prices.rep_len[ps][len & 511]
}
