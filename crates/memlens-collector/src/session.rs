//! One image of one recorded process: from its hello to its end, or to the next program that it executes.
use crate::Error;
use crate::assembly::Assembler;
use crate::mapping::Mapping;
use crate::part::readable_lanes;
use crate::peak::{Peak, SiteTotals, chunk_totals};
use crate::process_info::ProcessInfo;
use crate::server::{Client, SharedFile};
use crate::shared_view::SharedView;
use crate::sharing::{Found, Resident};
use crate::shortage::Refusal;
use crate::slice_log::RawChange;
use memlens_format::capture::{Process, Region, Unseen};
use memlens_format::shared::{
    HELLO_HAS_GIL, HELLO_READS_TASKS, Header, Hello, PYTHON_NONE, PYTHON_SUPPORTED, SHARED_VERSION, SITES_PER_CHUNK,
    STATUS_FAILED, STATUS_STARTING, WELCOME_TASKS, is_release,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

/// A program that has said hello, as far as it matters to whether it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its process.
    pub pid: u32,
    /// Whether it is the process that was started to be recorded.
    pub is_root: bool,
    /// `PY_VERSION_HEX`, 0 if there is no Python in it.
    pub python_version: u32,
    /// A `PYTHON_*` constant of [`memlens_format::shared`].
    pub python_kind: u32,
    /// Version of the agent's shared layout.
    pub agent_version: u32,
    /// Whether asyncio tasks were asked for, and the agent does not know where this interpreter keeps them.
    pub lacks_tasks: bool,
    /// Its executable, where it can be known; looked up for one that is refused.
    pub executable: Option<PathBuf>,
}

/// What becomes of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is recorded.
    Record,
    /// It runs unrecorded, as one of the programs that only lead to the interpreter (a version manager's shell scripts).
    Ignore,
    /// It runs unrecorded, and that is said in the capture.
    Leave,
    /// It is the program that was asked for and cannot be recorded: it has to be stopped.
    Refuse,
}

impl Newcomer {
    /// The rule. `starts_with_script` says that the root was started from a script with an interpreter line, which may
    /// execute the real interpreter later; `is_begun` that an interpreter has already been recorded.
    pub fn admission(&self, starts_with_script: bool, is_begun: bool) -> Admission {
        let is_current = self.agent_version == SHARED_VERSION;
        match self.python_kind {
            PYTHON_SUPPORTED if self.lacks_tasks && self.is_root && !is_begun => Admission::Refuse,
            PYTHON_SUPPORTED if is_current => Admission::Record,
            PYTHON_NONE if is_begun && is_current => Admission::Record,
            PYTHON_NONE if !is_begun && (starts_with_script || !self.is_root) => Admission::Ignore,
            _ if self.is_root && !is_begun => Admission::Refuse,
            _ => Admission::Leave,
        }
    }
}

/// Whether the agent does not know where this interpreter keeps its asyncio tasks.
pub fn lacks_tasks(hello: &Hello) -> bool {
    hello.python_kind == PYTHON_SUPPORTED && hello.abilities & HELLO_READS_TASKS == 0
}

/// What a scan saw of a site.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    count: u64,
    bytes: u64,
    live_count: i32,
    live_bytes: i64,
}

/// Shared tables, as yet nobody's.
pub struct Tables {
    view: SharedView,
    /// The header, to write the clock into.
    header: Mapping,
}

impl Tables {
    /// Makes and maps them.
    pub fn new() -> Result<Self, Error> {
        let shared = SharedFile::new()?;
        let header = Mapping::writable(&shared.file, size_of::<Header>())?;
        Ok(Self { view: SharedView::new(shared)?, header })
    }
}

/// A recorded process while it runs.
pub struct Session {
    index: u32,
    pid: u32,
    parent_pid: u32,
    /// Asyncio tasks were asked for, and this interpreter's cannot be told apart.
    lacks_tasks: bool,
    tables: Tables,
    info: ProcessInfo,
    command: Vec<String>,
    end: Option<OwnedFd>,
    seen: Vec<Seen>,
    highest: (i64, u64),
    resident: u64,
    table_bytes: u64,
    anonymous: u64,
    sharing: Found,
    resident_peak: u64,
    file_mapped_peak: i64,
}

/// What one tick saw of a process.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    /// Live heap.
    pub live_bytes: u64,
    /// Resident set without the shared tables.
    pub rss_bytes: u64,
}

/// A session that is over; its tables have gone into the assembler.
#[derive(Debug)]
pub struct Closed {
    /// The process.
    pub process: Process,
    /// `PY_VERSION_HEX`, 0 if there was no Python.
    pub python_version: u32,
    /// Whether it ended by executing another program.
    pub is_replaced: bool,
    /// When the peak was, since the start.
    pub peak_time_ns: u64,
    /// Largest live total of file-backed mappings seen.
    pub file_mapped_bytes: u64,
    /// Largest total of mapped shared memory.
    pub shared_mapped_bytes: u64,
    /// What could not be seen.
    pub unseen: Unseen,
    /// See [`Header::overhead_ns`].
    pub overhead_ns: u64,
    /// Why its part of the capture is not complete; empty if it is.
    pub incomplete_reason: String,
    /// The last allocation that was refused.
    pub refusal: Option<Refusal>,
    /// What libraries mapped by themselves.
    pub regions: Vec<Region>,
    /// Asyncio tasks were to be told apart, and were not.
    pub lacks_tasks: bool,
    /// Whether it forked.
    pub has_children: bool,
    /// What the shared tables took of its resident set.
    pub table_bytes: u64,
}

