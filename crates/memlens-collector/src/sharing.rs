//! Pages that several processes of the tree share: counted in the resident set of each, but there only once.
//!
//! The kernel tells it by *proportional set sizes* (`/proc/PID/smaps_rollup`, proc_pid_smaps(5)): a page that n processes map counts 1/n in each. Finding
//! that out takes a walk over the process' page tables, 12 ms for each GiB that is resident (measured; 4 KiB pages), under its lock on
//! its map. So it is done only where there are several processes, and so seldom that it stays below 1 % of a core; in between, what was shared
//! a process is taken to have grown by its own memory alone: rather too little than too much.
use crate::process_info::ProcessInfo;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Looks may take this part of the time: 1 / 150 of a core.
const SHARE: u32 = 150;
/// Time between two looks, while no process comes or goes.
const INTERVAL: Duration = Duration::from_millis(250);

/// What is known of the pages that are shared.
pub struct Sharing {
    this: ProcessInfo,
    /// What the latest look found in too many proportional sets: memlens' own tables.
    surplus_bytes: i64,
    latest: Instant,
    cost: Duration,
    is_changed: bool,
}

/// A process as far as its resident set goes.
pub struct Resident<'a> {
    /// The process.
    pub info: &'a ProcessInfo,
    /// Its resident set without memlens' tables.
    pub rss_bytes: u64,
    /// The part of it that is neither of files nor shared memory.
    pub anonymous_bytes: u64,
    /// The tables.
    pub table_bytes: u64,
    /// What the latest look found.
    pub found: &'a mut Found,
}

/// What the latest look at a process found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    proportional_bytes: u64,
    /// [`Resident::anonymous_bytes`] then; before any look, when it was first seen: a forked child's are shared with its parent at first.
    anonymous_bytes: Option<u64>,
}

impl Sharing {
    /// Nothing yet.
    pub fn new() -> Self {
        let this = ProcessInfo::new(std::process::id());
        Self { this, surplus_bytes: 0, latest: Instant::now(), cost: Duration::ZERO, is_changed: true }
    }

    /// A process has come or gone: what was shared may be no more.
    pub fn processes_have_changed(&mut self) {
        self.is_changed = true;
    }

    /// The resident sets of all processes, each shared page once, and the CPU time that it took to find out.
    pub fn sum(&mut self, processes: &mut [Resident<'_>]) -> (u64, Duration) {
        let all: u64 = processes.iter().map(|process| process.rss_bytes).sum();
        let largest = processes.iter().map(|process| process.rss_bytes).max().unwrap_or(0);
        if processes.len() < 2 {
            return (all, Duration::ZERO);
        }
        let cost = if self.is_due() { self.look(processes, largest) } else { Duration::ZERO };
        let sum: i64 = processes.iter_mut().map(Resident::estimate).sum::<i64>() - self.surplus_bytes;
        (sum.max(0).cast_unsigned().clamp(largest, all), cost)
    }

    fn is_due(&self) -> bool {
        let wait = self.cost * SHARE;
        self.latest.elapsed() >= if self.is_changed { wait } else { wait.max(INTERVAL) }
    }

    fn look(&mut self, processes: &mut [Resident<'_>], largest: u64) -> Duration {
        let start = cpu_time();
        let sum: u64 = processes.iter_mut().map(Resident::look).sum();
        let tables: u64 = processes.iter().map(|process| process.table_bytes).sum();
        // This process maps what it has read of the tables: half of each such page counts here, and only the rest there.
        let read_here = self.this.proportional().map_or(0, |sizes| sizes.shared_memory_bytes);
        // Children that have not allocated yet are not among the processes, but have a part in each page.
        let there = sum.saturating_sub(tables.saturating_sub(read_here)).max(largest);
        self.surplus_bytes = sum.cast_signed() - there.cast_signed();
        (self.latest, self.is_changed) = (Instant::now(), false);
        self.cost = cpu_time().saturating_sub(start);
        self.cost
    }
}

impl Resident<'_> {
    /// Its proportional set now. If it may not be looked into, nothing is known to be shared. If it has ended since it was counted, it has nothing: the
    /// others' sets have grown by what it had.
    fn look(&mut self) -> u64 {
        let whole = || self.info.resident().map_or(0, |resident| resident.all_bytes);
        let proportional = self.info.proportional().map_or_else(whole, |sizes| sizes.all_bytes);
        *self.found = Found { proportional_bytes: proportional, anonymous_bytes: Some(self.anonymous_bytes) };
        proportional
    }

    /// Its proportional set at the latest look, and what its own memory has grown by since.
    fn estimate(&mut self) -> i64 {
        let before = *self.found.anonymous_bytes.get_or_insert(self.anonymous_bytes);
        self.found.proportional_bytes.cast_signed() + self.anonymous_bytes.cast_signed() - before.cast_signed()
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_shares_with_nobody_and_is_not_looked_into() {
        let info = ProcessInfo::new(std::process::id());
        let mut sharing = Sharing::new();
        let mut found = Found::default();
        let one = resident(&info, 5_000_000, &mut found);
        assert_eq!(sharing.sum(&mut [one]), (5_000_000, Duration::ZERO));
    }

    #[test]
    fn growth_since_a_look_is_added() {
        let nobody = ProcessInfo::new(u32::MAX);
        let mut sharing = Sharing { cost: Duration::from_secs(1000), ..Sharing::new() };
        let mut parent = Found { proportional_bytes: 3_000_000, anonymous_bytes: Some(4_000_000) };
        let mut child = Found::default();
        let mut sum = |parent_bytes, child_bytes| {
            let processes = [(parent_bytes, &mut parent), (child_bytes, &mut child)];
            sharing.sum(&mut processes.map(|(bytes, found)| resident(&nobody, bytes, found))).0
        };
        assert_eq!(sum(4_000_000, 3_500_000), 4_000_000, "no less than the largest");
        assert_eq!(sum(5_500_000, 5_500_000), 6_500_000, "3 + 1.5 of the parent, 2 of the child");
    }

    /// Its pages counted twice: whole as its own, and again in the sets of those that it had shared them with.
    #[test]
    fn a_process_that_has_just_ended_has_nothing() {
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let info = ProcessInfo::new(child.id());
        child.wait().expect("its end");
        let mut found = Found::default();
        assert_eq!(resident(&info, 60_000_000, &mut found).look(), 0);
    }

    fn resident<'a>(info: &'a ProcessInfo, bytes: u64, found: &'a mut Found) -> Resident<'a> {
        Resident { info, rss_bytes: bytes, anonymous_bytes: bytes, table_bytes: 0, found }
    }
}
