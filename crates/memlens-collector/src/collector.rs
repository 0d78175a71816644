//! The loop: waits for programs, ticks, scans, and puts the capture together.
use crate::Error;
use crate::aside::Aside;
use crate::assembly::Assembler;
use crate::end_watch::EndWatch;
use crate::ending;
use crate::pace::Pace;
use crate::process_info::ProcessInfo;
use crate::server::{Client, Server};
use crate::session::{Admission, Closed, Newcomer, Reading, Session, Tables, lacks_tasks};
use crate::sharing::{Resident, Sharing};
use crate::shortage::Bounds;
use crate::slice_log::SliceLog;
use crate::timeline::Timeline;
use memlens_format::capture::{Capture, Meta, Point};
use memlens_format::shared::{WELCOME_END_NOTICE, WELCOME_TASKS};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

/// Collects one recording: of a root process and of those that it starts.
pub struct Collector {
    server: Server,
    starts_with_script: bool,
    tells_tasks: bool,
    root: Option<Root>,
    /// Until the first program is recorded.
    aside: Option<Aside>,
    /// Tells when the root is about to end.
    root_end: Option<EndWatch>,
    /// What came of it, once that is certain.
    conclusion: Option<Conclusion>,
    /// For the first session, made while its program is loaded: for the answer to a hello the program waits.
    prepared: Option<Tables>,
    sessions: Vec<Slot>,
    is_begun: bool,
    /// Why the first program that could not be recorded was not.
    failure: Option<Error>,
    unrecorded_processes: u64,
    /// The root that is refused. It waits as long as its connection is open, and would run if that closed before it is killed.
    refused: Option<Client>,
    assembler: Assembler,
    timeline: Timeline,
    slices: SliceLog,
    start: Instant,
    started_unix_ns: u64,
    pace: Pace,
    sharing: Sharing,
    next_tick: Instant,
    next_scan: Instant,
}

struct Root {
    pid: u32,
    end: OwnedFd,
    info: ProcessInfo,
    bounds: Bounds,
}

/// The end of a recording, but for what the end of the root itself tells.
#[derive(Default)]
struct Conclusion {
    /// All sessions, by their index.
    closed: Vec<Closed>,
    tables: Capture,
}

enum Slot {
    Open(Box<Session>),
    Closed(Box<Closed>),
}

/// Why [`Collector::wait`] returned.
#[derive(Debug)]
pub enum Step {
    /// The caller's own descriptor is readable.
    Woken,
    /// The root is a program that cannot be recorded. It waits for an answer that does not come, for as long as the collector
    /// is there: it has to be killed.
    Refused(Newcomer),
    /// Nothing changes any more in what is recorded, and the root ends soon: there is time for [`Collector::conclude`].
    RootEnding,
    /// The root has ended; it has not been waited for yet.
    RootEnded,
}

/// What came of it.
#[derive(Debug)]
pub struct Recording {
    /// The capture.
    pub capture: Capture,
    /// Whether any process said hello at all.
    pub is_begun: bool,
    /// Why the first program that asked to be recorded was not, if one was not.
    pub failure: Option<Error>,
    /// Whether some process' asyncio tasks were to be told apart and could not be.
    pub lacks_tasks: bool,
}

