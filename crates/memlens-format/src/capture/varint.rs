//! Integers of variable length, and the payloads made of them.
//!
//! ```text
//!  first byte   length   bits of the number, little-endian, from the lowest
//!  xxxxxxx1        1      7
//!  xxxxxx10        2     14
//!  …                      7 more for each byte
//!  10000000        8     56
//!  00000000        9     64, in the eight bytes that follow
//! ```
//! The length stands in the first byte, so that no step depends on guessing it, as it does in LEB128, where each byte says whether
//! another follows.
//!
//! A signed number is folded first (0, -1, 1, -2, … become 0, 1, 2, 3, …), so that small differences stay small in either
//! direction.
use super::decode::DecodeErrorKind;
use alloc::string::String;
use alloc::vec::Vec;

/// Folds a signed number into an unsigned one.
pub(super) fn fold(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The opposite of [`fold`].
pub(super) fn unfold(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// The number in the first `length` (1 to 8) bytes of `word`.
#[inline]
fn unpack(word: u64, length: usize) -> u64 {
    (word << (64 - 8 * length)) >> (64 - 7 * length)
}

/// Longest encoded integer.
const LONGEST: usize = 9;

/// Bytes by which a writer's buffer grows at least, so that it seldom has to.
const GROWTH: usize = 4096;

/// Collects the payload of a section.
#[derive(Default)]
pub(super) struct PayloadWriter {
    /// Zeros beyond `length`: room that an integer can be stored into without a check for each byte.
    bytes: Vec<u8>,
    length: usize,
}

impl PayloadWriter {
    /// A writer with room for `bytes`.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: alloc::vec![0; bytes + LONGEST], length: 0 }
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.length);
        self.bytes
    }

    /// Room for `bytes` more, and for one integer after them.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, bytes: usize) {
        let least = self.length + bytes + GROWTH;
        self.bytes.resize(least.max(self.bytes.len() * 2), 0);
    }

    /// One byte as it is.
    #[inline]
    pub(super) fn byte(&mut self, value: u8) {
        if self.length == self.bytes.len() {
            self.grow(1);
        }
        self.bytes[self.length] = value;
        self.length += 1;
    }

    /// An unsigned integer.
    // Budget: no branch that depends on the number, but for those above 2^56.
    #[inline]
    pub(super) fn u64(&mut self, value: u64) {
        if self.bytes.len() - self.length < LONGEST {
            self.grow(LONGEST);
        }
        let bits = 64 - (value | 1).leading_zeros() as usize;
        let room = &mut self.bytes[self.length..self.length + LONGEST];
        if bits > 56 {
            room[0] = 0;
            room[1..].copy_from_slice(&value.to_le_bytes());
            self.length += LONGEST;
            return;
        }
        let length = bits.div_ceil(7);
        let word = (value << length) | (1 << (length - 1));
        room[..8].copy_from_slice(&word.to_le_bytes());
        self.length += length;
    }

    /// A signed integer.
    #[inline]
    pub(super) fn i64(&mut self, value: i64) {
        self.u64(fold(value));
    }

    /// A length.
    pub(super) fn count(&mut self, value: usize) {
        self.u64(value as u64);
    }

    /// A string: its length in bytes, then its UTF-8.
    pub(super) fn string(&mut self, value: &str) {
        self.count(value.len());
        let end = self.length + value.len();
        if end > self.bytes.len() {
            self.grow(value.len());
        }
        self.bytes[self.length..end].copy_from_slice(value.as_bytes());
        self.length = end;
    }

    /// A list of strings: how many, then each.
    pub(super) fn strings(&mut self, values: &[String]) {
        self.count(values.len());
        for value in values {
            self.string(value);
        }
    }
}

/// Takes a payload apart. Every method checks what it reads; none allocates more than the payload can fill.
pub(super) struct PayloadReader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> PayloadReader<'a> {
    /// A reader at the first byte.
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    /// Where the next byte stands.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.payload.len() - self.at
    }

    /// One byte as it is.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, DecodeErrorKind> {
        let byte = *self.payload.get(self.at).ok_or(DecodeErrorKind::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    /// An unsigned integer.
    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, DecodeErrorKind> {
        let Some(&[a, b, c, d, e, f, g, h]) = self.payload.get(self.at..self.at + 8) else {
            return self.u64_near_end();
        };
        let word = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let length = a.trailing_zeros() as usize + 1;
        if length > 8 {
            return self.u64_near_end();
        }
        self.at += length;
        Ok(unpack(word, length))
    }

    /// The same where eight bytes ahead cannot be read at once, or where the number has nine.
    #[cold]
    #[inline(never)]
    fn u64_near_end(&mut self) -> Result<u64, DecodeErrorKind> {
        let rest = &self.payload[self.at..];
        let length = rest.first().ok_or(DecodeErrorKind::Truncated)?.trailing_zeros() as usize + 1;
        let bytes = rest.get(..length).ok_or(DecodeErrorKind::Truncated)?;
        let mut word = [0; 8];
        let number = if length == LONGEST { &bytes[1..] } else { bytes };
        word[..number.len()].copy_from_slice(number);
        let word = u64::from_le_bytes(word);
        self.at += length;
        Ok(if length == LONGEST { word } else { unpack(word, length) })
    }

    /// A signed integer.
    #[inline]
    pub(super) fn i64(&mut self) -> Result<i64, DecodeErrorKind> {
        self.u64().map(unfold)
    }

    /// An unsigned integer that fits 32 bits.
    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, DecodeErrorKind> {
        u32::try_from(self.u64()?).map_err(|_| DecodeErrorKind::NumberTooLarge)
    }

    /// A number of rows that take at least `row_bytes` each: no more than the rest of the payload can hold.
    pub(super) fn count(&mut self, row_bytes: usize) -> Result<usize, DecodeErrorKind> {
        let count = self.u64()?;
        let most = (self.remaining() / row_bytes.max(1)).min(super::MAX_ROWS);
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(DecodeErrorKind::TooMany),
        }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<String, DecodeErrorKind> {
        let length = usize::try_from(self.u64()?).map_err(|_| DecodeErrorKind::Truncated)?;
        let end = self.at.checked_add(length).ok_or(DecodeErrorKind::Truncated)?;
        let bytes = self.payload.get(self.at..end).ok_or(DecodeErrorKind::Truncated)?;
        let text = core::str::from_utf8(bytes).map_err(|_| DecodeErrorKind::NotUtf8)?;
        self.at = end;
        Ok(String::from(text))
    }

    /// A list of strings.
    pub(super) fn strings(&mut self) -> Result<Vec<String>, DecodeErrorKind> {
        let count = self.count(1)?;
        (0..count).map(|_| self.string()).collect()
    }
}
