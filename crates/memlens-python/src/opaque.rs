//! Memory that an object of a C type holds beside its own block, and of which no traversal and no `__sizeof__` tells: a compressor's
//! window, a parser's tables, the fields of a class written in Rust.
//!
//! Found by address: each word of the object that is the address of a block of the C library's allocator, and each word of such a block, as a conservative
//! collector does. Left out are blocks that are objects, what the walk has counted already, and what a library's static data
//! leads to as well: that is the library's, not the object's. A block counts once, with whoever is seen to hold it first.
//!
//! What this cannot find: blocks of another allocator than glibc's, pointers into the middle of a block (SQLite's pages), or far behind the beginning
//! of one, memory that was mapped by the library itself; so that it most often errs towards too little. A pointer that was left behind in memory that the
//! library has not written to makes it too much. Its figures are what the allocator gave, up to 24 bytes a block more than was asked for.
use crate::layout::type_object as slot;
use crate::malloc::{Block, Blocks};
use crate::object::Object;
use crate::region::Region;
use rustc_hash::FxHashSet;

/// `offsetof(PyObject, ob_type)` and what follows.
const BODY: usize = 16;
/// `Py_TPFLAGS_READY` and `Py_TPFLAGS_TYPE_SUBCLASS`.
const READY: usize = 1 << 12;
const TYPE_SUBCLASS: usize = 1 << 31;
/// What may stand before an object in its block: the collector's head, managed fields, the debug allocator's head.
const PREFIXES: [usize; 4] = [0, 16, 32, 48];
/// Words of a block that are searched: pointers stand in the beginning of a structure, and what is further on may be a table that was never
/// written to, with what its memory held before.
const MOST_WORDS: usize = 32;
/// A block from which on static data is not believed: the addresses of large blocks are soon used again, and it may hold one of old.
const LARGE: usize = 32 << 10;
/// Blocks of static data's that are followed.
const MOST_SHARED: usize = 200_000;

/// Blocks that were found, over one walk.
pub struct OpaqueSearch {
    blocks: Option<Blocks>,
    /// Blocks that were counted or belong to nobody.
    taken: FxHashSet<usize>,
    has_shared: bool,
}

impl OpaqueSearch {
    pub fn new() -> Self {
        Self { blocks: None, taken: FxHashSet::default(), has_shared: false }
    }

    /// Bytes of the blocks that each object holds; `is_counted` tells addresses of objects and buffers that the walk has.
    pub fn bytes(&mut self, objects: &[(Object, usize)], is_counted: impl Fn(usize) -> bool) -> Vec<u64> {
        self.blocks = if objects.is_empty() { None } else { Blocks::read() };
        objects.iter().map(|(object, basic_size)| self.held(*object, *basic_size, &is_counted)).collect()
    }

    fn held(&mut self, object: Object, basic_size: usize, is_counted: &impl Fn(usize) -> bool) -> u64 {
        // SAFETY: the words lie in the object, which lives.
        let words = (BODY..basic_size).step_by(8).map(|at| unsafe { object.read::<usize>(at as isize) });
        let mut found = Vec::new();
        self.add_blocks(words, is_counted, &mut found);
        if found.is_empty() {
            return 0;
        }
        self.take_shared();
        self.follow(found, is_counted, usize::MAX)
    }

    /// Takes blocks and what they lead to; the sum of their bytes.
    fn follow(&mut self, mut left: Vec<Block>, is_counted: &impl Fn(usize) -> bool, most: usize) -> u64 {
        let (mut sum, mut count) = (0, 0);
        while let Some(Block { address, bytes }) = left.pop() {
            if count == most || !self.taken.insert(address) {
                continue;
            }
            (sum, count) = (sum + bytes as u64, count + 1);
            if let Some(blocks) = &self.blocks {
                self.add_blocks(blocks.words(address, (bytes / 8).min(MOST_WORDS)), is_counted, &mut left);
            }
        }
        sum
    }

    /// What static data leads to is nobody's in particular.
    fn take_shared(&mut self) {
        if std::mem::replace(&mut self.has_shared, true) {
            return;
        }
        let mut roots = Vec::new();
        if let Some(blocks) = &self.blocks {
            self.add_blocks(blocks.static_words(), &|_| false, &mut roots);
        }
        self.follow(roots, &|_| false, MOST_SHARED);
        if let Some(blocks) = &self.blocks {
            self.taken.retain(|address| blocks.block(*address).is_some_and(|bytes| bytes < LARGE));
        }
    }

    /// The words that are blocks, are no objects, and were not met before.
    fn add_blocks(
        &self,
        words: impl Iterator<Item = usize>,
        is_counted: &impl Fn(usize) -> bool,
        found: &mut Vec<Block>,
    ) {
        let Some(blocks) = &self.blocks else {
            return;
        };
        let is_new = |block: &Block| !self.taken.contains(&block.address) && !is_counted(block.address);
        let new = words.filter_map(|pointer| blocks.block_of(pointer)).filter(is_new);
        found.extend(new.filter(|block| !is_object(blocks, block.address)));
    }
}

/// Whether an object begins in a block, perhaps after a head.
fn is_object(blocks: &Blocks, block: usize) -> bool {
    let type_at = |address: usize| blocks.memory.word(address + 8);
    let flags_of = |class: usize| blocks.memory.word(class + slot::FLAGS as usize);
    let is_type = |class: usize| {
        class.is_multiple_of(8)
            && class > 1 << 16
            && flags_of(class) & READY != 0
            && flags_of(type_at(class)) & TYPE_SUBCLASS != 0
    };
    PREFIXES.iter().any(|prefix| is_type(type_at(block + prefix)))
}

/// Whether an address lies in one of these regions, which are sorted and do not overlap.
pub fn is_in(regions: &[Region], address: usize) -> bool {
    let at = regions.partition_point(|region| region.end() <= address);
    regions.get(at).is_some_and(|region| region.address <= address)
}
