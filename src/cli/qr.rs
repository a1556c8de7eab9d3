//! QR codes in a terminal. Knows nothing of what they say.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::failure::Failure;

/// The text as a QR code of half blocks, for a terminal with light letters on dark: what is dark in it is the terminal's own ground.
pub(super) fn half_blocks(text: &str) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|error| Failure::failed(format!("this cannot be a QR code: {error}")))?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rows_of_modules_are_one_line() {
        let lines: Vec<usize> =
            half_blocks("otpauth://totp/x").unwrap().lines().map(|line| line.chars().count()).collect();
        // Version 1 has 21 modules, and four of quiet zone on each side.
        assert_eq!(lines.len(), 29_usize.div_ceil(2));
        assert!(lines.iter().all(|columns| *columns == 29));
    }
}
