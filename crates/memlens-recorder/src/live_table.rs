//! What is live: address → (site, size), by shadow memory.
//!
//! One u32 stands for each 16-byte granule of the address space; a block's words stand at the granule where it starts:
//!
//! ```text
//!  word 0   31            22 21                     0
//!          ┌───────────────┬────────────────────────┐   tag 1..=1020   the size and 1
//!          │ tag           │ site                   │   TAG_SIZED      word 1 is the size
//!          └───────────────┴────────────────────────┘   TAG_CODE       as TAG_SIZED, and a known code object lies here
//!  word 1   size, up to 4 GiB                           TAG_ELSEWHERE  size in the side table
//! ```
//!
//! So all that pymalloc hands out is one word, and one comparison tells such blocks from the rest: word 0 of 0 means "no block". A larger block
//! covers two granules at least, so that word 1 is its own. Blocks that do not start at a granule (an allocator with 8-byte classes) and blocks of 4 GiB or more
//! are kept in the side table, a small hash table under a lock. So are large blocks where nothing small lives: a leaf is address space, and a
//! program that holds arrays would meet a limit on that (`ulimit -v`) a fifth earlier if each had a leaf of its own.
//!
//! Two levels: some 2^21 pointers in place (of which the kernel gives only the pages that are touched) → leaves of 2^22 words for 64 MiB of
//! addresses each, made on demand and as sparse. No hashing, no growth pauses; dense small objects cost a quarter of their size, large
//! blocks nearly nothing.
use crate::memory::{Memory, give_back_array, private_array};
use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use memlens_format::shared::{SITE_CHUNKS, SITES_PER_CHUNK};

const GRANULE_BITS: u32 = 4;
const LEAF_BITS: u32 = 22;
/// All of the user's half but the last 64 MiB, where the first stack begins and no heap lies: to hold an index against a number that is no power of
/// two takes one instruction, against one that is a shift and a copy as well.
const LEAVES: usize = (1 << (47 - GRANULE_BITS - LEAF_BITS)) - 1;
const LEAF_WORDS: usize = 1 << LEAF_BITS;
/// Leaves that [`LiveTable::clear`] need not look for: of a heap that spans 64 GiB.
const NOTED_LEAVES: usize = 1 << 10;

/// A block of this size is a mapping of its own in glibc (`M_MMAP_THRESHOLD`), whose head of 16 bytes stands before it.
const LARGE: u64 = 128 << 10;
/// So its address has none of these bits. Few others have not, so that few need be looked up in the side table in vain.
const LARGE_OFFSET: usize = 0xfe0;

const SITE_BITS: u32 = 22;
const SITE_MASK: u32 = (1 << SITE_BITS) - 1;
const _: () = assert!(SITE_CHUNKS * SITES_PER_CHUNK <= 1 << SITE_BITS);

const TAG_ELSEWHERE: u32 = (1 << (32 - SITE_BITS)) - 1;
const TAG_CODE: u32 = TAG_ELSEWHERE - 1;
const TAG_SIZED: u32 = TAG_ELSEWHERE - 2;
/// Largest size that stands in word 0.
const INLINE_MAX: u32 = TAG_SIZED - 2;

/// The smallest block that [`LiveTable::mark_code`] can mark: it has a word 1.
pub const LEAST_CODE_BYTES: usize = 17;
/// Its tag.
const LEAST_CODE: u32 = LEAST_CODE_BYTES as u32 + 1;

/// Marks a branch as one that is seldom taken.
#[cold]
#[inline(always)]
fn cold_path() {}

/// Word 0.
#[inline(always)]
const fn word_of(tag: u32, site: u32) -> u32 {
    tag << SITE_BITS | site
}

/// A block that the table knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The site that allocated it.
    pub site: u32,
    /// The bytes asked for.
    pub size: u64,
    /// A known code object lies here: its instructions must be forgotten before the address is used again.
    pub is_code: bool,
}

/// What [`LiveTable::take`] found: word 0 and, above it, the word behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken(u64);

impl Taken {
    /// Nothing was taken.
    pub const NOTHING: Self = Self(0);

