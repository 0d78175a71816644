//! Memory that an object of a C type holds beside its own block, and of which no traversal and no `__sizeof__` tells: a compressor's
//! window, a parser's tables, the fields of a class written in Rust.
//!
//! Found by address: each word of the object that is the address of a block of the C library's allocator, and each word of such a block, as a conservative
//! collector does. Left out are blocks that are objects, what the walk has counted already, and what a library's static data
//! leads to as well: that is the library's, not the object's. A block counts once, with whoever is seen to hold it first.
//!
//! What this cannot find: blocks of another allocator than glibc's, pointers into the middle of a block, memory that was mapped by the
//! library itself. Its figures are what the allocator gave, up to 24 bytes a block more than was asked for.
use crate::layout::type_object as slot;
use crate::malloc::Blocks;
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
/// Words of a block that are searched.
const MOST_WORDS: usize = 1 << 16;
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
        let mut found = self.new_blocks(words.collect(), is_counted);
        if found.is_empty() {
            return 0;
        }
        self.take_shared();
        found.retain(|(address, _)| !self.taken.contains(address));
        self.follow(found, is_counted, usize::MAX)
    }

    /// Takes blocks and what they lead to; the sum of their bytes.
    fn follow(&mut self, found: Vec<(usize, usize)>, is_counted: &impl Fn(usize) -> bool, most: usize) -> u64 {
        let (mut sum, mut count, mut left) = (0, 0, found);
        while let Some((address, bytes)) = left.pop() {
            if count == most || !self.taken.insert(address) {
                continue;
            }
            (sum, count) = (sum + bytes as u64, count + 1);
            let words = self.blocks.as_ref().map(|blocks| blocks.memory.words(address, (bytes / 8).min(MOST_WORDS)));
            left.extend(self.new_blocks(words.unwrap_or_default(), is_counted));
        }
        sum
    }

    /// What static data leads to is nobody's in particular.
    fn take_shared(&mut self) {
        if std::mem::replace(&mut self.has_shared, true) {
            return;
        }
        let words = self.blocks.as_ref().map(|blocks| blocks.static_words().collect::<Vec<usize>>());
        let roots = self.new_blocks(words.unwrap_or_default(), &|_| false);
        self.follow(roots, &|_| false, MOST_SHARED);
    }

    /// The words that are blocks, are no objects, and were not met before.
    fn new_blocks(&self, words: Vec<usize>, is_counted: &impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
        let Some(blocks) = &self.blocks else {
            return Vec::new();
        };
        let is_new = |address: &usize| !self.taken.contains(address) && !is_counted(*address);
        let sizes = words.into_iter().filter(is_new).filter_map(|address| Some((address, blocks.block(address)?)));
        sizes.filter(|(address, _)| !is_object(blocks, *address)).collect()
    }
}

/// Whether an object begins in a block, perhaps after a head.
fn is_object(blocks: &Blocks, block: usize) -> bool {
    let type_at = |address: usize| blocks.memory.words(address + 8, 1).first().copied();
    let flags_of = |class: usize| blocks.memory.words(class + slot::FLAGS as usize, 1).first().copied().unwrap_or(0);
    let is_type = |class: usize| {
        class.is_multiple_of(8)
            && class > 1 << 16
            && flags_of(class) & READY != 0
            && type_at(class).is_some_and(|meta| flags_of(meta) & TYPE_SUBCLASS != 0)
    };
    PREFIXES.iter().any(|prefix| type_at(block + prefix).is_some_and(is_type))
}

/// Whether an address lies in one of these regions, which are sorted and do not overlap.
pub fn is_in(regions: &[Region], address: usize) -> bool {
    let at = regions.partition_point(|region| region.end() <= address);
    regions.get(at).is_some_and(|region| region.address <= address)
}
