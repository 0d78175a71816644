//! Memory of this process by address, where nobody promises that there is any: read through the kernel, which refuses instead of
//! ending the process.
use std::fs::File;
use std::os::unix::fs::FileExt;

/// `/proc/self/mem`.
pub struct OwnMemory(File);

/// Bytes of a word.
const WORD: usize = 8;

impl OwnMemory {
    /// Nothing where `/proc` is not there.
    pub fn open() -> Option<Self> {
        File::open("/proc/self/mem").ok().map(Self)
    }

    /// The words from an address on, as many as can be read and `count` at most.
    pub fn words(&self, address: usize, count: usize) -> Vec<usize> {
        let mut bytes = vec![0; count * WORD];
        let read = self.0.read_at(&mut bytes, address as u64).unwrap_or(0);
        bytes.truncate(read);
        bytes.chunks_exact(WORD).map(|word| usize::from_le_bytes(word.try_into().unwrap_or([0; WORD]))).collect()
    }

    /// Whether there is memory at an address.
    pub fn is_readable(&self, address: usize) -> bool {
        self.0.read_at(&mut [0], address as u64).is_ok_and(|read| read == 1)
    }
}
