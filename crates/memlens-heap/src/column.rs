//! Columns that hold wide numbers in few bytes.

/// Addresses of 48 bits, in six bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressColumn {
    pub(crate) low: Vec<u32>,
    pub(crate) high: Vec<u16>,
}

impl AddressColumn {
    /// Adds an address, of which 48 bits are kept.
    pub(crate) fn push(&mut self, address: u64) {
        self.low.push(address as u32);
        self.high.push((address >> 32) as u16);
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        u64::from(self.high[index]) << 32 | u64::from(self.low[index])
    }
}

/// Sizes in four bytes each; the few that need more stand apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SizeColumn {
    /// [`SizeColumn::LARGE`] for those that stand apart.
    pub(crate) small: Vec<u32>,
    /// Index and size, by index.
    pub(crate) large: Vec<(u32, u64)>,
}

impl SizeColumn {
    /// Marks a size that stands apart.
    pub(crate) const LARGE: u32 = u32::MAX;

    pub(crate) fn push(&mut self, size: u64) {
        let index = self.small.len() as u32;
        match u32::try_from(size) {
            Ok(small) if small != Self::LARGE => self.small.push(small),
            _ => {
                self.small.push(Self::LARGE);
                self.large.push((index, size));
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> u64 {
        match self.small[index] {
            Self::LARGE => self.get_large(index),
            small => u64::from(small),
        }
    }

    #[cold]
    fn get_large(&self, index: usize) -> u64 {
        let found = self.large.binary_search_by_key(&(index as u32), |(index, _)| *index);
        found.map_or(0, |at| self.large[at].1)
    }
}

impl FromIterator<u64> for SizeColumn {
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Self {
        let sizes = sizes.into_iter();
        let mut column = Self { small: Vec::with_capacity(sizes.size_hint().0), large: Vec::new() };
        sizes.for_each(|size| column.push(size));
        column
    }
}

/// The value of `key` in a list that is sorted by its keys.
pub(crate) fn find<K: Ord + Copy, V: Copy>(list: &[(K, V)], key: K) -> Option<V> {
    let at = list.binary_search_by_key(&key, |(key, _)| *key).ok()?;
    Some(list[at].1)
}
