//! numpy's arrays and dtypes, read by layout: numpy tells the collector nothing of them.
//!
//! `PyArrayObject_fields` is the same in numpy 1.x and 2.x; `PyArray_Descr` is not (numpy/core/include/numpy/ndarraytypes.h
//! of 1.26 and 2.x).
use crate::edge::{Name, Visitor};
use crate::layout::type_object;
use crate::object::Object;
use crate::type_facts::type_name;

const DATA: isize = 16;
const DIMENSION_COUNT: isize = 24;
const DIMENSIONS: isize = 32;
const STRIDES: isize = 40;
const BASE: isize = 48;
const DTYPE: isize = 56;
const FLAGS: isize = 64;
/// `NPY_ARRAY_OWNDATA`.
const OWNS_DATA: i32 = 4;
/// The most dimensions that any numpy allows.
const MOST_DIMENSIONS: usize = 64;

const TYPE_NUMBER: isize = 28;
/// `NPY_OBJECT`.
const OBJECT: i32 = 17;
/// `NPY_VSTRING`.
const STRING: i32 = 2056;
/// Numbers of the fixed-size dtypes, of which there is one object each: `NPY_BOOL` to `NPY_OBJECT`, and `NPY_HALF`.
const PLAIN: std::ops::RangeInclusive<i32> = 0..=17;
const HALF: i32 = 23;

/// The memory that an array shows.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub address: usize,
    pub bytes: usize,
}

/// What an array holds.
pub struct Array {
    /// From the first to the last byte of its items.
    pub extent: Extent,
    /// It allocated its data itself.
    pub is_owner: bool,
    /// Whose memory it shows.
    pub base: Option<Object>,
    /// Bytes of its dimensions and strides.
    pub shape_bytes: usize,
    dtype: Object,
}

/// A row of an array of two dimensions whose rows lie in one piece.
pub fn row(object: Object, index: usize) -> Option<Extent> {
    // SAFETY: the fields of an array, of two dimensions where they are read.
    unsafe {
        let (dimensions, strides) = (object.read::<*const isize>(DIMENSIONS), object.read::<*const isize>(STRIDES));
        let item_size = item_size(object.field(DTYPE)?) as isize;
        if object.read::<i32>(DIMENSION_COUNT) != 2 || *strides.add(1) != item_size {
            return None;
        }
        let start = object.read::<usize>(DATA).wrapping_add_signed(index as isize * *strides);
        Some(Extent { address: start, bytes: (*dimensions.add(1) * item_size).unsigned_abs() })
    }
}

/// Whether an array's items are objects.
pub fn has_objects(object: Object) -> bool {
    // SAFETY: the field of an array.
    unsafe { object.field(DTYPE) }.is_some_and(|dtype| type_number(dtype) == OBJECT)
}

/// The objects in a part of an array of objects.
pub fn objects_in(extent: Extent) -> Vec<Object> {
    let words = (0..extent.bytes / 8).map(|index| extent.address + 8 * index);
    // SAFETY: the items of an object array are pointers or null.
    words.filter_map(|at| Object::at(unsafe { (at as *const usize).read() })).collect()
}

/// Reads an array.
pub fn array(object: Object) -> Option<Array> {
    // SAFETY: the fields of an array, whose dimensions and strides are as many as it says.
    unsafe {
        let count = object.read::<i32>(DIMENSION_COUNT);
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST_DIMENSIONS)?;
        let dtype = object.field(DTYPE)?;
        let (dimensions, strides) = (object.read::<*const isize>(DIMENSIONS), object.read::<*const isize>(STRIDES));
        let axes = (0..count).map(|axis| (*dimensions.add(axis), *strides.add(axis)));
        Some(Array {
            extent: extent(object.read(DATA), item_size(dtype), axes),
            is_owner: object.read::<i32>(FLAGS) & OWNS_DATA != 0,
            base: object.field(BASE),
            // npy_alloc_cache_dim(2 * nd): at least two words.
            shape_bytes: if dimensions.is_null() { 0 } else { (2 * count).max(2) * 8 },
            dtype,
        })
    }
}

fn extent(data: usize, item_size: usize, axes: impl Iterator<Item = (isize, isize)>) -> Extent {
    let (mut first, mut last) = (0isize, item_size as isize);
    for (length, stride) in axes {
        if length == 0 {
            return Extent { address: data, bytes: 0 };
        }
        let reach = (length - 1) * stride;
        if reach < 0 { first += reach } else { last += reach }
    }
    Extent { address: data.wrapping_add_signed(first), bytes: (last - first) as usize }
}

