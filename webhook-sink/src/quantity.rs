//! Ages and sizes as people write them: `36h`, `500MiB`.
//!
//! Pure.

use std::time::Duration;

const AGES: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads an age of at least a second.
///
/// # Errors
/// What is expected instead.
pub fn age(text: &str) -> Result<Duration, String> {
    read(text, &AGES)
        .map(Duration::from_secs)
        .ok_or_else(|| "write a whole number above 0 and s, m, h or d, like 36h".to_owned())
}

/// Reads a size in bytes.
///
/// # Errors
/// What is expected instead.
pub fn size(text: &str) -> Result<u64, String> {
    read(text, &SIZES)
        .ok_or_else(|| "write a whole number above 0 and B, KiB, MiB or GiB, like 500MiB".to_owned())
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor).filter(|quantity| *quantity > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_meant() {
        let ages = [("1s", 1), ("90m", 5_400), ("36h", 129_600), ("60d", 5_184_000)];
        for (text, seconds) in ages {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for (text, bytes) in [("1B", 1), ("4KiB", 4_096), ("500MiB", 524_288_000), ("4GiB", 4_294_967_296)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "",
            "7",
            "d",
            "0d",
            "-1d",
            "1.5h",
            "7 d",
            "7D",
            "1w",
            "99999999999999999999d",
            "9999999999999999999d",
        ] {
            assert!(age(text).unwrap_err().contains("36h"), "{text}");
        }
        for text in ["", "0MiB", "1MB", "GiB", "1gib", "99999999999GiB"] {
            assert!(size(text).unwrap_err().contains("500MiB"), "{text}");
        }
    }
}
