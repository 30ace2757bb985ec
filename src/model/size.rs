//! Byte sizes as people write and read them: `2.5GB` is 2,500,000,000 bytes, `2.5GiB` is
//! 2,684,354,560.

use crate::error::{Error, Result};

/// Parses `512MB`, `2.5 GiB` or a plain number of bytes.
///
/// # Errors
/// When the text is none of these, or is negative or too large.
pub fn parse(text: &str) -> Result<u64> {
    let wrong = || {
        Error::usage(format!(
            "{text:?} is not a size: write a number and a unit, as in 512MB or 2.5GB"
        ))
    };
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let scale: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * scale;
    if !(0.0..1e18).contains(&bytes) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in 0..1e18 just above"
    )]
    Ok(bytes.round() as u64)
}

/// `bytes` as it could have been typed, and no less exact: `2.5GB`, `16MiB`, or a plain number.
#[must_use]
pub fn exact(bytes: u64) -> String {
    let decimal = [
        (10_u64.pow(12), "TB"),
        (10_u64.pow(9), "GB"),
        (10_u64.pow(6), "MB"),
    ];
    for (unit, name) in decimal {
        if bytes >= unit && bytes.is_multiple_of(unit / 100) {
            let (whole, hundredths) = (bytes / unit, bytes % unit / (unit / 100));
            let fraction = format!(".{hundredths:02}");
            let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
            return format!("{whole}{fraction}{name}");
        }
    }
    for (shift, name) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let unit = 1_u64 << shift;
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// `bytes` with three significant digits and a decimal unit: `1.23 GB`.
#[must_use]
pub fn show(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    for unit in ["kB", "MB", "GB", "TB", "PB"] {
        value /= 1000.0;
        if value < 999.5 {
            let digits = if value < 9.995 {
                2
            } else {
                usize::from(value < 99.95)
            };
            return format!("{value:.digits$} {unit}");
        }
    }
    format!("{value:.0} PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        assert_eq!(parse("2.5GB").unwrap(), 2_500_000_000);
        assert_eq!(parse("512 mib").unwrap(), 536_870_912);
        assert_eq!(parse("17").unwrap(), 17);
        for text in ["", "GB", "-1GB", "1 furlong", "1e9", "..5GB"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for (bytes, text) in [
            (2_500_000_000, "2.5GB"),
            (1_000_000_000, "1GB"),
            (64_000_000, "64MB"),
            (1_230_000, "1.23MB"),
            (16_777_216, "16MiB"),
            (5_242_881, "5242881"),
            (0, "0"),
        ] {
            assert_eq!(exact(bytes), text);
            assert_eq!(parse(text).unwrap(), bytes);
        }
        assert_eq!(show(0), "0 B");
        assert_eq!(show(1_234_567), "1.23 MB");
        assert_eq!(show(99_960_000), "100 MB");
        assert_eq!(show(999_999_999), "1.00 GB");
    }
}
