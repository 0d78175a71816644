//! The agent's one global state, and its life.
//!
//! ```text
//!             first allocation or constructor                 fork, in the child
//!  UNSTARTED ───────────► STARTING ───────────► RECORDING ◄──────────────────► FORKED
//!                            │ no collector                            next event: start anew
//!                            └───────► OFF
//! ```
//!
//! A *generation* is one recording in one process, a *code epoch* the time between two releases of known code objects. The *validity* changes
//! with both, and no thread has seen it while nothing is recorded: so one comparison tells a hook that everything is set up, and
//! that the thread's kept stack was not made of code objects that are gone.
use crate::lines::Lines;
use crate::lock::Lock;
use crate::process_memory::ProcessMemory;
use crate::stack::Stack;
use crate::thread::{Handle, IN_ALLOCATOR, IN_RECORDER, OUTSIDE, Thread};
use crate::thread_name::{self, ThreadName};
use crate::{connect, event, hook_loader, hook_python, hook_static, python, real, region, task, thread, waiting};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use libc::c_void;
use memlens_format::shared::{
    Head, Header, MAX_LANES, PYTHON_SUPPORTED, SHARED_MAGIC, SHARED_VERSION, STATUS_FAILED, STATUS_RECORDING,
};
use memlens_recorder::Memory;
use memlens_recorder::intern::{Interner, LiveCodes};
use memlens_recorder::key_table::KeyTable;
use memlens_recorder::lane::Lane;
use memlens_recorder::live_table::LiveTable;
use memlens_recorder::mappings::Mappings;
use memlens_recorder::recent::RecentSites;

const UNSTARTED: u32 = 0;
const STARTING: u32 = 1;
const RECORDING: u32 = 2;
const OFF: u32 = 3;
const FORKED: u32 = 4;

/// [`VALIDITY`] while nothing is recorded; no thread ever has it.
const NOT_RECORDING: u32 = u32::MAX;

static STATE: AtomicU32 = AtomicU32::new(UNSTARTED);
/// What [`Thread::validity`] must be; neither 0 nor, while a recording runs, [`NOT_RECORDING`].
static VALIDITY: AtomicU32 = AtomicU32::new(NOT_RECORDING);
/// Validities that there were.
static VALIDITIES: AtomicU32 = AtomicU32::new(0);
static GENERATION: AtomicU32 = AtomicU32::new(0);
static HEAD: AtomicPtr<Head> = AtomicPtr::new(null_mut());
static MAIN_WRITER: WriterPlace = WriterPlace(UnsafeCell::new(MaybeUninit::uninit()));
static MAIN_THREAD: AtomicUsize = AtomicUsize::new(0);
static PYTHON_SEEN: AtomicBool = AtomicBool::new(false);
static CODE_EPOCH: AtomicU32 = AtomicU32::new(0);
static EXIT_KEY: AtomicU32 = AtomicU32::new(u32::MAX);

/// What is live.
pub static LIVE: LiveTable = LiveTable::new();

/// What the cold paths need, under the lock.
pub static COLD: Lock<Option<Cold>> = Lock::new(None);

/// A lane and the keys that its writer has met.
pub struct Writer {
    /// The counters.
    pub lane: Lane,
    /// (parent, instruction) → node or site.
    pub keys: KeyTable,
    /// Those sites of them that were used last. Where there is a GIL only lane 0 has them: the others do not write in the usual case.
    pub recent: Option<RecentSites>,
    /// [`code_epoch`] at which `keys` was valid. Lane 0's keys are always valid where there is a GIL.
    pub code_epoch: u32,
    /// Whether this is lane 0's.
    pub is_main: bool,
    /// The writing thread's name, for what it does outside all Python frames.
    pub name: ThreadName,
    next_free: *mut Writer,
}

/// Lane 0's writer, in place: one load less on the way to each of its fields.
struct WriterPlace(UnsafeCell<MaybeUninit<Writer>>);

// SAFETY: it is written while the process starts to record and then used by whoever holds the GIL, or by the main thread where there is none.
unsafe impl Sync for WriterPlace {}

/// What the cold paths need.
pub struct Cold {
    /// Where memory comes from.
    pub memory: ProcessMemory,
    /// Nodes, sites and code records.
    pub interner: Interner,
    /// Code objects that are alive.
    pub live_codes: LiveCodes,
    /// Ranges that `mmap` handed out.
    pub mappings: Mappings,
    /// Lines of instructions.
    pub lines: Lines,
    /// Names of tasks that have a record.
    pub task_names: u32,
    free_writers: *mut Writer,
    /// Those that threads took after their destructors.
    orphans: *mut Writer,
}

