//! The references of an object, with the names by which Python would reach them.
//!
//! Lists, tuples, dicts, sets, functions and instances are read by layout; all else by its type's `tp_traverse`, which runs no
//! Python code; and what no traversal shows (numpy's base and contents, the buffer of a BytesIO) by layout again.
use crate::dict::{self, Attributes};
use crate::frame;
use crate::layout::{Layout, type_object};
use crate::numpy;
use crate::object::Object;
use crate::rule::FUNCTION_SELF;
use crate::type_facts::{DictPlace, Kind, Member, TypeFacts, type_name};
use pyo3::ffi;
use std::ffi::{c_char, c_int, c_void};

/// What leads from an object to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// An attribute; the name is a string object.
    Attribute(Object),
    /// A variable of a frame; the name is a string object.
    Local(Object),
    /// A slot or a member of a C type; the name is a C string that its type keeps.
    Slot(*const c_char),
    /// The value under this key.
    Key(Object),
    /// A key itself.
    KeyObject(Object),
    /// A member of a set.
    Member,
    /// An item of a sequence.
    Index(usize),
    /// An instance's `__dict__`.
    Dict,
    /// By a name of ours.
    Known(&'static str),
    /// The array or object whose memory this one shows.
    Base,
    /// Shown by traversal, without a name.
    Unnamed,
    /// Where a weak reference points: it keeps nothing alive.
    Weak,
}

/// Receives the references of an object.
pub trait Visitor {
    /// A reference to something that the object may be said to own.
    fn edge(&mut self, name: Name, target: Object);
    /// A reference to what belongs to a module, a class or a running frame: globals, code, the calling frame, the type.
    fn outside(&mut self, _name: Name, _target: Object) {}
    /// Whether there is an object where an extension's traversal says so.
    fn is_object(&mut self, target: Object) -> bool;
}

/// `offsetof(PyListObject, ob_item)`.
const LIST_ITEMS: isize = 24;
/// `offsetof(PySetObject, mask)` and `table`.
const SET_MASK: isize = 32;
const SET_TABLE: isize = 40;
/// `offsetof(PyWeakReference, wr_object)` and `wr_callback`.
const WEAK_TARGET: isize = 16;
/// `offsetof(PyMethodObject, im_func)`.
const METHOD_FUNCTION: isize = 16;
/// `offsetof(PyTracebackObject, tb_next)`.
const TRACEBACK_NEXT: isize = 16;
/// `offsetof(PyDateTime_DateTime, hastzinfo)`; `tzinfo` is the last field.
const HAS_TIME_ZONE: isize = 24;
/// The fields of a `timezone`.
const TIME_ZONE_FIELDS: [(isize, &str); 2] = [(16, "offset"), (24, "name")];
/// The fields of a range; its members do not show the last.
const RANGE_FIELDS: [(isize, &str); 4] = [(16, "start"), (24, "stop"), (32, "step"), (40, "length")];
/// `offsetof(bytesio, buf)`.
const BYTES_IO_BUFFER: isize = 16;
/// `offsetof(stringio, state)`, and of the accumulator or writer behind it.
const STRING_IO_STATE: isize = 48;
const STRING_IO_PARTS: [isize; 2] = [56, 64];

/// Visits each reference of an object.
#[inline]
pub fn visit(object: Object, facts: &TypeFacts, layout: &Layout, visitor: &mut impl Visitor) {
    for member in &facts.slots {
        // SAFETY: a slot's offset lies in the instances of its class.
        if let Some(target) = unsafe { object.field(member.offset) } {
            visitor.edge(Name::Slot(member.name), target);
        }
    }
    visit_attributes(object, facts, layout, visitor);
    visit_native(object, facts, layout, visitor);
    if crate::type_facts::is_heap_type(facts.class) {
        visitor.outside(Name::Known("__class__"), facts.class);
    }
}

#[inline]
fn visit_attributes(object: Object, facts: &TypeFacts, layout: &Layout, visitor: &mut impl Visitor) {
    match attributes(object, facts, layout) {
        Attributes::None => {}
        Attributes::Dict(dict) => visitor.edge(Name::Dict, dict),
        values => values.each(|key, value| visitor.edge(Name::Attribute(key), value)),
    }
}

/// What keeps an instance's attributes, for a class whose native base does not show them itself.
#[inline]
pub fn attributes(object: Object, facts: &TypeFacts, layout: &Layout) -> Attributes {
    match facts.dict {
        DictPlace::None => Attributes::None,
        // SAFETY: the class has a managed dict.
        DictPlace::Managed { inline } => unsafe { dict::managed(object, facts.class, inline, layout) },
        // A C type's own traversal shows its dict.
        DictPlace::Offset(_) if !facts.is_python_class => Attributes::None,
        // SAFETY: the place is the class's own.
        DictPlace::Offset(offset) => unsafe {
            let offset = if offset < 0 { offset + padded_size(object, facts) as isize } else { offset };
            object.field(offset).map_or(Attributes::None, Attributes::Dict)
        },
    }
}

