//! The memory of ctypes' instances: arrays, structures and simple values that are too large to lie in the object.
use crate::object::Object;
use crate::region::{Region, RegionKind};
use crate::type_facts::TypeFacts;

/// `offsetof(CDataObject, b_ptr)`, `b_needsfree`, `b_size` (`Modules/_ctypes/ctypes.h`, 3.8 to 3.15).
const POINTER: isize = 16;
const IS_OWNED: isize = 24;
const SIZE: isize = 40;

/// What the instance allocated: nothing if its value lies in it, or in another object, or at an address that the program named.
pub fn buffer(object: Object, facts: &TypeFacts) -> Option<Region> {
    // SAFETY: the fields of an instance of `_ctypes._CData`.
    let (address, is_owned, bytes) =
        unsafe { (object.read::<usize>(POINTER), object.read::<i32>(IS_OWNED), object.read::<usize>(SIZE)) };
    let is_inside = (object.address()..object.address() + facts.native_size).contains(&address);
    (is_owned != 0 && address != 0 && !is_inside).then_some(Region { address, bytes, kind: RegionKind::Heap })
}
