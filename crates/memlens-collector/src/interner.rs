//! Values by small numbers, each once.
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// Gives equal values the same number, counting from 0 in the order in which they were first seen.
pub struct Interner<T> {
    ids: FxHashMap<T, u32>,
    values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { ids: FxHashMap::default(), values: Vec::new() }
    }

    /// The number of `value`.
    pub fn intern(&mut self, value: T) -> u32 {
        if let Some(&id) = self.ids.get(&value) {
            return id;
        }
        let id = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.ids.insert(value, id);
        id
    }

    /// The values in the order of their numbers.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }
}