// SAFETY: the writers in the free list belong to nobody else.
unsafe impl Send for Cold {}

/// The head of the shared file. Call it only while recording, when it is set.
#[inline(always)]
pub fn header() -> &'static Header {
    &head().header
}

/// The beginning of the shared file, in the same way.
#[inline(always)]
fn head() -> &'static Head {
    // SAFETY: set before the generation was, and mapped for ever.
    unsafe { &*HEAD.load(Relaxed) }
}

/// Lane 0's writer. Call it only while recording.
#[inline(always)]
pub fn main_writer() -> *mut Writer {
    MAIN_WRITER.0.get().cast()
}

/// Grows by one each time a known code object is released.
#[inline(always)]
pub fn code_epoch() -> u32 {
    CODE_EPOCH.load(Relaxed)
}

/// A known code object is being released.
pub fn advance_code_epoch() {
    CODE_EPOCH.fetch_add(1, Relaxed);
    if VALIDITY.load(Relaxed) != NOT_RECORDING {
        renew_validity();
    }
}

/// Every thread will look once more whether what it has is still right.
fn renew_validity() {
    let next = VALIDITIES.fetch_add(1, Relaxed) % (NOT_RECORDING - 1) + 1;
    VALIDITY.store(next, Relaxed);
}

/// Whether this process is recorded, or will be with its next event.
pub fn is_at_work() -> bool {
    matches!(STATE.load(Relaxed), RECORDING | FORKED)
}

/// Whether the interpreter has ever been seen at work in this process.
#[inline(always)]
pub fn python_seen() -> bool {
    PYTHON_SEEN.load(Relaxed)
}

/// The interpreter is at work.
pub fn set_python_seen() {
    PYTHON_SEEN.store(true, Relaxed);
}

/// Whether this is the thread that started the process (or that came out of `fork`).
pub fn is_main_thread() -> bool {
    MAIN_THREAD.load(Relaxed) == thread::pthread_self()
}

/// Opens a hook: the calling thread if its event is to be recorded. Everything else goes straight to the real function.
///
/// Budget: three loads, a branch.
#[inline(always)]
pub fn enter() -> Option<Handle> {
    let thread = open_thread();
    if thread.is_some() { thread } else { enter_slow() }
}

/// [`enter`] in the usual case. `None` also where [`enter_slow`] can help.
///
/// Two loads of four bytes: one of eight, over the four that the hook before has just stored, would have to wait until those are in the
/// cache (store forwarding fails; measured: a fifth of all the time in the agent).
#[inline(always)]
pub fn open_thread() -> Option<Handle> {
    let handle = Handle::current();
    let thread = handle.state();
    // SAFETY: a field of the thread's own; volatile so that the compiler does not make one load of both.
    let inside = unsafe { (&raw const thread.inside).read_volatile() };
    (inside == OUTSIDE && thread.validity == VALIDITY.load(Relaxed)).then_some(handle)
}

/// [`enter`] for a thread that is new, or inside, or has not noticed a change yet.
#[cold]
#[inline(never)]
pub fn enter_slow() -> Option<Handle> {
    let handle = Handle::current();
    let thread = handle.state();
    if thread.inside == IN_RECORDER && STATE.load(Relaxed) == RECORDING {
        header().lost_events.fetch_add(1, Relaxed);
    }
    if thread.inside != OUTSIDE {
        return None;
    }
    match STATE.load(Acquire) {
        UNSTARTED => start(),
        FORKED => start_in_child(),
        _ => {}
    }
    if STATE.load(Acquire) != RECORDING || real::is_resolving() {
        return None;
    }
    thread.inside = IN_RECORDER;
    let validity = VALIDITY.load(Relaxed);
    if thread.generation != GENERATION.load(Relaxed) {
        set_up_thread(thread);
    }
    if task::are_told() {
        follow_task(thread, validity);
    } else {
        if validity != NOT_RECORDING {
            // What has changed since is found at the next event.
            thread.validity = validity;
        }
        thread.stack.distrust();
    }
    thread.inside = OUTSIDE;
    Some(handle)
}

/// While tasks are told apart no thread is ever found open, so that every event comes here: the task may be another.
fn follow_task(thread: &mut Thread, validity: u32) {
    if thread.validity_between_tasks != validity {
        thread.validity_between_tasks = validity;
        thread.stack.distrust();
    }
    (event::chosen().follow_task)(thread);
}

