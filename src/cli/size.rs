//! Numbers of octets as people write and read them: `50GB`, `1.5 GiB`. Knows nothing of what is counted.

/// Decimal units are powers of 1000, binary ones (with an i) of 1024. Larger ones first: writing takes the first that fits.
const UNITS: [(&str, u64); 9] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Reads `50GB`, `20GiB`, `1.5 TB`; a bare whole number is octets.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let error = || format!("{text:?} is not a size; write 50GB, 20GiB, or a number of octets");
    let text = text.trim();
    let letters = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..letters].trim(), &text[letters..]);
    let factor = match unit {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(error)?.1,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || number.ends_with('.') {
        return Err(error());
    }
    // Digits alone: parse() would take a sign.
    if !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(error());
    }
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let parts: u64 = format!("{fraction:0<9}").parse().map_err(|_| error())?;
    let parts = u128::from(parts) * u128::from(factor) / 1_000_000_000;
    let octets = u128::from(whole) * u128::from(factor) + parts;
    match i64::try_from(octets) {
        Ok(octets) => Ok(octets.unsigned_abs()),
        Err(_) => Err(format!("{text:?} is more than any counter holds")),
    }
}

/// Three digits and a decimal unit: `5.00 GB`, `312 MB`, `17 B`.
pub(super) fn format_size(octets: u64) -> String {
    // From 999.5 on a number would be written as 1000: that is the next unit's.
    let (name, factor) = UNITS[..4]
        .iter()
        .find(|(_, factor)| u128::from(octets) * 2000 >= u128::from(*factor) * 1999)
        .copied()
        .unwrap_or(("B", 1));
    if factor == 1 {
        return format!("{octets} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = octets as f64 / factor as f64;
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        for (text, octets) in [
            ("0", 0),
            ("1234", 1234),
            ("50GB", 50_000_000_000),
            ("20 GiB", 21_474_836_480),
            ("1.5 tb", 1_500_000_000_000),
            ("0.1KiB", 102),
            ("7 b", 7),
        ] {
            assert_eq!(parse_size(text), Ok(octets), "{text}");
        }
        for wrong in ["", "GB", "5 gallons", "-1", "1,5GB", "1.GB", ".5GB", "5 5GB", "1.5.2MB", "+3", "99999999TB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_written_with_three_digits() {
        for (octets, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (9_995_000, "10.0 MB"),
            (5_000_000_000, "5.00 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(format_size(octets), text);
        }
    }
}
