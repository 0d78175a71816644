//! What compressors and decompressors hold in the structures of their libraries (zlib, bzip2, liblzma), where no reference leads.
//!
//! The libraries tell no one, but what they allocated follows from the parameters in their state: a window of so many bits, a block of so many
//! hundred thousand bytes. A state is believed only if all that we know of its shape is there (it points back to its stream, masks fit sizes, functions
//! are the library's); otherwise nothing is counted. No size is taken from an address, and memory is read through the kernel, so that another version
//! of a library can make a figure too small, never one that is made up.
//!
//! Sources: zlib `deflate.h` and `inflate.h` (1.2.11 to 1.3.2), bzip2 `bzlib_private.h` (1.0), xz `lz_encoder.h`, `lz_decoder.h` and `common.h` (5.2 to
//! 5.8); CPython `Modules/zlibmodule.c`, `_bz2module.c`, `_lzmamodule.c` (3.8 to 3.15).
use crate::memory::OwnMemory;
use crate::object::Object;
use std::cell::OnceCell;

/// A type of compressors or decompressors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coder {
    Deflate,
    Inflate,
    /// `zlib._ZlibDecompressor`, which keeps input that was not used.
    BufferedInflate,
    BzipCompressor,
    BzipDecompressor,
    LzmaCompressor,
    LzmaDecompressor,
}

/// Reads the states of coders.
#[derive(Default)]
pub struct CoderStates {
    memory: OnceCell<Option<OwnMemory>>,
}

impl CoderStates {
    /// Bytes that the object's library allocated for it; 0 where its state has another shape than those that we know.
    pub fn held_bytes(&self, object: Object, coder: Coder) -> u64 {
        let stream = object.address() + HEADER;
        let held = match coder {
            Coder::Deflate => self.deflate_bytes(stream),
            Coder::Inflate | Coder::BufferedInflate => self.inflate_bytes(stream),
            Coder::BzipCompressor => self.bzip_compressor_bytes(stream),
            Coder::BzipDecompressor => self.bzip_decompressor_bytes(stream),
            Coder::LzmaCompressor | Coder::LzmaDecompressor => self.lzma_bytes(stream + LZMA_ALLOCATOR),
        };
        (held.unwrap_or(0) + self.input_bytes(object, coder)) as u64
    }

    /// `input_buffer_size`: room for input that `decompress(data, max_length)` left for the next call.
    fn input_bytes(&self, object: Object, coder: Coder) -> usize {
        let buffer_at = match coder {
            Coder::BufferedInflate => 152,
            Coder::BzipDecompressor => 120,
            Coder::LzmaDecompressor => 200,
            _ => return 0,
        };
        let fields = self.read(object.address() + buffer_at, 16);
        let (buffer, size) = (fields.word(0), fields.word(8));
        let is_buffer = buffer != 0 && (1..MOST_INPUT).contains(&size) && self.is_block(buffer, size);
        if is_buffer { size } else { 0 }
    }

    /// `deflate_state`, its window and chains (two bytes a byte of the window each), its hash table, what is yet to be written.
    fn deflate_bytes(&self, stream: usize) -> Option<usize> {
        let state = self.read(self.read(stream + Z_STATE, 8).word(0), 144);
        let (window, window_bits, window_mask) = (state.half(80), state.half(84), state.half(88));
        let (table, table_bits, pending) = (state.half(132), state.half(136), state.word(24));
        let fits = state.word(0) == stream
            && DEFLATE_STATUS.contains(&state.half(8))
            && (8..=15).contains(&window_bits)
            && (window, window_mask) == (1 << window_bits, window.wrapping_sub(1))
            && (7..=16).contains(&table_bits)
            && table == 1 << table_bits
            && pending <= MOST_PENDING;
        fits.then_some(DEFLATE_STATE + 4 * window + 2 * table + pending)
    }

    /// `inflate_state`, and the window, which is made with the first output.
    fn inflate_bytes(&self, stream: usize) -> Option<usize> {
        let state = self.read(self.read(stream + Z_STATE, 8).word(0), 80);
        let (bits, size, window) = (state.half(56), state.half(60), state.word(72));
        if state.word(0) != stream || !INFLATE_MODES.contains(&state.half(8)) || bits > 15 {
            return None;
        }
        match window {
            0 => Some(INFLATE_STATE),
            _ => (size == 1 << bits).then_some(INFLATE_STATE + size),
        }
    }

