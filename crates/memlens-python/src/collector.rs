//! Every object that the interpreter's garbage collector tracks.
use crate::interpreter::Interpreter;
use crate::layout::GC_HEAD;
use crate::object::Object;
use pyo3::ffi;
use std::ffi::{c_int, c_void};

/// `int (*)(PyObject *, void *)`
type Callback = unsafe extern "C" fn(*mut ffi::PyObject, *mut c_void) -> c_int;
type VisitObjects = unsafe extern "C" fn(Callback, *mut c_void);

/// Bytes of `struct gc_generation`.
const GENERATION: usize = 24;
/// From `generations[0]` to `generation0`, which points to it, and to `permanent_generation`.
const FIRST_POINTER: usize = 72;
const PERMANENT: usize = 80;

/// Passes each object that the collector tracks. The caller holds the GIL; the callback runs no Python code.
pub fn each_tracked(interpreter: &Interpreter, mut each: impl FnMut(Object)) {
    // SAFETY: the name is a C string.
    let visit = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"PyUnstable_GC_VisitObjects".as_ptr()) };
    if visit.is_null() {
        return each_listed(interpreter, &mut each);
    }
    let mut each: &mut dyn FnMut(Object) = &mut each;
    // SAFETY: the function is CPython's, of this signature since 3.12, and the argument is what `receive` expects.
    unsafe { std::mem::transmute::<*mut c_void, VisitObjects>(visit)(receive, (&raw mut each).cast()) };
}

extern "C" fn receive(object: *mut ffi::PyObject, each: *mut c_void) -> c_int {
    // SAFETY: `each_tracked` passes such a closure, which outlives the call.
    let each = unsafe { &mut *each.cast::<&mut dyn FnMut(Object)>() };
    each(Object::of(object));
    1
}

/// Before 3.12: along the lists themselves. Their heads stand in the interpreter's state, where a word points to the first head from
/// three generations further on (`struct _gc_runtime_state`).
fn each_listed(interpreter: &Interpreter, each: &mut impl FnMut(Object)) {
    // SAFETY: we hold the GIL; the state lives as long as the interpreter.
    let state = unsafe { ffi::PyInterpreterState_Get() } as usize;
    let words = (FIRST_POINTER..interpreter.layout.interpreter_size - PERMANENT).step_by(8);
    // SAFETY: each word lies in the state.
    let points_back = |at: &usize| unsafe { ((state + at) as *const usize).read() } == state + at - FIRST_POINTER;
    let Some(first) = words.into_iter().find(points_back).map(|at| state + at - FIRST_POINTER) else {
        return;
    };
    for head in [first, first + GENERATION, first + 2 * GENERATION, first + PERMANENT] {
        // SAFETY: it is the head of a circular list of collector's heads.
        unsafe { each_in_list(head, each) };
    }
}

/// # Safety
/// `head` must be the head of a list of tracked objects.
unsafe fn each_in_list(head: usize, each: &mut impl FnMut(Object)) {
    // SAFETY: the caller's promise; `_gc_next` is the first word and carries no flags outside of a collection.
    unsafe {
        let mut node = (head as *const usize).read();
        while node != head && node != 0 {
            if let Some(object) = Object::at(node + GC_HEAD) {
                each(object);
            }
            node = (node as *const usize).read() & !3;
        }
    }
}
