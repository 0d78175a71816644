//! Dicts and the attribute values of instances, read by layout (`Include/internal/pycore_dict.h`).
//!
//! ```text
//! dict ─ ma_keys ──► keys: header │ indices │ entries           a table of its own
//!      └ ma_values ► values of a dict whose keys its class keeps (a "split" one)
//! instance (3.11+) ─► values without any dict, named by the class's keys
//! ```
//! No dict is ever made for an instance that has none: that would leave memory behind.
use crate::layout::Layout;
use crate::object::Object;

/// `sizeof(PyDictObject)`.
pub const DICT_SIZE: isize = 48;
const MA_KEYS: isize = 32;
const MA_VALUES: isize = 40;
/// `sizeof(PyDictKeysObject)` without its indices, before 3.11 and since.
const KEYS_HEADER: [usize; 2] = [40, 32];
/// `dk_nentries`, before 3.11 and since.
const ENTRY_COUNT: [usize; 2] = [32, 24];
/// `dk_usable`, before 3.11 and since.
const USABLE: [usize; 2] = [24, 16];
/// `dk_kind` of keys that are not all strings: their entries keep a hash.
const GENERAL: u8 = 0;
/// `offsetof(PyDictValues, values)` since 3.13.
const VALUES_HEADER: usize = 8;

/// A table of keys. Borrowed.
#[derive(Clone, Copy)]
pub struct Keys {
    address: usize,
    is_old: bool,
}

impl Keys {
    fn at(address: usize, layout: &Layout) -> Option<Self> {
        (address != 0).then_some(Self { address, is_old: layout.minor < 11 })
    }

    /// # Safety
    /// `offset` must lie in this table.
    unsafe fn read<T: Copy>(self, offset: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { ((self.address + offset) as *const T).read_unaligned() }
    }

    fn pick(self, pair: [usize; 2]) -> usize {
        pair[usize::from(!self.is_old)]
    }

    /// The number of entries in use or once in use.
    fn entry_count(self) -> usize {
        // SAFETY: every table has the field.
        unsafe { self.read::<usize>(self.pick(ENTRY_COUNT)) }
    }

    /// Slots of the hash table and bytes of their indices.
    fn slots(self) -> (usize, usize) {
        if self.is_old {
            // SAFETY: `dk_size` stands after `dk_refcnt`.
            let slots = unsafe { self.read::<usize>(8) };
            let width = match slots {
                ..=0xFF => 1,
                0x100..=0xFFFF => 2,
                0x1_0000..=0xFFFF_FFFF => 4,
                _ => 8,
            };
            return (slots, slots * width);
        }
        // SAFETY: `dk_log2_size` and `dk_log2_index_bytes` stand after `dk_refcnt`.
        let (slots, bytes) = unsafe { (self.read::<u8>(8), self.read::<u8>(9)) };
        (1 << slots, 1 << bytes)
    }

    /// Bytes of an entry and where the key stands in it.
    fn entry(self) -> (usize, usize) {
        // SAFETY: `dk_kind` stands there since 3.11.
        if self.is_old || unsafe { self.read::<u8>(10) } == GENERAL { (24, 8) } else { (16, 0) }
    }

    /// Bytes of the table.
    pub fn size_bytes(self) -> usize {
        let (slots, index_bytes) = self.slots();
        self.pick(KEYS_HEADER) + index_bytes + usable_fraction(slots) * self.entry().0
    }

    /// Entries that instances of the class may have values for (`shared_keys_usable_size`).
    fn shared_size(self) -> usize {
        // SAFETY: every table has the field.
        self.entry_count() + unsafe { self.read::<usize>(self.pick(USABLE)) }
    }
}

/// `USABLE_FRACTION`: two thirds.
fn usable_fraction(slots: usize) -> usize {
    (slots << 1) / 3
}

/// Values that stand apart from their keys. Borrowed.
#[derive(Clone, Copy)]
pub struct Values {
    address: usize,
    /// The block that holds them, 0 if it is the instance itself.
    block_bytes: usize,
}

