//! Reading a VDI that may come from anywhere.

use std::io::{self, Read, Seek, SeekFrom};

use super::VdiError;
use super::header::{BLOCK, Header, NEVER_WRITTEN, NOTHING_HERE};

/// How many map entries are read at once.
const MAP_CHUNK: usize = 16 * 1024;

/// The virtual disk in a VDI, as bytes. Everything a file could lie about was checked when it was
/// opened, so that reads fail only when the host does.
#[derive(Debug)]
pub struct DiskReader<R> {
    source: R,
    header: Header,
    map: Vec<u32>,
    position: u64,
}

impl<R: Read + Seek> DiskReader<R> {
    /// Reads the header and the block map of a fixed or dynamic VDI. Memory is bounded by what
    /// the file really holds.
    pub fn open(mut source: R) -> Result<Self, VdiError> {
        let header = Header::read(&mut source)?;
        let length = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(header.map_offset))?;
        let map = read_map(&mut source, &header, length)?;
        Ok(Self {
            source,
            header,
            map,
            position: 0,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the disk stands in the file as one piece, in bytes, if it does: there, the file can
    /// be read as a raw disk.
    pub fn raw_offset(&self) -> Option<u64> {
        let in_place = |(block, &place): (u32, &u32)| block == place;
        (0..).zip(&self.map).all(in_place).then_some(self.header.data_offset)
    }
}

/// Reads and checks the map, where `source` stands, entry by entry: a file that lies costs no
/// more memory than it has honest entries.
fn read_map(source: &mut impl Read, header: &Header, length: u64) -> Result<Vec<u32>, VdiError> {
    let whole = length.saturating_sub(header.data_offset) / BLOCK;
    let present = u32::try_from(whole).map_or(header.blocks, |whole| whole.min(header.blocks));
    let mut taken = vec![false; present as usize];
    let mut map = Vec::new();
    let mut allocated = 0;
    let mut bytes = vec![0; 4 * MAP_CHUNK];
    let mut block = 0;
    while block < header.blocks {
        let entries = MAP_CHUNK.min((header.blocks - block) as usize);
        let bytes = &mut bytes[..4 * entries];
        source.read_exact(bytes)?;
        for entry in bytes.chunks_exact(4) {
            let place = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
            if place != NEVER_WRITTEN && place != NOTHING_HERE {
                claim(&mut taken, header, block, place, length)?;
                allocated += 1;
            }
            map.push(place);
            block += 1;
        }
    }
    if allocated != header.allocated {
        return Err(VdiError::Allocated {
            header: header.allocated,
            map: allocated,
        });
    }
    Ok(map)
}

/// Marks `place` as that of `block`.
fn claim(taken: &mut [bool], header: &Header, block: u32, place: u32, length: u64) -> Result<(), VdiError> {
    if place >= header.blocks {
        let blocks = header.blocks;
        return Err(VdiError::PastBlocks { block, place, blocks });
    }
    match taken.get_mut(place as usize) {
        None => Err(VdiError::PastEnd { block, length }),
        Some(true) => Err(VdiError::Shared { block, place }),
        Some(free) => {
            *free = true;
            Ok(())
        }
    }
}

impl<R: Read + Seek> Read for DiskReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.header.disk_size {
            return Ok(0);
        }
        let within = self.position % BLOCK;
        let left = (BLOCK - within).min(self.header.disk_size - self.position);
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = &mut buffer[..length];
        let block = usize::try_from(self.position / BLOCK).expect("a block number has 32 bits");
        match self.map[block] {
            NEVER_WRITTEN | NOTHING_HERE => buffer.fill(0),
            place => {
                let start = self.header.data_offset + u64::from(place) * BLOCK + within;
                self.source.seek(SeekFrom::Start(start))?;
                self.source.read_exact(buffer)?;
            }
        }
        self.position += length as u64;
        Ok(length)
    }
}

impl<R: Read + Seek> Seek for DiskReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(step) => self.position.checked_add_signed(step),
            SeekFrom::End(step) => self.header.disk_size.checked_add_signed(step),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests;