    /// There was no block.
    #[inline(always)]
    pub fn is_nothing(self) -> bool {
        self.0 as u32 == 0
    }

    /// An ordinary block, of which [`Taken::site`] and [`Taken::size`] tell all. Else ask [`LiveTable::resolve`].
    #[inline(always)]
    pub fn is_plain(self) -> bool {
        self.tag().wrapping_sub(1) < TAG_SIZED
    }

    #[inline(always)]
    fn tag(self) -> u32 {
        self.0 as u32 >> SITE_BITS
    }

    /// What a leaf would have of an ordinary block.
    fn sized(site: u32, size: u64) -> Self {
        Self(size << 32 | u64::from(word_of(TAG_SIZED, site)))
    }

    /// The site that allocated it.
    #[inline(always)]
    pub fn site(self) -> u32 {
        self.0 as u32 & SITE_MASK
    }

    /// The bytes asked for.
    #[inline(always)]
    pub fn size(self) -> u64 {
        if self.tag() < TAG_SIZED { u64::from(self.tag() - 1) } else { self.0 >> 32 }
    }
}

/// Where a granule's words are. (No reference, of which an `Option` would be tested once more.)
#[derive(Clone, Copy)]
struct Words<'a> {
    first: *const AtomicU32,
    leaf: PhantomData<&'a LiveTable>,
}

impl<'a> Words<'a> {
    #[inline(always)]
    fn word(self) -> &'a AtomicU32 {
        // SAFETY: it points into a leaf, and those live as long as the table.
        unsafe { &*self.first }
    }

    #[inline(always)]
    fn next(self) -> &'a AtomicU32 {
        // SAFETY: a leaf has one word to spare, so that the next word of its last granule exists.
        unsafe { &*self.first.add(1) }
    }
}

/// An ordinary block that is still in the table.
pub struct Plain<'a> {
    words: Words<'a>,
    /// Word 0, less a tag of 1.
    less: u32,
}

impl Plain<'_> {
    /// The site that allocated it.
    #[inline(always)]
    pub fn site(&self) -> u32 {
        self.less & SITE_MASK
    }

    /// Takes it out. Returns the bytes asked for.
    #[inline(always)]
    pub fn take(self) -> u64 {
        self.words.word().store(0, Relaxed);
        if self.less >= word_of(TAG_SIZED - 1, 0) {
            cold_path();
            let size = self.words.next().load(Relaxed);
            self.words.next().store(0, Relaxed);
            return u64::from(size);
        }
        u64::from(self.less >> SITE_BITS)
    }
}

/// The table. All zeros is an empty one.
pub struct LiveTable {
    /// Each leaf's address, less its first granule's index: so a granule's word is found without masking.
    leaves: [AtomicPtr<AtomicU32>; LEAVES],
    /// The indices of the first leaves that were made, and how many were made in all.
    noted: [AtomicU32; NOTED_LEAVES],
    leaf_count: AtomicU32,
    side: SideTable,
}

/// Which granule begins at the address, in the low 43 bits; more than those if none does, or not in the user's half: so one comparison tells.
#[inline(always)]
fn granule(address: usize) -> usize {
    address.rotate_right(GRANULE_BITS)
}

impl LiveTable {
    /// An empty table.
    pub const fn new() -> Self {
        Self {
            leaves: [const { AtomicPtr::new(null_mut()) }; LEAVES],
            noted: [const { AtomicU32::new(0) }; NOTED_LEAVES],
            leaf_count: AtomicU32::new(0),
            side: SideTable::new(),
        }
    }