/// The calling thread if it is inside a real allocator that was called from a hook. What is allocated there is part of the block that the
/// hook records. But what is released there may be a block that was recorded, if the allocator keeps books of its own, as tracemalloc does.
#[cold]
pub fn nested_thread() -> Option<Handle> {
    let handle = Handle::current();
    let thread = handle.state();
    let is_set_up = STATE.load(Relaxed) == RECORDING && thread.generation == GENERATION.load(Relaxed);
    (is_set_up && thread.inside == IN_ALLOCATOR).then_some(handle)
}

fn set_up_thread(thread: &mut Thread) {
    thread.tstate_slot = python::tstate_slot(thread);
    thread.known_tstate = thread::NO_TSTATE;
    thread.writer = null_mut();
    (thread.last_allocation, thread.task) = (0, 0);
    thread.stack = Stack::new();
    thread.generation = GENERATION.load(Relaxed);
    let key = EXIT_KEY.load(Relaxed);
    if key != u32::MAX {
        // SAFETY: the key was made by pthread_key_create; glibc stores the first 32 keys' values in place.
        unsafe { libc::pthread_setspecific(key, (&raw const *thread).cast()) };
    }
}

/// Runs `body` under the lock; `None` if recording is not set up. Keeps `errno`.
#[cold]
#[inline(never)]
pub fn with_cold<R>(body: impl FnOnce(&mut Cold) -> R) -> Option<R> {
    // SAFETY: errno is the thread's own.
    let errno = unsafe { &mut *libc::__errno_location() };
    let saved = *errno;
    let result = COLD.with(|cold| cold.as_mut().map(body));
    *errno = saved;
    result
}

/// Starts recording, if a collector is there to ask for it.
pub fn start() {
    let thread = Handle::current().state();
    if thread.inside != OUTSIDE || STATE.compare_exchange(UNSTARTED, STARTING, Acquire, Relaxed).is_err() {
        return;
    }
    thread.inside = IN_ALLOCATOR;
    real::resolve_all();
    hook_loader::resolve_all();
    python::find();
    let sizes = if python::found().kind == PYTHON_SUPPORTED { FirstSizes::INTERPRETER } else { FirstSizes::SMALL };
    set_up_process(begin(sizes));
    if STATE.load(Relaxed) == RECORDING {
        hook_python::install();
        // SAFETY: the handlers are functions that stay loaded; the destructor takes what set_up_thread stores.
        unsafe {
            libc::pthread_atfork(None, Some(after_fork_in_parent), Some(after_fork_in_child));
            let mut key = 0;
            if libc::pthread_key_create(&raw mut key, Some(thread_exits)) == 0 {
                EXIT_KEY.store(key, Relaxed);
            }
        }
    }
    thread.inside = OUTSIDE;
}

fn set_up_process(begun: Option<()>) {
    if begun.is_none() {
        STATE.store(OFF, Release);
        return;
    }
    MAIN_THREAD.store(thread::pthread_self(), Relaxed);
    thread_name::begin();
    header().status.store(STATUS_RECORDING, Release);
    GENERATION.fetch_add(1, Relaxed);
    renew_validity();
    STATE.store(RECORDING, Release);
}

/// Capacities that lane 0's tables begin with.
#[derive(Clone, Copy)]
struct FirstSizes {
    nodes: usize,
    keys: usize,
}

impl FirstSizes {
    /// An interpreter has met 2,300 nodes and 6,200 places before its program's first line (CPython 3.12): tables that grow meanwhile cost it
    /// a quarter of a millisecond.
    const INTERPRETER: Self = Self { nodes: 1 << 13, keys: 1 << 14 };
    /// A forked child, or a program without Python, which mostly does little.
    const SMALL: Self = Self { nodes: 1 << 12, keys: 1 << 13 };
}

/// Capacity that another lane's table of keys begins with.
const FIRST_KEYS_OF_A_THREAD: usize = 1 << 8;

/// Asks for the shared file and sets up the tables in it. What needs no file is made while the answer is awaited, if that can only be yes.
fn begin(sizes: FirstSizes) -> Option<()> {
    let python = python::found();
    let asked = connect::ask(python)?;
    let mut memory = ProcessMemory::NONE;
    let early = if python.kind == PYTHON_SUPPORTED { Private::new(&mut memory, sizes) } else { None };
    let Some(head) = asked.answer(&mut memory) else {
        // SAFETY: only the tables that were made lead to it, and nobody uses them.
        unsafe { memory.abandon() };
        return None;
    };
    let made = early
        .or_else(|| Private::new(&mut memory, sizes))
        .and_then(|private| make_tables(memory, head, private, sizes));
    if made.is_none() {
        head.header.status.store(STATUS_FAILED, Relaxed);
    }
    made
}

