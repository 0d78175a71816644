//! The number of each object by its address: four bytes for each 16-byte granule, in pages that are made on demand.
//!
//! A page is taken from the kernel, zeroed and lazily filled, and given back at the end, so that nothing is left behind.
use crate::object::Object;
use rustc_hash::FxHashMap;

/// A page covers 1 MiB of addresses.
const PAGE_BITS: u32 = 20;
const PAGE_SLOTS: usize = 1 << (PAGE_BITS - 4);

/// Numbers from 0 on, by address.
#[derive(Default)]
pub struct Numbering {
    places: FxHashMap<usize, usize>,
    pages: Vec<Vec<u32>>,
    /// The page of the last address: neighbours come together.
    recent: Option<(usize, usize)>,
}

impl Numbering {
    /// The slot of an address: 0 for an object without a number, else its number plus one.
    #[inline]
    pub fn slot(&mut self, object: Object) -> &mut u32 {
        let key = object.address() >> PAGE_BITS;
        let page = match self.recent {
            Some((known, page)) if known == key => page,
            _ => self.find(key),
        };
        &mut self.pages[page][(object.address() >> 4) & (PAGE_SLOTS - 1)]
    }

    /// The number of an object.
    pub fn get(&mut self, object: Object) -> Option<u32> {
        self.slot(object).checked_sub(1)
    }

    #[cold]
    fn find(&mut self, key: usize) -> usize {
        let pages = &mut self.pages;
        let page = *self.places.entry(key).or_insert_with(|| {
            pages.push(vec![0; PAGE_SLOTS]);
            pages.len() - 1
        });
        self.recent = Some((key, page));
        page
    }
}
