//! What is worth telling of single objects: room that is not used, values that would fit a smaller type, equal contents.
use crate::dict;
use crate::interpreter::Interpreter;
use crate::numpy;
use crate::object::Object;
use crate::size;
use crate::text;
use crate::type_facts::{Kind, TypeFacts};
use memlens_heap::{FactKind, HeapBuilder, ObjectId};
use std::hash::{DefaultHasher, Hasher};

/// Savings below this are not worth a line.
const LEAST_SAVED: u64 = 256;
/// Larger contents are not compared.
const MOST_COMPARED: usize = 64 << 20;
/// `offsetof(PyDictObject, ma_used)`, `offsetof(PyListObject, allocated)`, `offsetof(PyWeakReference, wr_callback)`.
const DICT_USED: isize = 16;
const LIST_ALLOCATED: isize = 32;

/// Notes what there is to say about an object of a known kind.
pub fn note(builder: &mut HeapBuilder, id: ObjectId, object: Object, facts: &TypeFacts, interpreter: &Interpreter) {
    match facts.kind {
        Kind::List => note_list(builder, id, object),
        Kind::Dict | Kind::DefaultDict => note_dict(builder, id, object, interpreter),
        Kind::Str => note_string(builder, id, object, interpreter),
        Kind::Bytes => note_bytes(builder, id, object),
        Kind::NumpyArray => note_array(builder, id, object),
        _ => {}
    }
}

fn note_room(builder: &mut HeapBuilder, id: ObjectId, used: u64, capacity: u64, saved: u64) {
    if saved >= LEAST_SAVED && used * 2 < capacity {
        builder.fact(id, FactKind::OverAllocated { used, capacity }, saved);
    }
}

fn note_list(builder: &mut HeapBuilder, id: ObjectId, list: Object) {
    // SAFETY: the fields of a list.
    let (used, capacity) = unsafe { (list.var_size() as u64, list.read::<u64>(LIST_ALLOCATED)) };
    note_room(builder, id, used, capacity, capacity.saturating_sub(used) * 8);
}

/// A table with room for so many entries could be halved as long as they fit.
fn note_dict(builder: &mut HeapBuilder, id: ObjectId, object: Object, interpreter: &Interpreter) {
    // SAFETY: the fields of a dict.
    let (used, capacity, bytes) = unsafe {
        let bytes = dict::storage_bytes(object, interpreter.layout, interpreter.empty_keys) as u64;
        (object.read::<u64>(DICT_USED), dict::capacity(object, interpreter.layout) as u64, bytes)
    };
    let mut needed = capacity.max(1);
    while needed / 2 >= used.max(5) {
        needed /= 2;
    }
    note_room(builder, id, used, capacity, bytes - bytes * needed / capacity.max(1));
}

fn note_string(builder: &mut HeapBuilder, id: ObjectId, object: Object, interpreter: &Interpreter) {
    // SAFETY: it is a str.
    let (is_interned, characters) =
        unsafe { (size::is_interned(object), text::characters(object, interpreter.layout)) };
    if let Some((_, bytes)) = characters.filter(|(_, bytes)| !is_interned && bytes.len() > 1) {
        note_content(builder, id, 0, bytes);
    }
}

fn note_bytes(builder: &mut HeapBuilder, id: ObjectId, object: Object) {
    // SAFETY: the bytes of a bytes object stand after 32, as many as its size says.
    let bytes = unsafe { std::slice::from_raw_parts((object.address() + 32) as *const u8, object.var_size()) };
    if bytes.len() > 1 {
        note_content(builder, id, 0, bytes);
    }
}

fn note_content(builder: &mut HeapBuilder, id: ObjectId, kind: u64, bytes: &[u8]) {
    if bytes.len() > MOST_COMPARED {
        return;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(kind);
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
    builder.content(id, hasher.finish());
}

/// Arrays that own their data: equal ones, and those whose every value a smaller type holds as well.
fn note_array(builder: &mut HeapBuilder, id: ObjectId, object: Object) {
    let Some(values) = numpy::array(object).and_then(|array| numpy::values(&array)) else {
        return;
    };
    if values.bytes.len() >= 64 {
        note_content(builder, id, values.type_number as u64 + 1, values.bytes);
    }
    let saved = |width: usize| (values.bytes.len() - values.bytes.len() / 8 * width) as u64;
    if let Some((element, width)) = smaller_type(&values).filter(|(_, width)| saved(*width) >= LEAST_SAVED) {
        let element = builder.name(element);
        builder.fact(id, FactKind::FitsSmaller { element }, saved(width));
    }
}

/// The smallest type of integers that holds every value, for arrays of 64-bit numbers.
fn smaller_type(values: &numpy::Values<'_>) -> Option<(&'static str, usize)> {
    let words = values.bytes.chunks_exact(8).map(|word| word.try_into().unwrap_or([0; 8]));
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for word in words {
        let value = match values.type_number {
            numpy::FLOAT64 => exact_integer(f64::from_le_bytes(word))?,
            numpy::INT64 => i64::from_le_bytes(word),
            _ => return None,
        };
        (least, most) = (least.min(value), most.max(value));
        if i32::try_from(value).is_err() {
            return None;
        }
    }
    let fits = |low: i64, high: i64| least >= low && most <= high;
    match () {
        () if least > most => None,
        () if fits(-128, 127) => Some(("int8", 1)),
        () if fits(-32_768, 32_767) => Some(("int16", 2)),
        () => Some(("int32", 4)),
    }
}

/// The integer that a float is; none for fractions, NaN and minus zero, which an integer cannot hold.
fn exact_integer(value: f64) -> Option<i64> {
    let integer = value as i64;
    (integer as f64 == value && !(value == 0.0 && value.is_sign_negative())).then_some(integer)
}