/// `_PyObject_VAR_SIZE`.
///
/// # Safety
/// The object's type must have variable size.
unsafe fn padded_size(object: Object, facts: &TypeFacts) -> usize {
    // SAFETY: the caller's promise.
    (facts.basic_size + facts.item_size * unsafe { object.var_size() }).next_multiple_of(8)
}

#[inline]
fn visit_native(object: Object, facts: &TypeFacts, layout: &Layout, visitor: &mut impl Visitor) {
    match facts.kind {
        Kind::List if facts.is_exact => visit_list(object, visitor),
        Kind::Tuple if facts.is_exact => visit_tuple(object, layout, visitor),
        Kind::Dict if facts.is_exact => visit_dict(object, layout, visitor),
        Kind::OrderedDict => visit_dict(object, layout, visitor),
        Kind::DefaultDict => {
            visit_dict(object, layout, visitor);
            visit_known(object, dict::DICT_SIZE, "default_factory", visitor);
        }
        Kind::Set if facts.is_exact => visit_set(object, visitor),
        Kind::Function => visit_function(object, layout, visitor),
        Kind::Method => visit_method(object, facts, layout, visitor),
        Kind::Range => RANGE_FIELDS.iter().for_each(|(at, name)| visit_known(object, *at, name, visitor)),
        Kind::TimeZone => TIME_ZONE_FIELDS.iter().for_each(|(at, name)| visit_known(object, *at, name, visitor)),
        Kind::DateTime if has_time_zone(object) => {
            visit_known(object, facts.native_size as isize - 8, "tzinfo", visitor);
        }
        Kind::Generator => {
            // SAFETY: it is a generator or the like.
            let in_frame = unsafe { frame::in_generator(object, facts, layout) };
            traverse_frame(object, facts, in_frame, visitor);
        }
        Kind::Frame => visit_frame(object, facts, layout, visitor),
        Kind::Type => {
            traverse(object, facts, visitor);
            if crate::type_facts::is_heap_type(object) {
                visit_known(object, type_object::SUBCLASSES, "<subclasses>", visitor);
            }
        }
        Kind::WeakReference => visit_weak(object, facts, visitor),
        Kind::BytesIo => visit_known(object, BYTES_IO_BUFFER, "buffer", visitor),
        Kind::StringIo => visit_string_io(object, facts, layout, visitor),
        Kind::NumpyArray => numpy::visit_array(object, visitor),
        Kind::NumpyDtype => numpy::visit_dtype(object, visitor),
        Kind::Str | Kind::Bytes | Kind::Int | Kind::ByteArray | Kind::DateTime => {}
        _ => traverse(object, facts, visitor),
    }
}

fn visit_known(object: Object, offset: isize, name: &'static str, visitor: &mut impl Visitor) {
    // SAFETY: the caller names a field of the object's type.
    if let Some(target) = unsafe { object.field(offset) } {
        visitor.edge(Name::Known(name), target);
    }
}

/// Each of `count` objects from `first` on.
///
/// # Safety
/// So many words must be readable there.
#[inline]
unsafe fn each_word(first: usize, count: usize, mut each: impl FnMut(usize, Object)) {
    for index in 0..count {
        // SAFETY: the caller's promise.
        if let Some(target) = Object::at(unsafe { (first as *const usize).add(index).read() }) {
            each(index, target);
        }
    }
}

#[inline]
fn visit_list(list: Object, visitor: &mut impl Visitor) {
    // SAFETY: the fields of a list; its items are as many as its size says.
    unsafe {
        let first = list.read::<usize>(LIST_ITEMS);
        let count = if first == 0 { 0 } else { list.var_size() };
        each_word(first, count, |index, target| visitor.edge(Name::Index(index), target));
    }
}

#[inline]
fn visit_tuple(tuple: Object, layout: &Layout, visitor: &mut impl Visitor) {
    let items = layout.tuple_items as usize;
    // SAFETY: the items of a tuple are as many as its size says.
    unsafe {
        each_word(tuple.address() + items, tuple.var_size(), |index, target| {
            visitor.edge(Name::Index(index), target);
        });
    }
}