/// The tables that need no shared file, some 330 KiB.
struct Private {
    keys: KeyTable,
    recent: RecentSites,
    live_codes: LiveCodes,
    mappings: Mappings,
    lines: Lines,
}

impl Private {
    fn new(memory: &mut ProcessMemory, sizes: FirstSizes) -> Option<Self> {
        Some(Self {
            keys: KeyTable::new(memory, sizes.keys)?,
            recent: RecentSites::new(memory)?,
            live_codes: LiveCodes::new(memory)?,
            mappings: Mappings::new(memory)?,
            lines: Lines::new(memory)?,
        })
    }
}

fn make_tables(mut memory: ProcessMemory, head: &'static Head, private: Private, sizes: FirstSizes) -> Option<()> {
    HEAD.store((&raw const *head).cast_mut(), Relaxed);
    let header = &head.header;
    let interner = Interner::new(&mut memory, header, sizes.nodes)?;
    let Private { keys, recent, live_codes, mappings, lines } = private;
    let mut cold = Cold {
        memory,
        interner,
        live_codes,
        mappings,
        lines,
        task_names: 0,
        free_writers: null_mut(),
        orphans: null_mut(),
    };
    let main = new_writer(&mut cold, head, true, keys, Some(recent))?;
    // SAFETY: nothing is recorded yet (or not yet in this child of a fork), so that nobody uses it.
    unsafe { main_writer().write(main) };
    event::choose(python::found());
    header.python_version.store(python::found().version, Relaxed);
    header.version.store(SHARED_VERSION, Relaxed);
    COLD.with(|place| *place = Some(cold));
    header.magic.store(SHARED_MAGIC, Release);
    Some(())
}

fn new_writer(
    cold: &mut Cold,
    head: &'static Head,
    is_main: bool,
    keys: KeyTable,
    recent: Option<RecentSites>,
) -> Option<Writer> {
    let header = &head.header;
    let index = header.lane_count.load(Relaxed);
    let slot = header.lanes.get(index as usize).filter(|_| (index as usize) < MAX_LANES)?;
    let (lane, offset) = Lane::new(&mut cold.memory, head, is_main)?;
    slot.store(offset, Release);
    header.lane_count.store(index + 1, Release);
    Some(Writer {
        lane,
        keys,
        recent,
        code_epoch: code_epoch(),
        is_main,
        name: ThreadName::UNKNOWN,
        next_free: null_mut(),
    })
}

/// The writer of a thread of its own.
fn new_writer_of_thread(cold: &mut Cold) -> Option<Writer> {
    let keys = KeyTable::new(&mut cold.memory, FIRST_KEYS_OF_A_THREAD)?;
    let recent = match python::found().is_free_threaded {
        true => Some(RecentSites::new(&mut cold.memory)?),
        false => None,
    };
    new_writer(cold, head(), false, keys, recent)
}

/// A writer for a thread that allocates without the GIL: one that an ended thread left, or a new one.
pub fn take_writer(is_ending: bool) -> Option<NonNull<Writer>> {
    with_cold(|cold| {
        if cold.free_writers.is_null() {
            adopt_orphans(cold);
        }
        let writer = match NonNull::new(cold.free_writers) {
            Some(writer) => {
                // SAFETY: it is in the free list, so that nobody else uses it.
                cold.free_writers = unsafe { writer.as_ref() }.next_free;
                writer
            }
            None => {
                let place = cold.memory.private(size_of::<Writer>())?.cast::<Writer>();
                // SAFETY: fresh memory of that size, aligned to 64.
                unsafe { place.write(new_writer_of_thread(cold)?) };
                place
            }
        };
        // SAFETY: as above, or fresh; gettid has no preconditions.
        unsafe { (*writer.as_ptr()).name = ThreadName::UNKNOWN };
        // SAFETY: as above.
        unsafe { writer.as_ref().lane.shared().thread.store(libc::gettid() as u32, Relaxed) };
        if is_ending {
            // SAFETY: as above.
            unsafe { (*writer.as_ptr()).next_free = cold.orphans };
            cold.orphans = writer.as_ptr();
        }
        Some(writer)
    })
    .flatten()
}

/// Makes those orphans free whose threads are gone by now.
///
/// A detached thread that ends may release what the C library kept of others (their stacks, beyond 40 MB of them), which is after all destructors: so on
/// 3.12 each such thread left a lane behind.
fn adopt_orphans(cold: &mut Cold) {
    let mut place = &raw mut cold.orphans;
    // SAFETY: a list of writers, which live as long as the recording; those of threads that are gone have no other owner.
    unsafe {
        while let Some(writer) = NonNull::new(*place) {
            let writer = writer.as_ptr();
            let thread = (*writer).lane.shared().thread.load(Relaxed) as i32;
            let is_gone = libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) != 0
                && *libc::__errno_location() == libc::ESRCH;
            if !is_gone {
                place = &raw mut (*writer).next_free;
                continue;
            }
            *place = (*writer).next_free;
            (*writer).next_free = cold.free_writers;
            cold.free_writers = writer;
        }
    }
}

