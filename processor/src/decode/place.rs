//! Places: where in the order of the source a change stands, by Debezium's `sequence`. Pure.
//!
//! Postgres sends transactions in the order of their commits, and within one its changes in the order of the log. So `sequence`,
//! the end of the last transaction before this one and the place of the change, never goes back in what was written once.

/// Where a change stands in the order of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where, in the log of the database, the transaction before this one ended; none where the connector has seen no end since
    /// it began for the first time.
    pub committed: Option<u64>,
    /// The place of the change itself. Rows of one COPY share it, and so do the records of a changed key.
    pub lsn: u64,
}

/// Why a change can't stand where it does in a source that is written once and from beginning to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It stands before what has come already.
    Back,
    /// The connector has begun anew and knows nothing of what came before: it may repeat or have left out some.
    Anew,
}

impl Place {
    /// Reads the text of `sequence`, escaped as it stands in the message: `["commit","lsn"]`, either of them `null`. None
    /// where it is something else, or names no place. Each record has one: a single pass that copies nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut before, mut number, mut commas) = (None, None, 0);
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => {
                    let so_far: u64 = number.unwrap_or(0);
                    number = Some(so_far.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?);
                }
                b',' => {
                    before = number.take();
                    commas += 1;
                }
                b'"' | b'\\' | b'[' | b']' | b'n' | b'u' | b'l' => {}
                _ => return None,
            }
        }
        (commas == 1).then_some(Self { committed: before, lsn: number? })
    }

    /// Whether the order of the source breaks between `reached` and this place. At the same place there is no order: several
    /// records share one.
    #[must_use]
    pub fn breaks(self, reached: Self) -> Option<Break> {
        let back = match (reached.committed, self.committed) {
            (Some(_), None) => return Some(Break::Anew),
            (Some(before), Some(now)) => (now, self.lsn) < (before, reached.lsn),
            // The first transaction of all has ended behind its last change.
            (None, Some(now)) => now < reached.lsn,
            (None, None) => self.lsn < reached.lsn,
        };
        back.then_some(Break::Back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(committed: Option<u64>, lsn: u64) -> Place {
        Place { committed, lsn }
    }

    #[test]
    fn a_sequence_is_read_as_it_stands_in_a_message() {
        let read = |text| Place::parse(text);
        assert_eq!(read(r#""[\"268549360\",\"268549672\"]""#), Some(at(Some(268_549_360), 268_549_672)));
        assert_eq!(read(r#""[null,\"268548976\"]""#), Some(at(None, 268_548_976)));
        assert_eq!(read(r#"["1","2"]"#), Some(at(Some(1), 2)), "without the quotes of a string");
        for text in [
            "",
            "null",
            r#""[\"1\",null]""#,
            r#""[]""#,
            r#""[\"a\",\"2\"]""#,
            r#""[\"1\",\"2\",\"3\"]""#,
            r#""[\"1\",\"99999999999999999999\"]""#,
            r#""[\"-1\",\"2\"]""#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_comes_in_the_order_of_commits_never_breaks_it() {
        let places =
            [at(None, 50), at(None, 50), at(None, 60), at(Some(70), 40), at(Some(70), 65), at(Some(90), 30)];
        for (index, reached) in places.iter().enumerate() {
            for later in &places[index..] {
                assert_eq!(later.breaks(*reached), None, "{reached:?} {later:?}");
            }
            for earlier in places[..index].iter().filter(|earlier| *earlier != reached) {
                assert!(earlier.breaks(*reached).is_some(), "{reached:?} {earlier:?}");
            }
        }
        assert_eq!(at(Some(70), 40).breaks(at(Some(70), 65)), Some(Break::Back));
        assert_eq!(at(None, 900).breaks(at(Some(70), 65)), Some(Break::Anew), "whatever lies in between");
    }
}
