//! What prediction needs of an ELF file: which bytes are loaded where, and what kind of references an area holds.
//!
//! 64 bit, little-endian, x86-64 and AArch64 only. Nothing here trusts a header: tables outside the file, areas that overlap and
//! addresses that wrap are left out. After the System V ABI, chapters 4 and 5, and its supplements for the two machines.

use std::io;

use umiak_spec::ReadAt;

/// Instruction sets whose references are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// `EM_X86_64`
    X86,
    /// `EM_AARCH64`
    Arm,
}

/// A loaded part of a file (`PT_LOAD`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file.
    pub offset: u64,
    /// Where it is loaded.
    pub address: u64,
    /// Bytes in the file.
    pub file: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// May be executed.
    pub code: bool,
}

/// What an area of a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    Code,
    /// `SHT_RELA`: records of three words, places and addends are addresses.
    Rela,
    /// Symbols: records of 24 bytes, the value is an address.
    Symbols,
    /// Words of 8 bytes that may be addresses.
    Pointers,
    /// Call frame information.
    Frames,
    /// The sorted index of call frame information.
    FrameIndex,
    /// Constants, among them jump tables.
    Constants,
}

/// Bytes of a file that are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// What they are.
    pub role: Role,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Where they are loaded; 0 if they are not.
    pub address: u64,
    /// Where the area is loaded that its records point into: names of symbols, symbols of relocations; 0 if none is.
    pub link: u64,
}

/// An ELF file's loaded parts and areas.
#[derive(Debug, Clone)]
pub struct Elf {
    /// Its instruction set.
    pub machine: Machine,
    /// In the file's order.
    pub segments: Vec<Segment>,
    /// By offset, apart from each other.
    pub areas: Vec<Area>,
}

/// Loaded parts a file may have.
pub const MAX_SEGMENTS: usize = 64;
/// Section headers that are looked at.
const MAX_SECTIONS: u64 = 4096;
/// Bytes of section names that are looked at.
const MAX_NAMES: u64 = 256 << 10;

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const SECTION_HEADER: u64 = 64;

impl Elf {
    /// Reads the headers of `file`; `None` if it is no such file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: &dyn ReadAt) -> io::Result<Option<Self>> {
        let size = file.len()?;
        if size < HEADER || size > u64::from(u32::MAX) {
            return Ok(None);
        }
        let header = part(file, 0, HEADER)?;
        if !header.starts_with(b"\x7FELF\x02\x01") {
            return Ok(None);
        }
        let machine = match u16_at(&header, 18) {
            62 => Machine::X86,
            183 => Machine::Arm,
            _ => return Ok(None),
        };
        let segments = segments(file, size, &header)?;
        if segments.is_empty() {
            return Ok(None);
        }
        let mut areas = areas(file, size, &header)?;
        if areas.is_empty() {
            // Without section headers, what may be executed is taken for instructions.
            areas.extend(segments.iter().filter(|segment| segment.code).map(|segment| Area {
                role: Role::Code,
                offset: segment.offset,
                size: segment.file,
                address: segment.address,
                link: 0,
            }));
        }
        areas.sort_by_key(|area| (area.offset, area.size));
        let mut end = 0;
        areas.retain(|area| {
            let apart = area.offset >= end;
            if apart {
                end = area.offset + area.size;
            }
            apart
        });
        Ok(Some(Self { machine, segments, areas }))
    }
}

fn segments(file: &dyn ReadAt, size: u64, header: &[u8]) -> io::Result<Vec<Segment>> {
    let (table, count) = (u64_at(header, 32), u64::from(u16_at(header, 56)));
    if count > MAX_SEGMENTS as u64 || !inside(table, count * PROGRAM_HEADER, size) {
        return Ok(Vec::new());
    }
    let table = part(file, table, count * PROGRAM_HEADER)?;
    let segments = table.chunks_exact(PROGRAM_HEADER as usize).filter(|row| u32_at(row, 0) == 1).map(|row| Segment {
        offset: u64_at(row, 8),
        address: u64_at(row, 16),
        file: u64_at(row, 32),
        memory: u64_at(row, 40),
        code: u32_at(row, 4) & 1 != 0,
    });
    Ok(segments.filter(|segment| segment.is_sound() && inside(segment.offset, segment.file, size)).collect())
}

impl Segment {
    /// Neither its bytes nor its addresses wrap.
    pub fn is_sound(&self) -> bool {
        self.offset.checked_add(self.file).is_some()
            && self.address.checked_add(self.memory.max(self.file)).is_some()
            && self.file > 0
    }
}

fn areas(file: &dyn ReadAt, size: u64, header: &[u8]) -> io::Result<Vec<Area>> {
    let (table, count) = (u64_at(header, 40), u64::from(u16_at(header, 60)));
    let names = u64::from(u16_at(header, 62));
    if table == 0 || count > MAX_SECTIONS || !inside(table, count * SECTION_HEADER, size) {
        return Ok(Vec::new());
    }
    let rows = part(file, table, count * SECTION_HEADER)?;
    let names = match rows.chunks_exact(SECTION_HEADER as usize).nth(names as usize) {
        Some(row) if inside(u64_at(row, 24), u64_at(row, 32), size) && u64_at(row, 32) <= MAX_NAMES => {
            part(file, u64_at(row, 24), u64_at(row, 32))?
        }
        _ => Vec::new(),
    };
    let mut areas = Vec::new();
    for row in rows.chunks_exact(SECTION_HEADER as usize) {
        let name = names.get(u32_at(row, 0) as usize..).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let (address, offset, length) = (u64_at(row, 16), u64_at(row, 24), u64_at(row, 32));
        if length > 0
            && inside(offset, length, size)
            && address.checked_add(length).is_some()
            && let Some(role) = role(u32_at(row, 4), u64_at(row, 8), name)
        {
            let link = rows.chunks_exact(SECTION_HEADER as usize).nth(u32_at(row, 40) as usize);
            let link = link.map_or(0, |row| u64_at(row, 16));
            areas.push(Area { role, offset, size: length, address, link });
        }
    }
    Ok(areas)
}

fn role(kind: u32, flags: u64, name: &[u8]) -> Option<Role> {
    const WRITE: u64 = 1;
    const ALLOC: u64 = 2;
    const EXECUTE: u64 = 4;
    match (kind, name) {
        (8, _) => None,
        (_, b".eh_frame") => Some(Role::Frames),
        (_, b".eh_frame_hdr") => Some(Role::FrameIndex),
        (4, _) => Some(Role::Rela),
        (2 | 11, _) => Some(Role::Symbols),
        // SHT_DYNAMIC, arrays of functions, SHT_RELR
        (6 | 14..=16 | 19, _) => Some(Role::Pointers),
        (1, _) if flags & EXECUTE != 0 => Some(Role::Code),
        (1, _) if flags & (WRITE | ALLOC) == WRITE | ALLOC => Some(Role::Pointers),
        (1, _) if flags & ALLOC != 0 => Some(Role::Constants),
        _ => None,
    }
}

fn inside(offset: u64, length: u64, size: u64) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= size)
}

fn part(file: &dyn ReadAt, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// The number at `at`, zero where there is none.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

/// The number at `at`, zero where there is none.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// The number at `at`, zero where there is none.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
