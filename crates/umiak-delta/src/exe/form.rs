//! How a reference is written in its bytes: which bits, and what they say of an address.

/// Forms of references. A reference lies in one word of 4 or 8 bytes, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// 32 bits: distance from the end of the field plus this many bytes.
    Relative(u8),
    /// 32 bits: distance back from the field.
    Back,
    /// 64 bits: the address.
    Absolute,
    /// 32 bits: distance from the address of a table in the base.
    Table(u64),
    /// 32 bits: number of a record of 24 bytes in the table at this address of the base.
    Record(u64),
    /// 32 bits: bytes from this address in the base to the last byte that belongs to it.
    Size(u64),
    /// The lowest 26 bits of an instruction: distance in words of 4 bytes (`B`, `BL`).
    Branch26,
    /// 19 bits from the fifth on: distance in words of 4 bytes (`B.cond`, `CBZ`, `CBNZ`).
    Branch19,
    /// 21 bits in two parts: distance in pages of 4096 bytes, for this register (`ADRP`).
    Page(u8),
    /// 12 bits from the tenth on: the address within its page, over `2^scale`, by this register.
    Low {
        /// Bits that are not written.
        scale: u8,
        /// Which register holds the page.
        register: u8,
    },
}

impl Form {
    /// Bytes of the word.
    pub fn width(self) -> usize {
        if self == Self::Absolute { 8 } else { 4 }
    }

    /// Bits of the word that are the reference.
    pub fn mask(self) -> u64 {
        match self {
            Self::Relative(_) | Self::Back | Self::Table(_) | Self::Record(_) | Self::Size(_) => 0xFFFF_FFFF,
            Self::Absolute => u64::MAX,
            Self::Branch26 => 0x03FF_FFFF,
            Self::Branch19 => 0x00FF_FFE0,
            Self::Page(_) => 0x60FF_FFE0,
            Self::Low { .. } => 0x003F_FC00,
        }
    }

    /// The address in the base that it is relative to, if that is another than its own.
    pub fn table(self) -> Option<u64> {
        match self {
            Self::Table(table) | Self::Record(table) | Self::Size(table) => Some(table),
            _ => None,
        }
    }

    /// Bits of its value.
    pub fn bits(self) -> u32 {
        self.mask().count_ones()
    }

    /// A small number for contexts.
    pub fn number(self) -> u32 {
        match self {
            Self::Relative(0) => 0,
            Self::Relative(4) => 1,
            Self::Relative(_) => 2,
            Self::Back => 3,
            Self::Absolute => 4,
            Self::Table(_) => 5,
            Self::Branch26 => 6,
            Self::Branch19 => 7,
            Self::Page(_) => 8,
            Self::Low { .. } => 9,
            Self::Size(_) => 10,
            Self::Record(_) => 11,
        }
    }

    /// The value in `word`, not extended by its sign.
    pub fn value(self, word: u64) -> u64 {
        match self {
            Self::Relative(_) | Self::Back | Self::Table(_) | Self::Record(_) | Self::Size(_) => word & 0xFFFF_FFFF,
            Self::Absolute => word,
            Self::Branch26 => word & 0x03FF_FFFF,
            Self::Branch19 => word >> 5 & 0x7_FFFF,
            Self::Page(_) => (word >> 5 & 0x7_FFFF) << 2 | word >> 29 & 3,
            Self::Low { .. } => word >> 10 & 0xFFF,
        }
    }

    /// `word` with another value, of which only the form's bits count.
    pub fn with_value(self, word: u64, value: u64) -> u64 {
        let placed = match self {
            Self::Relative(_)
            | Self::Back
            | Self::Table(_)
            | Self::Record(_)
            | Self::Size(_)
            | Self::Absolute
            | Self::Branch26 => value,
            Self::Branch19 => value << 5,
            Self::Page(_) => (value >> 2 & 0x7_FFFF) << 5 | (value & 3) << 29,
            Self::Low { .. } => value << 10,
        };
        word & !self.mask() | placed & self.mask()
    }

    /// The value, extended by its sign.
    fn signed(self, word: u64) -> i64 {
        let unused = 64 - self.bits();
        ((self.value(word) << unused).cast_signed()) >> unused
    }

    /// What the word at address `here` points to. A [`Form::Low`] tells only where in the page of `page`; `table` is where
    /// [`Form::table`] is.
    pub fn target(self, word: u64, here: u64, page: u64, table: u64) -> u64 {
        let distance = self.signed(word).cast_unsigned();
        match self {
            Self::Relative(end) => here.wrapping_add(u64::from(end)).wrapping_add(distance),
            Self::Back => here.wrapping_sub(distance),
            Self::Absolute => word,
            Self::Table(_) => table.wrapping_add(distance),
            Self::Record(_) => table.wrapping_add(self.value(word) * 24),
            Self::Size(_) => table.wrapping_add(distance).wrapping_sub(1),
            Self::Branch26 | Self::Branch19 => here.wrapping_add(distance << 2),
            Self::Page(_) => (here & !0xFFF).wrapping_add(distance << 12),
            Self::Low { scale, .. } => page & !0xFFF | self.value(word) << scale & 0xFFF,
        }
    }

    /// `word` pointing to `target` from address `here`.
    pub fn pointing(self, word: u64, target: u64, here: u64, table: u64) -> u64 {
        let value = match self {
            Self::Relative(end) => target.wrapping_sub(here.wrapping_add(u64::from(end))),
            Self::Back => here.wrapping_sub(target),
            Self::Absolute => target,
            Self::Table(_) => target.wrapping_sub(table),
            Self::Record(_) => target.wrapping_sub(table) / 24,
            Self::Size(_) => target.wrapping_sub(table).wrapping_add(1),
            Self::Branch26 | Self::Branch19 => target.wrapping_sub(here) >> 2,
            Self::Page(_) => (target >> 12).wrapping_sub(here >> 12),
            Self::Low { scale, .. } => (target & 0xFFF) >> scale,
        };
        self.with_value(word, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 11] = [
        Form::Size(0x9000),
        Form::Relative(4),
        Form::Relative(0),
        Form::Back,
        Form::Absolute,
        Form::Table(0x9000),
        Form::Branch26,
        Form::Branch19,
        Form::Page(3),
        Form::Low { scale: 0, register: 3 },
        Form::Low { scale: 3, register: 3 },
    ];

    #[test]
    fn a_word_points_where_it_was_pointed() {
        for form in FORMS {
            for (here, target) in [(0x40_1000, 0x40_2FF8), (0x40_2FF8, 0x40_1008), (0x5000, 0x5010)] {
                for word in [0, u64::MAX >> (64 - 8 * form.width())] {
                    let pointed = form.pointing(word, target, here, 0x40_0000);
                    assert_eq!(pointed & !form.mask(), word & !form.mask(), "{form:?}");
                    let found = form.target(pointed, here, target, 0x40_0000);
                    let expected = if matches!(form, Form::Page(_)) { target & !0xFFF } else { target };
                    assert_eq!(found, expected, "{form:?}");
                    assert_eq!(form.with_value(word, form.value(pointed)), pointed, "{form:?}");
                }
            }
        }
    }
}
