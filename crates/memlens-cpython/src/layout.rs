//! Where things stand in the interpreter's structures, by minor version.
//!
//! The offsets were read off each version's own headers with `offsetof` (`Include/internal/pycore_frame.h`,
//! `Include/cpython/code.h`, `Include/cpython/pystate.h`) and are the same throughout a minor version: its micro versions keep the ABI. 3.13
//! and newer publish them in `_PyRuntime.debug_offsets`, against which [`crate::debug_offsets`] holds ours.
use core::ffi::c_void;

/// Reads a `T` at `base + offset`.
///
/// # Safety
/// `base + offset` must be readable and hold a `T`.
#[inline(always)]
pub(crate) unsafe fn read<T: Copy>(base: *const c_void, offset: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { base.byte_add(offset).cast::<T>().read() }
}

/// What a frame turns out to be when it is looked at closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not a Python frame that `sys._getframe` would show: an entry shim (null), or a frame of this code object before its first traceable
    /// instruction.
    Hidden {
        /// Address of the code object, or null.
        code: *const c_void,
    },
    /// A code object and the offset of the running instruction in bytes (`f_lasti`; -1 as `u32::MAX`).
    Code {
        /// Address of the code object.
        code: *const c_void,
        /// `f_lasti`.
        instruction: u32,
    },
    /// Not what this version's frames look like.
    Unreadable,
}

/// Offsets in a code object, and in a string.
#[derive(Clone, Copy, Debug)]
pub struct CodeOffsets {
    /// `co_qualname`, or `co_name` before 3.11.
    pub name: usize,
    /// `co_filename`.
    pub file: usize,
    /// `co_linetable`, or `co_lnotab` before 3.10.
    pub line_table: usize,
    /// `co_firstlineno`.
    pub first_line: usize,
    /// `sizeof(PyASCIIObject)`.
    pub ascii_size: usize,
    /// `sizeof(PyCompactUnicodeObject)`.
    pub compact_size: usize,
    /// `sizeof(PyObject)`.
    pub object_head: usize,
    /// Bits of `PyASCIIObject.state` before `kind`: `interned` has two, in free-threaded builds since 3.14 a byte of its own.
    pub interned_bits: u32,
}

/// Instructions that do not stand in the code object: a thread's own copy of them (free-threaded builds since 3.14), a block that may be released before
/// the code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionCopy {
    /// Address of the block.
    pub address: *const c_void,
    /// Its size.
    pub bytes: usize,
}

/// `sizeof(PyObject)` where a global lock guards the reference count: the count and the type.
pub(crate) const HEAD: usize = 16;
/// `sizeof(PyObject)` of free-threaded builds: the owner, flags and lock, two reference counts, and the type.
pub(crate) const FREE_THREADED_HEAD: usize = 32;

/// A minor version of CPython.
pub trait Layout: 'static {
    /// Minor version.
    const MINOR: u32;
    /// `offsetof(PyThreadState, interp)`.
    const TSTATE_INTERP: usize = 16;
    /// `offsetof(PyThreadState, thread_id)`.
    const TSTATE_THREAD_ID: usize;
    /// Whether the running thread state stands in a thread-local (3.12 and newer) rather than in `_PyRuntime`.
    const TSTATE_IS_THREAD_LOCAL: bool;
    /// Whether there is a global lock, without which no Python code runs and no object is allocated. It is false of a free-threaded build even while
    /// that is told to use a lock.
    const HAS_GIL: bool = true;
    /// Offsets in code objects and strings.
    const CODE: CodeOffsets;
    /// How frames can be sealed.
    const SEALING: Sealing;
    /// Whether frames can be sealed.
    const CAN_SEAL: bool = !matches!(Self::SEALING, Sealing::None);

    /// The innermost frame, null if there is none.
    ///
    /// # Safety
    /// `tstate` must be a live thread state of this version whose frames do not change meanwhile: the calling thread's own.
    unsafe fn current_frame(tstate: *const c_void) -> *const c_void;

    /// The caller's frame, null for the outermost.
    ///
    /// # Safety
    /// `frame` must be a frame on the calling thread's stack.
    unsafe fn previous(frame: *const c_void) -> *const c_void;

    /// A number that stands for the running instruction, unique among live code objects. Never 0.
    ///
    /// # Safety
    /// `frame` must be a frame on the calling thread's stack.
    unsafe fn instruction_key(frame: *const c_void) -> u64;

    /// Whether the interpreter was entered anew for this frame, or this is the shim that marks such an entry: what called it is C code, not the
    /// frame below.
    ///
    /// # Safety
    /// `frame` must be a frame on the calling thread's stack.
    unsafe fn is_entered_from_c(frame: *const c_void) -> bool;

    /// The copy of its code object's instructions that the frame runs, if it does not run those in the code object itself.
    ///
    /// # Safety
    /// `frame` must be a frame on the calling thread's stack for which [`Layout::place`] has found a code object.
    unsafe fn instruction_copy(_frame: *const c_void) -> Option<InstructionCopy> {
        None
    }

    /// What the frame is. `code_type` is the address of `PyCode_Type`.
    ///
    /// # Safety
    /// `frame` must be a frame on the calling thread's stack.
    unsafe fn place(frame: *const c_void, code_type: *const c_void) -> Place;
}