impl Values {
    fn value(self, index: usize) -> Option<Object> {
        // SAFETY: `index` is below the number of entries of the keys that go with the values.
        Object::at(unsafe { (self.address as *const usize).add(index).read() })
    }
}

/// The keys that instances of a heap type share.
///
/// # Safety
/// `class` must be a heap type.
pub unsafe fn shared_keys(class: Object, layout: &Layout) -> Option<Keys> {
    // SAFETY: the caller's promise.
    Keys::at(unsafe { class.read(layout.cached_keys) }, layout)
}

/// A dict's keys and, if they are apart, its values.
struct Parts {
    keys: Keys,
    values: Option<Values>,
}

/// # Safety
/// `dict` must be a dict.
unsafe fn parts(dict: Object, layout: &Layout) -> Option<Parts> {
    // SAFETY: the caller's promise.
    let (keys, values) = unsafe { (dict.read::<usize>(MA_KEYS), dict.read::<usize>(MA_VALUES)) };
    let keys = Keys::at(keys, layout)?;
    // SAFETY: a dict's values go with its keys.
    let values = (values != 0).then(|| unsafe { values_of_dict(values, keys, layout) });
    Some(Parts { keys, values })
}

/// # Safety
/// `values` must be the `ma_values` of a dict with these keys.
unsafe fn values_of_dict(values: usize, keys: Keys, layout: &Layout) -> Values {
    match layout.minor {
        // new_values(): USABLE_FRACTION(DK_SIZE) pointers, nothing before them.
        ..11 => Values { address: values, block_bytes: usable_fraction(keys.slots().0) * 8 },
        // SAFETY: the byte before the values is the length of the prefix.
        11 | 12 => unsafe { values_with_prefix(values, keys) },
        // SAFETY: `capacity` and `embedded` are the first and the third byte of the structure.
        _ => unsafe {
            let (capacity, embedded) = ((values as *const u8).read(), (values as *const u8).add(2).read());
            let block_bytes = if embedded != 0 { 0 } else { values_bytes(capacity) };
            Values { address: values + VALUES_HEADER, block_bytes }
        },
    }
}

/// Bytes of values with room for so many, their header and their order included (3.13's `values_size_from_count`).
fn values_bytes(capacity: u8) -> usize {
    let capacity = usize::from(capacity);
    capacity.div_ceil(8) * 8 + (capacity + 1) * 8
}

/// 3.11 and 3.12: the values stand behind a prefix that keeps their order, whose length is in the byte before them.
///
/// # Safety
/// `values` must be the address of such values.
unsafe fn values_with_prefix(values: usize, keys: Keys) -> Values {
    // SAFETY: the caller's promise.
    let prefix = usize::from(unsafe { ((values - 1) as *const u8).read() });
    Values { address: values, block_bytes: prefix + keys.shared_size() * 8 }
}

/// Bytes of a dict's own table or values, shared keys left out: those are the class's.
///
/// # Safety
/// `dict` must be a dict. `empty_keys` is the table that all empty dicts share.
pub unsafe fn storage_bytes(dict: Object, layout: &Layout, empty_keys: usize) -> usize {
    // SAFETY: the caller's promise.
    match unsafe { parts(dict, layout) } {
        Some(Parts { values: Some(values), .. }) => values.block_bytes,
        Some(Parts { keys, values: None }) if keys.address != empty_keys => keys.size_bytes(),
        _ => 0,
    }
}

/// Entries for which a dict's table has room.
///
/// # Safety
/// `dict` must be a dict.
pub unsafe fn capacity(dict: Object, layout: &Layout) -> usize {
    // SAFETY: the caller's promise.
    match unsafe { parts(dict, layout) } {
        Some(Parts { keys, values: None }) => usable_fraction(keys.slots().0),
        _ => 0,
    }
}

/// The address of a dict's table.
///
/// # Safety
/// `dict` must be a dict.
pub unsafe fn keys_address(dict: Object) -> usize {
    // SAFETY: the caller's promise.
    unsafe { dict.read(MA_KEYS) }
}

