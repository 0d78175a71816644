//! The slow way: new nodes, sites and code records in the shared file.
//!
//! Each is met once and then found through a [`crate::key_table::KeyTable`]; so clarity comes before speed here. Call it
//! under the lock.
use crate::key_table::{Key, KeyTable};
use crate::memory::{Memory, give_back_array, private_array, table_array};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release};
use memlens_format::shared::{
    CODE_CHUNKS, CODE_KIND_NAME, CODE_KIND_PYTHON, CODES_PER_CHUNK, CodeRecord, Header, NODE_CHUNKS, NODES_PER_CHUNK,
    NodeRecord, SITE_CHUNKS, SITES_PER_CHUNK, SiteRecord, Text,
};

/// A string as the interpreter stores it.
#[derive(Clone, Copy)]
pub struct RawText<'a> {
    /// Its bytes: code points times `width`.
    pub bytes: &'a [u8],
    /// Bytes a code point: 1, 2 or 4.
    pub width: u32,
}

/// What is worth knowing of a code object.
#[derive(Clone, Copy)]
pub struct CodeFacts<'a> {
    /// Qualified name.
    pub name: RawText<'a>,
    /// File name.
    pub file: RawText<'a>,
    /// First line.
    pub first_line: u32,
}

/// Records of one type in chunks of the shared file.
struct Chunked<T: 'static, const CHUNKS: usize, const PER_CHUNK: usize> {
    pointers: NonNull<Option<NonNull<T>>>,
    offsets: &'static [AtomicU64; CHUNKS],
    count: &'static AtomicU32,
}

impl<T, const CHUNKS: usize, const PER_CHUNK: usize> Chunked<T, CHUNKS, PER_CHUNK> {
    fn new(memory: &mut impl Memory, offsets: &'static [AtomicU64; CHUNKS], count: &'static AtomicU32) -> Option<Self> {
        // SAFETY: an Option<NonNull> of zeros is None.
        Some(Self { pointers: unsafe { private_array(memory, CHUNKS)? }, offsets, count })
    }

    fn pointer(&self, chunk: usize) -> Option<NonNull<Option<NonNull<T>>>> {
        // SAFETY: there are CHUNKS pointers.
        (chunk < CHUNKS).then(|| unsafe { self.pointers.add(chunk) })
    }

    fn get(&self, index: u32) -> Option<&'static T> {
        let pointer = self.pointer(index as usize / PER_CHUNK)?;
        // SAFETY: an initialised element; a chunk has PER_CHUNK records of atomics, valid as zeros, mapped for ever.
        unsafe { pointer.read().map(|chunk| chunk.add(index as usize % PER_CHUNK).as_ref()) }
    }

    /// The next record, which the collector does not see before [`Chunked::publish`].
    fn next(&self, memory: &mut impl Memory) -> Option<(u32, &'static T)> {
        let index = self.count.load(Relaxed);
        let pointer = self.pointer(index as usize / PER_CHUNK)?;
        // SAFETY: an initialised element.
        if unsafe { pointer.read() }.is_none() {
            let (chunk, offset) = memory.shared(size_of::<T>() * PER_CHUNK)?;
            // SAFETY: the element is ours to write; the lock is held.
            unsafe { pointer.write(Some(chunk.cast())) };
            self.offsets[index as usize / PER_CHUNK].store(offset, Release);
        }
        Some((index, self.get(index)?))
    }

    fn publish(&self, index: u32) {
        self.count.store(index + 1, Release);
    }
}

/// Ids by the hash of what they stand for. A slot holds half of the hash beside the id: what it stands for is looked at only when
/// that half agrees, and never when the table grows.
struct IdTable {
    slots: NonNull<Slot>,
    mask: usize,
    used: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    hash: u32,
    id: u32,
}

impl IdTable {
    fn new(memory: &mut impl Memory, capacity: usize) -> Option<Self> {
        // SAFETY: an id of 0 is an empty slot.
        Some(Self { slots: unsafe { table_array(memory, capacity)? }, mask: capacity - 1, used: 0 })
    }

