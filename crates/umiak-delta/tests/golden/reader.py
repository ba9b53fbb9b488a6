"""A second reader of deltas, written from docs/formats/delta.md and delta-model.md alone: plain contents, raw and tar targets.

reader.py BLOB SOURCES OUT: SOURCES is a directory with the files 0 (all skeletons), 1, 2, ... and "spacings", a number a line.
"""

import hashlib
import lzma
import sys

M = 0xFFFFFFFF
S = [1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546, 2048, 2550, 2994, 3349, 3608, 3785, 3902, 3976,
     4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094, 4095]


def clamp(value, most):
    return max(-most, min(most, value))


def squash(logit):
    x = clamp(logit, 2047) + 2048
    i, f = x >> 7, x & 127
    return (S[i] * (128 - f) + S[i + 1] * f + 64) >> 7


STRETCH = []
for p in range(4096):
    STRETCH.append(next((logit for logit in range(STRETCH[-1] if STRETCH else -2047, 2048) if squash(logit) >= p), 2047))


def h(*xs):
    v = 0x2F0B4C47
    for x in xs:
        v = ((v << 5 | v >> 27) & M ^ x & M) * 0x85EBCA6B & M
    return v


def place(v, b):
    return (v * 0x9E3779B1 & M) >> (32 - b)


class Bytes:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, count):
        part = self.raw[self.at:self.at + count]
        assert len(part) == count, "a stream ends early"
        self.at += count
        return part

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self):
        return unzigzag(self.varint())


def unzigzag(value):
    return value >> 1 if value % 2 == 0 else -(value >> 1) - 1


