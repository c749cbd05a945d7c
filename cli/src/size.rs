//! Numbers of bytes as people write and read them.

/// What a size may look like, for messages.
const EXPECTED: &str = "a number and a unit, such as 4096, 512m, 2g, 1.5GiB (powers of 1024), 90MB or 2GB (powers of 1000)";

/// Reads `4096`, `1e9`, `512m`, `2g`, `2Gi`, `1.5 GiB`, `90MB`, in either case.
///
/// A letter alone is a power of 1024, as for docker, llama.cpp and ulimit; so is one with `i` or
/// `iB`, as for kubectl. Only `kB`, `MB`, `GB` and `TB` are powers of 1000, as their names say.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let refused = || format!("'{text}' is no number of bytes; expected {EXPECTED}");
    let (number, unit) = split(text.trim()).ok_or_else(refused)?;
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        unit => return Err(format!("'{unit}' is no unit of bytes; expected {EXPECTED}")),
    };
    let bytes = number * factor as f64;
    // 2^53: below it every whole number of bytes is exact.
    if (1.0..9e15).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(format!("'{text}' is out of range; expected 1 to 8 PiB"))
    }
}

/// A number at the beginning, such as 2, 1.5 or 1e9, and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let digits = |text: &str| {
        text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len()
    };
    let whole = digits(text);
    let mut end = whole;
    if let Some(fraction) = text[end..].strip_prefix('.') {
        end += 1 + digits(fraction);
    }
    // A power of ten: no unit begins with this letter.
    if let Some(power) = text[end..].strip_prefix(['e', 'E']) {
        let unsigned = power.strip_prefix('+').unwrap_or(power);
        let length = digits(unsigned);
        if length > 0 {
            end += 1 + power.len() - unsigned.len() + length;
        }
    }
    let number = text[..end].parse().ok()?;
    (whole > 0).then_some((number, &text[end..]))
}

/// Writes bytes with three digits and a binary unit.
pub fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let gibi = 1 << 30;
        let cases = [
            ("4096", 4096),
            ("4096B", 4096),
            ("1e9", 1_000_000_000),
            ("1E+9", 1_000_000_000),
            ("1.5e3", 1500),
            ("64KiB", 64 << 10),
            ("1 KiB", 1024),
            ("512m", 512 << 20),
            ("2g", 2 * gibi),
            ("2G", 2 * gibi),
            ("2Gi", 2 * gibi),
            ("2gib", 2 * gibi),
            ("2 GiB", 2 * gibi),
            ("2.5GiB", 2_684_354_560),
            ("2GB", 2_000_000_000),
            ("2 GB", 2_000_000_000),
            ("2gb", 2_000_000_000),
            ("90MB", 90_000_000),
            ("10kB", 10_000),
            ("1t", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in [
            "", " ", "x", "-1", "0", "1XB", "1e400", "9999TB", ".", ".5", "1.2.3", "1e", "g",
            "2 g b", "0x10",
        ] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_short() {
        assert_eq!(show_bytes(17), "17 B");
        assert_eq!(show_bytes(1 << 20), "1.0 MiB");
    }
}
