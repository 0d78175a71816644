//! Which addresses have been seen: one bit for each 16-byte granule, in pages that are made on demand.
//!
//! Objects lie densely in the allocator's arenas, so that a bitmap stays in the cache where a hash table of addresses would
//! not. One bit a granule is 1/128 of the heap.

/// Objects are at least 16 bytes long and aligned to 16.
const GRANULE_BITS: u32 = 4;
/// A leaf covers 1 MiB.
const LEAF_BITS: u32 = 20;
/// A branch covers 2^34 bytes: 2^14 leaves.
const BRANCH_BITS: u32 = 34;
/// User addresses have 47 bits.
const ADDRESS_BITS: u32 = 47;
const LEAF_WORDS: usize = 1 << (LEAF_BITS - GRANULE_BITS - 6);

type Leaf = Box<[u64; LEAF_WORDS]>;
type Branch = Vec<Option<Leaf>>;

/// A set of addresses.
pub struct Marks {
    branches: Vec<Option<Branch>>,
}

impl Marks {
    pub fn new() -> Self {
        Self { branches: (0..1 << (ADDRESS_BITS - BRANCH_BITS)).map(|_| None).collect() }
    }

    /// Marks an address; says whether it was not marked before.
    #[inline]
    pub fn insert(&mut self, address: usize) -> bool {
        let (word, bit) = Self::place(address);
        let leaf = self.leaf(address);
        let is_new = leaf[word] & bit == 0;
        leaf[word] |= bit;
        is_new
    }

    /// Whether an address is marked.
    pub fn contains(&self, address: usize) -> bool {
        let (word, bit) = Self::place(address);
        let branch = self.branches.get(address >> BRANCH_BITS).and_then(Option::as_ref);
        let leaf = branch.and_then(|branch| branch[Self::leaf_index(address)].as_ref());
        leaf.is_some_and(|leaf| leaf[word] & bit != 0)
    }

    #[inline]
    fn place(address: usize) -> (usize, u64) {
        let granule = address >> GRANULE_BITS;
        ((granule >> 6) & (LEAF_WORDS - 1), 1 << (granule & 63))
    }

    #[inline]
    fn leaf_index(address: usize) -> usize {
        (address >> LEAF_BITS) & ((1 << (BRANCH_BITS - LEAF_BITS)) - 1)
    }

    #[inline]
    fn leaf(&mut self, address: usize) -> &mut Leaf {
        // An address that no process has counts with another one rather than outside of the table.
        let at = (address >> BRANCH_BITS) & (self.branches.len() - 1);
        let branch =
            self.branches[at].get_or_insert_with(|| (0..1 << (BRANCH_BITS - LEAF_BITS)).map(|_| None).collect());
        branch[Self::leaf_index(address)].get_or_insert_with(|| Box::new([0; LEAF_WORDS]))
    }
}
