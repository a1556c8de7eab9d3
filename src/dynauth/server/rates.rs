//! How fast a session may be, from the attributes vendors have for it. Knows nothing of how it is enforced.

use serde::{Deserialize, Serialize};

use crate::radius::VendorAttribute;

const WISPR: u32 = 14_122;
const MIKROTIK: u32 = 14_988;
const ASCEND: u32 = 529;

/// Bits per second; what is absent has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// From the user.
    pub up: Option<u64>,
    /// To the user.
    pub down: Option<u64>,
}

/// What a request or an Access-Accept says of rates, bits per second: zero takes a limit away, what is absent stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateOrder {
    /// From the user.
    pub up: Option<u64>,
    /// To the user.
    pub down: Option<u64>,
}

/// Why an attribute gives no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRate {
    /// It is about something else.
    Foreign,
    /// It is about rates, but says nothing we understand.
    Malformed,
}

impl Rates {
    /// As they are after an order.
    #[must_use]
    pub fn after(self, order: RateOrder) -> Self {
        let merged = |order: Option<u64>, before| order.map_or(before, |rate| (rate > 0).then_some(rate));
        Self { up: merged(order.up, self.up), down: merged(order.down, self.down) }
    }
}

impl RateOrder {
    /// Takes up what one attribute says.
    pub(super) fn hear(&mut self, attribute: &VendorAttribute<'_>) -> Result<(), NoRate> {
        let name = match (attribute.vendor, attribute.kind) {
            (WISPR, 7) => "WISPr-Bandwidth-Max-Up",
            (WISPR, 8) => "WISPr-Bandwidth-Max-Down",
            (MIKROTIK, 8) => "Mikrotik-Rate-Limit",
            (ASCEND, 197) => "Ascend-Data-Rate",
            (ASCEND, 255) => "Ascend-Xmit-Rate",
            _ => return Err(NoRate::Foreign),
        };
        let understood = if attribute.vendor == MIKROTIK {
            std::str::from_utf8(attribute.value).is_ok_and(|text| self.hear_text(name, text))
        } else {
            let number = <[u8; 4]>::try_from(attribute.value).map(u32::from_be_bytes);
            number.is_ok_and(|number| self.hear_text(name, &number.to_string()))
        };
        if understood { Ok(()) } else { Err(NoRate::Malformed) }
    }

    /// The same from an attribute's name and value in text; false when that says no rate.
    pub fn hear_text(&mut self, name: &str, value: &str) -> bool {
        let number = || value.parse().ok();
        match (name, number()) {
            ("WISPr-Bandwidth-Max-Up" | "Ascend-Data-Rate", Some(rate)) => self.up = Some(rate),
            ("WISPr-Bandwidth-Max-Down" | "Ascend-Xmit-Rate", Some(rate)) => self.down = Some(rate),
            ("Mikrotik-Rate-Limit", _) => {
                // "rx[/tx] [burst ...]", seen from the router; one rate is for both ways. Bursts are our own business.
                let first = value.split_whitespace().next().unwrap_or_default();
                let (rx, tx) = first.split_once('/').unwrap_or((first, first));
                let (Some(rx), Some(tx)) = (with_suffix(rx), with_suffix(tx)) else { return false };
                (self.up, self.down) = (Some(rx), Some(tx));
            }
            _ => return false,
        }
        true
    }
}

/// `512k`, `10M`, or a plain number.
fn with_suffix(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1_000),
        b'm' | b'M' => (&text[..text.len() - 1], 1_000_000),
        b'g' | b'G' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(vendor: u32, kind: u8, value: &[u8]) -> Result<RateOrder, NoRate> {
        let mut rates = RateOrder::default();
        rates.hear(&VendorAttribute { vendor, kind, value }).map(|()| rates)
    }

    #[test]
    fn each_vendor_is_understood() {
        let rates = |up, down| Ok(RateOrder { up, down });
        assert_eq!(heard(WISPR, 7, &1_000_000_u32.to_be_bytes()), rates(Some(1_000_000), None));
        assert_eq!(heard(WISPR, 8, &0_u32.to_be_bytes()), rates(None, Some(0)));
        assert_eq!(heard(ASCEND, 255, &64_000_u32.to_be_bytes()), rates(None, Some(64_000)));
        assert_eq!(heard(MIKROTIK, 8, b"512k/10M 1M/20M"), rates(Some(512_000), Some(10_000_000)));
        assert_eq!(heard(MIKROTIK, 8, b"2M"), rates(Some(2_000_000), Some(2_000_000)));
        for wrong in [&b"fast"[..], b"", b"1M/", b"\xff", b"99999999999G"] {
            assert_eq!(heard(MIKROTIK, 8, wrong), Err(NoRate::Malformed), "{wrong:?}");
        }
        assert_eq!(heard(WISPR, 7, b"abc"), Err(NoRate::Malformed));
        assert_eq!(heard(MIKROTIK, 3, b"group"), Err(NoRate::Foreign));
    }

    #[test]
    fn what_is_not_mentioned_stays() {
        let before = Rates { up: Some(5), down: Some(6) };
        let after = before.after(RateOrder { up: Some(7), down: None });
        assert_eq!(after, Rates { up: Some(7), down: Some(6) });
        assert_eq!(after.after(RateOrder { up: None, down: Some(0) }), Rates { up: Some(7), down: None });
    }
}
