//! Shared tables made by hand, for tests: what an agent would write, written into the file with plain `write`.
use crate::server::SharedFile;
use crate::shared_view::SharedView;
use memlens_format::shared::{
    CODES_PER_CHUNK, CodeRecord, Counters, Header, Lane, NODES_PER_CHUNK, NodeRecord, SHARED_MAGIC, SHARED_VERSION,
    SITES_PER_CHUNK, STATUS_RECORDING, SiteRecord, Text,
};
use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

/// A shared file and what has been put into it.
pub struct FakeTables {
    file: File,
    bytes: u64,
    next: u64,
    counts: [u32; 4],
}

/// The figures of one lane's counters.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    pub count: u64,
    pub bytes: u64,
    pub live: (i32, i64),
    pub peak: (i32, i64),
    pub epoch: u64,
    pub temporary: (u64, u64),
}

const NODES: usize = 0;
const SITES: usize = 1;
const CODES: usize = 2;
const LANES: usize = 3;

impl FakeTables {
    /// Ready tables with only the reserved first records in them.
    pub fn new() -> Self {
        let shared = SharedFile::new().unwrap();
        let mut tables = Self {
            file: shared.file.into(),
            bytes: shared.bytes,
            next: (size_of::<Header>() as u64).next_multiple_of(4096),
            counts: [0; 4],
        };
        tables.put_u64(offset_of!(Header, magic) as u64, SHARED_MAGIC);
        tables.put_u32(offset_of!(Header, version) as u64, SHARED_VERSION);
        tables.put_u32(offset_of!(Header, status) as u64, STATUS_RECORDING);
        tables.put_u32(offset_of!(Header, python_version) as u64, 0x030c_01f0);
        tables.node(0, 0, 0);
        tables.site(0, 0);
        tables.code("", "", 0);
        tables
    }

    pub fn view(&self) -> SharedView {
        SharedView::new(SharedFile { file: self.file.try_clone().unwrap().into(), bytes: self.bytes }).unwrap()
    }

    pub fn put_u64(&self, offset: u64, value: u64) {
        self.file.write_all_at(&value.to_ne_bytes(), offset).unwrap();
    }

    pub fn put_u32(&self, offset: u64, value: u32) {
        self.file.write_all_at(&value.to_ne_bytes(), offset).unwrap();
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.next
    }

    pub fn node(&mut self, parent: u32, code: u32, line: u32) -> u32 {
        let directory = offset_of!(Header, node_chunks);
        let (index, at) = self.record(NODES, directory, NODES_PER_CHUNK, size_of::<NodeRecord>());
        self.put_u32(at + offset_of!(NodeRecord, parent) as u64, parent);
        self.put_u32(at + offset_of!(NodeRecord, code) as u64, code);
        self.put_u32(at + offset_of!(NodeRecord, line) as u64, line);
        self.put_u32(offset_of!(Header, node_count) as u64, index + 1);
        index
    }

    pub fn site(&mut self, node: u32, kind: u32) -> u32 {
        let directory = offset_of!(Header, site_chunks);
        let (index, at) = self.record(SITES, directory, SITES_PER_CHUNK, size_of::<SiteRecord>());
        self.put_u32(at + offset_of!(SiteRecord, node) as u64, node);
        self.put_u32(at + offset_of!(SiteRecord, kind) as u64, kind);
        self.put_u32(offset_of!(Header, site_count) as u64, index + 1);
        index
    }

    pub fn code(&mut self, name: &str, file: &str, first_line: u32) -> u32 {
        let directory = offset_of!(Header, code_chunks);
        let (index, at) = self.record(CODES, directory, CODES_PER_CHUNK, size_of::<CodeRecord>());
        self.put_u32(at + offset_of!(CodeRecord, first_line) as u64, first_line);
        self.text(at + offset_of!(CodeRecord, name) as u64, name);
        self.text(at + offset_of!(CodeRecord, file) as u64, file);
        self.put_u32(offset_of!(Header, code_count) as u64, index + 1);
        index
    }