    /// The words of a granule; `None` if its leaf does not exist, or if no granule begins at the address.
    ///
    /// Budget: a load, in L1 in a program with a small heap; two branches.
    #[inline(always)]
    fn words(&self, address: usize) -> Option<Words<'_>> {
        let granule = granule(address);
        let leaf = self.leaves.get(granule >> LEAF_BITS)?.load(Relaxed);
        if leaf.is_null() {
            return None;
        }
        // Less than the leaf's own address by the leaf's first granule.
        Some(Words { first: leaf.wrapping_add(granule), leaf: PhantomData })
    }

    /// Enters an ordinary block. Returns false, and has done nothing, if its leaf does not exist, if it is of a rare kind, or if
    /// another block stands there, whose release was missed: then [`LiveTable::insert_slow`] must be called.
    ///
    /// Budget: [`LiveTable::words`], a load and one or two stores in the line that it led to.
    #[inline(always)]
    pub fn insert(&self, address: usize, site: u32, size: u64) -> bool {
        let Some(words) = self.words(address) else { return false };
        if words.word().load(Relaxed) != 0 {
            return false;
        }
        if size > u64::from(INLINE_MAX) {
            cold_path();
            let Ok(size) = u32::try_from(size) else { return false };
            words.next().store(size, Relaxed);
            words.word().store(word_of(TAG_SIZED, site), Relaxed);
            return true;
        }
        words.word().store(word_of(size as u32 + 1, site), Relaxed);
        true
    }

    /// [`LiveTable::insert`] for the rest. False if there is no memory. `displaced` gets what stood there. Call it under the lock.
    #[cold]
    #[inline(never)]
    pub fn insert_slow(
        &self,
        memory: &mut impl Memory,
        address: usize,
        site: u32,
        size: u64,
        displaced: &mut Option<Block>,
    ) -> bool {
        *displaced = self.take_block(address);
        let is_apart = size >= LARGE && address & LARGE_OFFSET == 0 && self.words(address).is_none();
        if address & 15 != 0 || is_apart && granule(address) >> LEAF_BITS < LEAVES {
            return self.side.insert(memory, address, site, size);
        }
        if self.words(address).is_none() && !self.make_leaf(memory, address) {
            return false;
        }
        if size <= u64::from(u32::MAX) {
            return self.insert(address, site, size);
        }
        if !self.side.insert(memory, address, site, size) {
            return false;
        }
        if let Some(words) = self.words(address) {
            words.word().store(word_of(TAG_ELSEWHERE, site), Relaxed);
        }
        true
    }

    /// Removes the block that starts at `address`, and returns its words as they stood.
    ///
    /// Budget: [`LiveTable::words`], two loads and a store in the line that it led to; the result fits a register.
    #[inline(always)]
    pub fn take(&self, address: usize) -> Taken {
        let Some(words) = self.words(address) else { return self.take_elsewhere(address) };
        let (word, next) = (words.word(), words.next());
        let taken = Taken(u64::from(word.load(Relaxed)) | u64::from(next.load(Relaxed)) << 32);
        if taken.is_nothing() {
            return self.take_elsewhere(address);
        }
        word.store(0, Relaxed);
        if taken.tag() >= TAG_SIZED {
            // Another block may start at the next granule one day. The word behind a small block is a neighbour's already.
            next.store(0, Relaxed);
        }
        taken
    }

    /// [`LiveTable::take`] for an ordinary block, in two steps: look, and then [`Plain::take`] or leave it. `None` for every other.
    #[inline(always)]
    pub fn plain(&self, address: usize) -> Option<Plain<'_>> {
        let words = self.words(address)?;
        let less = words.word().load(Relaxed).wrapping_sub(word_of(1, 0));
        (less < word_of(TAG_SIZED, 0)).then_some(Plain { words, less })
    }

    #[cold]
    #[inline(never)]
    fn take_elsewhere(&self, address: usize) -> Taken {
        let may_be = !self.side.is_empty() && (address & 15 != 0 || address & LARGE_OFFSET == 0);
        if !may_be {
            return Taken::NOTHING;
        }
        // Out of the table at once, as of a leaf: a realloc may call another, and another thread may get the address.
        match self.side.take_ordinary(address) {
            Ok(Some(block)) => Taken::sized(block.site, block.size),
            Ok(None) => self.take_moved(address),
            Err(TooLarge) => Taken(u64::from(word_of(TAG_ELSEWHERE, 0))),
        }
    }

    /// Takes a block that another thread has just moved from the side table into a new leaf.
    fn take_moved(&self, address: usize) -> Taken {
        let Some(plain) = self.plain(address) else { return Taken::NOTHING };
        let site = plain.site();
        Taken::sized(site, plain.take())
    }

    /// The block behind what [`LiveTable::take`] returned, for blocks of every kind.
    #[cold]
    #[inline(never)]
    pub fn resolve(&self, address: usize, taken: Taken) -> Option<Block> {
        match taken.tag() {
            // A word that no block has: the size of a block whose release nobody saw.
            0 => None,
            TAG_ELSEWHERE => self.side.take(address).or_else(|| {
                let taken = self.take_moved(address);
                (!taken.is_nothing()).then(|| Block { site: taken.site(), size: taken.size(), is_code: false })
            }),
            tag => Some(Block { site: taken.site(), size: taken.size(), is_code: tag == TAG_CODE }),
        }
    }

    /// [`LiveTable::take`] and [`LiveTable::resolve`] in one.
    pub fn take_block(&self, address: usize) -> Option<Block> {
        let taken = self.take(address);
        self.resolve(address, taken)
    }

    /// Puts back a block that [`LiveTable::take`] removed: a `realloc` that failed.
    pub fn put_back(&self, memory: &mut impl Memory, address: usize, block: Block) {
        let mut displaced = None;
        if !self.insert(address, block.site, block.size) {
            self.insert_slow(memory, address, block.site, block.size, &mut displaced);
        }
        if block.is_code {
            self.mark_code(memory, address);
        }
    }

    /// Marks the block at `address`, of at least [`LEAST_CODE_BYTES`], as a known code object (or as instructions of one), so that its release is told. A
    /// block that the table does not know gets an entry of site 0 for that. False if there is no memory, or if it is no block that could be one.
    pub fn mark_code(&self, memory: &mut impl Memory, address: usize) -> bool {
        if address & 15 != 0 || self.words(address).is_none() && !self.make_leaf(memory, address) {
            return false;
        }
        let Some(words) = self.words(address) else { return false };
        let (word, next) = (words.word(), words.next());
        let value = word.load(Relaxed);
        match value >> SITE_BITS {
            0 => next.store(0, Relaxed),
            TAG_SIZED | TAG_CODE => {}
            // A code object is far larger than a granule.
            tag if (LEAST_CODE..TAG_SIZED).contains(&tag) => next.store(tag - 1, Relaxed),
            _ => return false,
        }
        word.store(word_of(TAG_CODE, value & SITE_MASK), Relaxed);
        true
    }

    /// Forgets everything without touching it: the leaves belong to the process that forked this one.
    pub fn clear(&self) {
        let count = self.leaf_count.swap(0, Relaxed) as usize;
        match self.noted.get(..count) {
            Some(noted) => noted.iter().for_each(|index| self.forget_leaf(index.load(Relaxed) as usize)),
            None => (0..LEAVES).for_each(|index| self.forget_leaf(index)),
        }
        self.side.entries.store(null_mut(), Relaxed);
        self.side.used.store(0, Relaxed);
        self.side.lock.store(0, Release);
    }

    /// What was never written is not written: its page may not exist yet.
    fn forget_leaf(&self, index: usize) {
        if let Some(leaf) = self.leaves.get(index).filter(|leaf| !leaf.load(Relaxed).is_null()) {
            leaf.store(null_mut(), Relaxed);
        }
    }

    /// Makes the leaf of an address. Call it under the lock.
    fn make_leaf(&self, memory: &mut impl Memory, address: usize) -> bool {
        let index = granule(address) >> LEAF_BITS;
        let Some(place) = self.leaves.get(index) else { return false };
        let Some((leaf, _)) = memory.shared((LEAF_WORDS + 1) * size_of::<u32>()) else { return false };
        let count = self.leaf_count.fetch_add(1, Relaxed) as usize;
        if let Some(noted) = self.noted.get(count) {
            noted.store(index as u32, Relaxed);
        }
        let words = leaf.as_ptr().cast::<AtomicU32>();
        if index == 0 {
            // No block is entered at the null pointer.
            // SAFETY: the leaf's first word.
            unsafe { &*words }.store(word_of(TAG_ELSEWHERE, 0), Relaxed);
        }
        place.store(words.wrapping_sub(index << LEAF_BITS), Release);
        self.side.drain(|entry| {
            entry.address & 15 == 0 && granule(entry.address) >> LEAF_BITS == index && self.move_in(entry)
        });
        true
    }

    /// Enters a block of the side table into its leaf. Says whether it may leave the side table.
    fn move_in(&self, entry: SideEntry) -> bool {
        if self.insert(entry.address, entry.site, entry.size) {
            return true;
        }
        if let Some(words) = self.words(entry.address) {
            words.word().store(word_of(TAG_ELSEWHERE, entry.site), Relaxed);
        }
        false
    }
}

