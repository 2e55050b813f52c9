//! What to generate, in types that can't be wrong. Each reads itself from the text of an option.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Changes a second. Slower is no load, faster is more than one Postgres takes.
const RATES: RangeInclusive<f64> = 0.01..=1_000_000.0;
/// 0 makes all contents alike; with 4 the first has nine tenths of everything.
const EXPONENTS: RangeInclusive<f64> = 0.0..=4.0;
/// What is updated and deleted has to come from somewhere: at least so many of the changes are inserts ...
const FEWEST_INSERTS: f64 = 0.1;
/// ... and there are at most so many deletes for each, else the rows run out and the shares can't hold.
const MOST_DELETED: f64 = 0.8;
/// Tenths are no numbers of a computer.
const ROUNDING: f64 = 1e-9;
/// More contents than leaderboards have members, and still a moment's work to make.
pub(super) const MOST_CONTENTS: u32 = 100_000;
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why an option can't be used, and what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionError(String);

/// What to generate.
#[derive(Debug, Clone)]
pub struct Load {
    /// How many changes come in a second, on the average.
    pub rate: Rate,
    /// No change comes later than this after the start.
    pub duration: Option<Length>,
    /// After how many inserted rows to stop.
    pub rows: Option<u64>,
    /// The same seed gives the same changes.
    pub seed: u64,
    /// How many contents to make and use; those that are there where it is not given.
    pub contents: Option<ContentCount>,
    /// How unevenly contents are liked.
    pub exponent: Exponent,
    /// What every row's `device` says; a mixture where it is not given.
    pub device: Option<String>,
    /// What part of the changes is special.
    pub shares: Shares,
}

fn number(text: &str, range: &RangeInclusive<f64>, what: &str) -> Result<f64, OptionError> {
    let number = text.trim().parse::<f64>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| OptionError(format!("give {what} from {} to {}", range.start(), range.end())))
}

/// Changes a second: 0.01 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// Changes a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        number(text, &RATES, "changes a second").map(Self)
    }
}

/// A part of the whole: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    /// From 0 to 1.
    #[must_use]
    pub fn part(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        number(text, &(0.0..=1.0), "a part of the whole, as 0.1 for a tenth:").map(Self)
    }
}

/// How unevenly contents are liked: 0 (all alike) to 4; 1 is Zipf's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponent(f64);

impl Exponent {
    /// The number itself.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Exponent {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        number(text, &EXPONENTS, "an exponent").map(Self)
    }
}

/// How many contents to make: 1 to 100,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentCount(NonZeroU32);

impl ContentCount {
    /// The number itself.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for ContentCount {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let count = text.trim().parse::<NonZeroU32>().ok().filter(|count| count.get() <= MOST_CONTENTS);
        count.map(Self).ok_or_else(|| OptionError(format!("give a whole number from 1 to {MOST_CONTENTS}")))
    }
}

/// A length of time: a number of seconds, or with a unit `ms`, `s`, `min` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(Duration);

impl Length {
    /// The duration: more than nothing, at most a year.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Length {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_s = match text.strip_prefix(digits).unwrap_or_default() {
            "ms" => Some(0.001),
            "" | "s" => Some(1.0),
            "min" => Some(60.0),
            "h" => Some(3600.0),
            _ => None,
        };
        let seconds = digits.trim_end().parse::<f64>().ok().zip(unit_s).map(|(number, unit)| number * unit);
        let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let length = length.filter(|length| !length.is_zero() && *length <= LONGEST);
        let remedy = "give seconds, or a number with ms, s, min or h, up to a year: 30, 90s, 5min, 2h";
        length.map(Self).ok_or_else(|| OptionError(remedy.to_owned()))
    }
}

/// What part of the changes is special.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    null: Share,
    late: Share,
    update: Share,
    delete: Share,
}

impl Shares {
    /// Of the rows those without a duration and those that come late; of the changes updates and deletes.
    ///
    /// # Errors
    /// Too few inserts would be left.
    pub fn new(null: Share, late: Share, update: Share, delete: Share) -> Result<Self, OptionError> {
        let inserts = 1.0 - update.part() - delete.part();
        if inserts < FEWEST_INSERTS - ROUNDING {
            return Err(OptionError(format!(
                "--update-share and --delete-share are {:.2} of the changes together: give at most {:.1}, the rest are the \
                 inserts without which there is nothing to update and delete",
                1.0 - inserts,
                1.0 - FEWEST_INSERTS
            )));
        }
        if delete.part() > inserts * MOST_DELETED + ROUNDING {
            return Err(OptionError(format!(
                "a --delete-share of {} goes through the rows faster than they come (inserts are {inserts:.2} of the \
                 changes): give at most {:.3} with this --update-share",
                delete.part(),
                // So much that it is just allowed.
                (1.0 - update.part()) * MOST_DELETED / (1.0 + MOST_DELETED) - 0.0005
            )));
        }
        Ok(Self { null, late, update, delete })
    }

    pub(super) fn null(self) -> f64 {
        self.null.part()
    }

    pub(super) fn late(self) -> f64 {
        self.late.part()
    }

    pub(super) fn update(self) -> f64 {
        self.update.part()
    }

    pub(super) fn delete(self) -> f64 {
        self.delete.part()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<f64> {
        text.parse::<Length>().ok().map(|length| length.duration().as_secs_f64())
    }

    #[test]
    fn lengths_have_units_or_are_seconds() {
        assert_eq!(seconds("30"), Some(30.0));
        assert_eq!(seconds("1.5"), Some(1.5));
        assert_eq!(seconds("250ms"), Some(0.25));
        assert_eq!(seconds(" 90 s "), Some(90.0));
        assert_eq!(seconds("5min"), Some(300.0));
        assert_eq!(seconds("2h"), Some(7200.0));
        for wrong in ["", "0", "-1", "5m", "min", "NaN", "inf", "1e300", "9000h", "1 2"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        for wrong in ["0", "0.009", "1000001", "-5", "NaN", "inf", "fast", ""] {
            let error = wrong.parse::<Rate>().unwrap_err();
            assert!(error.to_string().contains("0.01 to 1000000"), "{wrong}: {error}");
        }
        for wrong in ["-0.1", "1.1", "10%", "NaN"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
        for wrong in ["0", "100001", "-1", "1.5"] {
            assert!(wrong.parse::<ContentCount>().is_err(), "{wrong}");
        }
        for wrong in ["-1", "4.1", "NaN"] {
            assert!(wrong.parse::<Exponent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_must_come_faster_than_they_go() {
        let share = |text: &str| text.parse::<Share>().unwrap();
        let shares = |update, delete| Shares::new(share("0"), share("0"), share(update), share(delete));
        assert!(shares("0.9", "0").is_ok());
        assert!(shares("0", "0.444").is_ok());
        assert!(shares("0.1", "0.4").is_ok());
        let error = shares("0.6", "0.31").unwrap_err();
        assert!(error.to_string().contains("at most 0.9"), "{error}");
        let error = shares("0", "0.5").unwrap_err();
        assert!(error.to_string().contains("at most 0.444"), "{error}");
    }
}
