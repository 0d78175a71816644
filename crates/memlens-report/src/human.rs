//! Numbers as people read them. Each has three significant digits, so that a column is narrow and aligned.

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `0 B`, `1023 B`, `1.00 KiB`, `95.4 MiB`, `512 GiB`: at most eight characters.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be rounded to 1024 belongs to the next unit.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{} {unit}", three_digits(value))
}

/// The same with a sign.
pub(crate) fn signed_bytes(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", bytes(value.unsigned_abs()))
}

/// `999`, `1.23k`, `45.6M`: at most five characters below 10^15.
pub(crate) fn short_count(count: u64) -> String {
    if count < 1000 {
        return count.to_string();
    }
    let mut value = count as f64;
    let mut unit = "";
    for larger in ["k", "M", "G", "T", "P", "E"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    format!("{}{unit}", three_digits(value))
}

/// `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 block`, `2,000 blocks`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `12.3%`; `100%`; `<0.1%` for what is little but not nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0%".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        percent if percent < 0.1 => "<0.1%".to_owned(),
        percent if percent < 99.95 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

/// `0.25 ms`, `340 ms`, `1.50 s`, `2 min 5 s`, `3 h 12 min`.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match nanoseconds / 1_000_000_000 {
        0 if seconds < 0.9995 => format!("{} ms", three_digits(seconds * 1e3)),
        0..100 => format!("{} s", three_digits(seconds)),
        whole @ 100..3600 => format!("{} min {} s", whole / 60, whole % 60),
        whole => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_and_an_iec_unit() {
        for (value, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_234, "9.99 KiB"),
            (10_239, "10.0 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_575, "1.00 MiB"),
            (100_000_000, "95.4 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(signed_bytes(-2048), "-2.00 KiB");
        assert_eq!(signed_bytes(i64::MIN), "-8.00 EiB");
    }

    #[test]
    fn counts_shares_and_times() {
        assert_eq!(short_count(999), "999");
        assert_eq!(short_count(12_345), "12.3k");
        assert_eq!(short_count(999_999), "1.00M");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "block"), "1 block");
        assert_eq!(share(1, 3), "33.3%");
        assert_eq!(share(1, 1_000_000), "<0.1%");
        assert_eq!(share(5, 5), "100%");
        assert_eq!(share(5, 0), "0%");
        assert_eq!(duration(340_000_000), "340 ms");
        assert_eq!(duration(1_500_000_000), "1.50 s");
        assert_eq!(duration(125_000_000_000), "2 min 5 s");
        assert_eq!(duration(11_520_000_000_000), "3 h 12 min");
    }
}