/// `offsetof(_PyInterpreterFrame, stacktop)`, an `int`, in 3.11 to 3.13.
const STACKTOP: usize = 64;
/// `offsetof(_PyInterpreterFrame, localsplus)` in 3.11 to 3.13.
const LOCALS: usize = 72;
/// `stacktop` of a frame that is running: it has no frame above, or is inside a C function.
const RUNNING: i32 = -1;
/// `stacktop` of a sealed frame that is running. Any negative number serves the interpreter as -1 does.
const SEALED: i32 = -2;

/// What a version's frames offer to tell whether they have left since they were last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Nothing: all frames must be compared.
    None,
    /// `stacktop` at [`STACKTOP`], a negative number in a running frame, and locals and operands at [`LOCALS`]: 3.11 to 3.13.
    Stacktop,
    /// `owner`, a byte at this offset, and after it `visited`, which is set to 0 whenever a frame is made and written by nobody else: 3.14.5 and newer.
    /// A sealed frame has [`SEALED_THREAD_FRAME`] there.
    Visited(usize),
}

/// `FRAME_OWNED_BY_THREAD` with nothing in `visited`.
const THREAD_FRAME: u16 = 0;
/// `FRAME_OWNED_BY_THREAD` with a number in `visited` that the interpreter never writes.
const SEALED_THREAD_FRAME: u16 = 0x8000;

/// How a frame is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// It is not, or not any more.
    Broken,
    /// It has not left since it was sealed, so that nothing below it has changed; its own instruction may have.
    Running,
    /// It waits in the same call as when it was sealed: its instruction has not changed either.
    Waiting,
}

/// What lies in the free operand slot of a frame that waits: no pointer, and another for each frame.
#[inline(always)]
fn cookie(frame: *const c_void) -> u64 {
    frame as u64 ^ 0xA5C3_0000_0000_0001
}

/// The seal of a frame, if it was sealed before and has not left since. See the agent's `stack` for why that is sound.
///
/// `above` is the frame that it called, null for the innermost frame.
///
/// # Safety
/// `V::CAN_SEAL`, and the frames must be on the calling thread's stack.
#[inline(always)]
pub unsafe fn seal_of<V: Layout>(frame: *const c_void, above: *const c_void) -> Seal {
    if let Sealing::Visited(owner) = V::SEALING {
        // SAFETY: a frame of a version that has the two bytes.
        let is_sealed = unsafe { read::<u16>(frame, owner) } == SEALED_THREAD_FRAME;
        return if is_sealed { Seal::Running } else { Seal::Broken };
    }
    // SAFETY: the offsets are those of all versions that can be sealed; a waiting frame has a free slot (`seal`).
    unsafe {
        let stacktop = read::<i32>(frame, STACKTOP);
        if stacktop == SEALED {
            return Seal::Running;
        }
        if stacktop < 0 || above.is_null() || V::is_entered_from_c(above) {
            return Seal::Broken;
        }
        if read::<u64>(frame, LOCALS + stacktop as usize * 8) == cookie(frame) { Seal::Waiting } else { Seal::Broken }
    }
}