    fn slot(&self, index: usize) -> NonNull<Slot> {
        // SAFETY: there are `mask + 1` slots, and the index is masked to that.
        unsafe { self.slots.add(index & self.mask) }
    }

    fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut index = hash as usize;
        loop {
            // SAFETY: a slot of the table.
            let slot = unsafe { self.slot(index).read() };
            if slot.id == 0 {
                return None;
            }
            if slot.hash == hash && is_it(slot.id) {
                return Some(slot.id);
            }
            index = index.wrapping_add(1);
        }
    }

    fn insert(&mut self, memory: &mut impl Memory, hash: u32, id: u32) -> Option<()> {
        if (self.used + 1) * 2 > self.mask + 1 {
            let (old, capacity) = (self.slots, self.mask + 1);
            *self = Self { used: self.used, ..Self::new(memory, capacity * 2)? };
            for index in 0..capacity {
                // SAFETY: the old table has that many slots.
                let slot = unsafe { old.add(index).read() };
                if slot.id != 0 {
                    self.put(slot);
                }
            }
            // SAFETY: nothing else refers to the old table.
            unsafe { give_back_array(memory, old, capacity) };
        }
        self.put(Slot { hash, id });
        self.used += 1;
        Some(())
    }

    fn put(&self, slot: Slot) {
        let mut index = slot.hash as usize;
        loop {
            let place = self.slot(index);
            // SAFETY: a slot of the table, and the lock is held.
            unsafe {
                if place.read().id == 0 {
                    place.write(slot);
                    return;
                }
            }
            index = index.wrapping_add(1);
        }
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 31
}

fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(seed, bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    hash
}

impl CodeFacts<'_> {
    fn hash(&self) -> u64 {
        let hash = hash_bytes(u64::from(self.first_line), self.name.bytes);
        hash_bytes(hash, self.file.bytes)
    }
}

/// A code record's private twin.
#[derive(Clone, Copy)]
struct StoredCode {
    hash: u64,
    facts: CodeFacts<'static>,
    is_name: bool,
}

/// Everything that has an id.
pub struct Interner {
    nodes: Chunked<NodeRecord, NODE_CHUNKS, NODES_PER_CHUNK>,
    sites: Chunked<SiteRecord, SITE_CHUNKS, SITES_PER_CHUNK>,
    codes: Chunked<CodeRecord, CODE_CHUNKS, CODES_PER_CHUNK>,
    stored_codes: NonNull<Option<StoredCode>>,
    node_table: IdTable,
    code_table: IdTable,
    last_file: (StoredText, &'static [u8]),
}

/// Where a text stands in the shared file.
type StoredText = u64;

impl Interner {
    /// An interner that has the root node, site 0 and code 0. Its table of nodes begins with `first_nodes` (a power of two) slots, half of which
    /// can be used.
    pub fn new(memory: &mut impl Memory, header: &'static Header, first_nodes: usize) -> Option<Self> {
        let interner = Self {
            nodes: Chunked::new(memory, &header.node_chunks, &header.node_count)?,
            sites: Chunked::new(memory, &header.site_chunks, &header.site_count)?,
            codes: Chunked::new(memory, &header.code_chunks, &header.code_count)?,
            // SAFETY: zeros are read only for indices that were written before.
            stored_codes: unsafe { private_array(memory, CODE_CHUNKS * CODES_PER_CHUNK)? },
            node_table: IdTable::new(memory, first_nodes)?,
            code_table: IdTable::new(memory, 1 << 10)?,
            last_file: (0, &[]),
        };
        interner.nodes.publish(interner.nodes.next(memory)?.0);
        interner.sites.publish(interner.sites.next(memory)?.0);
        interner.codes.publish(interner.codes.next(memory)?.0);
        Some(interner)
    }

