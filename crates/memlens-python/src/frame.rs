//! Frames: their variables by name, their operands, and the frames that generators and coroutines carry.
//!
//! Read by layout. A slot of a frame of 3.14 and newer is tagged: it may hold a number, or refer to an object without being counted in
//! that object's reference count, for another slot does so already.
use crate::edge::Name;
use crate::layout::{FrameLayout, Layout, StackEnd};
use crate::object::Object;
use crate::type_facts::{self, TypeFacts};

/// A reference of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    pub target: Object,
    /// The target's reference count counts it.
    pub is_counted: bool,
}

impl Reference {
    fn counted(target: Object) -> Self {
        Self { target, is_counted: true }
    }
}

/// `Py_TPFLAGS_TUPLE_SUBCLASS`.
const TUPLE_FLAG: u64 = 1 << 26;
/// `offsetof(PyFrameObject, f_frame)`, 3.11 and newer.
const FRAME_OF_OBJECT: isize = 24;
/// Fields of a `PyFrameObject` for which its type has no members.
const OWN_FIELDS: &[(isize, &str)] = &[(16, "f_back"), (32, "f_trace")];
const OWN_FIELDS_3_10: &[(isize, &str)] = &[(56, "f_locals"), (72, "f_trace")];
const OWN_FIELDS_3_9: &[(isize, &str)] = &[(56, "f_locals"), (80, "f_trace")];
/// The bits of a `_PyStackRef` that are no address; both set: a number.
const TAG_BITS: usize = 3;
/// Most variables and operands that a frame is believed to have.
const MOST_SLOTS: usize = 1 << 20;

/// A field of a frame that holds an object, or a tagged reference to one, or nothing.
///
/// # Safety
/// `offset` must be that of such a field or slot of `frame`.
unsafe fn slot(frame: Object, offset: isize, layout: &FrameLayout) -> Option<Reference> {
    // SAFETY: the caller's promise.
    let word: usize = unsafe { frame.read(offset) };
    let tag = match layout.stack {
        StackEnd::Pointer(_) => word & TAG_BITS,
        _ => 0,
    };
    let target = Object::at(word - tag).filter(|_| tag != TAG_BITS)?;
    Some(Reference { target, is_counted: tag == 0 })
}

fn slot_offset(index: usize, layout: &FrameLayout) -> isize {
    layout.locals + 8 * index as isize
}

/// The variables that have a value, with their names (strings).
///
/// # Safety
/// `frame` must be a live frame of this layout that runs `code`.
pub unsafe fn locals(frame: Object, code: Object, layout: &Layout) -> Vec<(Object, Reference)> {
    // SAFETY: the caller's promise.
    let names = unsafe { local_names(code, layout) }.into_iter().enumerate();
    // SAFETY: a frame has a slot for each name of its code.
    names
        .filter_map(|(at, name)| Some((name, unsafe { slot(frame, slot_offset(at, &layout.frame), &layout.frame) }?)))
        .collect()
}

/// What a frame refers to without a name: a namespace that is no function's, and operands of the call that it waits in.
///
/// # Safety
/// As for [`locals`].
pub unsafe fn others(frame: Object, code: Object, layout: &Layout) -> Vec<Reference> {
    // SAFETY: the caller's promise; these fields hold objects or null, and the slots below the stack's end are in use.
    unsafe {
        let fields = layout.frame.others.iter().filter_map(|at| frame.field(*at)).map(Reference::counted);
        let operands = local_names(code, layout).len()..used_slots(frame, &layout.frame);
        let operands = operands.filter_map(|at| slot(frame, slot_offset(at, &layout.frame), &layout.frame));
        fields.chain(operands).collect()
    }
}

/// The function object that a frame runs, where it holds a reference to it.
///
/// # Safety
/// `frame` must be a live frame of this layout.
pub unsafe fn function(frame: Object, layout: &Layout) -> Option<Reference> {
    // SAFETY: the caller's promise.
    layout.frame.function.and_then(|at| unsafe { slot(frame, at, &layout.frame) })
}

/// The number of variables and operands that hold something; 0 if it is not known.
///
/// # Safety
/// `frame` must be a live frame of this layout.
unsafe fn used_slots(frame: Object, layout: &FrameLayout) -> usize {
    // SAFETY: the caller's promise.
    let used = unsafe {
        match layout.stack {
            StackEnd::Unknown => 0,
            StackEnd::Count(at) => usize::try_from(frame.read::<i32>(at)).unwrap_or(0),
            StackEnd::Pointer(at) => {
                frame.read::<usize>(at).saturating_sub(frame.address() + layout.locals as usize) / 8
            }
        }
    };
    if used <= MOST_SLOTS { used } else { 0 }
}

