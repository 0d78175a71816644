//! What sites did over time, in a bounded number of slices, by the numbers that the agents gave them.
use std::time::Duration;

/// Most slices kept. When there are more, neighbours are merged.
const MAX_SLICES: usize = 128;
/// Most changes kept in all slices together, as long as that leaves [`MIN_SLICES`]. It bounds the capture's size.
const MAX_CHANGES: usize = 65_536;
/// Slices that are kept whatever their size.
const MIN_SLICES: usize = 8;
/// Time between two slices at first.
const FIRST_INTERVAL: Duration = Duration::from_millis(50);

/// What one site did in one slice. The site is the agent's, of the session with index `session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawChange {
    /// Index of the session.
    pub session: u32,
    /// The agent's number of the site.
    pub site: u32,
    /// New allocations.
    pub allocations: u64,
    /// Bytes asked for by them.
    pub allocated_bytes: u64,
    /// Change of the number of live blocks.
    pub live_count: i64,
    /// Change of the live bytes.
    pub live_bytes: i64,
}

impl RawChange {
    fn key(&self) -> (u32, u32) {
        (self.session, self.site)
    }

    fn add(&mut self, later: &Self) {
        self.allocations = self.allocations.saturating_add(later.allocations);
        self.allocated_bytes = self.allocated_bytes.saturating_add(later.allocated_bytes);
        self.live_count = self.live_count.saturating_add(later.live_count);
        self.live_bytes = self.live_bytes.saturating_add(later.live_bytes);
    }
}

/// The changes up to a moment since the slice before.
#[derive(Debug, Default)]
pub struct RawSlice {
    /// End of the slice, since the start.
    pub time_ns: u64,
    /// In order of session and site.
    pub changes: Vec<RawChange>,
}

/// The slices so far.
pub struct SliceLog {
    slices: Vec<RawSlice>,
    interval: Duration,
    /// When the latest slice was begun; what comes soon after becomes part of it.
    latest_start_ns: u64,
}

impl SliceLog {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { slices: Vec::new(), interval: FIRST_INTERVAL, latest_start_ns: 0 }
    }

    /// The shortest sensible time between two slices.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Adds what changed since the latest slice; `changes` in order of session and site. A slice in which nothing changed
    /// is left out; slices that come faster than the interval (each process that ends brings one) become one.
    pub fn push(&mut self, time_ns: u64, mut changes: Vec<RawChange>) {
        if changes.is_empty() {
            return;
        }
        changes.shrink_to_fit();
        let slice = RawSlice { time_ns, changes };
        let since_latest = Duration::from_nanos(time_ns.saturating_sub(self.latest_start_ns));
        match self.slices.pop_if(|_| since_latest < self.interval / 2) {
            Some(latest) => self.slices.push(merge(latest, slice)),
            None => {
                self.latest_start_ns = time_ns;
                self.slices.push(slice);
            }
        }
        while self.is_too_large() {
            self.halve();
        }
    }

    /// The slices, in order of time.
    pub fn into_slices(self) -> Vec<RawSlice> {
        self.slices
    }

    fn is_too_large(&self) -> bool {
        let changes: usize = self.slices.iter().map(|slice| slice.changes.len()).sum();
        self.slices.len() > MAX_SLICES || (changes > MAX_CHANGES && self.slices.len() > MIN_SLICES)
    }

    fn halve(&mut self) {
        let mut merged = Vec::with_capacity(MAX_SLICES);
        let mut slices = std::mem::take(&mut self.slices).into_iter();
        while let Some(earlier) = slices.next() {
            merged.push(match slices.next() {
                Some(later) => merge(earlier, later),
                None => earlier,
            });
        }
        self.slices = merged;
        self.interval *= 2;
    }
}

/// Both as one. The changes of each are in order, and so one pass makes them one array of just its size: this log is most of what a long
/// recording of many processes holds.
fn merge(earlier: RawSlice, later: RawSlice) -> RawSlice {
    let mut changes: Vec<RawChange> = Vec::with_capacity(earlier.changes.len() + later.changes.len());
    let mut rest = later.changes.into_iter().peekable();
    for mut change in earlier.changes {
        while let Some(new) = rest.next_if(|new| new.key() < change.key()) {
            changes.push(new);
        }
        if let Some(same) = rest.next_if(|new| new.key() == change.key()) {
            change.add(&same);
        }
        changes.push(change);
    }
    changes.extend(rest);
    changes.shrink_to_fit();
    RawSlice { time_ns: later.time_ns, changes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(site: u32, allocations: u64) -> RawChange {
        RawChange { session: 0, site, allocations, allocated_bytes: 10 * allocations, live_count: -1, live_bytes: 2 }
    }

    #[test]
    fn merging_keeps_every_sum_and_the_order() {
        let mut log = SliceLog::new();
        for step in 0..10_000 {
            log.push(step * 50_000_000, vec![change(1, 1), change(2 + (step % 7) as u32, 3)]);
        }
        let slices = log.into_slices();
        assert!(slices.len() <= MAX_SLICES);
        assert!(slices.is_sorted_by_key(|slice| slice.time_ns));
        assert!(slices.iter().all(|slice| slice.changes.is_sorted_by(|a, b| a.key() < b.key())));
        assert_eq!(slices.last().unwrap().time_ns, 9_999 * 50_000_000);
        let all = || slices.iter().flat_map(|slice| &slice.changes);
        assert_eq!(all().filter(|change| change.site == 1).map(|change| change.allocations).sum::<u64>(), 10_000);
        assert_eq!(all().map(|change| change.allocated_bytes).sum::<u64>(), 400_000);
        assert_eq!(all().map(|change| change.live_count).sum::<i64>(), -20_000);
    }

    #[test]
    fn many_changes_make_few_slices() {
        let mut log = SliceLog::new();
        for step in 0..40 {
            log.push(step * 50_000_000, (0..20_000).map(|site| change(site, 1)).collect());
        }
        assert!(log.into_slices().len() <= MIN_SLICES);
    }
}