impl Closed {
    /// Raises the largest resident set by what `wait4` says of the process *and of the children that it has waited for*, with the shared
    /// tables in it: of use only where there were none. See [`Session::raise_resident_peak`].
    pub fn raise_resident_peak_if_childless(&mut self, high_water_bytes: u64) {
        if !self.has_children {
            let own = high_water_bytes.saturating_sub(self.table_bytes);
            self.process.rss_peak_bytes = self.process.rss_peak_bytes.max(own);
        }
    }
}

impl Session {
    /// Sends `tables` to `client`, whose session has the number `index`, with `wishes` (`WELCOME_*` constants).
    pub fn open(index: u32, client: &Client, mut tables: Tables, wishes: u32, clock_ns: u64) -> Result<Self, Error> {
        tables.view.first_lane_is_whole = client.hello.abilities & HELLO_HAS_GIL != 0;
        if let Some(fields) = tables.header.record::<Header>(0) {
            fields.collector_pid.store(std::process::id(), Relaxed);
            fields.clock_ns.store(clock_ns, Relaxed);
        }
        // Before the answer, for which the program waits: after it, it may be gone sooner than it can be looked at, and its end unseen.
        let info = ProcessInfo::new(client.pid);
        let command = info.command();
        let pid = Pid::from_raw(client.pid.cast_signed());
        let end = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        client.accept(tables.view.file(), wishes)?;
        Ok(Self {
            index,
            pid: client.pid,
            parent_pid: client.hello.parent_pid,
            lacks_tasks: wishes & WELCOME_TASKS != 0 && lacks_tasks(&client.hello),
            tables,
            command,
            info,
            end,
            seen: Vec::new(),
            highest: (0, clock_ns),
            resident: 0,
            table_bytes: 0,
            anonymous: 0,
            sharing: Found::default(),
            resident_peak: 0,
            file_mapped_peak: 0,
        })
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The shared tables' file.
    pub fn file(&self) -> &SharedFile {
        self.tables.view.file()
    }

    /// Becomes readable when the process ends.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(AsFd::as_fd)
    }

    /// Writes the time and reads the totals.
    pub fn tick(&mut self, clock_ns: u64) -> Reading {
        if let Some(header) = self.tables.header.record::<Header>(0) {
            header.clock_ns.store(clock_ns, Relaxed);
        }
        let file_mapped = self.tables.view.header().file_mapped_bytes.load(Relaxed);
        self.file_mapped_peak = self.file_mapped_peak.max(file_mapped);
        let live_bytes = self.tables.view.live_bytes();
        if live_bytes > self.highest.0 {
            self.highest = (live_bytes, clock_ns);
        }
        let resident = self.info.resident().unwrap_or_default();
        self.table_bytes = self.tables.view.file().resident_bytes();
        self.resident = resident.all_bytes.saturating_sub(self.table_bytes);
        self.anonymous = resident.anonymous_bytes;
        let rss_bytes = self.resident;
        self.resident_peak = self.resident_peak.max(rss_bytes);
        Reading { live_bytes: live_bytes.max(0) as u64, rss_bytes }
    }

