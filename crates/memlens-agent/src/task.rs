//! Which asyncio task runs, where `memlens run --tasks` asks for it: its name is the outermost frame.
//!
//! Tasks change without an event that we see. So while they are told apart no thread is ever found [open](agent::open_thread), and at each event of
//! a thread that holds the GIL its task is looked up where asyncio keeps it ([`memlens_cpython::task`]); without the option this costs nothing.
//! A thread that has let go of the GIL still runs the task of its last event.
//!
//! The interpreter may be in the middle of anything when it allocates. What is called here (`PyDict_Next` above all) does not allocate, run code or
//! release anything; and a dict is whole whenever it allocates or releases (`dictresize` in Objects/dictobject.c), if perhaps empty to look at.
//!
//! A task that nobody has named (`Task-17`) goes by the qualified name of its coroutine: a service makes millions of such names. Names are compared
//! by what they say, for a task that is gone gives its address, and its name's, to the next.
use crate::agent::{self, Cold};
use crate::event;
use crate::library::Library;
use crate::python::{self, TaskFunctions};
use crate::thread::Thread;
use core::ffi::c_void;
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};
use memlens_cpython::code::{Text, read_text};
use memlens_cpython::layout::{Layout, Place};
use memlens_cpython::task::{self, RunningTask, TaskOffsets};
use memlens_format::shared::{NODE_ROOT, PYTHON_SUPPORTED};
use memlens_recorder::intern::RawText;

/// Where a file would stand.
const WHAT: &str = "<task>";
/// Names that are told apart; each has a call tree of its own.
const MAX_NAMES: u32 = 4096;
/// All tasks beyond.
const OTHERS: Text<'static> = Text { bytes: b"(others)", width: 1 };
/// A task of neither a name nor a coroutine: it has ended.
const UNNAMED: Text<'static> = Text { bytes: b"(unnamed)", width: 1 };
/// Of a longer name the beginning counts.
const MAX_NAME_POINTS: usize = 200;
/// What asyncio calls a task that nobody has named, before its number.
const DEFAULT_NAME: &[u8] = b"Task-";

static ARE_TOLD: AtomicBool = AtomicBool::new(false);

/// Whether tasks are told apart in this process.
#[inline(always)]
pub fn are_told() -> bool {
    ARE_TOLD.load(Relaxed)
}

/// The collector has said whether they are to be.
pub fn tell(is_wanted: bool) {
    ARE_TOLD.store(is_wanted && can_be_told(python::found()), Relaxed);
}

/// Whether it is known where this interpreter keeps them. Without a GIL its dicts cannot be read in the middle of an event.
pub fn can_be_told(found: &python::Found) -> bool {
    let is_known = found.kind == PYTHON_SUPPORTED && !found.is_free_threaded && found.tasks.is_some();
    is_known && TaskOffsets::of(found.minor()).is_some()
}

/// [`STATE`]: asyncio was not imported yet.
const UNSEEN: u32 = 0;
/// [`STATE`]: what follows is known.
const FOUND: u32 = 1;
/// [`STATE`]: it is not what it should be.
const UNREADABLE: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(UNSEEN);
/// How many modules there were when asyncio was last looked for.
static MODULES: AtomicUsize = AtomicUsize::new(0);
/// `_asyncio.Task`, and `_asyncio._current_tasks`, of which 3.14 has none. Both are kept alive.
static TASK_TYPE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static CURRENT_TASKS: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// Where in the thread state [`RunningTask`] begins.
static RUNNING_AT: AtomicUsize = AtomicUsize::new(0);