/// Seals a frame, if it is at rest in a way that allows it.
///
/// # Safety
/// As [`seal_of`].
#[inline(always)]
pub unsafe fn seal<V: Layout>(frame: *const c_void, above: *const c_void) {
    if let Sealing::Visited(owner) = V::SEALING {
        // SAFETY: as in `seal_of`; the calling thread's own frame, which the interpreter does not touch meanwhile.
        unsafe {
            if read::<u16>(frame, owner) == THREAD_FRAME {
                frame.byte_add(owner).cast::<u16>().cast_mut().write(SEALED_THREAD_FRAME);
            }
        }
        return;
    }
    // SAFETY: the calling thread's own frame, which the interpreter does not touch meanwhile.
    unsafe {
        let stacktop = read::<i32>(frame, STACKTOP);
        if stacktop == RUNNING {
            frame.byte_add(STACKTOP).cast::<i32>().cast_mut().write(SEALED);
        } else if stacktop >= 0 && !above.is_null() && !V::is_entered_from_c(above) {
            let slot = frame.byte_add(LOCALS + stacktop as usize * 8).cast::<u64>().cast_mut();
            // The call has just taken what lay in the slot, so that it is the frame's own; and it ends before the next frame.
            if above < frame || slot.add(1) as usize <= above as usize {
                slot.write(cookie(frame));
            }
        }
    }
}

/// Frames that are heap objects: 3.8 to 3.10.
///
/// # Safety
/// As [`Layout::instruction_key`].
#[inline(always)]
unsafe fn heap_frame_key(frame: *const c_void, lasti_offset: usize) -> u64 {
    // SAFETY: f_code stands at 32 and f_lasti at the given offset in these versions.
    let (code, lasti) = unsafe { (read::<u64>(frame, 32), read::<i32>(frame, lasti_offset)) };
    // Code objects are aligned to 16 bytes and addresses have 47 bits: 43 bits are left, and 21 for the instruction.
    code >> 4 | ((lasti + 1) as u64) << 43
}

/// # Safety
/// As [`Layout::place`].
unsafe fn heap_frame_place(
    frame: *const c_void,
    code_type: *const c_void,
    lasti_offset: usize,
    bytes_per_unit: i32,
) -> Place {
    // SAFETY: as in `heap_frame_key`; ob_type ends the head of every object.
    unsafe {
        let code = read::<*const c_void>(frame, 32);
        if code.is_null() || read::<*const c_void>(code, HEAD - 8) != code_type {
            return Place::Unreadable;
        }
        let lasti = read::<i32>(frame, lasti_offset);
        Place::Code { code, instruction: if lasti < 0 { u32::MAX } else { (lasti * bytes_per_unit) as u32 } }
    }
}

const OWNED_BY_GENERATOR: u8 = 1;
/// `FRAME_OWNED_BY_CSTACK`, from 3.14 on `FRAME_OWNED_BY_INTERPRETER`: the shim that marks an entry from C. What is larger is no Python frame.
const OWNED_BY_C_STACK: u8 = 3;
/// From 3.14 on `f_executable` is a `_PyStackRef`, whose two lowest bits say how it counts.
const TAG_BITS: usize = 3;

/// Offsets of an interpreter frame (3.11 and newer), and of what is needed of its code object.
pub(crate) struct FrameOffsets {
    pub(crate) code: usize,
    pub(crate) instruction: usize,
    pub(crate) owner: usize,
    pub(crate) code_adaptive: usize,
    pub(crate) first_traceable: usize,
    pub(crate) object_head: usize,
    pub(crate) copies: Option<CopyOffsets>,
}

/// Where threads have copies of a code object's instructions (free-threaded builds since 3.14, whose copies are specialized apart).
pub(crate) struct CopyOffsets {
    /// `offsetof(_PyInterpreterFrame, tlbc_index)`.
    pub(crate) index: usize,
    /// `offsetof(PyCodeObject, co_tlbc)`: a `_PyCodeArray`, a size and that many pointers, of which the first is to the code object's own instructions.
    pub(crate) table: usize,
}