/// The calling thread's own lane, in an interpreter without a GIL: lane 0 is the main thread's, which many programs have alone.
pub fn take_own_writer(is_ending: bool) -> Option<NonNull<Writer>> {
    if is_main_thread() { NonNull::new(main_writer()) } else { take_writer(is_ending) }
}

/// A thread ends: its lane can serve another.
extern "C" fn thread_exits(thread: *mut c_void) {
    // SAFETY: set_up_thread stored the thread's own state, which lives until the thread is gone.
    let thread = unsafe { &mut *thread.cast::<Thread>() };
    if thread.generation != GENERATION.load(Relaxed) || thread.inside != OUTSIDE {
        return;
    }
    thread.inside = IN_RECORDER;
    let is_to_free = |writer: &NonNull<Writer>| writer.as_ptr() != main_writer() && !thread.is_ending;
    if let Some(mut writer) = NonNull::new(thread.writer).filter(is_to_free) {
        with_cold(|cold| {
            // SAFETY: this thread's own writer, which it gives up here.
            unsafe {
                writer.as_ref().lane.shared().thread.store(0, Relaxed);
                writer.as_mut().next_free = cold.free_writers;
            }
            cold.free_writers = writer.as_ptr();
        });
    }
    waiting::end(thread);
    thread.writer = null_mut();
    with_cold(|cold| thread.stack.give_back(&mut cold.memory));
    // A later destructor may allocate, and the C library after it: then the thread is set up once more.
    (thread.generation, thread.validity, thread.is_ending) = (0, 0, true);
    thread.inside = OUTSIDE;
}

extern "C" fn after_fork_in_parent() {
    if STATE.load(Relaxed) == RECORDING {
        header().forks.fetch_add(1, Relaxed);
    }
}

/// The parent's tables are the parent's: nothing is touched until the child has its own.
extern "C" fn after_fork_in_child() {
    if STATE.load(Relaxed) == RECORDING {
        VALIDITY.store(NOT_RECORDING, Relaxed);
        STATE.store(FORKED, Relaxed);
        waiting::begin_in_child(Handle::current().state());
    }
}

/// The first event in a forked child: a recording of its own begins. A child that goes on to `exec` never comes here.
fn start_in_child() {
    if STATE.compare_exchange(FORKED, STARTING, Acquire, Relaxed).is_err() {
        return;
    }
    let thread = Handle::current().state();
    thread.inside = IN_ALLOCATOR;
    // SAFETY: the STARTING state lets no other thread in, and those that held the lock stayed in the parent.
    unsafe { COLD.reset(None) };
    LIVE.clear();
    hook_static::begin_in_child();
    CODE_EPOCH.fetch_add(1, Relaxed);
    // SAFETY: errno is the thread's own.
    let errno = unsafe { &mut *libc::__errno_location() };
    let saved = *errno;
    set_up_process(begin(FirstSizes::SMALL));
    if STATE.load(Relaxed) == RECORDING {
        header().python_hooked.store(1, Relaxed);
    }
    *errno = saved;
    thread.inside = OUTSIDE;
}

/// The process exits in an orderly way. Not so if it does while this thread is inside, in a signal handler: then the lock may be held.
pub fn exit() {
    let thread = Handle::current().state();
    if STATE.load(Relaxed) == RECORDING && thread.inside == OUTSIDE {
        thread.inside = IN_RECORDER;
        with_cold(region::look_at_all);
        thread.inside = OUTSIDE;
    }
    say_if_collector_died();
}

/// If the collector is gone, nobody will report: say so, once.
fn say_if_collector_died() {
    if !matches!(STATE.load(Relaxed), RECORDING) {
        return;
    }
    let collector = header().collector_pid.load(Relaxed) as i32;
    // SAFETY: signal 0 only asks whether the process exists; the message is a static string.
    unsafe {
        let errno = &mut *libc::__errno_location();
        let saved = *errno;
        if collector > 0 && libc::kill(collector, 0) != 0 && *errno == libc::ESRCH {
            let message = b"memlens: the collector died; this program ran on unharmed, but its recording is lost\n";
            libc::write(2, message.as_ptr().cast(), message.len());
        }
        *errno = saved;
    }
}
