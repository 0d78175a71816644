//! Counters with one writer at a time, and the exact peak.
//!
//! **Peak.** The heap's maximum is told at its *falling edge*: growing costs nothing; the first release after a new maximum
//! opens a new epoch. A site that is touched for the first time in an epoch saves its live figures as its peak figures
//! before it changes them. So at any time a site's figures at the peak are its saved ones if it was touched in the
//! present epoch and its live ones if not: exact, O(1) an event, with no copying of tables.
//!
//! **Lanes.** Lane 0 belongs to whoever holds the GIL, so that its counters need no atomic read-modify-write. A thread that
//! allocates without the GIL has a lane of its own and tells the others its total: at each event while there are no more than [`EXACT_LANES`]
//! lanes, else each [`PUBLISH_BYTES`], lest they all fight for one cache line. The peak is then within 4 KiB a thread.
use crate::memory::{Memory, private_array};
use crate::recent::CountedSite;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering::Relaxed};
use memlens_format::shared::{self, Counters, Head, Header, NEAR_SITES, SITE_CHUNKS, SITES_PER_CHUNK};

/// How far a lane's total may be ahead of what the other lanes know, once there are more than [`EXACT_LANES`].
pub const PUBLISH_BYTES: i64 = 4096;

/// Up to this many lanes each event is published, and the peak is exact.
pub const EXACT_LANES: u32 = 4;

/// A lane, as its writer sees it.
pub struct Lane {
    head: &'static Head,
    shared: &'static shared::Lane,
    /// Of how many sites it has the counters in one piece: NEAR_SITES for lane 0, none for the others.
    near_count: u32,
    /// SITE_CHUNKS pointers to chunks of SITES_PER_CHUNK counters, null until one of the sites is touched.
    chunks: NonNull<AtomicPtr<Counters>>,
    is_main: bool,
    /// What lives in it, in the shared file.
    live_bytes: &'static AtomicI64,
}

// SAFETY: all that a lane refers to is atomic and lives as long as the process; that only one thread at a time
// *writes* figures through it is the agent's rule, and a breach of it costs figures, not memory safety.
unsafe impl Sync for Lane {}
// SAFETY: as above.
unsafe impl Send for Lane {}

/// A plain addition: one writer, so that no locked instruction is needed; the collector reads whole words.
#[inline(always)]
fn add(counter: &AtomicU64, value: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(value), Relaxed);
}

#[inline(always)]
fn add_signed(counter: &AtomicI64, value: i64) {
    counter.store(counter.load(Relaxed).wrapping_add(value), Relaxed);
}

impl Lane {
    /// Makes a lane in the shared file. The agent enters its offset (returned as well) in the header.
    pub fn new(memory: &mut impl Memory, head: &'static Head, is_main: bool) -> Option<(Self, u64)> {
        let (pointer, offset) = memory.shared(size_of::<shared::Lane>())?;
        // SAFETY: zeroed, aligned, shared for ever; a Lane of zeros is an empty one.
        let shared = unsafe { pointer.cast::<shared::Lane>().as_ref() };
        // SAFETY: a null AtomicPtr is all zeros.
        let chunks = unsafe { private_array::<AtomicPtr<Counters>>(memory, SITE_CHUNKS)? };
        let live_bytes = if is_main { &head.header.main_live_bytes } else { &shared.live_bytes };
        let near_count = if is_main { NEAR_SITES as u32 } else { 0 };
        let lane = Self { head, shared, near_count, chunks, is_main, live_bytes };
        if is_main {
            lane.begin_near();
        }
        Some((lane, offset))
    }

    fn begin_near(&self) {
        for (index, shared) in self.shared.chunks[..NEAR_SITES / SITES_PER_CHUNK].iter().enumerate() {
            let first = index * SITES_PER_CHUNK;
            self.chunk(first as u32).store((&raw const self.head.near.0[first]).cast_mut(), Relaxed);
            shared.store((offset_of!(Head, near) + first * size_of::<Counters>()) as u64, Relaxed);
        }
    }