    /// The node of a line under a parent. `None` if a table is full.
    pub fn node(&mut self, memory: &mut impl Memory, parent: u32, code: u32, line: u32) -> Option<u32> {
        let nodes = &self.nodes;
        let is_it = |id| {
            nodes.get(id).is_some_and(|node| {
                node.parent.load(Relaxed) == parent
                    && node.line.load(Relaxed) == line
                    && node.code.load(Relaxed) == code
            })
        };
        // Eight lines of a function under one caller lie in one cache line: they are met one after the other.
        let eight = (mix(u64::from(parent) << 32 | u64::from(code), u64::from(line >> 3)) >> 16) as u32;
        let hash = eight & !7 | line & 7;
        if let Some(node) = self.node_table.find(hash, is_it) {
            return Some(node);
        }
        let (index, record) = nodes.next(memory)?;
        record.parent.store(parent, Relaxed);
        record.code.store(code, Relaxed);
        record.line.store(line, Relaxed);
        nodes.publish(index);
        self.node_table.insert(memory, hash, index)?;
        Some(index)
    }

    /// The site of a node and a kind. A node has few: they are a list. `None` if a table is full.
    pub fn site(&mut self, memory: &mut impl Memory, node: u32, kind: u32) -> Option<u32> {
        let node_record = self.nodes.get(node)?;
        let first = node_record.first_site.load(Relaxed);
        let mut site = first;
        while site != 0 {
            let record = self.sites.get(site)?;
            if record.kind.load(Relaxed) == kind {
                return Some(site);
            }
            site = record.next.load(Relaxed);
        }
        let (index, record) = self.sites.next(memory)?;
        record.node.store(node, Relaxed);
        record.kind.store(kind, Relaxed);
        record.next.store(first, Relaxed);
        self.sites.publish(index);
        node_record.first_site.store(index, Relaxed);
        Some(index)
    }

    /// The record of a code object, shared by equal ones. `None` if a table is full.
    pub fn code(&mut self, memory: &mut impl Memory, facts: &CodeFacts) -> Option<u32> {
        self.code_or_name(memory, facts, false)
    }

    /// The record of a name that stands for no code object, such as a thread's; `what` it names stands where a file would.
    pub fn name(&mut self, memory: &mut impl Memory, name: RawText, what: &str) -> Option<u32> {
        let file = RawText { bytes: what.as_bytes(), width: 1 };
        self.code_or_name(memory, &CodeFacts { name, file, first_line: 0 }, true)
    }

    /// The record of such a name, if there is one.
    pub fn known_name(&self, name: RawText, what: &str) -> Option<u32> {
        let file = RawText { bytes: what.as_bytes(), width: 1 };
        let facts = CodeFacts { name, file, first_line: 0 };
        self.find_code(facts.hash(), &facts, true)
    }

    fn stored(&self, code: u32) -> Option<StoredCode> {
        // SAFETY: the ids in the table are below the number of codes, and their twins were written.
        unsafe { self.stored_codes.add(code as usize).read() }
    }

    fn find_code(&self, hash: u64, facts: &CodeFacts, is_name: bool) -> Option<u32> {
        let is_it = |id| {
            self.stored(id).is_some_and(|stored| {
                stored.hash == hash
                    && stored.is_name == is_name
                    && stored.facts.first_line == facts.first_line
                    && stored.facts.name.width == facts.name.width
                    && stored.facts.name.bytes == facts.name.bytes
                    && stored.facts.file.bytes == facts.file.bytes
            })
        };
        self.code_table.find(hash as u32, is_it)
    }

    fn code_or_name(&mut self, memory: &mut impl Memory, facts: &CodeFacts, is_name: bool) -> Option<u32> {
        let hash = facts.hash();
        if let Some(code) = self.find_code(hash, facts, is_name) {
            return Some(code);
        }
        let (index, record) = self.codes.next(memory)?;
        let name = store_text(memory, &record.name, facts.name.bytes, facts.name.width)?;
        let file = self.store_file(memory, &record.file, facts.file)?;
        record.first_line.store(facts.first_line, Relaxed);
        record.kind.store(if is_name { CODE_KIND_NAME } else { CODE_KIND_PYTHON }, Relaxed);
        let facts = CodeFacts {
            name: RawText { bytes: name, width: facts.name.width },
            file: RawText { bytes: file, width: facts.file.width },
            first_line: facts.first_line,
        };
        // SAFETY: index < CODE_CHUNKS * CODES_PER_CHUNK, for `next` gave it.
        unsafe { self.stored_codes.add(index as usize).write(Some(StoredCode { hash, facts, is_name })) };
        self.codes.publish(index);
        self.code_table.insert(memory, hash as u32, index)?;
        Some(index)
    }