    /// `EState`, its two arrays of a word for each byte of a block, and a table of pairs of bytes.
    fn bzip_compressor_bytes(&self, stream: usize) -> Option<usize> {
        let state = self.read(self.read(stream + BZ_STATE, 8).word(0), 672);
        let hundreds = state.half(664);
        let fits = state.word(0) == stream
            && (1..=4).contains(&state.half(8))
            && (1..=9).contains(&hundreds)
            && state.half(112) == 100_000 * hundreds - 19;
        fits.then_some(BZ_COMPRESSOR_STATE + 4 * (200_000 * hundreds + 34) + 4 * 65_537)
    }

    /// `DState`, and a word for each byte of a block as soon as the size of blocks was read.
    fn bzip_decompressor_bytes(&self, stream: usize) -> Option<usize> {
        let state = self.read(self.read(stream + BZ_STATE, 8).word(0), 3160);
        if state.word(0) != stream || !(1..=50).contains(&state.half(8)) {
            return None;
        }
        match (state.word(3152), state.half(40)) {
            (0, _) => Some(BZ_DECOMPRESSOR_STATE),
            (_, hundreds @ 1..=9) => Some(BZ_DECOMPRESSOR_STATE + 400_000 * hundreds),
            _ => None,
        }
    }

    /// Along the chain of coders, the library's functions showing the way, to the one with the dictionary.
    fn lzma_bytes(&self, stream: usize) -> Option<usize> {
        let internal = self.read(self.read(stream + LZMA_INTERNAL, 8).word(0), 8 * NEXT_WORDS);
        let (init, code) = (internal.word(16), internal.word(24));
        let is_code = move |word: usize| word >= LEAST && word.abs_diff(code) < MOST_CODE;
        if !is_code(init) || !is_code(code) {
            return None;
        }
        self.lzma_chain_bytes(internal.word(0), &is_code, MOST_CODERS)
    }

    fn lzma_chain_bytes(&self, address: usize, is_code: &impl Fn(usize) -> bool, depth: usize) -> Option<usize> {
        let coder = self.read(address, 8 * CODER_WORDS);
        let known = [4, 5].into_iter().find_map(|at| self.match_finder_bytes(&coder, 8 * at, is_code));
        if let Some(bytes) = known.or_else(|| self.dictionary_bytes(&coder, is_code)) {
            return Some(bytes);
        }
        // `lzma_next_coder`: the coder, its id, and what begins, runs and ends it.
        let is_next = |at: &usize| {
            let next = coder.word(8 * at);
            next >= LEAST && !is_code(next) && is_code(coder.word(8 * at + 16)) && is_code(coder.word(8 * at + 24))
        };
        let mut next = (0..NEXT_WORDS).filter(is_next).filter(|_| depth > 0);
        next.find_map(|at| self.lzma_chain_bytes(coder.word(8 * at), is_code, depth - 1))
    }

    /// `lzma_mf` in an encoder: the input that matches are searched in, a hash table, and chains or trees.
    fn match_finder_bytes(&self, coder: &Words, at: usize, is_code: &impl Fn(usize) -> bool) -> Option<usize> {
        let half = |offset: usize| coder.half(at + offset);
        let (size, before, after, written) = (half(8), half(12), half(16), half(36));
        let (dictionary, hash_mask, longest) = (half(84), half(88), half(100));
        let (hashes, links) = (half(108), half(112));
        let fits = is_code(coder.word(at + 48))
            && is_code(coder.word(at + 56))
            && before.checked_add(after).is_some_and(|kept| kept <= size)
            && written <= size
            && (255..=MOST_HASHES).contains(&hash_mask)
            && (hash_mask + 1).is_power_of_two()
            && (hash_mask..2 * hash_mask + (1 << 18)).contains(&hashes)
            && (1..=size).contains(&dictionary)
            && (links == dictionary || links == 2 * dictionary)
            && longest == LONGEST_MATCH;
        let ends = [(0, size), (64, 4 * hashes), (72, 4 * links)];
        let is_there = ends.iter().all(|(field, bytes)| self.is_block(coder.word(at + field), *bytes));
        (fits && is_there).then_some(LZMA_ENCODER + self.lzma2_bytes(coder, dictionary) + size + 4 * hashes + 4 * links)
    }

    /// `lzma_lzma2_encoder`, which holds the options (the size of the dictionary first), is another coder's wrapping; plain LZMA has none.
    fn lzma2_bytes(&self, coder: &Words, dictionary: usize) -> usize {
        let options = self.read(coder.word(0) + 16, 8);
        if options.half(0) + 1 == dictionary { LZMA2_ENCODER } else { 0 }
    }