impl Default for LiveTable {
    fn default() -> Self {
        Self::new()
    }
}

/// Rare blocks: a hash table under a spin lock, at most half full.
struct SideTable {
    lock: AtomicU32,
    entries: AtomicPtr<SideEntry>,
    mask: AtomicU32,
    used: AtomicU32,
}

/// A block of 4 GiB or more.
struct TooLarge;

#[derive(Clone, Copy)]
struct SideEntry {
    address: usize,
    site: u32,
    size: u64,
}

impl SideTable {
    const fn new() -> Self {
        Self {
            lock: AtomicU32::new(0),
            entries: AtomicPtr::new(null_mut()),
            mask: AtomicU32::new(0),
            used: AtomicU32::new(0),
        }
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.entries.load(Relaxed).is_null()
    }

    fn locked<R>(&self, body: impl FnOnce() -> R) -> R {
        while self.lock.swap(1, Acquire) != 0 {
            core::hint::spin_loop();
        }
        let result = body();
        self.lock.store(0, Release);
        result
    }

    fn slot(&self, index: u32) -> NonNull<SideEntry> {
        // SAFETY: `entries` has `mask + 1` elements once it is set, and the callers check that it is.
        unsafe { NonNull::new_unchecked(self.entries.load(Relaxed).add((index & self.mask.load(Relaxed)) as usize)) }
    }