/// Puts the running task's name below the thread's stack, if it holds the main interpreter's GIL.
pub fn follow<V: Layout>(thread: &mut Thread) {
    let Some(tstate) = event::running_tstate::<V>(thread) else { return };
    let Some((functions, offsets)) = python::found().tasks.as_ref().zip(const { TaskOffsets::of(V::MINOR) }) else {
        return;
    };
    let reader = Reader::<V> { functions, offsets, version: core::marker::PhantomData };
    // SAFETY: the running thread state.
    let name = unsafe {
        if !reader.is_found(V::current_frame(tstate)) {
            return;
        }
        reader.running(tstate).map(|task| reader.name(task))
    };
    let hash = name.map_or(0, hash_of);
    if hash != thread.task
        && let Some(node) = name.map_or(Some(NODE_ROOT), node_of)
    {
        thread.task = hash;
        thread.stack.rest_on(node);
    }
}

/// Never 0. A name that has the hash of another by chance (1 in 2^63) would be taken for it.
fn hash_of(name: Text) -> u64 {
    let mut hash = u64::from(name.width) << 32 | name.bytes.len() as u64;
    for chunk in name.bytes.chunks(8) {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let product = u128::from(hash ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
        hash = product as u64 ^ (product >> 64) as u64;
    }
    hash | 1
}

/// The node of a name; `None` if there is no room for it.
#[cold]
#[inline(never)]
fn node_of(name: Text) -> Option<u32> {
    agent::with_cold(|cold| {
        let code = name_record(cold, name)?;
        cold.interner.node(&mut cold.memory, NODE_ROOT, code, 0)
    })
    .flatten()
}

fn name_record(cold: &mut Cold, name: Text) -> Option<u32> {
    let raw = |text: Text<'static>| RawText { bytes: text.bytes, width: text.width };
    let name = RawText { bytes: name.bytes, width: name.width };
    if let Some(known) = cold.interner.known_name(name, WHAT) {
        return Some(known);
    }
    if cold.task_names == MAX_NAMES {
        return cold.interner.name(&mut cold.memory, raw(OTHERS), WHAT);
    }
    cold.task_names += 1;
    cold.interner.name(&mut cold.memory, name, WHAT)
}

/// What asyncio keeps, read by whoever holds the GIL.
struct Reader<V: Layout> {
    functions: &'static TaskFunctions,
    offsets: TaskOffsets,
    version: core::marker::PhantomData<V>,
}

impl<V: Layout> Reader<V> {
    /// Whether asyncio is there and as it should be.
    ///
    /// # Safety
    /// The GIL is held, and `frame` is the innermost frame or null.
    unsafe fn is_found(&self, frame: *const c_void) -> bool {
        if STATE.load(Relaxed) == UNSEEN {
            // SAFETY: the caller's promise; see `has_modules`.
            unsafe {
                if Self::has_modules(frame) {
                    self.look((self.functions.modules)());
                }
            }
        }
        STATE.load(Relaxed) == FOUND
    }

    /// Whether the interpreter has its modules: it runs Python code, and is not going away. (3.15 has a frame of its own before it has modules.)
    ///
    /// # Safety
    /// As [`is_found`](Self::is_found).
    unsafe fn has_modules(frame: *const c_void) -> bool {
        // SAFETY: the caller's promise.
        !frame.is_null()
            && matches!(unsafe { V::place(frame, python::found().code_type) }, Place::Code { .. })
            && !python::is_finalizing()
    }

    /// Looks for asyncio, if there are other modules than last time.
    ///
    /// # Safety
    /// The GIL is held; `modules` is a live dict.
    unsafe fn look(&self, modules: *const c_void) {
        // SAFETY: the caller's promise; `ma_used` follows a dict's head.
        unsafe {
            let count = task::pointer_at(modules, V::CODE.object_head).addr();
            if MODULES.load(Relaxed) == count {
                return;
            }
            if let Some(module) = self.value(modules, b"_asyncio") {
                return self.look_into(module);
            }
            // Imported after `_asyncio`, if there is one: tasks are Python's own.
            if self.value(modules, b"asyncio.runners").is_some() {
                return give_up();
            }
            MODULES.store(count, Relaxed);
        }
    }

    /// Takes what is needed out of `_asyncio`; later, if that is still being imported.
    ///
    /// # Safety
    /// The GIL is held; `module` is a live object.
    unsafe fn look_into(&self, module: *const c_void) {
        let in_thread_state = self.offsets.running == RunningTask::InThreadState;
        // SAFETY: the caller's promise; each object's type is seen before it is used as one.
        unsafe {
            if task::type_of(module) != self.functions.module_type {
                return give_up();
            }
            let contents = (self.functions.module_dict)(module);
            let Some(class) = self.value(contents, b"Task") else { return };
            let current = self.value(contents, b"_current_tasks");
            let Some(current) = current.or(in_thread_state.then_some(null())) else { return };
            let running_at = self.is_as_known(class, current).then(|| self.running_at(class)).flatten();
            let Some(running_at) = running_at else { return give_up() };
            RUNNING_AT.store(running_at, Relaxed);
            (self.functions.keep)(class);
            if !current.is_null() {
                (self.functions.keep)(current);
            }
            TASK_TYPE.store(class.cast_mut(), Relaxed);
            CURRENT_TASKS.store(current.cast_mut(), Relaxed);
        }
        STATE.store(FOUND, Relaxed);
    }

    /// # Safety
    /// The GIL is held; `class` is a live type, `current` a live object or null.
    unsafe fn is_as_known(&self, class: *const c_void, current: *const c_void) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let is_dict = current.is_null() || task::type_of(current) == self.functions.dict_type;
            let is_task =
                task::type_name(class) == b"_asyncio.Task" && task::instance_bytes(class) == self.offsets.size;
            is_dict && is_task
        }
    }

    /// # Safety
    /// `class` is `_asyncio.Task`.
    unsafe fn running_at(&self, class: *const c_void) -> Option<usize> {
        match self.offsets.running {
            RunningTask::OfLoopInDict(offset) => Some(offset),
            RunningTask::OfLoopBehindThreadState => Some(python::thread_state_bytes()),
            RunningTask::InThreadState => {
                // SAFETY: the caller's promise.
                let library = Library::holding(unsafe { task::release_function(class) })?;
                self.offsets.published(&library.open()?.section_words(task::DEBUG_SECTION)?)
            }
        }
    }

    /// The task that the thread runs, alive as long as nothing runs.
    ///
    /// # Safety
    /// The GIL is held with this thread state.
    unsafe fn running(&self, tstate: *const c_void) -> Option<*const c_void> {
        // SAFETY: the offset is this version's.
        unsafe {
            let found = non_null(task::pointer_at(tstate, RUNNING_AT.load(Relaxed)))?;
            let running_loop = match self.offsets.running {
                RunningTask::InThreadState => return Some(found),
                RunningTask::OfLoopBehindThreadState => found,
                RunningTask::OfLoopInDict(_) => {
                    let found = self.value(found, task::RUNNING_LOOP)?;
                    let is_holder = task::type_name(task::type_of(found)) == task::LOOP_HOLDER;
                    if is_holder { task::pointer_at(found, V::CODE.object_head) } else { found }
                }
            };
            self.find(CURRENT_TASKS.load(Relaxed), |key| key == running_loop)
        }
    }

    /// # Safety
    /// `task` is a live object.
    unsafe fn name<'a>(&self, task: *const c_void) -> Text<'a> {
        // SAFETY: the caller's promise; a task's own fields are read only of what derives from the type whose size was compared.
        let name = unsafe {
            let class = task::type_of(task);
            if !task::derives_from(class, TASK_TYPE.load(Relaxed)) {
                return last_part(task::type_name(class));
            }
            match self.text(task::pointer_at(task, self.offsets.name)) {
                Some(name) if !is_default(name) => name,
                _ => self.coroutine_name(task::pointer_at(task, self.offsets.coroutine)),
            }
        };
        let points = (name.bytes.len() / name.width as usize).min(MAX_NAME_POINTS);
        Text { bytes: &name.bytes[..points * name.width as usize], ..name }
    }

    /// # Safety
    /// `coroutine` is null or a live object.
    unsafe fn coroutine_name<'a>(&self, coroutine: *const c_void) -> Text<'a> {
        if coroutine.is_null() {
            return UNNAMED;
        }
        // SAFETY: the caller's promise; coroutines and generators have their qualified name at the same place.
        unsafe {
            let class = task::type_of(coroutine);
            if class != self.functions.coroutine_type && class != self.functions.generator_type {
                return last_part(task::type_name(class));
            }
            self.text(task::pointer_at(coroutine, self.offsets.qualified_name)).unwrap_or(UNNAMED)
        }
    }

    /// What the object says, if it is a `str`.
    ///
    /// # Safety
    /// `object` is null or a live object.
    unsafe fn text<'a>(&self, object: *const c_void) -> Option<Text<'a>> {
        // SAFETY: the caller's promise.
        unsafe {
            let is_str = !object.is_null() && task::type_of(object) == self.functions.str_type;
            is_str.then(|| read_text(object, &V::CODE))
        }
    }

    /// The value of a key that is a `str`.
    ///
    /// # Safety
    /// The GIL is held; `dict` is a live dict.
    unsafe fn value(&self, dict: *const c_void, key: &[u8]) -> Option<*const c_void> {
        // SAFETY: the caller's promise; keys are live objects.
        unsafe { self.find(dict, |found| self.text(found).is_some_and(|text| text.bytes == key)) }
    }

    /// The value of the first key that `is_it`.
    ///
    /// # Safety
    /// The GIL is held; `dict` is a live dict.
    unsafe fn find(&self, dict: *const c_void, is_it: impl Fn(*const c_void) -> bool) -> Option<*const c_void> {
        let (mut position, mut key, mut value) = (0, null(), null());
        // SAFETY: the caller's promise.
        while unsafe { (self.functions.dict_next)(dict, &raw mut position, &raw mut key, &raw mut value) } != 0 {
            if is_it(key) {
                return Some(value);
            }
        }
        None
    }
}