    /// The head in the shared file.
    pub fn shared(&self) -> &'static shared::Lane {
        self.shared
    }

    #[inline(always)]
    fn chunk(&self, site: u32) -> &AtomicPtr<Counters> {
        // SAFETY: there are SITE_CHUNKS pointers, and the index is masked to that.
        unsafe { self.chunks.add((site as usize / SITES_PER_CHUNK) & (SITE_CHUNKS - 1)).as_ref() }
    }

    /// The counters of a site, or `None` if [`Lane::make_chunk`] must be called first.
    #[inline(always)]
    fn counters(&self, site: u32) -> Option<&'static Counters> {
        if site < self.near_count {
            return Some(near(self.head, site));
        }
        let chunk = self.chunk(site).load(Relaxed);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk has SITES_PER_CHUNK counters, and the index is masked to that.
        Some(unsafe { &*chunk.add(site as usize & (SITES_PER_CHUNK - 1)) })
    }

    /// Whether figures of this site can be written.
    #[inline(always)]
    pub fn has(&self, site: u32) -> bool {
        !self.chunk(site).load(Relaxed).is_null()
    }

    /// Makes room for the figures of this site and its neighbours. False if there is no memory.
    #[cold]
    #[inline(never)]
    pub fn make_chunk(&self, memory: &mut impl Memory, site: u32) -> bool {
        if self.has(site) {
            return true;
        }
        let Some((pointer, offset)) = memory.shared(size_of::<Counters>() * SITES_PER_CHUNK) else { return false };
        self.chunk(site).store(pointer.as_ptr().cast(), Relaxed);
        self.shared.chunks[site as usize / SITES_PER_CHUNK % SITE_CHUNKS].store(offset, Relaxed);
        true
    }

    /// Whether lane 0 has the site's counters where the `_near` functions look for them.
    #[inline(always)]
    pub fn is_near(site: u32) -> bool {
        site < NEAR_SITES as u32
    }

    /// The counters of a site, to be kept; `None` if there are none yet, or if the site is not near where the `_near` functions are used.
    #[inline(always)]
    pub fn counted(&self, site: u32) -> Option<CountedSite> {
        if self.is_main && !Self::is_near(site) {
            return None;
        }
        Some(CountedSite { site, counters: self.counters(site)? })
    }

    /// [`Lane::allocated`] for heap, lane 0 and a near site ([`Lane::is_near`]).
    ///
    /// Budget: one cache line of the site, one of the header; a branch.
    #[inline(always)]
    pub fn allocated_near(&self, counters: &Counters, size: u64) {
        let header = &self.head.header;
        count_allocated(header, counters, size);
        add_signed(&header.main_live_bytes, size as i64);
    }

    /// Before a release of heap in lane 0: leaves the peak, if the heap was never larger than now. Returns what lives in lane 0; `None` if
    /// the peak is one of several lanes': then [`Lane::leave_peak_if_there`] must be called.
    #[inline(always)]
    pub fn leave_peak_alone(&self) -> Option<i64> {
        let header = &self.head.header;
        let live = header.main_live_bytes.load(Relaxed);
        (live <= header.main_known_bytes.load(Relaxed) || leave_main_peak(header, live)).then_some(live)
    }

    /// [`Lane::released`] for heap, lane 0, a whole block and near sites ([`Lane::is_near`]), after the peak was left.
    ///
    /// `live` is what [`Lane::leave_peak_alone`] returned.
    ///
    /// Budget: one cache line a site, one of the header; two branches.
    #[inline(always)]
    pub fn released_near(&self, live: i64, owner: u32, here: &Counters, size: u64, temporary: bool) {
        let head = self.head;
        head.header.main_live_bytes.store(live - size as i64, Relaxed);
        count_released(&head.header, near(head, owner), here, size, 1, temporary);
    }

    /// An allocation. False if the site has no counters yet ([`Lane::make_chunk`]).
    #[inline]
    pub fn allocated(&self, site: u32, size: u64, is_heap: bool) -> bool {
        let Some(counters) = self.counters(site) else { return false };
        count_allocated(&self.head.header, counters, size);
        if is_heap {
            add_signed(self.live_bytes, size as i64);
            if !self.is_main {
                self.publish_if_due();
            }
        }
        true
    }

    /// A release of `size` bytes of a block of site `owner`, at the place `here` (a release site). `blocks` is 1, but for parts of
    /// a mapping. False, and nothing changed, if one of the sites has no counters yet ([`Lane::make_chunk`]).
    #[inline]
    pub fn released(&self, owner: u32, here: u32, size: u64, blocks: i32, temporary: bool, is_heap: bool) -> bool {
        let (Some(owner), Some(here)) = (self.counters(owner), self.counters(here)) else { return false };
        if is_heap {
            self.leave_peak_if_there();
        }
        count_released(&self.head.header, owner, here, size, blocks, temporary);
        if is_heap {
            add_signed(self.live_bytes, -(size as i64));
            if !self.is_main {
                self.publish_if_due();
            }
        }
        true
    }

    /// A block that is known to have gone although nobody saw its release.
    #[cold]
    pub fn vanished(&self, owner: u32, size: u64) {
        let Some(owner) = self.counters(owner) else { return };
        self.leave_peak_if_there();
        count_gone(&self.head.header, owner, size, 1);
        add_signed(self.live_bytes, -(size as i64));
    }

    /// Before a release of heap: leaves the peak, if the heap was never larger than now.
    #[inline(always)]
    pub fn leave_peak_if_there(&self) {
        if !self.is_main {
            self.leave_peak_without_gil();
        } else if self.leave_peak_alone().is_none() {
            leave_main_peak_with_others(&self.head.header);
        }
    }

    /// The same for the other lanes, as long as they know each other's figures.
    #[inline(never)]
    fn leave_peak_without_gil(&self) {
        let header = &self.head.header;
        let total = header.others_bytes.load(Relaxed) + header.main_live_bytes.load(Relaxed);
        if self.is_exact() && total > header.peak_bytes.load(Relaxed) {
            leave_peak_with_others(header, total);
        }
    }

    #[inline(always)]
    fn is_exact(&self) -> bool {
        self.head.header.lane_count.load(Relaxed) <= EXACT_LANES
    }

    /// Tells the other lanes what this one holds, if it is far from what they know.
    #[inline(always)]
    fn publish_if_due(&self) {
        let due = self.live_bytes.load(Relaxed) - self.shared.published_bytes.load(Relaxed);
        if self.is_exact() || due.unsigned_abs() >= PUBLISH_BYTES as u64 {
            self.publish(due);
        }
    }

    #[inline(never)]
    fn publish(&self, due: i64) {
        let header = &self.head.header;
        if header.main_known_bytes.load(Relaxed) != NOT_ALONE {
            header.main_known_bytes.store(NOT_ALONE, Relaxed);
        }
        let before = header.others_bytes.fetch_add(due, Relaxed);
        add_signed(&self.shared.published_bytes, due);
        let total = before + header.main_live_bytes.load(Relaxed);
        if due < 0 && total > header.peak_bytes.load(Relaxed) {
            leave_peak_with_others(header, total);
        }
    }
}

