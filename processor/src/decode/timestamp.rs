//! Timestamps as Debezium writes them: ISO 8601 with any year, or `infinity`.
//!
//! Postgres' `timestamptz` reaches from 4713 BC to 294276 AD, further than most libraries (and further than
//! microseconds in 64 bits), so seconds and microseconds are kept apart.

/// The value of a `timestamptz` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timestamp {
    /// `-infinity`: before all times.
    NegativeInfinity,
    /// A time.
    At {
        /// Whole seconds since 1970 UTC, rounded down.
        secs: i64,
        /// Microseconds on top, below 1,000,000.
        micros: u32,
    },
    /// `infinity`: after all times.
    Infinity,
}

impl Timestamp {
    /// Reads `infinity`, `-infinity` or `[+-]YYYY-MM-DDTHH:MM:SS[.f…](Z|±HH[:MM[:SS]])`; years of four digits or more,
    /// astronomical (year 0 is 1 BC). Finer than a microsecond is cut off. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "infinity" => return Some(Self::Infinity),
            "-infinity" => return Some(Self::NegativeInfinity),
            _ => {}
        }
        let mut cursor = Cursor(text.as_bytes());
        let negative = cursor.sign().unwrap_or(false);
        let year = i64::from(cursor.digits(4, 6)?);
        let year = if negative { -year } else { year };
        cursor.literal(b'-')?;
        let month = cursor.two(1, 12)?;
        cursor.literal(b'-')?;
        let day = cursor.two(1, 31)?;
        if day > days_in(year, month) {
            return None;
        }
        cursor.one_of(b"Tt ")?;
        let hour = cursor.two(0, 23)?;
        cursor.literal(b':')?;
        let minute = cursor.two(0, 59)?;
        cursor.literal(b':')?;
        let second = cursor.two(0, 59)?;
        let micros = cursor.fraction()?;
        let offset = cursor.offset()?;
        let of_day = i64::from(hour * 3600 + minute * 60 + second);
        let secs = days_from_civil(year, month, day) * 86_400 + of_day - offset;
        cursor.0.is_empty().then_some(Self::At { secs, micros })
    }
}

/// Writes microseconds since 1970 as `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
pub fn format_micros(us: i64) -> String {
    let (secs, micros) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in eras of 400 years from 1 March.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let from_march = i64::from((month + 9) % 12);
    let of_year = (153 * from_march + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day counted from 1970-01-01; the inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        self.next().filter(|byte| wanted.contains(byte))
    }

    fn literal(&mut self, wanted: u8) -> Option<()> {
        self.one_of(&[wanted]).map(|_| ())
    }

    /// A sign, if there is one: whether it is a minus.
    fn sign(&mut self) -> Option<bool> {
        let (first, rest) = self.0.split_first()?;
        matches!(first, b'+' | b'-').then(|| {
            self.0 = rest;
            *first == b'-'
        })
    }

    /// A run of `least` to `most` digits; most is below ten, so the value fits.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let length = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (run, rest) = self.0.split_at_checked(length).filter(|_| length >= least)?;
        self.0 = rest;
        Some(run.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    }

    fn two(&mut self, low: u32, high: u32) -> Option<u32> {
        self.digits(2, 2).filter(|value| (low..=high).contains(value))
    }

    /// `.f…`, if there: the first six digits as microseconds, the rest cut off.
    fn fraction(&mut self) -> Option<u32> {
        let Some((b'.', rest)) = self.0.split_first() else {
            return Some(0);
        };
        self.0 = rest;
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (run, rest) = self.0.split_at_checked(length).filter(|_| length > 0)?;
        self.0 = rest;
        let padded = run.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        Some(padded.fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    }

    /// `Z` or `±HH[:MM[:SS]]`, in seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        if matches!(self.0.first(), Some(b'Z' | b'z')) {
            self.next();
            return Some(0);
        }
        let negative = self.sign()?;
        let mut seconds = i64::from(self.two(0, 23)?) * 3600;
        for unit in [60, 1] {
            if self.0.is_empty() {
                break;
            }
            self.literal(b':')?;
            seconds += i64::from(self.two(0, 59)?) * unit;
        }
        Some(if negative { -seconds } else { seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(text: &str) -> Option<(i64, u32)> {
        match Timestamp::parse(text)? {
            Timestamp::At { secs, micros } => Some((secs, micros)),
            _ => None,
        }
    }

    #[test]
    fn reads_what_debezium_writes() {
        // Each value as Postgres' `extract(epoch from …)` gives it.
        let table = [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2026-11-21T03:00:00.123456Z", (1_795_230_000, 123_456)),
            ("1999-12-31T23:59:59.999999Z", (946_684_799, 999_999)),
            ("2026-11-21T05:00:00+02:00", (1_795_230_000, 0)),
            ("0001-01-01T00:00:00Z", (-62_135_596_800, 0)),
            ("+294276-12-31T23:59:59.999999Z", (9_224_318_015_999, 999_999)),
            ("-4712-01-01T00:00:00Z", (-210_863_520_000, 0)),
            ("2024-02-29T12:00:00.5Z", (1_709_208_000, 500_000)),
        ];
        for (text, expected) in table {
            assert_eq!(secs(text), Some(expected), "{text}");
        }
        assert_eq!(Timestamp::parse("infinity"), Some(Timestamp::Infinity));
        assert_eq!(Timestamp::parse("-infinity"), Some(Timestamp::NegativeInfinity));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T03:00:00",
            "2026-11-21T03:00:00.Z",
            "2026-11-21T03:00:00Zx",
            "26-11-21T03:00:00Z",
            "+",
            "-",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn is_ordered_in_time() {
        let at = |secs, micros| Timestamp::At { secs, micros };
        assert!(Timestamp::NegativeInfinity < at(i64::MIN, 0));
        assert!(at(1, 999_999) < at(2, 0) && at(2, 0) < at(2, 1));
        assert!(at(i64::MAX, 0) < Timestamp::Infinity);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(us in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
            let expected = (us.div_euclid(1_000_000), u32::try_from(us.rem_euclid(1_000_000)).expect("small"));
            prop_assert_eq!(secs(&format_micros(us)), Some(expected));
        }

        #[test]
        fn days_count_up_one_by_one(day in -3_000_000i64..110_000_000) {
            let (y, m, d) = civil_from_days(day);
            let back = days_from_civil(y, u32::try_from(m).expect("month"), u32::try_from(d).expect("day"));
            prop_assert_eq!(back, day);
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = Timestamp::parse(&text);
        }
    }
}