fn non_null(pointer: *const c_void) -> Option<*const c_void> {
    (!pointer.is_null()).then_some(pointer)
}

/// No task is told apart in this process, and the collector will say so.
#[cold]
fn give_up() {
    STATE.store(UNREADABLE, Relaxed);
    agent::header().tasks_unreadable.store(1, Relaxed);
}

/// `Task-` and a number.
fn is_default(name: Text) -> bool {
    let number = name.bytes.strip_prefix(DEFAULT_NAME).unwrap_or_default();
    name.width == 1 && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// A type's name without its module.
fn last_part(name: &[u8]) -> Text<'_> {
    let begin = name.iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
    Text { bytes: &name[begin..], width: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Text<'_> {
        Text { bytes, width: 1 }
    }

    #[test]
    fn names_that_nobody_gave() {
        assert!(is_default(text(b"Task-1")) && is_default(text(b"Task-1234567")));
        assert!(!is_default(text(b"Task-")) && !is_default(text(b"Task-1a")) && !is_default(text(b"task-1")));
        assert_eq!(last_part(b"uvloop.loop.Task").bytes, b"Task");
        assert_eq!(last_part(b"Task").bytes, b"Task");
    }

    #[test]
    fn names_differ_by_what_they_say() {
        let names: [&[u8]; 6] = [b"", b"a", b"a\0", b"worker-1", b"worker-12", b"worker-21"];
        for (index, name) in names.iter().enumerate() {
            assert_ne!(hash_of(text(name)), 0);
            for other in &names[..index] {
                assert_ne!(hash_of(text(name)), hash_of(text(other)), "{name:?} {other:?}");
            }
        }
        assert_ne!(hash_of(text(b"ab")), hash_of(Text { bytes: b"ab", width: 2 }));
    }
}