/// Lane 0's counters of a site that [`Lane::is_near`] said yes to.
#[inline(always)]
fn near(head: &'static Head, site: u32) -> &'static Counters {
    debug_assert!(Lane::is_near(site));
    // SAFETY: the callers' promise.
    unsafe { head.near.0.get_unchecked(site as usize) }
}

/// [`Header::main_known_bytes`] as soon as others than lane 0 have published anything: no live heap is as small.
const NOT_ALONE: i64 = i64::MIN;

/// Saves the site's figures if this is the first time that it changes since the last peak.
#[inline(always)]
fn touch(header: &Header, counters: &Counters) {
    let epoch = header.epoch.load(Relaxed);
    if counters.epoch.load(Relaxed) != epoch {
        // One after the other: fewer registers, of which the hooks then save none.
        counters.peak_bytes.store(counters.live_bytes(), Relaxed);
        counters.peak_count.store(counters.live_count(), Relaxed);
        counters.epoch.store(epoch, Relaxed);
    }
}

#[inline(always)]
fn count_allocated(header: &Header, counters: &Counters, size: u64) {
    touch(header, counters);
    add(&counters.count, 1);
    add(&counters.bytes, size);
}

#[inline(always)]
fn count_released(header: &Header, owner: &Counters, here: &Counters, size: u64, blocks: i32, temporary: bool) {
    count_gone(header, owner, size, blocks);
    if temporary {
        count_temporary(owner, size);
    }
    add(&here.count, 1);
    add(&here.bytes, size);
}

#[inline(always)]
fn count_gone(header: &Header, owner: &Counters, size: u64, blocks: i32) {
    touch(header, owner);
    add(&owner.gone_bytes, size);
    owner.gone_count.store(owner.gone_count.load(Relaxed).wrapping_add(blocks as u32), Relaxed);
}

/// Lane 0 holds more than is known. Leaves the peak if it is alone; else false if there is one to leave.
#[inline(always)]
fn leave_main_peak(header: &Header, live: i64) -> bool {
    if is_alone(header) {
        header.main_known_bytes.store(live, Relaxed);
        // Looked for once more: whoever publishes from now on takes it back, but one may have done so just before.
        if is_alone(header) {
            header.peak_bytes.store(live, Relaxed);
            add(&header.epoch, 1);
            header.peak_time_ns.store(header.clock_ns.load(Relaxed), Relaxed);
            return true;
        }
        header.main_known_bytes.store(NOT_ALONE, Relaxed);
    }
    live + header.others_bytes.load(Relaxed) <= header.peak_bytes.load(Relaxed)
}

#[inline(always)]
fn is_alone(header: &Header) -> bool {
    header.lane_count.load(Relaxed) <= 1
}

/// Leaves the peak of several lanes, if the heap was never larger than now.
#[inline(always)]
fn leave_main_peak_with_others(header: &Header) {
    let total = header.main_live_bytes.load(Relaxed) + header.others_bytes.load(Relaxed);
    if total > header.peak_bytes.load(Relaxed) {
        leave_peak_with_others(header, total);
    }
}

/// A new maximum is being left: remember it and open a new epoch.
#[inline(never)]
fn leave_peak_with_others(header: &Header, total: i64) {
    if header.peak_bytes.fetch_max(total, Relaxed) < total {
        header.epoch.fetch_add(1, Relaxed);
    }
    header.peak_time_ns.store(header.clock_ns.load(Relaxed), Relaxed);
}

#[inline(always)]
fn count_temporary(owner: &Counters, size: u64) {
    add(&owner.temporary_count, 1);
    add(&owner.temporary_bytes, size);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::test_memory::Heap;
    use std::collections::HashMap;
    use std::vec::Vec;

    fn head(heap: &mut Heap) -> &'static Head {
        let (pointer, _) = heap.shared(size_of::<Head>()).unwrap();
        // SAFETY: zeroed memory that is never freed; a Head of zeros is valid.
        unsafe { pointer.cast::<Head>().as_ref() }
    }

    /// The slow reference: replay, and copy the whole table at each new maximum.
    fn replay(events: &[(u32, i64)]) -> (i64, HashMap<u32, i64>) {
        let (mut live, mut total, mut peak, mut at_peak) = (HashMap::new(), 0, 0, HashMap::new());
        for &(site, change) in events {
            *live.entry(site).or_insert(0) += change;
            total += change;
            if total > peak {
                peak = total;
                at_peak = live.clone();
            }
        }
        at_peak.retain(|_, bytes| *bytes != 0);
        (peak, at_peak)
    }

    #[test]
    fn the_peak_equals_a_slow_replay() {
        for seed in 0..200 {
            replay_and_compare(seed, usize::MAX);
        }
    }

    /// Also if a second lane begins after some events, and both count from then on, turn by turn.
    #[test]
    fn the_peak_of_two_lanes_equals_a_slow_replay() {
        for seed in 0..200 {
            replay_and_compare(seed, seed as usize * 2);
        }
    }

    fn replay_and_compare(seed: u64, alone_until: usize) {
        let mut heap = Heap { next_offset: 4096 };
        let head = head(&mut heap);
        let header = &head.header;
        let mut lanes = Vec::new();
        for is_main in [true, false] {
            let (lane, _) = Lane::new(&mut heap, head, is_main).unwrap();
            assert!(lane.make_chunk(&mut heap, 1));
            lanes.push(lane);
        }
        header.lane_count.store(1, Relaxed);
        let main = &lanes[0];
        let mut state = seed.wrapping_mul(7919) + 1;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        let mut blocks: Vec<(u32, i64)> = Vec::new();
        let mut events: Vec<(u32, i64)> = Vec::new();
        for step in 0..500 {
            if step == alone_until {
                header.lane_count.store(2, Relaxed);
            }
            let lane = if step >= alone_until { &lanes[random() % 2] } else { main };
            if random() % 5 < 3 || blocks.is_empty() {
                let block = (1 + random() as u32 % 20, random() as i64 % 1000);
                match lane.counted(block.0).filter(|_| lane.is_main && random() % 2 == 0) {
                    Some(here) => lane.allocated_near(here.counters, block.1 as u64),
                    None => assert!(lane.allocated(block.0, block.1 as u64, true)),
                }
                events.push(block);
                blocks.push(block);
            } else {
                let block = blocks.swap_remove(random() % blocks.len());
                let here = lane.counted(21).filter(|_| lane.is_main && random() % 2 == 0);
                match here.and_then(|here| Some((here, lane.leave_peak_alone()?))) {
                    Some((here, live)) => lane.released_near(live, block.0, here.counters, block.1 as u64, false),
                    None => assert!(lane.released(block.0, 21, block.1 as u64, 1, false, true)),
                }
                events.push((block.0, -block.1));
            }
        }
        let (peak, at_peak) = replay(&events);
        let total = header.main_live_bytes.load(Relaxed) + lanes[1].shared.live_bytes.load(Relaxed);
        let is_now = total > header.peak_bytes.load(Relaxed);
        assert_eq!(header.peak_bytes.load(Relaxed).max(total), peak, "seed {seed}");
        let mut figures = HashMap::new();
        for counters in (1..=20).flat_map(|site| lanes.iter().map(move |lane| (site, lane.counters(site).unwrap()))) {
            let (site, counters) = counters;
            let saved = counters.epoch.load(Relaxed) == header.epoch.load(Relaxed) && !is_now;
            let bytes = if saved { counters.peak_bytes.load(Relaxed) } else { counters.live().1 };
            *figures.entry(site).or_insert(0) += bytes;
        }
        figures.retain(|_, bytes| *bytes != 0);
        assert_eq!(figures, at_peak, "seed {seed}");
    }
}
