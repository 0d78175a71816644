//! What is worth keeping of a code object: names, first line, line table.
use crate::layout::{CodeOffsets, read};
use core::ffi::c_void;

/// A string as the interpreter stores it: code points of 1, 2 or 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Bytes a code point.
    pub width: u32,
}

/// A code object's own words.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// `co_qualname`, or `co_name` before 3.11.
    pub name: Text<'a>,
    /// `co_filename`.
    pub file: Text<'a>,
    /// `co_linetable`, or `co_lnotab` before 3.10.
    pub line_table: &'a [u8],
    /// `co_firstlineno`.
    pub first_line: u32,
}

const UNKNOWN: Text<'static> = Text { bytes: b"?", width: 1 };
/// From the end of an object's head to `PyVarObject.ob_size`, and to `PyASCIIObject.length`.
const SIZE: usize = 0;
/// From the end of an object's head to `PyBytesObject.ob_sval`, and to `PyASCIIObject.state`.
const VALUE: usize = 16;
const STATE: usize = 16;

/// Reads a code object.
///
/// # Safety
/// `code` must be a live code object of the version that `offsets` belong to, and stay so for `'a`.
pub unsafe fn read_code<'a>(code: *const c_void, offsets: &CodeOffsets) -> Code<'a> {
    // SAFETY: the caller's promise; the fields hold two strings and a bytes object.
    unsafe {
        Code {
            name: read_text(read(code, offsets.name), offsets),
            file: read_text(read(code, offsets.file), offsets),
            line_table: read_bytes(read(code, offsets.line_table), offsets),
            first_line: read::<u32>(code, offsets.first_line),
        }
    }
}

/// Reads a string; "?" for null.
///
/// # Safety
/// `object` must be null or a live `str` of the version that `offsets` belong to, and stay so for `'a`.
pub unsafe fn read_text<'a>(object: *const c_void, offsets: &CodeOffsets) -> Text<'a> {
    if object.is_null() {
        return UNKNOWN;
    }
    // SAFETY: the head of a PyASCIIObject; `state` is interned, kind:3, compact:1, ascii:1.
    let (length, state) = unsafe {
        let body = object.byte_add(offsets.object_head);
        (read::<usize>(body, SIZE), read::<u32>(body, STATE) >> offsets.interned_bits)
    };
    let (kind, compact, ascii) = (state & 7, state >> 3 & 1 == 1, state >> 4 & 1 == 1);
    if !compact || !matches!(kind, 1 | 2 | 4) {
        return UNKNOWN;
    }
    let head = if ascii { offsets.ascii_size } else { offsets.compact_size };
    // SAFETY: a compact string has length * kind bytes behind its head.
    let bytes = unsafe { core::slice::from_raw_parts(object.byte_add(head).cast(), length * kind as usize) };
    Text { bytes, width: kind }
}

/// # Safety
/// `object` must be null or a live `bytes`.
unsafe fn read_bytes<'a>(object: *const c_void, offsets: &CodeOffsets) -> &'a [u8] {
    if object.is_null() {
        return &[];
    }
    // SAFETY: a bytes object has ob_size bytes at ob_sval.
    unsafe {
        let body = object.byte_add(offsets.object_head);
        core::slice::from_raw_parts(body.byte_add(VALUE).cast(), read::<usize>(body, SIZE))
    }
}
