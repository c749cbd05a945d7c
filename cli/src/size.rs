//! Numbers of bytes as people write and read them.

/// Reads `4096`, `64KiB`, `2.5GiB`, `90MB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        other => return Err(format!("'{other}' is no unit of bytes; expected KiB, MiB, GiB, kB, MB or GB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{text}' is no number of bytes"))?;
    let bytes = number * factor as f64;
    // 2^53: below it every whole number of bytes is exact.
    if bytes.is_finite() && (1.0..9e15).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(format!("'{text}' is out of range"))
    }
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
    fn sizes_are_read_and_written() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("2.5GiB"), Ok(2_684_354_560));
        assert_eq!(parse_bytes("90MB"), Ok(90_000_000));
        assert_eq!(parse_bytes("1 KiB"), Ok(1024));
        for bad in ["", "x", "-1", "0", "1XB", "1e400", "9999TB", ".", "1.2.3"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(show_bytes(17), "17 B");
        assert_eq!(show_bytes(1 << 20), "1.0 MiB");
    }
}