/// Bytes of an instruction (`_Py_CODEUNIT`), of which a code object has `ob_size`.
const UNIT: usize = 2;

/// # Safety
/// As [`Layout::instruction_copy`], of a version with `offsets`.
unsafe fn instruction_copy(frame: *const c_void, offsets: &FrameOffsets) -> Option<InstructionCopy> {
    let copies = offsets.copies.as_ref()?;
    // SAFETY: the offsets are this version's, and the frame has a code object; the array's size is held against the index.
    unsafe {
        let code = read::<*const c_void>(frame, offsets.code).map_addr(|address| address & !TAG_BITS);
        let table = read::<*const c_void>(code, copies.table);
        let index = usize::try_from(read::<i32>(frame, copies.index)).ok()?;
        if index == 0 || table.is_null() || index >= read::<usize>(table, 0) {
            return None;
        }
        let address = read::<*const c_void>(table, 8 + index * 8);
        (!address.is_null())
            .then(|| InstructionCopy { address, bytes: read::<usize>(code, offsets.object_head) * UNIT })
    }
}

/// # Safety
/// As [`Layout::place`].
unsafe fn interpreter_frame_place(frame: *const c_void, code_type: *const c_void, offsets: &FrameOffsets) -> Place {
    // SAFETY: the offsets are this version's; ob_type ends the head of every object.
    unsafe {
        let owner = read::<u8>(frame, offsets.owner);
        if owner >= OWNED_BY_C_STACK {
            return Place::Hidden { code: core::ptr::null() };
        }
        let code = read::<*const c_void>(frame, offsets.code).map_addr(|address| address & !TAG_BITS);
        if code.is_null() || read::<*const c_void>(code, offsets.object_head - 8) != code_type {
            return Place::Unreadable;
        }
        let copy = instruction_copy(frame, offsets);
        let first = copy.map_or(code as u64 + offsets.code_adaptive as u64, |copy| copy.address as u64);
        let instruction = read::<u64>(frame, offsets.instruction).wrapping_sub(first) as i64;
        if offsets.copies.is_some() && instruction as u64 >= (read::<usize>(code, offsets.object_head) * UNIT) as u64 {
            // Another copy's instruction.
            return Place::Unreadable;
        }
        let first_traceable = i64::from(read::<i32>(code, offsets.first_traceable)) * 2;
        if owner != OWNED_BY_GENERATOR && instruction < first_traceable {
            return Place::Hidden { code };
        }
        Place::Code { code, instruction: if instruction < 0 { u32::MAX } else { instruction as u32 } }
    }
}