class Coder:
    def __init__(self, raw):
        self.raw, self.at, self.low, self.high, self.code = raw, 0, 0, M, 0
        for _ in range(4):
            self.code = self.code << 8 | self.byte()

    def byte(self):
        self.at += 1
        return self.raw[self.at - 1] if self.at <= len(self.raw) else 0

    def bit(self, one):
        middle = self.low + ((self.high - self.low) * one >> 16)
        bit = int(self.code <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low << 8 & M
            self.high = self.high << 8 & M | 255
            self.code = self.code << 8 & M | self.byte()
        return bit


class Mixer:
    def __init__(self, coder, n, bits, limit):
        self.coder, self.n, self.bits, self.limit = coder, n, bits, limit
        self.weights, self.counters = {}, {}

    def bit(self, which, *hashes):
        return self.mix(which, [(i, place(v, self.bits)) for i, v in enumerate(hashes)])

    def mix(self, which, keys):
        assert len(keys) == self.n
        w = self.weights.setdefault(which, [98304 // self.n + 8192] * self.n)
        cs = [self.counters.setdefault(key, [1 << 21, 0]) for key in keys]
        s = [STRETCH[c[0] >> 10] for c in cs]
        total = sum(a * (b >> 2) >> 3 for a, b in zip(s, w))
        p = squash(clamp(total >> 11, 2047))
        bit = self.coder.bit(16 * p + 8)
        e = (4095 * bit - p) * 50
        for i in range(self.n):
            w[i] = clamp(w[i] + (s[i] * e + 32768 >> 16), 1 << 20)
        goal = (1 << 22) - 1 if bit else 0
        for c in cs:
            c[0] += (goal - c[0]) * (131072 // (2 * c[1] + 3)) >> 16
            c[1] += c[1] < self.limit
        return bit


class Numbers:
    def __init__(self, coder):
        self.mixer, self.l1, self.l2 = Mixer(coder, 3, 12, 30), 0, 0

    def number(self, c):
        n = 1
        for _ in range(7):
            n = n << 1 | self.mixer.bit(0, h(0, n, c), h(0, n, c, self.l1, 7), h(0, n, self.l1, self.l2, 9))
        length = n - 128
        assert length <= 64
        m = min(length, 1)
        for a in range(length - 1):
            k = m if a < 3 else 8 + a
            m = m << 1 | self.mixer.bit(0, h(1, length, k, 0), h(1, length, k, c + 1), h(1, length, k, self.l1 + 99))
        self.l2, self.l1 = self.l1, length
        return m


class Lane:
    def __init__(self, streams, number):
        coder = Coder(streams.get(4 * number + 1, b""))
        self.literals = Bytes(streams.get(4 * number + 2, b""))
        self.literal, self.length = Numbers(coder), Numbers(coder)
        self.offsets = [Numbers(coder) for _ in range(3)]
        self.places = Mixer(coder, 3, 12, 30)
        self.q1 = self.q2 = self.b1 = self.b2 = 0
        self.blocks, self.flags, self.bytes = Mixer(coder, 4, 13, 60), Mixer(coder, 4, 16, 12), Mixer(coder, 5, 0, 8)
        self.met, self.became = list(range(256)), list(range(256))
        self.recent = self.wrongs = self.difference = self.calm = 0
        self.right = 20

    def patch(self, size, source):
        out, end, d = bytearray(), 0, [0] * 4
        while len(out) < size:
            count = self.literal.number(2 * self.b2 + (len(out) > 0))
            assert count <= size - len(out)
            out += self.literals.take(count)
            self.b1 = count.bit_length()
            if len(out) == size:
                break
            n = 1
            for _ in range(3):
                n = n << 1 | self.places.bit(0, h(n, self.q1, self.q2), h(n, self.b1, 1),
                                             h(n, self.q1, min(self.b1, 6), min(self.b2, 8), 2))
            self.q2, self.q1 = self.q1, n - 8
            at = len(out)
            begin = [d[0] + at, end, d[1] + at, d[2] + at, d[3] + at, end, d[1] + at, d[2] + at][self.q1]
            if self.q1 > 4:
                begin += unzigzag(self.offsets[self.q1 - 5].number(self.b1))
            begin %= 1 << 64
            count = self.length.number(64 * self.q1 + self.b1)
            assert 0 < count <= size - at and begin + count <= len(source)
            self.b2 = count.bit_length()
            diagonal = (begin - at) % (1 << 64)
            d.pop(d.index(diagonal) if diagonal in d else 3)
            d.insert(0, diagonal)
            end = begin + count
            for first in range(begin, end, 4096):
                out += self.correct(bytearray(source[first:min(first + 4096, end)]))
        return bytes(out)

    def correct(self, text, hint=0):
        self.text, self.hint = text, hint
        at = 0
        while at < len(text):
            if self.right < 20:
                self.byte(at)
                at += 1
            else:
                at = self.block(at)
        return text

    def shown(self, at):
        return self.text[at] if at < len(self.text) else 256

    def block(self, at):
        size = min(1 << 4 + min(self.calm, 8), len(self.text) - at)
        if not self.any(at, size, 0):
            self.passed(at, size)
            self.calm += 1
            return at + size
        while size > 64:
            half = size // 2
            if self.any(at, half, 16):
                size = half
            else:
                self.passed(at, half)
                at, size = at + half, size - half
        for at in range(at, at + size - 1):
            if self.byte(at):
                return at + 1
        at += size > 1
        self.value(at)
        return at + 1

    def any(self, at, size, part):
        x, l, c = [self.shown(at + i) for i in range(4)], size.bit_length() + part, min(self.calm, 15) + part
        return self.blocks.bit(c, h(self.hint << 16 | l << 8 | c), h(self.hint << 18 | l << 9 | x[0], self.recent & 255, 1),
                               h(x[0] << 18 | x[1] << 9 | x[2], x[3] << 5 | l, 2), h(self.recent & 65535, x[0] << 9 | x[1], 3))

    def enter(self, byte):
        self.recent = self.recent << 8 & M | byte

    def passed(self, at, size):
        for byte in self.text[at + size - min(size, 4):at + size]:
            self.enter(byte)
        self.wrongs = self.wrongs << size & M
        self.right = min(self.right + size, M)

    def byte(self, at):
        x, r, t = [self.shown(at + i) for i in range(3)], min(self.right, 31), self.recent & 255
        if self.flags.bit((self.wrongs & 7) * 8 + r // 4, h(self.hint, self.wrongs & 255, r, 1), h(x[0] << 16 | t << 8 | self.hint, 2),
                          h(x[0] << 16 | self.met[x[0]] << 8 | self.became[x[0]], x[1], 3), h(x[0] << 9 | x[1], x[2] << 8 | t, 4)):
            self.value(at)
            return True
        self.met[x[0]] = x[0]
        self.enter(x[0])
        self.wrongs = self.wrongs << 1 & M
        self.right = min(self.right + 1, M)
        return False

    def value(self, at):
        x, t = self.text[at], self.recent & 255
        guesses = [256 | self.became[x], 256 | (x + self.difference & 255)]
        n = 1
        for j in range(7, -1, -1):
            if j in (7, 3):
                u = 1
                rows = [place(v, 12) for v in (h(n, self.hint, 1), h(n << 8 | x, 2), h(n << 16 | x << 8 | t, 3),
                                               h(n << 16 | self.recent & 65535, self.hint, 4))]
            f1, f2 = [2 + (g >> j & 1) if g >> j + 1 == n else 0 for g in guesses]
            keys = [(0, (self.hint & 15) * 128 + 32 * f1 + 8 * f2 + j)] + [(1 + i, row, u) for i, row in enumerate(rows)]
            bit = self.bytes.mix(j + 8 * (4 * f1 + f2), keys)
            n, u = n << 1 | bit, u << 1 | bit
        value = n & 255
        self.text[at] = self.became[x] = self.met[x] = value
        self.difference = value - x & 255
        self.enter(value)
        self.wrongs = self.wrongs << 1 & M | 1
        self.right = self.calm = 0


def read(blob):
    assert blob[:8] == b"UMIAKDL\x01"
    length = int.from_bytes(blob[12:16], "little")
    raw = blob[48:48 + length]
    assert hashlib.sha256(blob[:16] + raw).digest() == blob[16:48]
    index, offset, streams = Bytes(raw), 48 + length, {}
    whole = lambda: (index.varint(), index.varint(), index.take(32))
    target, skeleton = whole(), index.varint()
    bases = [whole() for _ in range(index.varint())]
    for _ in range(index.varint()):
        number, codec, window, plain, stored = [index.varint() for _ in range(5)]
        bytes_ = blob[offset:offset + stored]
        offset += stored
        for at in range(0, stored, 1 << 20):
            assert hashlib.sha256(bytes_[at:at + (1 << 20)]).digest() == index.take(32)
        if codec == 1:
            filters = [{"id": lzma.FILTER_LZMA2, "dict_size": window}]
            bytes_ = lzma.decompress(bytes_, lzma.FORMAT_RAW, filters=filters)
        assert codec < 2 and len(bytes_) == plain
        streams[number] = bytes_
    assert index.at == length and offset == len(blob)
    return target, skeleton, len(bases), streams


def contents(plan, sources, spacings, lanes):
    e, spacing, given, made = 1, 0, None, []

    def use(content, own):
        nonlocal spacing, given
        spacing = given if given is not None else spacing if own is None else own
        given = None
        made.append(content)
        return content, spacing

    while plan.at < len(plan.raw):
        instruction = plan.varint()
        kind, value = instruction & 7, instruction >> 3
        if kind == 0:
            for _ in range(value + 1):
                yield use(sources[e], spacings[e])
                e += 1
        elif kind == 1:
            e += unzigzag(value)
        elif kind == 2:
            assert value // 4 == 0
            e += plan.signed()
            size = len(sources[e]) + plan.signed()
            yield use(lanes[value % 4].patch(size, sources[e]), spacings[e])
            e += 1
        elif kind == 3:
            yield use(lanes[value].literals.take(plan.varint()), None)
        elif kind == 4:
            yield use(made[-1 - value], None)
        elif kind == 5:
            given = value
        assert 0 <= e <= len(sources)


def main(blob, directory, out):
    load = lambda path: open(path, "rb").read()
    spacings = [None] + [int(line) for line in open(f"{directory}/spacings")]
    sources = [load(f"{directory}/{number}") for number in range(len(spacings))]
    (shape, size, digest), skeleton, _, streams = read(load(blob))
    lanes = [Lane(streams, number) for number in range(4)]
    rest = Bytes(lanes[0].patch(skeleton, sources[0]))
    target = bytearray()
    for content, spacing in contents(Bytes(streams.get(0, b"")), sources, spacings, lanes):
        # Skeletons with headers of tar would be flipped here; these have none.
        target += rest.take(spacing // 2 if shape == 1 else 0) + content
        if shape == 1 and spacing % 2 == 0:
            target += bytes(-len(content) % 512)
    target += rest.raw[rest.at:]
    assert len(target) == size and hashlib.sha256(target).digest() == digest
    open(out, "wb").write(target)


main(*sys.argv[1:])
