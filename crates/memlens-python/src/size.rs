//! What an object's own blocks asked the allocator for: the object with its headers, and the storage that is its alone.
//!
//! Read by layout; a `__sizeof__` is believed only if it is C of the standard library. A buffer that several objects can show
//! (numpy's, Arrow's) is not here: see `walk`.
use crate::dict;
use crate::edge;
use crate::interpreter::Interpreter;
use crate::numpy;
use crate::object::Object;
use crate::type_facts::{DictPlace, Kind, TypeFacts};

/// `offsetof(PyListObject, allocated)`.
const LIST_ALLOCATED: isize = 32;
const SET_MASK: isize = 32;
const SET_TABLE: isize = 40;
const SET_SMALL_TABLE: usize = 64;
/// `offsetof(PyByteArrayObject, ob_alloc)`.
const BYTE_ARRAY_ALLOCATED: isize = 24;
/// `sizeof(PyLongObject)`: what the interpreter asks for an int of one digit since 3.11, though 28 bytes would do.
const SMALL_INT: usize = 32;
const INT_HEADER: usize = 24;
const STRING_IO_BUFFER: [isize; 3] = [16, 40, 48];
/// `offsetof(mmap_object, data)`, `size` and `fd`.
const MMAP_DATA: isize = 16;
const MMAP_SIZE: isize = 24;
const MMAP_DESCRIPTOR: isize = 56;
/// A size beyond this is a lie.
const MOST: usize = 1 << 46;

/// Bytes of an object's own blocks.
#[inline]
pub fn own_bytes(object: Object, facts: &TypeFacts, interpreter: &Interpreter) -> usize {
    if facts.kind == Kind::Type && !crate::type_facts::is_heap_type(object) {
        return 0;
    }
    facts.pre_size + body_bytes(object, facts, interpreter) + attribute_bytes(object, facts, interpreter)
}

/// Bytes of the values of an instance that has no dict.
#[inline]
fn attribute_bytes(object: Object, facts: &TypeFacts, interpreter: &Interpreter) -> usize {
    match facts.dict {
        DictPlace::Managed { inline } => {
            // SAFETY: the class has inline values there.
            let inline_bytes = inline.map_or(0, |at| unsafe { dict::inline_bytes(object, at) });
            inline_bytes + edge::attributes(object, facts, interpreter.layout).block_bytes()
        }
        _ => 0,
    }
}

#[inline]
fn body_bytes(object: Object, facts: &TypeFacts, interpreter: &Interpreter) -> usize {
    let layout = interpreter.layout;
    // SAFETY: each kind's fields are read of an object of that kind.
    unsafe {
        match facts.kind {
            Kind::Int => int_bytes(object, facts, interpreter),
            Kind::Str => string_bytes(object, facts, interpreter),
            Kind::Bytes if !facts.is_python_class => facts.basic_size + object.var_size(),
            Kind::List => facts.basic_size + object.read::<usize>(LIST_ALLOCATED) * 8,
            Kind::Dict | Kind::DefaultDict => {
                facts.basic_size + dict::storage_bytes(object, layout, interpreter.empty_keys)
            }
            Kind::Set => facts.basic_size + set_table_bytes(object),
            Kind::ByteArray => facts.basic_size + object.read::<usize>(BYTE_ARRAY_ALLOCATED),
            Kind::NumpyArray => facts.basic_size + numpy::array(object).map_or(0, |array| array.shape_bytes),
            Kind::DateTime if !facts.is_python_class && !edge::has_time_zone(object) => facts.basic_size - 8,
            Kind::StringIo => facts.basic_size + string_io_bytes(object),
            _ => stated_bytes(object, facts).unwrap_or_else(|| plain_bytes(object, facts)),
        }
    }
}

/// What a C type of the standard library says, unless it cannot be.
fn stated_bytes(object: Object, facts: &TypeFacts) -> Option<usize> {
    facts.stated_size(object).filter(|size| *size <= MOST)
}