/// The names of variables, cells and free variables, in the order of their slots.
///
/// # Safety
/// `code` must be a code object of this version.
unsafe fn local_names(code: Object, layout: &Layout) -> Vec<Object> {
    let items = layout.tuple_items;
    let mut names = Vec::new();
    for offset in layout.frame.names {
        // SAFETY: the field holds a tuple of strings.
        let tuple = unsafe { code.field(*offset) };
        if let Some(tuple) = tuple.filter(|tuple| type_facts::flags_of(tuple.type_of()) & TUPLE_FLAG != 0) {
            // SAFETY: a tuple's items.
            names.extend(unsafe { (0..tuple.var_size()).filter_map(|at| tuple.field(items + 8 * at as isize)) });
        }
    }
    names
}

/// What a frame object refers to by name: its variables, and what Python shows as attributes; what is in a frame that has
/// ended is not to be relied on.
///
/// # Safety
/// `object` must be a live frame object of this version.
pub unsafe fn in_frame_object(object: Object, layout: &Layout) -> Vec<(Name, Object)> {
    let fields = |from: Object, fields: &[(isize, &'static str)]| -> Vec<(Name, Object)> {
        // SAFETY: these are fields of a frame of this version.
        let field = |(offset, name): &(isize, &'static str)| Some((Name::Known(name), unsafe { from.field(*offset) }?));
        fields.iter().filter_map(field).collect()
    };
    let own = match layout.minor {
        ..10 => OWN_FIELDS_3_9,
        10 => OWN_FIELDS_3_10,
        _ => OWN_FIELDS,
    };
    let mut found = fields(object, own);
    let frame = match layout.frame.function {
        None => Some(object),
        // SAFETY: the frame object's `f_frame`.
        Some(_) => unsafe { object.field(FRAME_OF_OBJECT) },
    };
    if let Some(frame) = frame {
        // SAFETY: the caller's promise.
        unsafe {
            found.extend(named(frame, layout));
            found.extend(code(frame, layout).map(|code| (Name::Known("f_code"), code)));
        }
        if let [f_locals] = layout.frame.others {
            found.extend(fields(frame, &[(*f_locals, "f_locals")]));
        }
    }
    found
}

/// What the frame inside a generator, a coroutine or an asynchronous generator refers to (3.11 and newer; before that its frame is an
/// object of its own). It begins so that its variables stand where the type's basic size ends.
///
/// # Safety
/// `generator` must be an instance of such a type.
pub unsafe fn in_generator(generator: Object, facts: &TypeFacts, layout: &Layout) -> Vec<(Name, Object)> {
    let start = generator.address() + facts.basic_size - layout.frame.locals as usize;
    let Some(frame) = Object::at(start).filter(|_| layout.frame.function.is_some()) else {
        return Vec::new();
    };
    // SAFETY: the caller's promise.
    unsafe {
        let mut found = named(frame, layout);
        found.extend(function(frame, layout).map(|function| (Name::Known("f_func"), function.target)));
        // A coroutine rests only where it awaits, with what it awaits on top of its operands.
        if facts.name() == "coroutine" {
            found.extend(last_operand(frame, layout).map(|target| (Name::Known("cr_await"), target)));
        }
        found
    }
}

/// # Safety
/// `frame` must be a frame of this layout.
unsafe fn named(frame: Object, layout: &Layout) -> Vec<(Name, Object)> {
    // SAFETY: the caller's promise; a frame keeps its code as long as it is there.
    let locals = unsafe { code(frame, layout).map(|code| locals(frame, code, layout)) };
    locals.unwrap_or_default().into_iter().map(|(name, value)| (Name::Local(name), value.target)).collect()
}

/// # Safety
/// `frame` must be a frame of this layout.
unsafe fn code(frame: Object, layout: &Layout) -> Option<Object> {
    // SAFETY: the caller's promise.
    unsafe { slot(frame, layout.frame.code, &layout.frame) }.map(|code| code.target)
}

/// # Safety
/// `frame` must be a frame of this layout.
unsafe fn last_operand(frame: Object, layout: &Layout) -> Option<Object> {
    // SAFETY: the caller's promise.
    unsafe {
        let count = local_names(code(frame, layout)?, layout).len();
        let used = used_slots(frame, &layout.frame);
        // 3.15 has a number or nothing above it.
        (count..used)
            .rev()
            .find_map(|at| slot(frame, slot_offset(at, &layout.frame), &layout.frame))
            .map(|it| it.target)
    }
}
