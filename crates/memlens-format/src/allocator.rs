//! Which allocator served an event.

/// The function (or Python memory domain) that an allocation was asked of. The discriminants are part of the capture
/// format and of the shared layout: add at the end, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Allocator {
    /// C `malloc`, and with it C++ `new`, which calls it.
    Malloc = 0,
    /// C `calloc`.
    Calloc = 1,
    /// C `realloc`.
    Realloc = 2,
    /// glibc's `reallocarray`.
    Reallocarray = 3,
    /// POSIX `posix_memalign`.
    PosixMemalign = 4,
    /// C11 `aligned_alloc`.
    AlignedAlloc = 5,
    /// glibc's `memalign`.
    Memalign = 6,
    /// glibc's `valloc`.
    Valloc = 7,
    /// glibc's `pvalloc`.
    Pvalloc = 8,
    /// Anonymous `mmap`.
    Mmap = 9,
    /// The growth of a mapping by `mremap`.
    Mremap = 10,
    /// `brk` and `sbrk`, when the program calls them itself.
    Brk = 11,
    /// CPython's raw domain (`PyMem_RawMalloc` and its kin).
    PymemRaw = 12,
    /// CPython's mem domain (`PyMem_Malloc` and its kin).
    Pymem = 13,
    /// CPython's object domain (`PyObject_Malloc` and its kin).
    Pyobject = 14,
    /// A file-backed `mmap`: a class of its own, never part of the heap.
    MmapFile = 15,
    /// A jemalloc that is part of a library.
    Jemalloc = 16,
    /// A mimalloc that is part of a library.
    Mimalloc = 17,
    /// An `mmap` of shared memory (`shm_open`, `memfd_create`): a class of its own, neither file nor heap.
    MmapShared = 18,
}

impl Allocator {
    /// Every allocator, in the order of its discriminant.
    pub const ALL: [Self; 19] = [
        Self::Malloc,
        Self::Calloc,
        Self::Realloc,
        Self::Reallocarray,
        Self::PosixMemalign,
        Self::AlignedAlloc,
        Self::Memalign,
        Self::Valloc,
        Self::Pvalloc,
        Self::Mmap,
        Self::Mremap,
        Self::Brk,
        Self::PymemRaw,
        Self::Pymem,
        Self::Pyobject,
        Self::MmapFile,
        Self::Jemalloc,
        Self::Mimalloc,
        Self::MmapShared,
    ];

    /// The allocator with this discriminant, or `None` for a number that no released version wrote.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value)).copied()
    }

    /// The name in reports and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malloc => "malloc",
            Self::Calloc => "calloc",
            Self::Realloc => "realloc",
            Self::Reallocarray => "reallocarray",
            Self::PosixMemalign => "posix_memalign",
            Self::AlignedAlloc => "aligned_alloc",
            Self::Memalign => "memalign",
            Self::Valloc => "valloc",
            Self::Pvalloc => "pvalloc",
            Self::Mmap => "mmap",
            Self::Mremap => "mremap",
            Self::Brk => "brk",
            Self::PymemRaw => "pymem_raw",
            Self::Pymem => "pymem",
            Self::Pyobject => "pyobject",
            Self::MmapFile => "mmap_file",
            Self::Jemalloc => "jemalloc",
            Self::Mimalloc => "mimalloc",
            Self::MmapShared => "mmap_shared",
        }
    }

    /// Whether its blocks count as heap. A file-backed mapping and shared memory never do.
    pub fn is_heap(self) -> bool {
        !matches!(self, Self::MmapFile | Self::MmapShared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_and_all_agree() {
        for (index, allocator) in Allocator::ALL.into_iter().enumerate() {
            assert_eq!(allocator as usize, index);
            assert_eq!(Allocator::from_u8(index as u8), Some(allocator));
        }
        assert_eq!(Allocator::from_u8(19), None);
    }
}
