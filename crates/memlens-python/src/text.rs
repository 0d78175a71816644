//! Strings and short values as text, read by layout: no `__repr__` runs.
use crate::layout::Layout;
use crate::object::Object;
use crate::type_facts::{Kind, TypeTable, type_name};

const LENGTH: isize = 16;
const STATE: isize = 32;
const COMPACT: u32 = 1 << 5;
const ASCII: u32 = 1 << 6;
const STATICALLY_ALLOCATED: u32 = 1 << 7;
/// Characters of a text that are shown.
const SHOWN: usize = 60;

/// The characters of a str: bytes of one, and where they are.
///
/// # Safety
/// `object` must be a str.
pub unsafe fn characters(object: Object, layout: &Layout) -> Option<(usize, &'static [u8])> {
    // SAFETY: the caller's promise. The slice is used at once, while the object lives.
    unsafe {
        let (state, length) = (object.read::<u32>(STATE), object.read::<usize>(LENGTH));
        let width = ((state >> 2) & 7) as usize;
        let data = match (state & COMPACT != 0, state & ASCII != 0) {
            (true, true) => object.address() + layout.ascii_size,
            (true, false) => object.address() + layout.compact_size,
            _ => object.read::<usize>(layout.compact_size as isize),
        };
        (data != 0 && [1, 2, 4].contains(&width))
            .then(|| (width, std::slice::from_raw_parts(data as *const u8, length * width)))
    }
}

/// Whether a str is part of the interpreter's own image (3.12 and newer).
///
/// # Safety
/// `object` must be a str.
pub unsafe fn is_static(object: Object) -> bool {
    // SAFETY: the caller's promise.
    unsafe { object.read::<u32>(STATE) & STATICALLY_ALLOCATED != 0 }
}

/// The text of a str, cut off if it is long.
///
/// # Safety
/// `object` must be a str.
pub unsafe fn of_str(object: Object, layout: &Layout, most: usize) -> String {
    // SAFETY: the caller's promise.
    let Some((width, bytes)) = (unsafe { characters(object, layout) }) else {
        return String::new();
    };
    let mut text = decoded(bytes, width, most);
    if bytes.len() / width > most {
        text.push('…');
    }
    text
}

/// Characters of 1, 2 or 4 bytes as text.
pub fn decoded(bytes: &[u8], width: usize, most: usize) -> String {
    let code = |unit: &[u8]| unit.iter().rev().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte));
    let units = bytes.chunks_exact(width.max(1)).take(most);
    units.map(|unit| char::from_u32(code(unit)).unwrap_or('\u{FFFD}')).collect()
}

/// What stands for a key or an element in a name: the `repr` of a plain value, else `<Type>`.
pub fn repr(object: Object, types: &mut TypeTable<'_>) -> String {
    repr_to(object, types, 3)
}

fn repr_to(object: Object, types: &mut TypeTable<'_>, depth: usize) -> String {
    let facts = std::rc::Rc::clone(types.of(object.type_of()));
    let layout = types.interpreter.layout;
    if facts.is_python_class {
        return format!("<{}>", facts.name());
    }
    match facts.kind {
        // SAFETY: it is a str.
        Kind::Str => quoted(&unsafe { of_str(object, layout, SHOWN) }),
        Kind::Int => match facts.name().as_str() {
            "bool" if integer(object, layout) == Some(0) => "False".into(),
            "bool" => "True".into(),
            _ => integer(object, layout).map_or_else(|| "<int>".into(), |value| value.to_string()),
        },
        // SAFETY: it is a bytes object, whose bytes begin after 32.
        Kind::Bytes => unsafe {
            let length = object.var_size();
            let shown = std::slice::from_raw_parts((object.address() + 32) as *const u8, length.min(SHOWN));
            format!("b'{}{}'", shown.escape_ascii(), if length > SHOWN { "…" } else { "" })
        },
        Kind::Tuple if depth > 0 => tuple(object, types, depth),
        _ => plain(object),
    }
}

fn plain(object: Object) -> String {
    match type_name(object.type_of()).as_str() {
        "NoneType" => "None".into(),
        // SAFETY: a float's value stands after its header.
        "float" => format!("{:?}", unsafe { object.read::<f64>(16) }),
        name => format!("<{name}>"),
    }
}

fn tuple(object: Object, types: &mut TypeTable<'_>, depth: usize) -> String {
    const MOST_ITEMS: usize = 6;
    struct Items(Vec<Object>);
    impl crate::edge::Visitor for Items {
        fn edge(&mut self, _: crate::edge::Name, target: Object) {
            self.0.push(target);
        }

        fn is_object(&mut self, _: Object) -> bool {
            true
        }
    }
    let facts = std::rc::Rc::clone(types.of(object.type_of()));
    let mut items = Items(Vec::new());
    crate::edge::visit(object, &facts, types.interpreter.layout, &mut items);
    let mut parts: Vec<String> = items.0.iter().take(MOST_ITEMS).map(|item| repr_to(*item, types, depth - 1)).collect();
    if items.0.len() > MOST_ITEMS {
        parts.push("…".into());
    }
    if parts.len() == 1 { format!("({},)", parts[0]) } else { format!("({})", parts.join(", ")) }
}

/// As Python quotes: in single quotes, unless the text has some and no double ones.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if letter == quote => out.extend(['\\', letter]),
            _ if letter.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out.push(quote);
    out
}

/// The value of an int of up to four digits of 30 bits.
fn integer(object: Object, layout: &Layout) -> Option<i128> {
    // SAFETY: the fields of an int: before 3.12 a signed number of digits, since then that number over three bits of flags,
    // of which 2 is "negative".
    unsafe {
        let (count, is_negative) = if layout.minor < 12 {
            let size = object.read::<isize>(16);
            (size.unsigned_abs(), size < 0)
        } else {
            let tag = object.read::<usize>(16);
            (tag >> 3, tag & 3 == 2)
        };
        if count > 4 {
            return None;
        }
        let digits = (0..count).rev().map(|digit| i128::from(object.read::<u32>(24 + 4 * digit as isize)));
        let value = digits.fold(0, |sum, digit| (sum << 30) | digit);
        Some(if is_negative { -value } else { value })
    }
}