    /// `lzma_dict` in a decoder: what was written last.
    fn dictionary_bytes(&self, coder: &Words, is_code: &impl Fn(usize) -> bool) -> Option<usize> {
        let size = coder.word(32);
        let fits = (4096..=MOST_DICTIONARY).contains(&size)
            && [8, 16, 24].iter().all(|field| coder.word(*field) <= size)
            && is_code(coder.word(56))
            && [64, 72, 80].iter().all(|field| coder.word(*field) == 0 || is_code(coder.word(*field)))
            && self.is_block(coder.word(0), size);
        fits.then_some(LZMA_DECODER + size)
    }

    fn read(&self, address: usize, bytes: usize) -> Words {
        let memory = self.memory().filter(|_| (LEAST..MOST).contains(&address));
        Words(memory.map_or_else(Vec::new, |memory| memory.words(address, bytes / 8)))
    }

    /// Whether there is memory at both ends.
    fn is_block(&self, address: usize, bytes: usize) -> bool {
        let ends = (address, address.saturating_add(bytes).saturating_sub(1));
        let is_address = ends.0 >= LEAST && ends.1 < MOST;
        is_address && self.memory().is_some_and(|memory| memory.is_readable(ends.0) && memory.is_readable(ends.1))
    }

    fn memory(&self) -> Option<&OwnMemory> {
        self.memory.get_or_init(OwnMemory::open).as_ref()
    }
}

/// The words of a structure; what could not be read is 0.
struct Words(Vec<usize>);

impl Words {
    /// The field of eight bytes at an offset, which must be a multiple of 8.
    fn word(&self, offset: usize) -> usize {
        self.0.get(offset / 8).copied().unwrap_or(0)
    }

    /// The field of four bytes at an offset, which must be a multiple of 4.
    fn half(&self, offset: usize) -> usize {
        (self.word(offset / 8 * 8) >> (offset % 8 * 8)) & 0xFFFF_FFFF
    }
}

/// `sizeof(PyObject)`: the library's stream follows, in the LZMA types after an allocator of three words.
const HEADER: usize = 16;
const LZMA_ALLOCATOR: usize = 24;
/// `offsetof(z_stream, state)`, `offsetof(bz_stream, state)`, `offsetof(lzma_stream, internal)`.
const Z_STATE: usize = 56;
const BZ_STATE: usize = 48;
const LZMA_INTERNAL: usize = 56;

/// `INIT_STATE` to `FINISH_STATE`, `GZIP_STATE`.
const DEFLATE_STATUS: [usize; 8] = [42, 57, 69, 73, 91, 103, 113, 666];
/// `HEAD` to `SYNC`.
const INFLATE_MODES: std::ops::RangeInclusive<usize> = 16_180..=16_211;
/// `sizeof` of the states. zlib's grow by some bytes from version to version.
const DEFLATE_STATE: usize = 5952;
const INFLATE_STATE: usize = 7152;
const BZ_COMPRESSOR_STATE: usize = 55_768;
const BZ_DECOMPRESSOR_STATE: usize = 64_144;
/// What liblzma's coders take beside the dictionary and the match finder; measured of 5.4.1 and 5.8.4.
const LZMA_ENCODER: usize = 250_000;
const LZMA2_ENCODER: usize = 66_000;
const LZMA_DECODER: usize = 31_000;
/// `MATCH_LEN_MAX`.
const LONGEST_MATCH: usize = 273;

/// `pending_buf_size` with the largest memory level is a quarter of it.
const MOST_PENDING: usize = 1 << 19;
const MOST_INPUT: usize = 1 << 40;
/// `LZMA_DICT_SIZE_MAX` is 4 GiB, and there is room for what is repeated.
const MOST_DICTIONARY: usize = (4 << 30) + (1 << 20);
/// With `2^31` as mask.
const MOST_HASHES: usize = (1 << 32) - 1;
/// liblzma's code is a quarter of it.
const MOST_CODE: usize = 1 << 19;
/// `LZMA_FILTERS_MAX` filters, and a container in a container.
const MOST_CODERS: usize = 8;
/// How far into a structure the next coder is looked for, and how much of it is read in all.
const NEXT_WORDS: usize = 12;
const CODER_WORDS: usize = 24;
/// Addresses of a process.
const LEAST: usize = 1 << 16;
const MOST: usize = 1 << 47;