    /// A new lane, as the offset of its head.
    pub fn lane(&mut self) -> u64 {
        let at = self.take(size_of::<Lane>() as u64);
        let index = self.counts[LANES];
        self.counts[LANES] += 1;
        self.put_u64(offset_of!(Header, lanes) as u64 + 8 * u64::from(index), at);
        self.put_u32(offset_of!(Header, lane_count) as u64, index + 1);
        at
    }

    /// Writes what `lane` knows about `site`, and adds to its live bytes.
    pub fn counters(&mut self, lane: u64, site: u32, figures: Figures) {
        let slot = lane + offset_of!(Lane, chunks) as u64 + 8 * (u64::from(site) / SITES_PER_CHUNK as u64);
        let mut chunk = self.get_u64(slot);
        if chunk == 0 {
            chunk = self.take((SITES_PER_CHUNK * size_of::<Counters>()) as u64);
            self.put_u64(slot, chunk);
        }
        let at = chunk + (site as usize % SITES_PER_CHUNK * size_of::<Counters>()) as u64;
        let mut bytes = [0u8; size_of::<Counters>()];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(offset_of!(Counters, count), &figures.count.to_ne_bytes());
        put(offset_of!(Counters, bytes), &figures.bytes.to_ne_bytes());
        put(
            offset_of!(Counters, gone_count),
            &(figures.count as u32).wrapping_sub(figures.live.0 as u32).to_ne_bytes(),
        );
        put(offset_of!(Counters, gone_bytes), &figures.bytes.wrapping_sub(figures.live.1 as u64).to_ne_bytes());
        put(offset_of!(Counters, peak_count), &figures.peak.0.to_ne_bytes());
        put(offset_of!(Counters, peak_bytes), &figures.peak.1.to_ne_bytes());
        put(offset_of!(Counters, epoch), &figures.epoch.to_ne_bytes());
        put(offset_of!(Counters, temporary_count), &figures.temporary.0.to_ne_bytes());
        put(offset_of!(Counters, temporary_bytes), &figures.temporary.1.to_ne_bytes());
        self.file.write_all_at(&bytes, at).unwrap();
        let is_main = lane == self.get_u64(offset_of!(Header, lanes) as u64);
        let live = match is_main {
            true => offset_of!(Header, main_live_bytes) as u64,
            false => lane + offset_of!(Lane, live_bytes) as u64,
        };
        self.put_u64(live, self.get_u64(live).wrapping_add(figures.live.1.cast_unsigned()));
    }

    /// The peak that has been left.
    pub fn peak(&self, epoch: u64, bytes: i64, time_ns: u64) {
        self.put_u64(offset_of!(Header, epoch) as u64, epoch);
        self.put_u64(offset_of!(Header, peak_bytes) as u64, bytes.cast_unsigned());
        self.put_u64(offset_of!(Header, peak_time_ns) as u64, time_ns);
    }

    fn text(&mut self, at: u64, text: &str) {
        let offset = self.take(text.len() as u64);
        self.file.write_all_at(text.as_bytes(), offset).unwrap();
        self.put_u64(at + offset_of!(Text, offset) as u64, offset);
        self.put_u32(at + offset_of!(Text, length) as u64, text.len() as u32);
        self.put_u32(at + offset_of!(Text, width) as u64, 1);
    }

    fn record(&mut self, table: usize, directory: usize, per_chunk: usize, bytes: usize) -> (u32, u64) {
        let index = self.counts[table];
        self.counts[table] += 1;
        let slot = directory as u64 + 8 * (u64::from(index) / per_chunk as u64);
        if (index as usize).is_multiple_of(per_chunk) {
            let chunk = self.take((per_chunk * bytes) as u64);
            self.put_u64(slot, chunk);
        }
        let at = self.get_u64(slot) + (index as usize % per_chunk * bytes) as u64;
        (index, at)
    }

    fn take(&mut self, bytes: u64) -> u64 {
        let offset = self.next;
        self.next += bytes.next_multiple_of(64);
        offset
    }

    fn get_u64(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, offset).unwrap();
        u64::from_ne_bytes(bytes)
    }
}