    /// Stores a file name; consecutive code objects mostly come from one file.
    fn store_file(&mut self, memory: &mut impl Memory, text: &Text, file: RawText) -> Option<&'static [u8]> {
        if self.last_file.1 == file.bytes && !file.bytes.is_empty() {
            set_text(text, self.last_file.0, file.bytes.len(), file.width);
            return Some(self.last_file.1);
        }
        let bytes = store_text(memory, text, file.bytes, file.width)?;
        self.last_file = (text.offset.load(Relaxed), bytes);
        Some(bytes)
    }
}

fn set_text(text: &Text, offset: u64, bytes: usize, width: u32) {
    text.offset.store(offset, Relaxed);
    text.length.store((bytes / width.max(1) as usize) as u32, Relaxed);
    text.width.store(width, Relaxed);
}

fn store_text(memory: &mut impl Memory, text: &Text, bytes: &[u8], width: u32) -> Option<&'static [u8]> {
    let (pointer, offset) = memory.shared(bytes.len().max(1))?;
    // SAFETY: `shared` gave at least that many bytes, to nobody else; they stay.
    let copy = unsafe {
        pointer.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        core::slice::from_raw_parts(pointer.as_ptr(), bytes.len())
    };
    set_text(text, offset, bytes.len(), width);
    Some(copy)
}

/// A code object that is alive.
#[derive(Clone, Copy)]
pub struct LiveCode {
    /// Its record.
    pub code: u32,
    /// A number that no other code object ever has, not even one at the same address.
    pub serial: u32,
    slot: u32,
}

/// The same, with the keys of lane 0's table that name its instructions.
#[derive(Clone, Copy)]
struct CodeEntry {
    code: u32,
    serial: u32,
    first_key: u32,
    /// [`LiveCodes::key_round`] in which `first_key` was set; one of an older round is none.
    key_round: u32,
}

/// A key in 16 bytes: the parent's node takes 24 bits of `context`, and what is next 32.
#[derive(Clone, Copy)]
#[repr(C)]
struct KeyLink {
    instruction: u64,
    context: u32,
    next: u32,
}

/// Which code objects are alive, by address. When one is released, lane 0's keys of its instructions go with it.
pub struct LiveCodes {
    by_address: KeyTable,
    codes: Pool<CodeEntry>,
    links: Pool<KeyLink>,
    /// How often all keys were forgotten at once.
    key_round: u32,
    serials: u32,
    /// The code object that was asked for last: it is often the next one too.
    last: (usize, LiveCode),
}

const NO_CODE: LiveCode = LiveCode { code: 0, serial: 0, slot: 0 };

impl LiveCodes {
    /// None alive.
    pub fn new(memory: &mut impl Memory) -> Option<Self> {
        let by_address = KeyTable::new(memory, 1 << 10)?;
        let (codes, links) = (Pool::new(memory)?, Pool::new(memory)?);
        Some(Self { by_address, codes, links, key_round: 0, serials: 0, last: (0, NO_CODE) })
    }

    /// The code object at `address`, if it is known.
    pub fn get(&mut self, address: usize) -> Option<LiveCode> {
        if self.last.0 != address || address == 0 {
            let slot = self.by_address.get(Key { instruction: address as u64, context: 0 })?;
            let CodeEntry { code, serial, .. } = self.codes.get(slot);
            self.last = (address, LiveCode { code, serial, slot });
        }
        Some(self.last.1)
    }

