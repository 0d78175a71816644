//! The name and module of a type.
use crate::dict;
use crate::layout::type_object as slot;
use crate::object::Object;
use crate::text;
use crate::type_facts::{Kind, TypeFacts, TypeTable, is_heap_type};

/// Name and module; the module is empty if it is not known.
pub fn of(facts: &TypeFacts, types: &mut TypeTable<'_>) -> (String, String) {
    let name = facts.name();
    if !is_heap_type(facts.class) {
        return split(name);
    }
    let module = module_of(facts.class, types);
    let own = qualified_name(facts.class, types).unwrap_or_else(|| split(name.clone()).0);
    match module {
        Some(module) => (own, module),
        None => split(name),
    }
}

fn split(name: String) -> (String, String) {
    match name.rsplit_once('.') {
        Some((module, own)) => (own.to_owned(), module.to_owned()),
        None => (name, String::new()),
    }
}

fn string(object: Object, types: &mut TypeTable<'_>) -> Option<String> {
    // SAFETY: it is a str.
    (types.of(object.type_of()).kind == Kind::Str)
        .then(|| unsafe { text::of_str(object, types.interpreter.layout, 200) })
}

fn qualified_name(class: Object, types: &mut TypeTable<'_>) -> Option<String> {
    // SAFETY: a field of every heap type.
    let name = unsafe { class.field(types.interpreter.layout.qualified_name) }?;
    string(name, types)
}

/// `__module__` in the class's own dict.
fn module_of(class: Object, types: &mut TypeTable<'_>) -> Option<String> {
    // SAFETY: a field of every type.
    let namespace = unsafe { class.field(slot::DICT) }?;
    if types.of(namespace.type_of()).kind != Kind::Dict {
        return None;
    }
    let mut found = Vec::new();
    // SAFETY: it is a dict.
    unsafe { dict::items(namespace, types.interpreter.layout, |key, value| found.push((key, value))) };
    let value = found.into_iter().find(|(key, _)| string(*key, types).as_deref() == Some("__module__"))?.1;
    string(value, types)
}