/// The basic size and the items. `PyType_GenericAlloc`, which makes the instances of Python classes, allots an item more.
fn plain_bytes(object: Object, facts: &TypeFacts) -> usize {
    if facts.item_size == 0 {
        return facts.basic_size;
    }
    // SAFETY: a type with items has variable size.
    let items = unsafe { object.var_size() } + usize::from(facts.is_python_class);
    let bytes = facts.basic_size + facts.item_size.saturating_mul(items);
    if bytes > MOST { facts.basic_size } else { bytes.next_multiple_of(8) }
}

/// # Safety
/// `object` must be an int.
unsafe fn int_bytes(object: Object, facts: &TypeFacts, interpreter: &Interpreter) -> usize {
    // SAFETY: the caller's promise. Since 3.12 the lower three bits are flags.
    let digits =
        unsafe { if interpreter.layout.minor < 12 { object.var_size() } else { object.read::<usize>(16) >> 3 } };
    match (facts.is_python_class, digits) {
        (true, _) => (facts.basic_size + 4 * (digits + 1)).next_multiple_of(8),
        (false, 0 | 1) => {
            if interpreter.layout.minor < 11 {
                INT_HEADER + 4
            } else {
                SMALL_INT
            }
        }
        (false, _) => INT_HEADER + 4 * digits,
    }
}

/// Bits of `PyASCIIObject.state`.
const COMPACT: u32 = 1 << 5;
const ASCII: u32 = 1 << 6;
const STATE: isize = 32;
const LENGTH: isize = 16;

/// Bytes of a character.
fn character_bytes(state: u32) -> usize {
    ((state >> 2) & 7) as usize
}

/// # Safety
/// `object` must be a str.
unsafe fn string_bytes(object: Object, facts: &TypeFacts, interpreter: &Interpreter) -> usize {
    let layout = interpreter.layout;
    // SAFETY: the caller's promise.
    let (state, length) = unsafe { (object.read::<u32>(STATE), object.read::<usize>(LENGTH)) };
    if state & COMPACT != 0 && state & ASCII != 0 {
        return layout.ascii_size + length + 1;
    }
    let header = if state & COMPACT != 0 { layout.compact_size } else { facts.basic_size };
    let characters = (length + 1) * character_bytes(state);
    // SAFETY: what is not both compact and ASCII has these fields. An ASCII string shares its text with its UTF-8.
    let (utf8, utf8_length) = unsafe { (object.read::<usize>(layout.utf8), object.read::<usize>(layout.utf8 - 8)) };
    let cached = if utf8 != 0 && state & ASCII == 0 { utf8_length + 1 } else { 0 };
    header + characters + cached
}

/// Whether a string is interned: its class, module or code keeps it, or everybody does.
///
/// # Safety
/// `object` must be a str.
#[inline]
pub unsafe fn is_interned(object: Object) -> bool {
    // SAFETY: the caller's promise.
    unsafe { object.read::<u32>(STATE) & 3 != 0 }
}

/// # Safety
/// `object` must be a set.
unsafe fn set_table_bytes(object: Object) -> usize {
    // SAFETY: the caller's promise.
    let (mask, table) = unsafe { (object.read::<usize>(SET_MASK), object.read::<usize>(SET_TABLE)) };
    if table == object.address() + SET_SMALL_TABLE { 0 } else { (mask + 1) * 16 }
}

/// # Safety
/// `object` must be a StringIO.
unsafe fn string_io_bytes(object: Object) -> usize {
    let [buffer, size, state] = STRING_IO_BUFFER;
    // SAFETY: the caller's promise. 2 is STATE_ACCUMULATING: the text is elsewhere.
    unsafe {
        let is_realized = object.read::<i32>(state) != 2 && object.read::<usize>(buffer) != 0;
        if is_realized { object.read::<usize>(size) * 4 } else { 0 }
    }
}

/// What a mapping object maps: its address and length, and the descriptor of its file, if it has one.
///
/// # Safety
/// `object` must be an `mmap.mmap`.
pub unsafe fn mapping(object: Object) -> Option<(usize, usize, Option<i32>)> {
    // SAFETY: the caller's promise.
    let (data, size, descriptor) = unsafe {
        (object.read::<usize>(MMAP_DATA), object.read::<usize>(MMAP_SIZE), object.read::<i32>(MMAP_DESCRIPTOR))
    };
    (data != 0).then_some((data, size, (descriptor >= 0).then_some(descriptor)))
}
