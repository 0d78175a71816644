//! The figures of every site, now and at the peak, summed over the lanes.
use crate::shared_view::SharedView;
use memlens_format::shared::{Counters, Lane, is_release};
use std::sync::atomic::Ordering::Relaxed;

/// What all lanes together know about one site. Live and peak figures may be negative while the program runs (a lane that
/// releases was read before the one that allocated).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteTotals {
    /// Allocations, or releases.
    pub count: u64,
    /// Bytes allocated, or released.
    pub bytes: u64,
    /// Blocks now live.
    pub live_count: i32,
    /// Bytes now live.
    pub live_bytes: i64,
    /// Blocks live at the peak.
    pub peak_count: i32,
    /// Bytes live at the peak.
    pub peak_bytes: i64,
    /// Blocks released before the same thread's next allocation.
    pub temporary_count: u64,
    /// Their bytes.
    pub temporary_bytes: u64,
}

impl SiteTotals {
    /// A release site has no blocks of its own.
    fn hold_nothing(&mut self) {
        *self = Self { live_count: 0, live_bytes: 0, peak_count: 0, peak_bytes: 0, ..*self };
    }

    fn add(&mut self, counters: &Counters, peak: Peak) {
        let (live_count, live_bytes) = counters.live();
        let is_saved = matches!(peak, Peak::Left { epoch } if counters.epoch.load(Relaxed) == epoch);
        let (peak_count, peak_bytes) = if is_saved {
            (counters.peak_count.load(Relaxed), counters.peak_bytes.load(Relaxed))
        } else {
            (live_count, live_bytes)
        };
        self.count = self.count.saturating_add(counters.count.load(Relaxed));
        self.bytes = self.bytes.saturating_add(counters.bytes.load(Relaxed));
        self.live_count = self.live_count.wrapping_add(live_count);
        self.live_bytes = self.live_bytes.saturating_add(live_bytes);
        self.peak_count = self.peak_count.wrapping_add(peak_count);
        self.peak_bytes = self.peak_bytes.saturating_add(peak_bytes);
        self.temporary_count = self.temporary_count.saturating_add(counters.temporary_count.load(Relaxed));
        self.temporary_bytes = self.temporary_bytes.saturating_add(counters.temporary_bytes.load(Relaxed));
    }
}

/// Where the peak of a process lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// The heap was never larger than now: a site's live figures are its peak figures.
    Now,
    /// It was left when the header's epoch became `epoch`: a lane that has touched a site since then has saved what it held
    /// in the site's peak figures; elsewhere the live figures have not changed since.
    Left {
        /// The header's epoch.
        epoch: u64,
    },
}

impl Peak {
    /// Where the peak of `view` lies, and how high it is. Exact once the process has ended.
    pub fn of(view: &SharedView) -> (Self, i64) {
        let header = view.header();
        let main = header.main_live_bytes.load(Relaxed);
        let lanes = view.lanes();
        let live_bytes =
            lanes.iter().flatten().fold(main, |sum, lane| sum.saturating_add(lane.live_bytes.load(Relaxed)));
        let left_bytes = header.peak_bytes.load(Relaxed);
        if live_bytes >= left_bytes {
            return (Self::Now, live_bytes);
        }
        let epoch = header.epoch.load(Relaxed);
        (Self::Left { epoch }, left_bytes)
    }
}

/// The figures of the first sites of `chunk`, as many as `totals` has room for; `false` if a lane's counters could not be
/// read. Sites that are not in use must not be asked for: to read a page that the agent has not written makes it exist.
pub fn chunk_totals(view: &SharedView, lanes: &[&Lane], chunk: usize, peak: Peak, totals: &mut [SiteTotals]) -> bool {
    totals.fill(SiteTotals::default());
    let mut is_whole = true;
    for lane in lanes {
        let read = view.counters(lane, chunk, totals.len(), |index, counters| totals[index].add(counters, peak));
        is_whole &= read.is_ok();
    }
    let records = view.sites(chunk).unwrap_or_default();
    for (total, record) in totals.iter_mut().zip(records) {
        if is_release(record.kind.load(Relaxed)) {
            total.hold_nothing();
        }
    }
    is_whole
}
