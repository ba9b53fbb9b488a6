//! Code lengths from frequencies, with every tie broken as zlib and GNU gzip break it.
//!
//! Any optimal code would decode; only this one gives their bytes. The two lightest nodes are joined until one is left. Of nodes
//! with the same weight the shallower is the lighter, and of equals the heap's order decides, so the heap below (a binary heap,
//! sifted down only) is part of the rule. Codes longer than allowed are then shortened.

/// Nodes of the largest tree: 286 leaves and what joins them.
const NODES: usize = 2 * super::codes::LITERALS + 1;

/// What a code is made of.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The last symbol that has a code.
    pub(super) last: usize,
    /// Bits that all symbols take, extra bits not counted.
    pub(super) cost: u64,
}

struct Tree {
    weight: [u32; NODES],
    depth: [u8; NODES],
    parent: [u16; NODES],
    heap: [u16; NODES + 1],
    live: usize,
}

impl Tree {
    fn lighter(&self, one: u16, other: u16) -> bool {
        let (one, other) = (usize::from(one), usize::from(other));
        (self.weight[one], self.depth[one]) <= (self.weight[other], self.depth[other])
    }

    /// Puts the node at `place` of the heap where it belongs; children of `n` are `2n` and `2n + 1`, from 1.
    fn sift(&mut self, mut place: usize) {
        let node = self.heap[place];
        let mut child = 2 * place;
        while child <= self.live {
            if child < self.live && self.lighter(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if self.lighter(node, self.heap[child]) {
                break;
            }
            self.heap[place] = self.heap[child];
            place = child;
            child *= 2;
        }
        self.heap[place] = node;
    }

    fn plant(frequencies: &[u32]) -> (Box<Self>, usize) {
        let mut tree =
            Box::new(Self { weight: [0; NODES], depth: [0; NODES], parent: [0; NODES], heap: [0; NODES + 1], live: 0 });
        let mut last = 0;
        for (symbol, &frequency) in frequencies.iter().enumerate() {
            tree.weight[symbol] = frequency;
            if frequency != 0 {
                tree.live += 1;
                tree.heap[tree.live] = symbol as u16;
                last = symbol;
            }
        }
        // A code has at least two symbols; low ones are added when there are fewer.
        let mut used = if tree.live == 0 { None } else { Some(last) };
        while tree.live < 2 {
            let symbol = match used {
                None => 0,
                Some(most) if most < 2 => most + 1,
                Some(_) => 0,
            };
            used = Some(used.unwrap_or(0).max(symbol));
            tree.weight[symbol] = 1;
            tree.live += 1;
            tree.heap[tree.live] = symbol as u16;
        }
        (tree, used.unwrap_or(0))
    }

    /// Joins all nodes; they are returned from the lightest on, so that a parent is behind its children.
    fn grow(&mut self, leaves: usize) -> Vec<u16> {
        for place in (1..=self.live / 2).rev() {
            self.sift(place);
        }
        let mut order = Vec::with_capacity(NODES);
        let mut next = leaves;
        while self.live >= 2 {
            let one = self.heap[1];
            self.heap[1] = self.heap[self.live];
            self.live -= 1;
            self.sift(1);
            let other = self.heap[1];
            order.extend([one, other]);
            let (a, b) = (usize::from(one), usize::from(other));
            self.weight[next] = self.weight[a] + self.weight[b];
            self.depth[next] = self.depth[a].max(self.depth[b]) + 1;
            self.parent[a] = next as u16;
            self.parent[b] = next as u16;
            self.heap[1] = next as u16;
            next += 1;
            self.sift(1);
        }
        order.push(self.heap[1]);
        order
    }
}

/// The lengths of the codes of symbols with these `frequencies` (at most 286), none above `limit` bits.
pub(super) fn build(frequencies: &[u32], limit: usize, lengths: &mut [u8]) -> Built {
    lengths.fill(0);
    let leaves = frequencies.len();
    let (mut tree, last) = Tree::plant(frequencies);
    let order = tree.grow(leaves);
    let mut depth = [0u8; NODES];
    let mut count = [0u32; 16];
    let mut excess = 0i32;
    for &node in order.iter().rev().skip(1) {
        let node = usize::from(node);
        let mut bits = usize::from(depth[usize::from(tree.parent[node])]) + 1;
        if bits > limit {
            bits = limit;
            excess += 1;
        }
        depth[node] = bits as u8;
        if node < leaves {
            count[bits] += 1;
        }
    }
    if excess > 0 {
        shorten(&mut count, limit, excess);
        let mut nodes = order.iter().map(|node| usize::from(*node)).filter(|node| *node < leaves);
        for bits in (1..=limit).rev() {
            nodes.by_ref().take(count[bits] as usize).for_each(|node| depth[node] = bits as u8);
        }
    }
    let mut cost = 0;
    for (symbol, length) in lengths.iter_mut().enumerate().take(last + 1) {
        *length = depth[symbol];
        cost += u64::from(frequencies[symbol]) * u64::from(*length);
    }
    Built { last, cost }
}

/// Takes `excess` leaves that were cut to `limit` bits back into a complete code.
fn shorten(count: &mut [u32; 16], limit: usize, mut excess: i32) {
    while excess > 0 {
        let Some(bits) = (1..limit).rev().find(|bits| count[*bits] != 0) else { return };
        count[bits] -= 1;
        count[bits + 1] += 2;
        count[limit] -= 1;
        excess -= 2;
    }
}
