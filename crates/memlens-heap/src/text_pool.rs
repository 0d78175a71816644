//! Interned texts: each once, in one long string.
use crate::NameId;
use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Texts by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextPool {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl TextPool {
    /// The text with this number. It must be one of this pool's.
    pub(crate) fn get(&self, name: NameId) -> &str {
        let index = name.0 as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[index] as usize]
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a text, whether or not it is there already; `None` when four gigabytes are full.
    pub(crate) fn push(&mut self, text: &str) -> Option<NameId> {
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        let name = u32::try_from(self.ends.len()).ok().filter(|name| *name <= crate::EdgeName::MAX_VALUE)?;
        self.text.push_str(text);
        self.ends.push(end);
        Some(NameId(name))
    }
}

/// A pool that finds what it has.
#[derive(Debug, Default)]
pub(crate) struct TextInterner {
    pool: TextPool,
    index: HashTable<u32>,
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl TextInterner {
    /// The number of the text, added if it is new; `None` when the pool is full.
    pub(crate) fn intern(&mut self, text: &str) -> Option<NameId> {
        let hash = hash_of(text);
        let pool = &mut self.pool;
        if let Some(found) = self.index.find(hash, |name| pool.get(NameId(*name)) == text) {
            return Some(NameId(*found));
        }
        let name = pool.push(text)?;
        self.index.insert_unique(hash, name.0, |name| hash_of(pool.get(NameId(*name))));
        Some(name)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.pool.len()
    }

    /// The texts alone.
    pub(crate) fn finish(self) -> TextPool {
        self.pool
    }
}
