//! Exact decimals of few places, for values that must equal Postgres' to the last digit.

use std::fmt;

/// `units` of 10^-`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// The value in units of the last place.
    pub units: i64,
    /// How many digits stand behind the point; at most 9.
    pub places: u8,
}

impl Decimal {
    /// `numerator / denominator` rounded half away from zero, as Postgres' `round(numeric, places)` does; `None` where
    /// the denominator is not above zero or the result does not fit.
    pub fn ratio(numerator: i64, denominator: i64, places: u8) -> Option<Self> {
        if denominator <= 0 || places > 9 {
            return None;
        }
        let denominator = i128::from(denominator);
        let scaled = i128::from(numerator) * 10i128.pow(u32::from(places));
        let rounded = (2 * scaled.abs() + denominator) / (2 * denominator);
        let units = i64::try_from(rounded * scaled.signum()).ok()?;
        Some(Self { units, places })
    }
}

/// The longest text: 19 digits, a sign, a point and zeros before it, within what is aligned.
const LONGEST: usize = 24;

impl Decimal {
    /// Appends the shortest decimal text, a JSON number: `8`, `0.0044`, `-1.5`.
    pub fn write(self, out: &mut Vec<u8>) {
        let (text, unused) = self.digits();
        out.extend_from_slice(text.get(unused..).unwrap_or_default());
    }

    /// The text at the end of so many bytes, and how many stand unused before it.
    fn digits(self) -> ([u8; LONGEST], usize) {
        let (mut units, mut places) = (self.units.unsigned_abs(), self.places);
        while places > 0 && units % 10 == 0 {
            units /= 10;
            places -= 1;
        }
        // Digit by digit from the last to the first, into the end of the longest text: it is written with every event.
        let mut text = [b'0'; LONGEST];
        let (mut written, mut rest) = (0, text.iter_mut().rev());
        while units > 0 || written <= places {
            if written == places && places > 0 {
                rest.next().into_iter().for_each(|byte| *byte = b'.');
            }
            let digit = u8::try_from(units % 10).unwrap_or_default();
            rest.next().into_iter().for_each(|byte| *byte = b'0' + digit);
            units /= 10;
            written += 1;
        }
        if self.units < 0 {
            rest.next().into_iter().for_each(|byte| *byte = b'-');
        }
        let unused = rest.len();
        (text, unused)
    }
}

/// As [`Decimal::write`].
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, unused) = self.digits();
        let text = text.get(unused..).and_then(|text| std::str::from_utf8(text).ok());
        f.write_str(text.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounds_half_away_from_zero() {
        let text = |n, d| Decimal::ratio(n, d, 4).map(|x| x.to_string());
        assert_eq!(text(1, 20_000).as_deref(), Some("0.0001"), "a tie goes up");
        assert_eq!(text(-1, 20_000).as_deref(), Some("-0.0001"), "a tie below zero goes down");
        assert_eq!(text(1, 20_001).as_deref(), Some("0"));
        assert_eq!(text(8000, 1_800_000).as_deref(), Some("0.0044"));
        assert_eq!(text(3, 2).as_deref(), Some("1.5"));
        assert_eq!(text(0, 5).as_deref(), Some("0"));
        assert_eq!(text(1, 0), None);
        assert_eq!(text(1, -1), None);
        assert_eq!(text(i64::MAX, 1), None, "what does not fit is no number at all");
    }

    proptest! {
        /// No rounding to four places lies further off than half a unit, and none at exactly half is nearer to zero.
        #[test]
        fn is_the_nearest_decimal(n in -2_147_483_648i64..=2_147_483_647, d in 1i64..=2_147_483_647_000) {
            let got = Decimal::ratio(n, d, 4).expect("fits");
            let error = (i128::from(got.units) * i128::from(d) - i128::from(n) * 10_000).abs() * 2;
            prop_assert!(error <= i128::from(d));
            if error == i128::from(d) {
                prop_assert!(i128::from(got.units.unsigned_abs()) * i128::from(d) > i128::from(n.unsigned_abs()) * 10_000);
            }
        }

        #[test]
        fn is_written_so_that_it_reads_back(units in any::<i64>(), places in 0u8..=9) {
            let text = Decimal { units, places }.to_string();
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            let padded = format!("{whole}{fraction:0<width$}", width = usize::from(places));
            prop_assert_eq!(padded.parse::<i128>().expect("digits"), i128::from(units));
            prop_assert!(!fraction.ends_with('0'));
        }
    }
}
