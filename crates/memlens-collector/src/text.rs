//! Python strings as the interpreter stores them, to UTF-8.

/// Decodes `bytes` of code points of `width` bytes each (1: Latin-1, 2: UCS-2, 4: UCS-4, native order). What is no Unicode
/// scalar value (a lone surrogate, as in an undecodable file name; damage) becomes U+FFFD. `None` for any other width.
pub fn decode(bytes: &[u8], width: u32) -> Option<String> {
    match width {
        1 => Some(latin1(bytes)),
        2 => Some(scalars(bytes.chunks_exact(2).map(|unit| u32::from(u16::from_ne_bytes([unit[0], unit[1]]))))),
        4 => Some(scalars(bytes.chunks_exact(4).map(|unit| u32::from_ne_bytes([unit[0], unit[1], unit[2], unit[3]])))),
        _ => None,
    }
}

fn latin1(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => text.to_owned(),
        _ => bytes.iter().copied().map(char::from).collect(),
    }
}

fn scalars(code_points: impl Iterator<Item = u32>) -> String {
    code_points.map(|code_point| char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width() {
        assert_eq!(decode(b"caf\xe9", 1).unwrap(), "café");
        let ucs2: Vec<u8> = [0x4e2du16, 0xdc80, 0x41].iter().flat_map(|unit| unit.to_ne_bytes()).collect();
        assert_eq!(decode(&ucs2, 2).unwrap(), "中\u{fffd}A");
        let ucs4: Vec<u8> = [0x1f600u32, 0x11_0000].iter().flat_map(|unit| unit.to_ne_bytes()).collect();
        assert_eq!(decode(&ucs4, 4).unwrap(), "😀\u{fffd}");
        assert_eq!(decode(b"x", 3), None);
    }
}
