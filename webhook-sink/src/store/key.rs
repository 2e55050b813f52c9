//! A key that is a UUID in nearly all cases: 16 bytes in the database instead of 36, any other text as it is.

use std::fmt;

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

/// A text, held small where it is a canonical UUID. Two texts are the same key only where they are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Lower case with hyphens; a BLOB in the database.
    Uuid([u8; 16]),
    /// Everything else; a TEXT, so that it never equals a BLOB.
    Text(String),
}

impl Key {
    /// Reads any text.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        canonical_uuid(text).map_or_else(|| Self::Text(text.to_owned()), Self::Uuid)
    }
}

/// The bytes of `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, only where printing them gives the same text.
fn canonical_uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut nibbles = 0..32_usize;
    for (at, byte) in text.bytes().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        let target = bytes.get_mut(nibbles.next()? / 2)?;
        *target = (*target << 4) | value;
    }
    Some(bytes)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match self {
            Self::Text(text) => return f.write_str(text),
            Self::Uuid(bytes) => bytes,
        };
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Uuid(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => bytes.try_into().map(Self::Uuid).map_err(|_| FromSqlError::InvalidType),
            other => other.as_str().map(|text| Self::Text(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_uuid_is_small_and_all_texts_survive() {
        let uuid = "0190b5a4-7c1e-7abc-8def-00ff10203040";
        assert!(matches!(Key::from_text(uuid), Key::Uuid(_)));
        let upper = uuid.to_uppercase();
        let others = ["", "a", "0190b5a4-7c1e-7abc-8def-00ff1020304", "0190b5a4x7c1e-7abc-8def-00ff10203040"];
        for text in others.into_iter().chain([upper.as_str(), "é190b5a4-7c1e-7abc-8def-00ff1020304", uuid]) {
            assert_eq!(Key::from_text(text).to_string(), text);
            assert_eq!(matches!(Key::from_text(text), Key::Uuid(_)), text == uuid, "{text}");
        }
    }
}