#[inline]
fn visit_dict(dict: Object, layout: &Layout, visitor: &mut impl Visitor) {
    // SAFETY: it is a dict.
    unsafe {
        dict::items(dict, layout, |key, value| {
            visitor.edge(Name::KeyObject(key), key);
            visitor.edge(Name::Key(key), value);
        });
    }
}

fn visit_set(set: Object, visitor: &mut impl Visitor) {
    // SAFETY: the fields of a set; its table has mask + 1 entries of (key, hash).
    let (mask, table) = unsafe { (set.read::<usize>(SET_MASK), set.read::<usize>(SET_TABLE)) };
    for index in 0..=mask {
        // SAFETY: as above.
        let (key, hash) = unsafe { ((table as *const [usize; 2]).add(index)).read() }.into();
        // A removed entry holds a dummy object, with this hash (`set_swap_bodies`' DUMMY).
        if let Some(key) = Object::at(key).filter(|_| hash != usize::MAX) {
            visitor.edge(Name::Member, key);
        }
    }
}

fn visit_function(function: Object, layout: &Layout, visitor: &mut impl Visitor) {
    for &(offset, name) in layout.function_fields {
        visit_known(function, offset, name, visitor);
    }
    let outside = ["__globals__", "__builtins__", "__code__", "__module__"];
    for (offset, name) in layout.function_outside.into_iter().zip(outside).filter(|(offset, _)| *offset != 0) {
        // SAFETY: these are fields of a function.
        if let Some(target) = unsafe { function.field(offset) } {
            visitor.outside(Name::Known(name), target);
        }
    }
}

/// The function of a method is its class's, unless it closes over something.
fn visit_method(method: Object, facts: &TypeFacts, layout: &Layout, visitor: &mut impl Visitor) {
    // SAFETY: the field of a method; the closure's is one of a function, which is what it most often holds.
    let function = unsafe { method.field(METHOD_FUNCTION) };
    let closure = if layout.minor < 10 { 48 } else { 72 };
    let is_plain = function.is_some_and(|function| {
        // SAFETY: as above; no other type has this name and is static.
        type_name(function.type_of()) == "function" && unsafe { function.field(closure) }.is_none()
    });
    let outside: &[Object] = if is_plain { function.as_slice() } else { &[] };
    traverse(method, facts, &mut Outside { targets: outside, visitor });
}

/// Whether a `datetime` or `time` has a time zone, and room for it.
pub fn has_time_zone(object: Object) -> bool {
    // SAFETY: the field of a `datetime` and a `time`.
    unsafe { object.read::<u8>(HAS_TIME_ZONE) != 0 }
}

fn visit_weak(reference: Object, facts: &TypeFacts, visitor: &mut impl Visitor) {
    // SAFETY: the field of a weak reference.
    if let Some(target) = unsafe { reference.field(WEAK_TARGET) } {
        visitor.outside(Name::Weak, target);
    }
    traverse(reference, facts, visitor);
}

/// The text that is being written stands in a writer (3.12 and newer) or in two lists.
fn visit_string_io(object: Object, facts: &TypeFacts, layout: &Layout, visitor: &mut impl Visitor) {
    traverse(object, facts, visitor);
    // SAFETY: the field of a StringIO; 2 is STATE_ACCUMULATING, the only state in which the parts hold anything.
    if unsafe { object.read::<c_int>(STRING_IO_STATE) } != 2 {
        return;
    }
    if layout.minor >= 14 {
        return visit_writer(object, visitor);
    }
    let parts = if layout.minor < 12 { &STRING_IO_PARTS[..] } else { &STRING_IO_PARTS[..1] };
    for part in parts {
        visit_known(object, *part, "text", visitor);
    }
}

/// Since 3.14 the writer is a block of its own, which begins with the text.
fn visit_writer(object: Object, visitor: &mut impl Visitor) {
    // SAFETY: the field of a StringIO that is written to: null or the address of a writer.
    let text = unsafe {
        let writer = object.read::<usize>(STRING_IO_PARTS[0]);
        if writer == 0 { None } else { Object::at((writer as *const usize).read()) }
    };
    if let Some(text) = text {
        visitor.edge(Name::Known("text"), text);
    }
}

/// A frame's globals, builtins and code are its module's, and the frame that called it is on its own.
fn visit_frame(frame: Object, facts: &TypeFacts, layout: &Layout, visitor: &mut impl Visitor) {
    let mut outside = vec![];
    // SAFETY: fields of a frame object; before 3.11 code, builtins and globals follow f_back.
    unsafe {
        outside.extend(frame.field(layout.frame_back));
        if layout.minor < 11 {
            outside.extend([32, 40, 48].into_iter().filter_map(|offset| frame.field(offset)));
        }
    }
    let mut filter = Outside { targets: &outside, visitor };
    // SAFETY: it is a frame object.
    let in_frame = unsafe { frame::in_frame_object(frame, layout) };
    traverse_frame(frame, facts, in_frame, &mut filter);
}

