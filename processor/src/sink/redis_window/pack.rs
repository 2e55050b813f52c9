//! A pack: cells of one bucket in one text, which a script puts into Redis as it comes. MessagePack, since scripts can read
//! that at the speed of C: an array of member, milliseconds, …

use super::encode::Member;
use uuid::Uuid;

/// Bytes of a content's cell: marker, length and text of its id, marker and number.
const CELL_BYTES: usize = 2 + 36 + 5;

/// Packs cells.
pub(super) fn pack<'c>(cells: impl ExactSizeIterator<Item = (&'c Member, i64)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + cells.len() * CELL_BYTES);
    let values = u32::try_from(2 * cells.len()).unwrap_or(u32::MAX);
    out.push(0xdd);
    out.extend_from_slice(&values.to_be_bytes());
    let mut text = Uuid::encode_buffer();
    for (member, ms) in cells {
        match member {
            Member::Content(id) => push_text(&mut out, id.hyphenated().encode_lower(&mut text)),
            Member::Device(name) => push_text(&mut out, name),
        }
        push_number(&mut out, ms);
    }
    out
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let length = text.len();
    if let Ok(length) = u8::try_from(length) {
        out.extend_from_slice(&[0xd9, length]);
    } else {
        out.push(0xdb);
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    out.extend_from_slice(text.as_bytes());
}

fn push_number(out: &mut Vec<u8>, number: i64) {
    if let Ok(number) = i32::try_from(number) {
        out.push(0xd2);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}
