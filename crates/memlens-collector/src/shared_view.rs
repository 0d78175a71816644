//! One recorded process' tables, read from outside.
//!
//! Whatever the tables refer to is checked: an index or an offset that leads nowhere gives `None`, which callers count as
//! damage.
use crate::Error;
use crate::mapping::{Mapping, Record};
use crate::server::SharedFile;
use crate::shortage::limit_of;
use memlens_format::capture::Region;
use memlens_format::shared::{
    CODE_CHUNKS, CODES_PER_CHUNK, CodeRecord, Counters, Header, Lane, LibraryRecord, MAX_LANES, MAX_LIBRARIES,
    NODE_CHUNKS, NODES_PER_CHUNK, NodeRecord, SHARED_MAGIC, SHARED_VERSION, SITE_CHUNKS, SITES_PER_CHUNK, SiteRecord,
    Text,
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Longest text in bytes that is believed.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// A read-only view of a shared file.
pub struct SharedView {
    file: SharedFile,
    mapping: Mapping,
    /// Whether the first lane has touched every site, or nearly so, and is read without looking which of its pages exist.
    pub first_lane_is_whole: bool,
}

impl SharedView {
    /// Maps the file; part of it where the kernel refuses that much (a limit on the address space), in which case what lies
    /// beyond is out of reach and counts as damage.
    pub fn new(file: SharedFile) -> Result<Self, Error> {
        let mut length = wanted_length(file.bytes);
        loop {
            match Mapping::read_only(&file.file, length) {
                Ok(mapping) => return Ok(Self { file, mapping, first_lane_is_whole: false }),
                Err(error) if length / 2 < size_of::<Header>() => return Err(error),
                Err(_) => length /= 2,
            }
        }
    }

    /// The file.
    pub fn file(&self) -> &SharedFile {
        &self.file
    }

    /// The header.
    pub fn header(&self) -> &Header {
        self.mapping.record(0).expect("`new` maps at least the header")
    }

    /// Whether the agent has made its tables, and in this layout.
    pub fn is_ready(&self) -> bool {
        let header = self.header();
        header.magic.load(Relaxed) == SHARED_MAGIC && header.version.load(Relaxed) == SHARED_VERSION
    }

    /// Nodes in use, counting the root.
    pub fn node_count(&self) -> usize {
        count(&self.header().node_count, NODE_CHUNKS * NODES_PER_CHUNK)
    }

    /// Sites in use, counting site 0.
    pub fn site_count(&self) -> usize {
        count(&self.header().site_count, SITE_CHUNKS * SITES_PER_CHUNK)
    }

    /// Code records in use, counting code 0.
    pub fn code_count(&self) -> usize {
        count(&self.header().code_count, CODE_CHUNKS * CODES_PER_CHUNK)
    }

    /// The nodes of a chunk.
    pub fn nodes(&self, chunk: usize) -> Option<&[NodeRecord]> {
        self.chunk(self.header().node_chunks.get(chunk)?, NODES_PER_CHUNK)
    }

    /// The sites of a chunk.
    pub fn sites(&self, chunk: usize) -> Option<&[SiteRecord]> {
        self.chunk(self.header().site_chunks.get(chunk)?, SITES_PER_CHUNK)
    }

    /// A code record.
    pub fn code(&self, index: usize) -> Option<&CodeRecord> {
        let offset = self.header().code_chunks.get(index / CODES_PER_CHUNK)?;
        self.chunk(offset, CODES_PER_CHUNK)?.get(index % CODES_PER_CHUNK)
    }

    /// The lanes in use. One that cannot be read is `None`.
    pub fn lanes(&self) -> Vec<Option<&Lane>> {
        let lane_count = count(&self.header().lane_count, MAX_LANES);
        let offsets = &self.header().lanes[..lane_count];
        offsets.iter().map(|offset| self.at(offset)).collect()
    }

    /// Hands `each` what `lane` knows about the first `count` sites of a chunk, with the index in the chunk; fails for a wild offset.
    ///
    /// Pages that the agent has not written are left out: to read one would make it exist. A lane has 64 bytes for each site, and of the
    /// lanes beside the first each touches few.
    pub fn counters(
        &self,
        lane: &Lane,
        chunk: usize,
        count: usize,
        mut each: impl FnMut(usize, &Counters),
    ) -> Result<(), Damaged> {
        // Read once: the program may write another over it.
        let start = lane.chunks.get(chunk).ok_or(Damaged)?.load(Relaxed);
        if start == 0 {
            return Ok(());
        }
        let counters: &[Counters] = self.mapping.records(start, SITES_PER_CHUNK).ok_or(Damaged)?;
        let counters = &counters[..count.min(SITES_PER_CHUNK)];
        // Where it is the only one, it has touched every site there is.
        let is_alone = self.header().lane_count.load(Relaxed) == 1;
        if is_alone || self.first_lane_is_whole && self.is_first(lane) {
            counters.iter().enumerate().for_each(|(index, counters)| each(index, counters));
            return Ok(());
        }
        let index_of = |offset: u64| (offset - start) as usize / size_of::<Counters>();
        for written in self.file.written(start..start + size_of_val(counters) as u64) {
            let (first, end) = (index_of(written.start), index_of(written.end));
            (first..).zip(&counters[first..end]).for_each(|(index, counters)| each(index, counters));
        }
        Ok(())
    }

    /// Appends the bytes of `text` to `target` and returns its width.
    pub fn copy_text(&self, text: &Text, target: &mut Vec<u8>) -> Option<u32> {
        let width = text.width.load(Relaxed);
        let length = text.length.load(Relaxed);
        if length == 0 {
            return Some(1);
        }
        let bytes = usize::try_from(u64::from(length) * u64::from(width)).ok()?;
        if bytes > MAX_TEXT_BYTES {
            return None;
        }
        self.mapping.copy_bytes(text.offset.load(Relaxed), bytes, target)?;
        Some(width)
    }

    /// What libraries mapped by themselves, each with process 0.
    pub fn regions(&self) -> Vec<Region> {
        let header = self.header();
        let records = &header.libraries[..count(&header.library_count, MAX_LIBRARIES)];
        let mapped = records.iter().filter(|record| record.peak_bytes.load(Relaxed) > 0);
        mapped.map(|record| self.region(record)).collect()
    }

    fn region(&self, record: &LibraryRecord) -> Region {
        let mut path = Vec::new();
        let is_read = self.copy_text(&record.path, &mut path).is_some();
        let library = if is_read { String::from_utf8_lossy(&path).into_owned() } else { String::new() };
        let was_looked_at = record.looked_bytes.load(Relaxed) > 0;
        Region {
            process: 0,
            library,
            mapped_bytes: record.peak_bytes.load(Relaxed),
            resident_bytes: was_looked_at.then(|| record.resident_bytes.load(Relaxed)),
        }
    }

    /// Live heap now, over all lanes; while the program runs, up to 4 KiB a lane behind.
    pub fn live_bytes(&self) -> i64 {
        let header = self.header();
        header.main_live_bytes.load(Relaxed).saturating_add(header.others_bytes.load(Relaxed))
    }

    fn is_first(&self, lane: &Lane) -> bool {
        self.at(&self.header().lanes[0]).is_some_and(|first: &Lane| std::ptr::eq(first, lane))
    }

    fn at<T: Record>(&self, offset: &AtomicU64) -> Option<&T> {
        match offset.load(Relaxed) {
            0 => None,
            offset => self.mapping.record(offset),
        }
    }

    fn chunk<T: Record>(&self, offset: &AtomicU64, records: usize) -> Option<&[T]> {
        match offset.load(Relaxed) {
            0 => None,
            offset => self.mapping.records(offset, records),
        }
    }
}

/// Something in the tables leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// All of the file, but no more than a quarter of what a limit on the address space allows: the collector needs some too.
/// (Read as text: a filter may refuse `prlimit64`, which a safe `getrlimit` takes for impossible.)
fn wanted_length(file_bytes: u64) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let allowed =
        limit_of(&limits, "Max address space").map_or(u64::MAX, |bytes| (bytes / 4).next_multiple_of(1 << 16));
    usize::try_from(file_bytes.min(allowed)).unwrap_or(usize::MAX)
}

fn count(field: &AtomicU32, most: usize) -> usize {
    (field.load(Relaxed) as usize).min(most)
}