/// `sizeof(PyArray_Descr)` in numpy 1. In numpy 2 a dtype is 88 bytes, a legacy one 120.
const FIRST_GENERATION_SIZE: isize = 96;

fn is_second_generation(dtype: Object) -> bool {
    // SAFETY: a field of every type object.
    unsafe { dtype.type_of().read::<isize>(type_object::BASIC_SIZE) != FIRST_GENERATION_SIZE }
}

/// Bytes of an item.
fn item_size(dtype: Object) -> usize {
    // SAFETY: the field of a descriptor.
    let size =
        unsafe { if is_second_generation(dtype) { dtype.read::<isize>(40) } else { dtype.read::<i32>(32) as isize } };
    size.unsigned_abs()
}

fn type_number(dtype: Object) -> i32 {
    // SAFETY: the field of a descriptor.
    unsafe { dtype.read(TYPE_NUMBER) }
}

/// Whether a dtype is one of those that exist once and belong to numpy.
pub fn is_builtin_dtype(dtype: Object) -> bool {
    let number = type_number(dtype);
    PLAIN.contains(&number) || number == HALF
}

/// `NPY_LONG` and `NPY_DOUBLE`.
pub const INT64: i32 = 7;
pub const FLOAT64: i32 = 12;

/// The plain values of an array.
pub struct Values<'a> {
    pub bytes: &'a [u8],
    pub type_number: i32,
}

/// The data of an array that owns it and has numbers in it, or nothing.
pub fn values<'a>(array: &Array) -> Option<Values<'a>> {
    let type_number = type_number(array.dtype);
    let is_plain = (0..OBJECT).contains(&type_number) && array.is_owner && array.extent.bytes > 0;
    is_plain.then(|| {
        // SAFETY: the array owns these bytes, which do not change while we hold the GIL.
        let bytes = unsafe { std::slice::from_raw_parts(array.extent.address as *const u8, array.extent.bytes) };
        Values { bytes, type_number }
    })
}

/// Bytes that an array's strings take beside its items.
pub fn string_bytes(array: &Array) -> usize {
    if type_number(array.dtype) == STRING && array.is_owner { string_arena(array) } else { 0 }
}

/// `PyArray_StringDTypeObject`: base (88 bytes), `na_object`, four flags, two static strings of 16 bytes, `allocator`. `npy_string_allocator`: three functions, then the arena: cursor, size, buffer
/// (numpy/_core/src/multiarray/stringdtype/static_string.c of 2.x).
fn string_arena(array: &Array) -> usize {
    const ALLOCATOR: isize = 88 + 8 + 8 + 16 + 16;
    const ARENA_SIZE: isize = 24 + 8;
    // SAFETY: fields of a string dtype and of its allocator.
    unsafe { array.dtype.field(ALLOCATOR).map_or(0, |allocator| allocator.read::<usize>(ARENA_SIZE)) }
}

/// The objects in an array, its base, and a dtype of its own.
pub fn visit_array(object: Object, visitor: &mut impl Visitor) {
    let Some(array) = array(object) else {
        return;
    };
    if let Some(base) = array.base {
        visitor.edge(Name::Base, base);
    }
    visitor.edge(Name::Known("dtype"), array.dtype);
    if type_number(array.dtype) != OBJECT || (array.base.is_some() && !array.is_owner && shows_an_array(&array)) {
        return;
    }
    for index in 0..array.extent.bytes / 8 {
        // SAFETY: the items of an object array are pointers or null.
        let item = unsafe { (array.extent.address as *const usize).add(index).read() };
        if let Some(item) = Object::at(item) {
            visitor.edge(Name::Index(index), item);
        }
    }
}

/// The base is an array that has the objects already.
fn shows_an_array(array: &Array) -> bool {
    array.base.is_some_and(|base| type_name(base.type_of()) == "numpy.ndarray")
}

/// The fields of a structured dtype.
pub fn visit_dtype(dtype: Object, visitor: &mut impl Visitor) {
    if is_builtin_dtype(dtype) || type_number(dtype) > HALF {
        return;
    }
    let fields: [(isize, &str); 3] = if is_second_generation(dtype) {
        [(56, "metadata"), (96, "fields"), (104, "names")]
    } else {
        [(72, "metadata"), (48, "fields"), (56, "names")]
    };
    for (offset, name) in fields {
        // SAFETY: these fields hold objects or null.
        if let Some(target) = unsafe { dtype.field(offset) } {
            visitor.edge(Name::Known(name), target);
        }
    }
}