    /// A code object was met for the first time.
    pub fn insert(&mut self, memory: &mut impl Memory, address: usize, code: u32) -> Option<LiveCode> {
        self.serials = self.serials.wrapping_add(1);
        let serial = self.serials;
        let slot = self.codes.take(memory, CodeEntry { code, serial, first_key: 0, key_round: self.key_round })?;
        let is_in = self.by_address.insert(memory, Key { instruction: address as u64, context: 0 }, slot);
        is_in.then_some(LiveCode { code, serial, slot })
    }

    /// Lane 0's table got a key that names an instruction of this code object.
    pub fn add_key(&mut self, memory: &mut impl Memory, code: LiveCode, key: Key) -> Option<()> {
        let entry = self.codes.get(code.slot);
        let link = KeyLink { instruction: key.instruction, context: key.context, next: self.first_key(entry) };
        let first_key = self.links.take(memory, link)?;
        self.codes.set(code.slot, CodeEntry { first_key, key_round: self.key_round, ..entry });
        Some(())
    }

    fn first_key(&self, entry: CodeEntry) -> u32 {
        if entry.key_round == self.key_round { entry.first_key } else { 0 }
    }

    /// Lane 0's table was emptied.
    pub fn forget_keys(&mut self) {
        self.links.clear();
        self.key_round = self.key_round.wrapping_add(1);
    }

    /// The code object at `address` is being released: forget its keys. Without a `table`, whose writer is another thread, only the code
    /// object: that thread must empty its table before it uses it again, and call [`LiveCodes::forget_keys`].
    pub fn remove(&mut self, address: usize, mut table: Option<&mut KeyTable>) {
        let Some(LiveCode { slot, .. }) = self.get(address) else { return };
        let mut link = self.first_key(self.codes.get(slot));
        while link != 0 {
            let KeyLink { instruction, context, next } = self.links.get(link);
            if let Some(table) = &mut table {
                table.remove(Key { instruction, context });
            }
            self.links.give_back(link);
            link = next;
        }
        self.codes.give_back(slot);
        self.by_address.remove(Key { instruction: address as u64, context: 0 });
        self.last = (0, NO_CODE);
    }
}

const POOL_CHUNKS: usize = 4096;
const PER_POOL_CHUNK: usize = 2048;

/// Elements with ids from 1, recycled.
struct Pool<T: Copy> {
    chunks: NonNull<Option<NonNull<PoolEntry<T>>>>,
    next: u32,
    free: u32,
}

#[derive(Clone, Copy)]
union PoolEntry<T: Copy> {
    value: T,
    next_free: u32,
}

impl<T: Copy> Pool<T> {
    fn new(memory: &mut impl Memory) -> Option<Self> {
        // SAFETY: an Option<NonNull> of zeros is None.
        Some(Self { chunks: unsafe { private_array(memory, POOL_CHUNKS)? }, next: 1, free: 0 })
    }

    fn chunk(&self, id: u32) -> NonNull<Option<NonNull<PoolEntry<T>>>> {
        // SAFETY: there are POOL_CHUNKS pointers, and the index is masked to that.
        unsafe { self.chunks.add((id as usize / PER_POOL_CHUNK) & (POOL_CHUNKS - 1)) }
    }

    fn entry(&self, id: u32) -> NonNull<PoolEntry<T>> {
        // SAFETY: ids come from `take`, which made the chunk.
        unsafe { self.chunk(id).read().unwrap_unchecked().add(id as usize % PER_POOL_CHUNK) }
    }

    fn get(&self, id: u32) -> T {
        // SAFETY: ids that are out hold a value.
        unsafe { self.entry(id).read().value }
    }

    fn set(&mut self, id: u32, value: T) {
        // SAFETY: the entry is in a chunk of ours.
        unsafe { self.entry(id).write(PoolEntry { value }) };
    }

    fn take(&mut self, memory: &mut impl Memory, value: T) -> Option<u32> {
        let id = if self.free != 0 {
            let id = self.free;
            // SAFETY: an entry in the free list holds the next one's id.
            self.free = unsafe { self.entry(id).read().next_free };
            id
        } else {
            if self.next as usize >= POOL_CHUNKS * PER_POOL_CHUNK {
                return None;
            }
            let chunk = self.chunk(self.next);
            // SAFETY: an initialised element, ours alone.
            unsafe {
                if chunk.read().is_none() {
                    chunk.write(Some(private_array(memory, PER_POOL_CHUNK)?));
                }
            }
            self.next += 1;
            self.next - 1
        };
        self.set(id, value);
        Some(id)
    }