/// Each key and value.
///
/// # Safety
/// `dict` must be a dict that does not change meanwhile.
#[inline]
pub unsafe fn items(dict: Object, layout: &Layout, mut each: impl FnMut(Object, Object)) {
    // SAFETY: the caller's promise.
    let Some(Parts { keys, values }) = (unsafe { parts(dict, layout) }) else {
        return;
    };
    pairs(keys, values, &mut each);
}

#[inline]
fn pairs(keys: Keys, values: Option<Values>, each: &mut impl FnMut(Object, Object)) {
    let (size, key) = keys.entry();
    let first = keys.address + keys.pick(KEYS_HEADER) + keys.slots().1 + key;
    for index in 0..keys.entry_count() {
        let at = first + index * size;
        // SAFETY: `index` is below the number of entries; the value stands behind the key.
        let (key, own) = unsafe { ((at as *const usize).read(), ((at + 8) as *const usize).read()) };
        let value = values.map_or_else(|| Object::at(own), |values| values.value(index));
        if let (Some(key), Some(value)) = (Object::at(key), value) {
            each(key, value);
        }
    }
}

/// What an instance keeps its attributes in.
#[derive(Clone, Copy)]
pub enum Attributes {
    None,
    /// A dict object.
    Dict(Object),
    /// Values alone.
    Values(Keys, Values),
}

impl Attributes {
    /// Bytes of a block that is neither the instance nor a dict object.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Values(_, values) => values.block_bytes,
            _ => 0,
        }
    }

    /// Each attribute of an instance that has no dict.
    #[inline]
    pub fn each(self, mut each: impl FnMut(Object, Object)) {
        if let Self::Values(keys, values) = self {
            pairs(keys, Some(values), &mut each);
        }
    }
}

/// The attributes of an instance whose class lets the interpreter manage them (`Py_TPFLAGS_MANAGED_DICT`, 3.11 and newer).
///
/// # Safety
/// `object` must be an instance of `class`, which must have that flag; `inline` says that it has `Py_TPFLAGS_INLINE_VALUES`.
pub unsafe fn managed(object: Object, class: Object, inline: Option<usize>, layout: &Layout) -> Attributes {
    // SAFETY: the class is a heap type.
    let keys = unsafe { shared_keys(class, layout) };
    // SAFETY: the pre-header of an instance of such a class has these words.
    unsafe {
        match (layout.minor, keys) {
            (11, Some(keys)) if object.read::<usize>(-32) != 0 => {
                Attributes::Values(keys, values_with_prefix(object.read(-32), keys))
            }
            (12, Some(keys)) if object.read::<usize>(-24) & 1 == 1 => {
                Attributes::Values(keys, values_with_prefix(object.read::<usize>(-24) + 1, keys))
            }
            (13.., Some(keys)) if object.read::<usize>(-24) == 0 => inline_values(object, keys, inline),
            _ => object.field(-24).map_or(Attributes::None, Attributes::Dict),
        }
    }
}

/// # Safety
/// `at` must be the offset of the instance's inline values.
unsafe fn inline_values(object: Object, keys: Keys, at: Option<usize>) -> Attributes {
    let Some(at) = at else {
        return Attributes::None;
    };
    // SAFETY: the fourth byte says whether the values are in use.
    if unsafe { object.read::<u8>(at as isize + 3) } == 0 {
        return Attributes::None;
    }
    Attributes::Values(keys, Values { address: object.address() + at + VALUES_HEADER, block_bytes: 0 })
}

/// Bytes that the inline values add to the block of an instance (`_PyInlineValuesSize`, 3.13 and newer).
///
/// # Safety
/// `object` must have inline values at `at`.
pub unsafe fn inline_bytes(object: Object, at: usize) -> usize {
    // SAFETY: the first byte is their capacity.
    values_bytes(unsafe { object.read::<u8>(at as isize) })
}
