//! An object of the interpreter as an address whose words are read, never through its own methods.
//!
//! Everything here reads memory while the GIL is held and no Python code runs, so that nothing moves or dies meanwhile.
use pyo3::ffi;
use std::ffi::{CStr, c_char};

/// The address of a live object. Borrowed: it owns no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Object(usize);

/// `ob_refcnt` from which an object never dies: bit 31 from 3.12 on (`_Py_IMMORTAL_REFCNT` and, in 3.14, its halves).
const IMMORTAL_BIT: u64 = 0x8000_0000;
/// 3.14's `_Py_IMMORTAL_MINIMUM_REFCNT`.
const IMMORTAL_MINIMUM: u64 = 1 << 30;
/// `offsetof(PyObject, ob_type)`.
const TYPE: usize = 8;
/// `offsetof(PyVarObject, ob_size)`.
const SIZE: usize = 16;

impl Object {
    /// No object: a key that no object has.
    pub const NOTHING: Self = Self(0);

    /// The object at an address; none for null and for what cannot be an object's address.
    #[inline]
    pub fn at(address: usize) -> Option<Self> {
        (address != 0 && address.is_multiple_of(8)).then_some(Self(address))
    }

    /// Of a pointer that the interpreter gave.
    #[inline]
    pub fn of(pointer: *mut ffi::PyObject) -> Self {
        Self(pointer as usize)
    }

    #[inline]
    pub fn address(self) -> usize {
        self.0
    }

    #[inline]
    pub fn pointer(self) -> *mut ffi::PyObject {
        self.0 as *mut ffi::PyObject
    }

    /// Reads a `T` inside of the object or of its pre-header.
    ///
    /// # Safety
    /// `offset` must lie inside of this object as its type lays it out, and hold a `T`.
    #[inline]
    pub unsafe fn read<T: Copy>(self, offset: isize) -> T {
        // SAFETY: the caller's promise; objects are aligned to 8 bytes and so are the fields that are read.
        unsafe { (self.0 as *const u8).offset(offset).cast::<T>().read_unaligned() }
    }

    /// Reads a field that holds an object or null.
    ///
    /// # Safety
    /// As for [`Self::read`].
    #[inline]
    pub unsafe fn field(self, offset: isize) -> Option<Self> {
        // SAFETY: the caller's promise.
        Self::at(unsafe { self.read::<usize>(offset) })
    }

    /// Its type, an object as well.
    #[inline]
    pub fn type_of(self) -> Self {
        // SAFETY: every object begins with its reference count and its type.
        Self(unsafe { self.read::<usize>(TYPE as isize) })
    }

    /// `ob_size` of an object of variable size, without its sign (an int's was its own before 3.12).
    ///
    /// # Safety
    /// The object's type must have variable size.
    #[inline]
    pub unsafe fn var_size(self) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.read::<isize>(SIZE as isize) }.unsigned_abs()
    }

    /// The number of references to it; nothing for an immortal object, whose count counts nothing.
    #[inline]
    pub fn reference_count(self, layout: &crate::layout::Layout) -> Option<u64> {
        // SAFETY: every object begins with its reference count; 3.14 keeps flags in the upper half.
        let count: u64 = unsafe { self.read(0) };
        match layout.minor {
            ..12 => Some(count),
            12 | 13 => (count & IMMORTAL_BIT == 0 && count <= u64::from(u32::MAX)).then_some(count),
            _ => ((count & 0xFFFF_FFFF) < IMMORTAL_MINIMUM).then_some(count & 0xFFFF_FFFF),
        }
    }
}

/// The text of a C string that lives as long as its type.
///
/// # Safety
/// `text` must be null or a C string.
pub unsafe fn c_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