/// Passes edges on, those to some targets as edges to the outside.
struct Outside<'a, V> {
    targets: &'a [Object],
    visitor: &'a mut V,
}

impl<V: Visitor> Visitor for Outside<'_, V> {
    fn edge(&mut self, name: Name, target: Object) {
        if self.targets.contains(&target) {
            self.visitor.outside(name, target)
        } else {
            self.visitor.edge(name, target)
        }
    }

    fn is_object(&mut self, target: Object) -> bool {
        self.visitor.is_object(target)
    }
}

/// What a type without a traversal shows of itself: the parts of a code object, of a range, of a static type.
fn visit_members<V: Visitor>(object: Object, facts: &TypeFacts, visitor: &mut V) {
    if facts.kind == Kind::Type {
        visit_known(object, type_object::DICT, "__dict__", visitor);
        return visit_known(object, type_object::MRO, "__mro__", visitor);
    }
    for member in &facts.members {
        // SAFETY: a member's offset lies in the instances of its type.
        if let Some(target) = unsafe { object.field(member.offset) } {
            visitor.edge(Name::Slot(member.name), target);
        }
    }
}

struct Traversal<'a, V> {
    object: Object,
    /// What the object's frame refers to, by name.
    in_frame: Vec<(Name, Object)>,
    class: Object,
    kind: Kind,
    is_foreign: bool,
    members: &'a [Member],
    visitor: &'a mut V,
}

/// By the native type's own `tp_traverse`.
fn traverse<V: Visitor>(object: Object, facts: &TypeFacts, visitor: &mut V) {
    traverse_frame(object, facts, Vec::new(), visitor);
}

/// The same, of an object that carries or is a frame.
fn traverse_frame<V: Visitor>(object: Object, facts: &TypeFacts, in_frame: Vec<(Name, Object)>, visitor: &mut V) {
    let Some(traverse) = facts.traverse.filter(|_| facts.is_tracked(object)) else {
        return visit_members(object, facts, visitor);
    };
    let (class, kind, is_foreign, members) = (facts.class, facts.kind, facts.is_foreign, &facts.members);
    let mut traversal = Traversal { object, in_frame, class, kind, is_foreign, members, visitor };
    // SAFETY: the object is an instance of the type, and the second argument is what `receive` expects.
    unsafe { traverse(object.pointer(), receive::<V>, (&raw mut traversal).cast()) };
}

/// The `visitproc`. A type that shows null, or what cannot be an object, is not believed.
extern "C" fn receive<V: Visitor>(target: *mut ffi::PyObject, traversal: *mut c_void) -> c_int {
    // SAFETY: `traverse` passes a Traversal that outlives the call.
    let traversal = unsafe { &mut *traversal.cast::<Traversal<'_, V>>() };
    let Some(target) = Object::at(target as usize) else {
        return 0;
    };
    if target == traversal.class || traversal.is_foreign && !traversal.visitor.is_object(target) {
        return 0;
    }
    let name = traversal.name_of(target);
    traversal.visitor.edge(name, target);
    0
}

impl<V> Traversal<'_, V> {
    /// What Python has an attribute for and no member names: the namespace of a class, the content of a cell.
    fn special_name(&self, target: Object) -> Option<&'static str> {
        let fields: &[(isize, &str)] = match self.kind {
            Kind::Type => {
                &[(type_object::DICT, "__dict__"), (type_object::BASES, "__bases__"), (type_object::MRO, "__mro__")]
            }
            Kind::BuiltinFunction => &[(FUNCTION_SELF, "__self__")],
            Kind::Traceback => &[(TRACEBACK_NEXT, "tb_next")],
            Kind::Cell => return Some("cell_contents"),
            _ => &[],
        };
        // SAFETY: these are fields of the objects of the kind.
        fields.iter().find(|(offset, _)| unsafe { self.object.field(*offset) } == Some(target)).map(|(_, name)| *name)
    }

    fn name_of(&mut self, target: Object) -> Name {
        if let Some(name) = self.special_name(target) {
            return Name::Known(name);
        }
        // Each variable once, for two may hold the same object.
        if let Some(at) = self.in_frame.iter().position(|(_, known)| *known == target) {
            return self.in_frame.remove(at).0;
        }
        // SAFETY: a member's offset lies in the instances of its type.
        let found = self.members.iter().find(|member| unsafe { self.object.field(member.offset) } == Some(target));
        found.map_or(Name::Unnamed, |member| Name::Slot(member.name))
    }
}
