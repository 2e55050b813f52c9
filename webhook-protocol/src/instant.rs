//! Instants on the wire: RFC 3339 in UTC with microseconds, `2026-11-21T03:00:00.123456Z`; in memory, microseconds
//! since the Unix epoch.

use std::ops::RangeInclusive;

const US_PER_S: i64 = 1_000_000;
const S_PER_DAY: i64 = 86_400;
/// RFC 3339 has four digits for the year: 0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z.
const REPRESENTABLE_US: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// Writes an instant. One outside the years 0000 to 9999 becomes the nearest inside.
#[must_use]
pub fn format_instant(unix_us: i64) -> String {
    String::from_utf8_lossy(&instant_text(unix_us)).into_owned()
}

/// The text of [`format_instant`], ASCII, without an allocation: it is written with every event.
#[must_use]
pub fn instant_text(unix_us: i64) -> [u8; 27] {
    let unix_us = unix_us.clamp(*REPRESENTABLE_US.start(), *REPRESENTABLE_US.end());
    let unix_s = unix_us.div_euclid(US_PER_S);
    let (year, month, day) = date_of(unix_s.div_euclid(S_PER_DAY));
    let small = |number: i64| u32::try_from(number).unwrap_or_default();
    let (year, us) = (small(year), small(unix_us.rem_euclid(US_PER_S)));
    let second_of_day = small(unix_s.rem_euclid(S_PER_DAY));
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let pairs = [
        (0, year / 100),
        (2, year % 100),
        (5, small(month)),
        (8, small(day)),
        (11, second_of_day / 3600),
        (14, second_of_day / 60 % 60),
        (17, second_of_day % 60),
        (20, us / 10_000),
        (22, us / 100 % 100),
        (24, us % 100),
    ];
    for (at, number) in pairs {
        if let Some([tens, ones]) = text.get_mut(at..at + 2) {
            *tens += u8::try_from(number / 10).unwrap_or_default();
            *ones += u8::try_from(number % 10).unwrap_or_default();
        }
    }
    text
}

/// Reads an instant with any offset and up to nine decimals (beyond microseconds they are cut off); `None` where the
/// text is none.
#[must_use]
pub fn parse_instant(text: &str) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = time.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let (us, offset) = fraction_us(rest)?;
    let offset_s = offset_s(offset)?;
    let valid = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let second_of_day = hour * 3600 + minute * 60 + second;
    valid.then(|| (days_of(year, month, day) * S_PER_DAY + second_of_day - offset_s) * US_PER_S + us)
}

/// Three numbers of the given widths between two separators.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = |width| digits(parts.next()?, width);
    let [a, b, c] = widths;
    let found = [next(a)?, next(b)?, next(c)?];
    parts.next().is_none().then_some(found)
}

fn digits(text: &str, width: usize) -> Option<i64> {
    let plain = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// The microseconds of `.123…`, and what follows it.
fn fraction_us(text: &str) -> Option<(i64, &str)> {
    let Some(fraction) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let width = fraction.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&width) {
        return None;
    }
    let (decimals, rest) = fraction.split_at_checked(width)?;
    let nanoseconds: i64 = format!("{decimals:0<9}").parse().ok()?;
    Some((nanoseconds / 1000, rest))
}

/// `Z`, `+01:30`, `-08:00`, in seconds east of UTC.
fn offset_s(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, clock) = match text.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since the epoch of a date of the proleptic Gregorian calendar. The year is counted from March, so that the
/// leap day is its last; an era is the calendar's period of 400 years, 146,097 days.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_of`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
