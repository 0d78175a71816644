//! Where the buffers of an Arrow array lie, read through Arrow's C data interface
//! (<https://arrow.apache.org/docs/format/CDataInterface.html>).
use crate::memory::OwnMemory;
use crate::polars::Storages;
use crate::region::{Region, RegionKind, Regions};
use rustc_hash::FxHashMap;
use std::ffi::{CStr, c_char, c_int, c_void};

/// Bytes of a view of a text.
const VIEW: usize = 16;

/// `struct ArrowSchema`.
#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    child_count: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private: *mut c_void,
}

/// `struct ArrowArray`.
#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    buffer_count: i64,
    child_count: i64,
    buffers: *const *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private: *mut c_void,
}

/// `struct ArrowArrayStream`.
#[repr(C)]
pub struct Stream {
    get_schema: unsafe extern "C" fn(*mut Stream, *mut Schema) -> c_int,
    get_next: unsafe extern "C" fn(*mut Stream, *mut Array) -> c_int,
    get_last_error: unsafe extern "C" fn(*mut Stream) -> *const c_char,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private: *mut c_void,
}

/// What a stream of arrays holds, and how much of it they show.
#[derive(Default)]
pub struct Holdings {
    pub regions: Regions,
    /// Bytes that are shown of the buffer at each address.
    pub shown: FxHashMap<usize, u64>,
}

/// Adds every buffer of every array of a stream; says whether the stream gave them.
///
/// # Safety
/// `stream` must be a stream that has not been released; it is used up.
pub unsafe fn add_stream(stream: *mut Stream, holdings: &mut Holdings) -> bool {
    let memory = OwnMemory::open();
    // SAFETY: the structures are plain data, which the callee fills; each is released once, by its own function.
    unsafe {
        let mut schema: Schema = std::mem::zeroed();
        if ((*stream).get_schema)(stream, &raw mut schema) != 0 {
            return false;
        }
        let mut is_complete = true;
        loop {
            let mut array: Array = std::mem::zeroed();
            is_complete &= ((*stream).get_next)(stream, &raw mut array) == 0;
            let Some(release) = array.release.filter(|_| is_complete) else {
                break;
            };
            add_array(&schema, &array, memory.as_ref(), holdings);
            release(&raw mut array);
        }
        if let Some(release) = schema.release {
            release(&raw mut schema);
        }
        is_complete
    }
}

/// # Safety
/// Both must be valid and describe each other.
unsafe fn add_array(schema: &Schema, array: &Array, memory: Option<&OwnMemory>, holdings: &mut Holdings) {
    // SAFETY: the caller's promise; the interface guarantees as many buffers and children as it says.
    unsafe {
        let format = CStr::from_ptr(schema.format).to_string_lossy();
        let buffers = std::slice::from_raw_parts(
            if array.buffer_count > 0 { array.buffers } else { std::ptr::NonNull::dangling().as_ptr() },
            array.buffer_count.max(0) as usize,
        );
        add_buffers(&format, array, buffers, memory, holdings);
        for child in 0..array.child_count.max(0) as usize {
            add_array(&**schema.children.add(child), &**array.children.add(child), memory, holdings);
        }
        if !array.dictionary.is_null() && !schema.dictionary.is_null() {
            add_array(&*schema.dictionary, &*array.dictionary, memory, holdings);
        }
    }
}

/// # Safety
/// The buffers must be those of the array, which must be of this format.
unsafe fn add_buffers(
    format: &str,
    array: &Array,
    buffers: &[*const c_void],
    memory: Option<&OwnMemory>,
    holdings: &mut Holdings,
) {
    let count = (array.length + array.offset).max(0) as usize;
    let addresses: Vec<usize> = buffers.iter().map(|buffer| *buffer as usize).collect();
    let storages = memory.map(|memory| Storages::find(memory, array.private as usize, &addresses));
    for (index, address) in addresses.iter().copied().enumerate().filter(|(_, address)| *address != 0) {
        // SAFETY: the caller's promise.
        let (bytes, shown) = unsafe {
            let bytes = buffer_bytes(format, index, count, buffers);
            (bytes, shown_bytes(format, index, array, buffers).unwrap_or(bytes))
        };
        let bytes = storages.as_ref().map_or(bytes, |storages| storages.whole(address, bytes));
        holdings.regions.push(Region { address, bytes, kind: RegionKind::Heap });
        *holdings.shown.entry(address).or_default() += shown as u64;
    }
}

