//! What happened at a place.

/// The figures of a place: a line, a function, a file or a node of the call tree. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes asked for.
    pub allocated_bytes: u64,
    /// Bytes released while the place ran, whoever had allocated them.
    pub freed_bytes: u64,
    /// Bytes that the place had allocated and that were live at the peak.
    pub peak_bytes: u64,
    /// Allocations.
    pub allocations: u64,
    /// Releases.
    pub frees: u64,
    /// Bytes released before the same thread's next allocation.
    pub temporary_bytes: u64,
}

impl Figures {
    /// Allocated minus freed.
    pub fn net_bytes(&self) -> i64 {
        let net = i128::from(self.allocated_bytes) - i128::from(self.freed_bytes);
        net.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.allocated_bytes = self.allocated_bytes.saturating_add(other.allocated_bytes);
        self.freed_bytes = self.freed_bytes.saturating_add(other.freed_bytes);
        self.peak_bytes = self.peak_bytes.saturating_add(other.peak_bytes);
        self.allocations = self.allocations.saturating_add(other.allocations);
        self.frees = self.frees.saturating_add(other.frees);
        self.temporary_bytes = self.temporary_bytes.saturating_add(other.temporary_bytes);
    }
}