    fn give_back(&mut self, id: u32) {
        // SAFETY: the entry is in a chunk of ours.
        unsafe { self.entry(id).write(PoolEntry { next_free: self.free }) };
        self.free = id;
    }

    /// Gives all back. The chunks stay.
    fn clear(&mut self) {
        (self.next, self.free) = (1, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_memory::Heap;

    fn header(heap: &mut Heap) -> &'static Header {
        let (pointer, _) = heap.shared(size_of::<Header>()).unwrap();
        // SAFETY: zeroed memory that is never freed; a Header of zeros is valid.
        unsafe { pointer.cast::<Header>().as_ref() }
    }

    #[test]
    fn equal_things_share_an_id_and_ids_count_up() {
        let mut heap = Heap { next_offset: 4096 };
        let header = header(&mut heap);
        let mut interner = Interner::new(&mut heap, header, 1 << 10).unwrap();
        let text = |bytes| RawText { bytes, width: 1 };
        let facts = CodeFacts { name: text(b"f"), file: text(b"/x.py"), first_line: 3 };
        let code = interner.code(&mut heap, &facts).unwrap();
        assert_eq!((code, interner.code(&mut heap, &facts)), (1, Some(1)));
        assert_eq!(interner.code(&mut heap, &CodeFacts { first_line: 4, ..facts }), Some(2));
        for instruction in 0..40_000 {
            assert_eq!(interner.node(&mut heap, 0, code, instruction), Some(instruction + 1));
        }
        for instruction in 0..40_000 {
            assert_eq!(interner.node(&mut heap, 0, code, instruction), Some(instruction + 1));
            assert_eq!(interner.site(&mut heap, instruction + 1, 14), Some(instruction + 1));
        }
        assert_eq!(header.node_count.load(Relaxed), 40_001);
    }

    #[test]
    fn a_released_code_object_takes_its_keys_along() {
        let mut heap = Heap { next_offset: 4096 };
        let mut table = KeyTable::new(&mut heap, 16).unwrap();
        let mut codes = LiveCodes::new(&mut heap).unwrap();
        for round in 0..3 {
            let code = codes.insert(&mut heap, 0x1000, 7 + round).unwrap();
            assert_eq!(code.serial, 1 + round);
            for instruction in 1..100 {
                let key = Key { instruction: 0x1000 + instruction, context: 5 };
                assert!(table.insert(&mut heap, key, 9));
                codes.add_key(&mut heap, code, key).unwrap();
            }
            assert_eq!(codes.get(0x1000).map(|code| code.code), Some(7 + round));
            codes.remove(0x1000, Some(&mut table));
            assert!(codes.get(0x1000).is_none());
            assert_eq!(table.get(Key { instruction: 0x1005, context: 5 }), None);
        }
    }

    #[test]
    fn keys_of_an_emptied_table_are_not_kept() {
        let mut heap = Heap { next_offset: 4096 };
        let mut table = KeyTable::new(&mut heap, 16).unwrap();
        let mut codes = LiveCodes::new(&mut heap).unwrap();
        let code = codes.insert(&mut heap, 0x1000, 7).unwrap();
        let keys = || (1..100).map(|instruction| Key { instruction: 0x1000 + instruction, context: 5 });
        for _ in 0..3 {
            for key in keys() {
                assert!(table.insert(&mut heap, key, 9));
                codes.add_key(&mut heap, code, key).unwrap();
            }
            table.clear();
            codes.forget_keys();
        }
        // The links of one round at most are in use: the next is the first again.
        assert_eq!(codes.links.next, 1);
        let key = Key { instruction: 0x2000, context: 5 };
        assert!(table.insert(&mut heap, key, 9));
        codes.remove(0x1000, Some(&mut table));
        assert_eq!(table.get(key), Some(9));
    }
}