/// Bytes of a buffer that the items of an array take, if it is one in which each item has its place.
///
/// # Safety
/// As for [`add_buffers`].
unsafe fn shown_bytes(format: &str, index: usize, array: &Array, buffers: &[*const c_void]) -> Option<usize> {
    let length = array.length.max(0) as usize;
    match (format, index) {
        ("vu" | "vz", 0..=1) => Some(if index == 0 { length.div_ceil(8) } else { length * VIEW }),
        ("vu" | "vz", _) if index + 1 < buffers.len() => {
            // SAFETY: the views are as many as the array is long, from its offset on.
            let first = unsafe { buffers[1].byte_add(array.offset.max(0) as usize * VIEW) };
            // SAFETY: as above; a view is a length, a beginning, and for more than 12 bytes a buffer and a place in it.
            let views = (0..length).map(|at| unsafe { first.byte_add(at * VIEW).cast::<[u32; 4]>().read_unaligned() });
            let here = views.filter(|view| view[0] > 12 && view[2] as usize == index - 2);
            Some(here.map(|view| view[0] as usize).sum())
        }
        ("b", _) => Some(length.div_ceil(8)),
        _ if index == 0 && !format.starts_with("+u") => Some(length.div_ceil(8)),
        _ if format.starts_with('+') || ["u", "z", "U", "Z"].contains(&format) => None,
        _ if index == 1 => Some(length * item_bytes(format)),
        _ => None,
    }
}

/// Bytes of a buffer of an array of `count` items.
///
/// # Safety
/// The buffers must be those of an array of this format.
unsafe fn buffer_bytes(format: &str, index: usize, count: usize, buffers: &[*const c_void]) -> usize {
    let bitmap = count.div_ceil(8);
    let has_validity = !format.starts_with("+u") && format != "n" && format != "+r";
    if index == 0 && has_validity {
        return bitmap;
    }
    // SAFETY: offsets have one item more than the array; a view array ends with the lengths of its data buffers.
    unsafe {
        match (format, index) {
            ("b", _) => bitmap,
            ("u" | "z", 1) | ("+l" | "+m", 1) => (count + 1) * 4,
            ("U" | "Z", 1) | ("+L", 1) => (count + 1) * 8,
            ("u" | "z", 2) => (*buffers[1].cast::<i32>().add(count)).max(0) as usize,
            ("U" | "Z", 2) => (*buffers[1].cast::<i64>().add(count)).max(0) as usize,
            ("vu" | "vz", 1) => count * 16,
            ("vu" | "vz", _) if index + 1 == buffers.len() => (index - 2) * 8,
            ("vu" | "vz", _) => (*buffers[buffers.len() - 1].cast::<i64>().add(index - 2)).max(0) as usize,
            ("+vl", _) => count * 4,
            ("+vL", _) => count * 8,
            _ if format.starts_with("+u") => count * if index == 0 { 1 } else { 4 },
            _ => count * item_bytes(format),
        }
    }
}

/// Bytes of an item of a fixed width.
fn item_bytes(format: &str) -> usize {
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    match format {
        "c" | "C" => 1,
        "s" | "S" | "e" => 2,
        "i" | "I" | "f" | "tdD" | "tts" | "ttm" | "tiM" => 4,
        "tin" => 16,
        _ if format.starts_with("w:") => number(&format[2..]),
        _ if format.starts_with("d:") => format.split(',').nth(2).map_or(16, |bits| number(bits) / 8),
        _ => 8,
    }
}