    fn home(address: usize) -> u32 {
        ((address as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }

    fn insert(&self, memory: &mut impl Memory, address: usize, site: u32, size: u64) -> bool {
        self.locked(|| {
            let capacity = if self.entries.load(Relaxed).is_null() { 0 } else { self.mask.load(Relaxed) + 1 };
            if (self.used.load(Relaxed) + 1) * 2 > capacity && !self.grow(memory, capacity) {
                return false;
            }
            self.put(SideEntry { address, site, size });
            true
        })
    }

    fn put(&self, entry: SideEntry) {
        let mut index = Self::home(entry.address);
        loop {
            let slot = self.slot(index);
            // SAFETY: a slot of the table, and the lock is held.
            let found = unsafe { slot.as_ref() }.address;
            if found == 0 || found == entry.address {
                // SAFETY: as above.
                unsafe { slot.write(entry) };
                self.used.fetch_add(u32::from(found == 0), Relaxed);
                return;
            }
            index = index.wrapping_add(1);
        }
    }

    fn grow(&self, memory: &mut impl Memory, capacity: u32) -> bool {
        let new_capacity = (capacity * 2).max(256);
        // SAFETY: a SideEntry of zeros is an empty slot.
        let Some(new) = (unsafe { private_array::<SideEntry>(memory, new_capacity as usize) }) else { return false };
        let old = self.entries.load(Relaxed);
        self.entries.store(new.as_ptr(), Relaxed);
        self.mask.store(new_capacity - 1, Relaxed);
        self.used.store(0, Relaxed);
        for index in 0..capacity as usize {
            // SAFETY: the old table has `capacity` entries.
            let entry = unsafe { *old.add(index) };
            if entry.address != 0 {
                self.put(entry);
            }
        }
        if let Some(old) = NonNull::new(old) {
            // SAFETY: it had that many elements, and whoever reads it holds the lock, as the caller does.
            unsafe { give_back_array(memory, old, capacity as usize) };
        }
        true
    }

    /// [`SideTable::take`] for a block of less than 4 GiB.
    fn take_ordinary(&self, address: usize) -> Result<Option<Block>, TooLarge> {
        self.locked(|| match self.find(address) {
            None => Ok(None),
            Some((_, entry)) if entry.size > u64::from(u32::MAX) => Err(TooLarge),
            Some((index, entry)) => {
                self.remove(index);
                Ok(Some(Block { site: entry.site, size: entry.size, is_code: false }))
            }
        })
    }

    #[cold]
    #[inline(never)]
    fn take(&self, address: usize) -> Option<Block> {
        if self.is_empty() {
            return None;
        }
        self.locked(|| {
            let (index, entry) = self.find(address)?;
            self.remove(index);
            Some(Block { site: entry.site, size: entry.size, is_code: false })
        })
    }

    /// The slot of an address. Call it under the lock, and not before there are slots.
    fn find(&self, address: usize) -> Option<(u32, SideEntry)> {
        let mut index = Self::home(address);
        loop {
            // SAFETY: a slot of the table, and the lock is held.
            let entry = unsafe { *self.slot(index).as_ref() };
            match entry.address {
                0 => return None,
                found if found == address => return Some((index, entry)),
                _ => index = index.wrapping_add(1),
            }
        }
    }

    /// Removes the entries for which `is_to_go`, which is asked at least once for each.
    fn drain(&self, is_to_go: impl Fn(SideEntry) -> bool) {
        if self.is_empty() {
            return;
        }
        self.locked(|| {
            let mut index = 0;
            while index <= self.mask.load(Relaxed) {
                // SAFETY: a slot of the table, and the lock is held.
                let entry = unsafe { *self.slot(index).as_ref() };
                if entry.address != 0 && is_to_go(entry) {
                    // What moves up into this slot is looked at next.
                    self.remove(index);
                } else {
                    index += 1;
                }
            }
        });
    }

    /// Empties the slot and moves the rest of its run back, so that no tombstones gather.
    fn remove(&self, hole: u32) {
        let mask = self.mask.load(Relaxed);
        let (mut hole, mut index) = (hole & mask, hole & mask);
        loop {
            index = (index + 1) & mask;
            // SAFETY: a slot of the table, and the lock is held.
            let entry = unsafe { *self.slot(index).as_ref() };
            if entry.address == 0 {
                break;
            }
            let distance_home = index.wrapping_sub(Self::home(entry.address)) & mask;
            let distance_hole = index.wrapping_sub(hole) & mask;
            if distance_home >= distance_hole {
                // SAFETY: as above.
                unsafe { self.slot(hole).write(entry) };
                hole = index;
            }
        }
        // SAFETY: as above.
        unsafe { self.slot(hole).write(SideEntry { address: 0, site: 0, size: 0 }) };
        self.used.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::test_memory::Heap;
    use std::boxed::Box;
    use std::collections::HashMap;

    /// On the heap from the start: it is too large for a thread's stack.
    fn table() -> Box<LiveTable> {
        // SAFETY: all zeros is an empty table.
        unsafe { Box::<LiveTable>::new_zeroed().assume_init() }
    }

    fn insert(table: &LiveTable, heap: &mut Heap, address: usize, site: u32, size: u64) -> Option<Block> {
        let mut displaced = None;
        if !table.insert(address, site, size) {
            assert!(table.insert_slow(heap, address, site, size, &mut displaced));
        }
        displaced
    }

    #[test]
    fn equals_a_hash_map_over_many_random_blocks() {
        let table = table();
        let mut heap = Heap { next_offset: 4096 };
        let mut model: HashMap<usize, (u32, u64)> = HashMap::new();
        let mut state = 12345u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        for _ in 0..200_000 {
            let unaligned = if random() % 16 == 0 { 8 } else { 0 };
            // The regions beyond the first see a small block seldom, so that they have no leaf at first.
            let region = (random() as usize % 64) << 26;
            let slot = if region == 0 { (random() as usize % 4096) * 32 } else { (random() as usize % 16) << 20 | 16 };
            let address = 0x7f00_0000_0000 + region + slot + unaligned;
            if random() % 2 == 0 {
                let site = 1 + (random() % 1000) as u32;
                let size = match random() % 20 {
                    0 => 5_000_000_000 + random() % 100,
                    1 => 0,
                    _ if region != 0 && random() % 2000 != 0 => (1 << 20) - random() % 600,
                    _ => random() % 600,
                };
                let before = model.insert(address, (site, size));
                let displaced = insert(&table, &mut heap, address, site, size);
                if unaligned == 0 {
                    assert_eq!(displaced.map(|b| (b.site, b.size)), before);
                }
            } else {
                assert_eq!(table.take_block(address).map(|b| (b.site, b.size)), model.remove(&address));
            }
        }
        for (address, (site, size)) in model {
            assert_eq!(table.take_block(address), Some(Block { site, size, is_code: false }));
        }
    }

    #[test]
    fn a_size_left_behind_is_not_taken_for_a_block() {
        let table = table();
        let mut heap = Heap { next_offset: 4096 };
        assert_eq!(insert(&table, &mut heap, 0x1000, 7, 300), None);
        assert!(table.take_block(0x1000).is_some());
        assert_eq!(insert(&table, &mut heap, 0x1010, 8, 300), None);
        assert_eq!(table.take_block(0x1010), Some(Block { site: 8, size: 300, is_code: false }));
    }

    /// The hooks do not ask whether a block is null, in a process with a heap at low addresses as in any other.
    #[test]
    fn no_block_is_null() {
        let table = table();
        let mut heap = Heap { next_offset: 4096 };
        assert!(!table.insert(0, 7, 100));
        insert(&table, &mut heap, 0x1000, 7, 100);
        assert!(!table.insert(0, 7, 100));
        assert!(table.plain(0).is_none());
    }

    #[test]
    fn a_code_object_is_told_at_its_release() {
        let table = table();
        let mut heap = Heap { next_offset: 4096 };
        insert(&table, &mut heap, 0x1000, 7, 300);
        assert!(table.mark_code(&mut heap, 0x1000));
        assert_eq!(table.take_block(0x1000), Some(Block { site: 7, size: 300, is_code: true }));
        assert_eq!(table.take_block(0x1000), None);
        assert!(table.mark_code(&mut heap, 0x2000));
        assert_eq!(table.take_block(0x2000), Some(Block { site: 0, size: 0, is_code: true }));
    }

    /// The bug: an array of 16 MiB had a leaf of 16 MiB of address space.
    #[test]
    fn large_blocks_need_no_leaf_and_are_found_when_one_comes() {
        let table = table();
        let mut heap = Heap { next_offset: 4096 };
        let block = |site, size| Some(Block { site, size, is_code: false });
        for number in 0..1000 {
            insert(&table, &mut heap, 0x7f00_0000_0010 + (number << 24), number as u32 + 1, 16 << 20);
        }
        assert_eq!(table.leaf_count.load(Relaxed), 0);
        // A small block's neighbour: the leaf exists now.
        insert(&table, &mut heap, 0x7f00_0000_0810, 7, 100);
        assert_eq!(table.leaf_count.load(Relaxed), 1);
        assert_eq!(table.take_block(0x7f00_0000_0010), block(1, 16 << 20));
        assert_eq!(table.take(0x7f00_0000_0010), Taken::NOTHING);
        assert_eq!(table.take_block(0x7f00_0000_0810), block(7, 100));
        assert_eq!(table.take(0x7f00_0000_0810), Taken::NOTHING);
        // Found by its new address only, if the release was missed.
        let mut displaced = None;
        assert!(table.insert_slow(&mut heap, 0x7f00_0500_0010, 9, 1 << 20, &mut displaced));
        assert_eq!(displaced, block(6, 16 << 20));
        assert_eq!(table.take_block(0x7f00_0500_0010), block(9, 1 << 20));
        // A code object of such a size.
        assert!(table.mark_code(&mut heap, 0x7f00_0900_0010));
        assert_eq!(table.leaf_count.load(Relaxed), 2);
        assert_eq!(table.take_block(0x7f00_0900_0010), Some(Block { site: 10, size: 16 << 20, is_code: true }));
        assert_eq!(table.take(0x7f00_0900_0010), Taken::NOTHING);
    }

    #[test]
    fn addresses_beyond_the_user_half_are_refused() {
        let table = table();
        let mut heap = Heap { next_offset: 4096 };
        let mut displaced = None;
        assert!(!table.insert_slow(&mut heap, 0xffff_8000_0000_0000, 1, 32, &mut displaced));
        assert_eq!(table.take_block(0xffff_8000_0000_0000), None);
    }
}
