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

    /// All texts, one behind the other.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The length of each in bytes.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = u32> {
        lengths(&self.ends)
    }

    /// The opposite of [`TextPool::bytes`] and [`TextPool::lengths`].
    pub(crate) fn from_parts(bytes: Vec<u8>, ends: Vec<u32>) -> Result<Self, &'static str> {
        let text = String::from_utf8(bytes).map_err(|_| "a name is not UTF-8")?;
        let is_whole = ends.last().map_or(0, |end| *end as usize) == text.len();
        let is_split_well = ends.iter().all(|end| text.is_char_boundary(*end as usize));
        if is_whole && is_split_well { Ok(Self { text, ends }) } else { Err("a name's length is wrong") }
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

/// The lengths between ends.
pub(crate) fn lengths(ends: &[u32]) -> impl Iterator<Item = u32> {
    let starts = std::iter::once(&0).chain(ends);
    ends.iter().zip(starts).map(|(end, start)| end - start)
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