    /// What the latest tick saw of the resident set.
    pub fn resident(&mut self) -> Resident<'_> {
        Resident {
            info: &self.info,
            rss_bytes: self.resident,
            anonymous_bytes: self.anonymous,
            table_bytes: self.table_bytes,
            found: &mut self.sharing,
        }
    }

    /// Raises the largest resident set by a mark of the kernel's that counts the shared tables as well.
    ///
    /// The tables only grow, so they were at most as large at that moment as they are now: the mark less their size now is
    /// never more than what the program itself held.
    pub fn raise_resident_peak(&mut self, high_water_bytes: u64) {
        let own = high_water_bytes.saturating_sub(self.tables.view.file().resident_bytes());
        self.resident_peak = self.resident_peak.max(own);
    }

    /// [`Self::raise_resident_peak`] by what `/proc` says.
    pub fn read_resident_peak(&mut self) {
        if let Some(bytes) = self.info.resident_peak_bytes() {
            self.raise_resident_peak(bytes);
        }
    }

    /// Appends what sites have done since the latest scan.
    pub fn scan(&mut self, changes: &mut Vec<RawChange>) {
        let site_count = self.tables.view.site_count();
        if !self.tables.view.is_ready() || site_count == 0 {
            return;
        }
        self.seen.resize(site_count.max(self.seen.len()), Seen::default());
        let lanes = readable_lanes(&self.tables.view, &mut 0);
        let mut totals = [SiteTotals::default(); SITES_PER_CHUNK];
        for (chunk, seen) in self.seen.chunks_mut(SITES_PER_CHUNK).enumerate() {
            let Some(records) = self.tables.view.sites(chunk) else {
                continue;
            };
            let totals = &mut totals[..seen.len()];
            chunk_totals(&self.tables.view, &lanes, chunk, Peak::Now, totals);
            for (index, (seen, totals)) in seen.iter_mut().zip(totals).enumerate() {
                let now = Seen::of(totals);
                if now == *seen || is_release(records[index].kind.load(Relaxed)) {
                    continue;
                }
                changes.push(seen.change_to(now, self.index, chunk * SITES_PER_CHUNK + index));
                *seen = now;
            }
        }
    }

    /// Ends the session: reads everything a last time, exactly if the process has ended, and appends to `changes` as [`Session::scan`] does.
    pub fn close(
        &self,
        assembler: &mut Assembler,
        changes: &mut Vec<RawChange>,
        end_ns: u64,
        is_replaced: bool,
    ) -> Closed {
        let (peak, peak_bytes) = Peak::of(&self.tables.view);
        let mut damage = 0;
        let is_ready = self.tables.view.is_ready();
        if is_ready {
            damage = assembler.add(self.index, &self.tables.view, peak, |site, totals| {
                let (seen, now) = (self.seen.get(site).copied().unwrap_or_default(), Seen::of(totals));
                if now != seen {
                    changes.push(seen.change_to(now, self.index, site));
                }
            });
        }
        let header = self.tables.view.header();
        Closed {
            process: Process {
                pid: self.pid,
                parent_pid: self.parent_pid,
                command: self.command.clone(),
                peak_bytes: peak_bytes.max(0) as u64,
                rss_peak_bytes: self.resident_peak,
            },
            python_version: header.python_version.load(Relaxed),
            is_replaced,
            peak_time_ns: self.peak_time_ns(peak, peak_bytes, end_ns),
            file_mapped_bytes: self.file_mapped_peak.max(header.file_mapped_bytes.load(Relaxed)).max(0) as u64,
            shared_mapped_bytes: header.shared_mapped_peak.load(Relaxed).max(0) as u64,
            unseen: unseen(header),
            overhead_ns: header.overhead_ns.load(Relaxed),
            incomplete_reason: incomplete_reason(header, is_ready, damage),
            regions: if is_ready { self.tables.view.regions() } else { Vec::new() },
            lacks_tasks: self.lacks_tasks || is_ready && self.tables.view.header().tasks_unreadable.load(Relaxed) != 0,
            has_children: header.forks.load(Relaxed) > 0,
            table_bytes: self.tables.view.file().resident_bytes(),
            refusal: is_ready.then(|| Refusal::read(&self.tables.view)).flatten(),
        }
    }

    /// A peak that was left carries its time. One that still stands is dated by the first tick that saw the heap so high; if
    /// none did, it was reached after the last tick.
    fn peak_time_ns(&self, peak: Peak, peak_bytes: i64, end_ns: u64) -> u64 {
        let time_ns = match peak {
            Peak::Left { .. } => self.tables.view.header().peak_time_ns.load(Relaxed),
            Peak::Now if peak_bytes <= self.highest.0 => self.highest.1,
            Peak::Now => end_ns,
        };
        time_ns.min(end_ns)
    }
}

impl Seen {
    /// Negative sums are clamped as they are in the totals, so that changes add up to those.
    fn of(totals: &SiteTotals) -> Self {
        Self {
            count: totals.count,
            bytes: totals.bytes,
            live_count: totals.live_count.max(0),
            live_bytes: totals.live_bytes.max(0),
        }
    }

    fn change_to(&self, now: Self, session: u32, site: usize) -> RawChange {
        RawChange {
            session,
            site: site as u32,
            allocations: now.count.saturating_sub(self.count),
            allocated_bytes: now.bytes.saturating_sub(self.bytes),
            live_count: i64::from(now.live_count) - i64::from(self.live_count),
            live_bytes: now.live_bytes - self.live_bytes,
        }
    }
}

fn unseen(header: &Header) -> Unseen {
    Unseen {
        lost_events: header.lost_events.load(Relaxed),
        lost_bytes: header.lost_bytes.load(Relaxed),
        unreadable_stacks: header.unreadable_stacks.load(Relaxed),
        unknown_releases: header.unknown_releases.load(Relaxed),
        // A forked child has a session of its own from its first event on; one that has none has nothing to record.
        unrecorded_processes: 0,
    }
}

fn incomplete_reason(header: &Header, is_ready: bool, damage: u64) -> String {
    if !is_ready {
        // One that was killed while its agent began (a pool's worker that is not needed any more) has done nothing unseen.
        return match header.status.load(Relaxed) {
            STATUS_STARTING => String::new(),
            STATUS_FAILED => "the recorder's tables could not be made: the process ran unrecorded".to_owned(),
            _ => "the recorder's tables cannot be read: the program overwrote their beginning".to_owned(),
        };
    }
    if header.is_table_full.load(Relaxed) != 0 {
        return "a table of the recorder could not grow: what was new from then on is lost".to_owned();
    }
    if damage > 0 {
        return format!("{damage} references in the recorder's tables lead nowhere: the program overwrote them");
    }
    String::new()
}