macro_rules! heap_frames {
    ($(#[$doc:meta])* $name:ident, $minor:literal, lasti: $lasti:literal, unit: $unit:literal) => {
        $(#[$doc])*
        pub enum $name {}

        impl Layout for $name {
            const MINOR: u32 = $minor;
            const TSTATE_THREAD_ID: usize = 176;
            const TSTATE_IS_THREAD_LOCAL: bool = false;
            const CODE: CodeOffsets =
                CodeOffsets {
                    name: 112, file: 104, line_table: 120, first_line: 40, ascii_size: 48, compact_size: 72, object_head: HEAD, interned_bits: 2,
                };
            const SEALING: Sealing = Sealing::None;

            #[inline(always)]
            unsafe fn current_frame(tstate: *const c_void) -> *const c_void {
                // SAFETY: tstate->frame.
                unsafe { read(tstate, 24) }
            }

            #[inline(always)]
            unsafe fn previous(frame: *const c_void) -> *const c_void {
                // SAFETY: frame->f_back.
                unsafe { read(frame, 24) }
            }

            #[inline(always)]
            unsafe fn instruction_key(frame: *const c_void) -> u64 {
                // SAFETY: frame->f_code, frame->f_lasti.
                unsafe { heap_frame_key(frame, $lasti) }
            }

            unsafe fn is_entered_from_c(_frame: *const c_void) -> bool {
                true
            }

            unsafe fn place(frame: *const c_void, code_type: *const c_void) -> Place {
                // SAFETY: the caller's promise.
                unsafe { heap_frame_place(frame, code_type, $lasti, $unit) }
            }
        }
    };
}

macro_rules! interpreter_frames {
    (
        $(#[$doc:meta])* $name:ident, $minor:literal, sealing: $sealing:expr, thread_id: $thread_id:literal, thread_local: $thread_local:literal,
        current: [$($step:literal),+], previous: $previous:literal, entry: $entry:literal == $entry_value:expr,
        has_gil: $has_gil:literal, frame: $frame:expr, code: $code:expr
    ) => {
        $(#[$doc])*
        pub enum $name {}

        impl $name {
            pub(crate) const FRAME: FrameOffsets = $frame;
        }

        impl Layout for $name {
            const MINOR: u32 = $minor;
            const TSTATE_THREAD_ID: usize = $thread_id;
            const TSTATE_IS_THREAD_LOCAL: bool = $thread_local;
            const HAS_GIL: bool = $has_gil;
            const CODE: CodeOffsets = $code;
            const SEALING: Sealing = $sealing;

            #[inline(always)]
            unsafe fn current_frame(tstate: *const c_void) -> *const c_void {
                let mut at = tstate;
                $(
                    // SAFETY: tstate->current_frame, or tstate->cframe->current_frame.
                    at = unsafe { read(at, $step) };
                )+
                at
            }

            #[inline(always)]
            unsafe fn previous(frame: *const c_void) -> *const c_void {
                // SAFETY: frame->previous.
                unsafe { read(frame, $previous) }
            }

            #[inline(always)]
            unsafe fn instruction_key(frame: *const c_void) -> u64 {
                // SAFETY: frame->prev_instr, from 3.13 on frame->instr_ptr.
                unsafe { read(frame, Self::FRAME.instruction) }
            }

            #[inline(always)]
            unsafe fn is_entered_from_c(frame: *const c_void) -> bool {
                // SAFETY: frame->is_entry in 3.11, frame->owner of an entry shim after that.
                unsafe { read::<u8>(frame, $entry) == $entry_value }
            }

            unsafe fn instruction_copy(frame: *const c_void) -> Option<InstructionCopy> {
                // SAFETY: the caller's promise.
                unsafe { instruction_copy(frame, &Self::FRAME) }
            }

            unsafe fn place(frame: *const c_void, code_type: *const c_void) -> Place {
                // SAFETY: the caller's promise.
                unsafe { interpreter_frame_place(frame, code_type, &Self::FRAME) }
            }
        }
    };
}

heap_frames!(
    /// CPython 3.8.
    V38, 8, lasti: 104, unit: 1
);
heap_frames!(
    /// CPython 3.9.
    V39, 9, lasti: 104, unit: 1
);
heap_frames!(
    /// CPython 3.10.
    V310, 10, lasti: 96, unit: 2
);
interpreter_frames!(
    /// CPython 3.11.
    V311, 11, sealing: Sealing::Stacktop, thread_id: 152, thread_local: false, current: [56, 8], previous: 48, entry: 68 == 1,
    has_gil: true,
    frame: FrameOffsets { code: 32, instruction: 56, owner: 69, code_adaptive: 184, first_traceable: 168, object_head: HEAD, copies: None },
    code: CodeOffsets {
        name: 128, file: 112, line_table: 136, first_line: 72, ascii_size: 48, compact_size: 72, object_head: HEAD, interned_bits: 2,
    }
);
interpreter_frames!(
    /// CPython 3.12.
    V312, 12, sealing: Sealing::Stacktop, thread_id: 136, thread_local: true, current: [56, 0], previous: 8, entry: 70 == OWNED_BY_C_STACK,
    has_gil: true,
    frame: FrameOffsets { code: 0, instruction: 56, owner: 70, code_adaptive: 192, first_traceable: 176, object_head: HEAD, copies: None },
    code: CodeOffsets {
        name: 128, file: 112, line_table: 136, first_line: 68, ascii_size: 40, compact_size: 56, object_head: HEAD, interned_bits: 2,
    }
);
interpreter_frames!(
    /// CPython 3.13.
    V313, 13, sealing: Sealing::Stacktop, thread_id: 152, thread_local: true, current: [72], previous: 8, entry: 70 == OWNED_BY_C_STACK,
    has_gil: true,
    frame: FrameOffsets { code: 0, instruction: 56, owner: 70, code_adaptive: 200, first_traceable: 184, object_head: HEAD, copies: None },
    code: CodeOffsets {
        name: 128, file: 112, line_table: 136, first_line: 68, ascii_size: 40, compact_size: 56, object_head: HEAD, interned_bits: 2,
    }
);
interpreter_frames!(
    /// CPython 3.13 without the GIL: as with it, but that each object's head is larger. Its code objects are not specialized, so that all threads
    /// run the same instructions.
    V313FreeThreaded, 13, sealing: Sealing::Stacktop, thread_id: 152, thread_local: true, current: [72], previous: 8,
    entry: 70 == OWNED_BY_C_STACK, has_gil: false,
    frame: FrameOffsets {
        code: 0, instruction: 56, owner: 70, code_adaptive: 216, first_traceable: 200, object_head: FREE_THREADED_HEAD, copies: None,
    },
    code: CodeOffsets {
        name: 144, file: 128, line_table: 152, first_line: 84, ascii_size: 56, compact_size: 72, object_head: FREE_THREADED_HEAD,
        interned_bits: 2,
    }
);
interpreter_frames!(
    /// CPython 3.14.5 and newer.
    V314, 14, sealing: VISITED, thread_id: 152, thread_local: true, current: [72], previous: 8, entry: 74 == OWNED_BY_C_STACK,
    has_gil: true, frame: FRAME_314,
    code: CODE_314
);
interpreter_frames!(
    /// CPython 3.14.0 to 3.14.4, whose incremental collector has a use of its own for `visited`, and may find it uninitialized
    /// (gh-142516, gh-148144).
    V314Early, 14, sealing: Sealing::None, thread_id: 152, thread_local: true, current: [72], previous: 8, entry: 74 == OWNED_BY_C_STACK,
    has_gil: true, frame: FRAME_314,
    code: CODE_314
);
interpreter_frames!(
    /// CPython 3.14.5 and newer without the GIL. Each thread runs a copy of its own of the instructions.
    V314FreeThreaded, 14, sealing: VISITED_FREE_THREADED, thread_id: 152, thread_local: true, current: [72], previous: 8,
    entry: 78 == OWNED_BY_C_STACK, has_gil: false, frame: FRAME_314_FREE_THREADED,
    code: CODE_314_FREE_THREADED
);
interpreter_frames!(
    /// CPython 3.14.0 to 3.14.4 without the GIL. Their collector does not write to `visited`, but they may not all set it when a frame is made.
    V314EarlyFreeThreaded, 14, sealing: Sealing::None, thread_id: 152, thread_local: true, current: [72], previous: 8,
    entry: 78 == OWNED_BY_C_STACK, has_gil: false, frame: FRAME_314_FREE_THREADED,
    code: CODE_314_FREE_THREADED
);
interpreter_frames!(
    /// CPython 3.15.
    V315, 15, sealing: VISITED, thread_id: 176, thread_local: true, current: [72], previous: 8, entry: 74 == OWNED_BY_C_STACK,
    has_gil: true, frame: FRAME_314,
    code: CODE_314
);
interpreter_frames!(
    /// CPython 3.15 without the GIL.
    V315FreeThreaded, 15, sealing: VISITED_FREE_THREADED, thread_id: 176, thread_local: true, current: [72], previous: 8,
    entry: 78 == OWNED_BY_C_STACK, has_gil: false, frame: FRAME_314_FREE_THREADED,
    code: CODE_314_FREE_THREADED
);

/// 3.14 and 3.15, as the other constants here.
const FRAME_314: FrameOffsets = FrameOffsets {
    code: 0,
    instruction: 56,
    owner: 74,
    code_adaptive: 208,
    first_traceable: 192,
    object_head: HEAD,
    copies: None,
};
const CODE_314: CodeOffsets = CodeOffsets {
    name: 128,
    file: 112,
    line_table: 136,
    first_line: 68,
    ascii_size: 40,
    compact_size: 56,
    object_head: HEAD,
    interned_bits: 2,
};
const VISITED: Sealing = Sealing::Visited(FRAME_314.owner);
const FRAME_314_FREE_THREADED: FrameOffsets = FrameOffsets {
    code: 0,
    instruction: 56,
    owner: 78,
    code_adaptive: 232,
    first_traceable: 208,
    object_head: FREE_THREADED_HEAD,
    copies: Some(CopyOffsets { index: 72, table: 224 }),
};
const CODE_314_FREE_THREADED: CodeOffsets = CodeOffsets {
    name: 144,
    file: 128,
    line_table: 152,
    first_line: 84,
    ascii_size: 56,
    compact_size: 72,
    object_head: FREE_THREADED_HEAD,
    interned_bits: 8,
};
const VISITED_FREE_THREADED: Sealing = Sealing::Visited(FRAME_314_FREE_THREADED.owner);

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame, its code object and the table of copies, as a free-threaded 3.14 lays them out.
    struct Made {
        frame: [u64; 11],
        code: [u64; 40],
        table: [u64; 4],
        copy: [u64; 4],
    }

    const CODE_TYPE: u64 = 0x7f00_0000_1000;
    const UNITS: u64 = 16;

    impl Made {
        /// Threads 0 and 2 have instructions.
        fn new() -> Self {
            let mut made = Self { frame: [0; 11], code: [0; 40], table: [3, 0, 0, 0], copy: [0; 4] };
            (made.code[24 / 8], made.code[32 / 8]) = (CODE_TYPE, UNITS);
            made
        }

        /// Where the frame is with `instr_ptr` at an offset in thread `from`'s instructions and `tlbc_index` at `index`.
        fn place(&mut self, from: u32, offset: u64, index: u32) -> (Place, Option<InstructionCopy>) {
            let own = (&raw const self.code).expose_provenance() as u64 + 232;
            let copy = (&raw const self.copy).expose_provenance() as u64;
            (self.table[1], self.table[3]) = (own, copy);
            self.code[224 / 8] = (&raw const self.table).expose_provenance() as u64;
            // A deferred reference has its lowest bit set.
            self.frame[0] = (&raw const self.code).expose_provenance() as u64 | 1;
            self.frame[56 / 8] = if from == 0 { own } else { copy } + offset;
            self.frame[72 / 8] = u64::from(index);
            let frame = (&raw const self.frame).cast();
            // SAFETY: all that the layout reads was set, and every address that it follows is a part of this value.
            unsafe {
                let place = V314FreeThreaded::place(frame, core::ptr::with_exposed_provenance(CODE_TYPE as usize));
                (place, V314FreeThreaded::instruction_copy(frame))
            }
        }

        fn at(&self, instruction: u32) -> Place {
            Place::Code { code: (&raw const self.code).cast(), instruction }
        }
    }

    #[test]
    fn an_instruction_is_told_by_its_offset_in_the_copy_that_the_frame_runs() {
        let mut made = Made::new();
        let (place, copy) = made.place(0, 10, 0);
        assert_eq!((place, copy), (made.at(10), None));
        let (place, copy) = made.place(2, 12, 2);
        let address = (&raw const made.copy).cast();
        assert_eq!((place, copy), (made.at(12), Some(InstructionCopy { address, bytes: 32 })));
    }

    #[test]
    fn an_instruction_outside_of_the_frames_copy_is_nowhere() {
        let mut made = Made::new();
        for (from, index) in [(2, 0), (0, 2), (2, 1), (2, 3), (2, u32::MAX)] {
            assert_eq!(made.place(from, 12, index).0, Place::Unreadable, "{from} {index}");
        }
        assert_eq!(made.place(2, 32, 2).0, Place::Unreadable);
    }
}