impl Collector {
    /// Begins a recording. `starts_with_script` says that the root is not an interpreter but a script that may execute one
    /// (a version manager's shim).
    pub fn new(server: Server, starts_with_script: bool) -> Self {
        let start = Instant::now();
        let slices = SliceLog::new();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            server,
            starts_with_script,
            tells_tasks: false,
            root: None,
            aside: None,
            root_end: None,
            conclusion: None,
            prepared: None,
            sessions: Vec::new(),
            is_begun: false,
            failure: None,
            unrecorded_processes: 0,
            refused: None,
            assembler: Assembler::new(),
            timeline: Timeline::new(),
            start,
            started_unix_ns: since_epoch.map_or(0, nanoseconds),
            pace: Pace::new(),
            sharing: Sharing::new(),
            next_tick: start,
            next_scan: start + slices.interval(),
            slices,
        }
    }

    /// Has all programs tell asyncio tasks apart.
    pub fn tell_tasks(&mut self) {
        self.tells_tasks = true;
    }

    /// The name for [`memlens_format::shared::COLLECTOR_ENV`].
    pub fn server_name(&self) -> &str {
        self.server.name()
    }

    /// Says which process is the root. It must be a child of this process that has not been waited for.
    pub fn watch(&mut self, root_pid: u32) -> Result<(), Error> {
        let error = |source| Error::Watch { pid: root_pid, source };
        let pid = Pid::from_raw(root_pid.cast_signed()).ok_or_else(|| error(Errno::SRCH))?;
        let info = ProcessInfo::new(root_pid);
        self.aside = Aside::of(&info);
        self.root = Some(Root {
            pid: root_pid,
            end: pidfd_open(pid, PidfdFlags::empty()).map_err(error)?,
            info,
            bounds: Bounds::of(root_pid),
        });
        // Should it fail, the session says why.
        self.prepared = Tables::new().ok();
        Ok(())
    }

    /// Serves programs and the clock until there is something for the caller to do.
    pub fn wait(&mut self, wake: BorrowedFd<'_>) -> Result<Step, Error> {
        loop {
            let ready = self.poll(wake)?;
            if ready.clients {
                for client in self.server.receive() {
                    if let Some(refused) = self.admit(&client) {
                        self.refused = Some(client);
                        return Ok(Step::Refused(refused));
                    }
                }
            }
            if ready.root {
                if let Some(root) = self.root.as_mut().filter(|root| !has_succeeded(root.pid)) {
                    root.bounds.read_limits(root.pid);
                }
                return Ok(Step::RootEnded);
            }
            if ready.is_root_ending {
                self.root_end = None;
                if self.is_root_alone() && self.root.as_ref().is_some_and(|root| root.info.is_exiting()) {
                    return Ok(Step::RootEnding);
                }
            }
            for index in ready.ended {
                self.close(index, false);
            }
            if self.conclusion.is_none() {
                self.keep_time();
            }
            if ready.wake {
                return Ok(Step::Woken);
            }
        }
    }

    /// After [`Step::RootEnding`]: reads everything a last time, gives the shared tables back, and returns a capture that has nothing but the
    /// tables: those that [`Collector::finish`] will return. Programs that say hello from now on wait in vain, as after the root's end.
    pub fn conclude(&mut self) -> &Capture {
        let end_ns = self.elapsed_ns();
        self.tick(end_ns);
        self.sessions.iter_mut().filter_map(Slot::as_open).for_each(Session::read_resident_peak);
        let conclusion = self.close_all(end_ns);
        &self.conclusion.insert(conclusion).tables
    }

    /// Whether the root is the only process that was ever recorded or should have been.
    fn is_root_alone(&self) -> bool {
        let is_root = |session: &Session| self.root.as_ref().is_some_and(|root| root.pid == session.pid());
        let is_alone = self.sessions.len() == 1 && self.unrecorded_processes == 0;
        is_alone && matches!(self.sessions.first(), Some(Slot::Open(session)) if is_root(session))
    }

    fn close_all(&mut self, end_ns: u64) -> Conclusion {
        let mut assembler = std::mem::replace(&mut self.assembler, Assembler::new());
        let mut slices = std::mem::replace(&mut self.slices, SliceLog::new());
        let mut changes = Vec::new();
        let close = |slot| match slot {
            Slot::Open(session) => Session::close(&session, &mut assembler, &mut changes, end_ns, false),
            Slot::Closed(closed) => *closed,
        };
        let closed: Vec<Closed> = self.sessions.drain(..).map(close).collect();
        slices.push(end_ns, changes);
        let tables = ending::tables(&closed, self.root_pid(), assembler, slices);
        Conclusion { closed, tables }
    }

    fn root_pid(&self) -> u32 {
        self.root.as_ref().map_or(0, |root| root.pid)
    }

    /// Puts the capture together once the root has ended. `meta` comes with what only the caller knows: command,
    /// interpreter, folder, exit, version of memlens. `root_high_water_bytes` is the largest resident set of the root as
    /// `wait4` has it, which is used only where no other process can have a part in it.
    pub fn finish(mut self, meta: Meta, root_high_water_bytes: u64) -> Recording {
        if self.conclusion.is_none() {
            self.conclude();
        }
        let end_ns = self.elapsed_ns();
        let Conclusion { mut closed, tables } = self.conclusion.take().unwrap_or_default();
        if let ([session], 0) = (closed.as_mut_slice(), self.unrecorded_processes) {
            session.raise_resident_peak_if_childless(root_high_water_bytes);
        }
        let mut meta = meta;
        meta.started_unix_ns = self.started_unix_ns;
        meta.duration_ns = end_ns;
        meta.unseen.unrecorded_processes = self.unrecorded_processes;
        let lacks_tasks = closed.iter().any(|session| session.lacks_tasks);
        let refusals = closed.iter().filter_map(|session| session.refusal.clone());
        let refusal = refusals.max_by_key(|refusal| refusal.time_ns);
        meta.shortage = self.root.as_ref().and_then(|root| root.bounds.shortage(meta.exit, refusal, end_ns));
        meta.exit.out_of_memory = meta.shortage.is_some();
        let root_pid = self.root_pid();
        let capture = ending::assemble(ending::Ending { meta, root_pid, closed, tables, timeline: self.timeline });
        Recording { capture, is_begun: self.is_begun, failure: self.failure, lacks_tasks }
    }

    fn poll(&mut self, wake: BorrowedFd<'_>) -> Result<Ready, Error> {
        let wait = self.next_tick.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: i64::from(wait.subsec_nanos()) };
        let running = self.sessions.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.end()?)));
        let (indices, ends): (Vec<usize>, Vec<BorrowedFd<'_>>) = running.unzip();
        let root = self.root.iter().map(|root| root.end.as_fd());
        // Of what is concluded only the root's end is still to come.
        let timeout = self.conclusion.is_none().then_some(timeout);
        let clients = self.conclusion.is_none().then(|| self.server.descriptors());
        let root_end = self.root_end.iter().map(EndWatch::descriptor);
        let (root_count, root_end_count) = (root.len(), root_end.len());
        let descriptors =
            std::iter::once(wake).chain(root).chain(root_end).chain(ends).chain(clients.into_iter().flatten());
        let mut entries: Vec<PollFd<'_>> =
            descriptors.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)).collect();
        match poll(&mut entries, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::Wait(error)),
        }
        let mut is_ready = entries.iter().map(|entry| !entry.revents().is_empty());
        Ok(Ready {
            wake: is_ready.next().unwrap_or(false),
            root: is_ready.by_ref().take(root_count).any(|ready| ready),
            is_root_ending: is_ready.by_ref().take(root_end_count).any(|ready| ready),
            ended: indices
                .into_iter()
                .zip(is_ready.by_ref())
                .filter_map(|(index, ready)| ready.then_some(index))
                .collect(),
            clients: is_ready.any(|ready| ready),
        })
    }

    /// Answers a program. The answer to a refused one is its death: it is returned.
    fn admit(&mut self, client: &Client) -> Option<Newcomer> {
        let newcomer = Newcomer {
            pid: client.pid,
            is_root: self.root.as_ref().is_some_and(|root| root.pid == client.pid),
            python_version: client.hello.python_version,
            python_kind: client.hello.python_kind,
            agent_version: client.hello.version,
            lacks_tasks: self.tells_tasks && lacks_tasks(&client.hello),
            executable: None,
        };
        self.close_replaced(client.pid);
        match newcomer.admission(self.starts_with_script, self.is_begun) {
            Admission::Record => self.open(client),
            Admission::Ignore => client.decline(),
            Admission::Leave => {
                self.unrecorded_processes += 1;
                client.decline();
            }
            Admission::Refuse => {
                let executable = ProcessInfo::new(client.pid).executable();
                return Some(Newcomer { executable, ..newcomer });
            }
        }
        None
    }

    fn open(&mut self, client: &Client) {
        let now_ns = self.elapsed_ns();
        let index = self.sessions.len() as u32;
        let tables = self.prepared.take().map_or_else(Tables::new, Ok);
        let is_root = self.root.as_ref().is_some_and(|root| root.pid == client.pid);
        let wishes = if self.tells_tasks { WELCOME_TASKS } else { 0 } | if is_root { WELCOME_END_NOTICE } else { 0 };
        match tables.and_then(|tables| Session::open(index, client, tables, wishes, now_ns)) {
            Ok(session) => {
                self.aside = None;
                if is_root {
                    self.root_end = EndWatch::begin(session.file());
                }
                self.is_begun = true;
                self.sessions.push(Slot::Open(Box::new(session)));
                self.next_tick = Instant::now();
                self.pace.hurry();
                self.sharing.processes_have_changed();
            }
            Err(error) => {
                self.failure.get_or_insert(error);
                self.unrecorded_processes += 1;
                client.decline();
            }
        }
    }

    /// A hello from a process that has a session already: it has executed another program.
    fn close_replaced(&mut self, pid: u32) {
        let is_same = |slot: &Slot| matches!(slot, Slot::Open(session) if session.pid() == pid);
        if let Some(index) = self.sessions.iter().position(is_same) {
            self.close(index, true);
        }
    }

    fn close(&mut self, index: usize, is_replaced: bool) {
        let end_ns = self.elapsed_ns();
        let Some(Slot::Open(session)) = self.sessions.get_mut(index) else {
            return;
        };
        self.sharing.processes_have_changed();
        let mut changes = Vec::new();
        let closed = session.close(&mut self.assembler, &mut changes, end_ns, is_replaced);
        self.slices.push(end_ns, changes);
        self.sessions[index] = Slot::Closed(Box::new(closed));
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        self.tick(self.elapsed_ns());
        self.next_tick = now + self.pace.next_tick(self.timeline.interval(), self.timeline.latest_live_bytes());
        if now >= self.next_scan {
            self.scan(self.elapsed_ns());
            self.next_scan = now + self.slices.interval().max(self.pace.scan_is_done());
        }
    }

    fn tick(&mut self, now_ns: u64) {
        let mut sum = Reading::default();
        let mut has_root = false;
        for session in self.sessions.iter_mut().filter_map(Slot::as_open) {
            has_root |= self.root.as_ref().is_some_and(|root| root.pid == session.pid());
            let reading = session.tick(now_ns);
            sum.live_bytes += reading.live_bytes;
            sum.rss_bytes += reading.rss_bytes;
        }
        let mut unrecorded = 0;
        if let (Some(root), false) = (&self.root, has_root) {
            unrecorded = root.info.resident_bytes().unwrap_or(0);
        }
        let mut residents: Vec<Resident<'_>> =
            self.sessions.iter_mut().filter_map(Slot::as_open).map(Session::resident).collect();
        let (proportional, cost) = self.sharing.sum(&mut residents);
        self.pace.leave_out(cost);
        self.timeline.push(Point {
            time_ns: now_ns,
            live_bytes: sum.live_bytes,
            rss_bytes: sum.rss_bytes + unrecorded,
            pss_bytes: proportional + unrecorded,
        });
    }

    fn scan(&mut self, now_ns: u64) {
        let mut changes = Vec::new();
        for session in self.sessions.iter_mut().filter_map(Slot::as_open) {
            session.read_resident_peak();
            session.scan(&mut changes);
        }
        self.slices.push(now_ns, changes);
    }

    fn elapsed_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

/// What [`Collector::poll`] found.
struct Ready {
    wake: bool,
    root: bool,
    is_root_ending: bool,
    clients: bool,
    /// Indices of sessions whose process has ended.
    ended: Vec<usize>,
}

impl Slot {
    fn as_open(&mut self) -> Option<&mut Session> {
        match self {
            Self::Open(session) => Some(session),
            Self::Closed(_) => None,
        }
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Open(session) => session.end(),
            Self::Closed(_) => None,
        }
    }
}

/// Whether a child, which has ended, has done so with status 0. It can still be waited for.
fn has_succeeded(pid: u32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = Pid::from_raw(pid.cast_signed()).and_then(|pid| waitid(WaitId::Pid(pid), options).ok().flatten());
    status.is_some_and(|status| status.exit_status() == Some(0))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
