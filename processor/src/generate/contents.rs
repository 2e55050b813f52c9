//! Contents to engage with, made of a seed: the same seed and number give the same content, so making them again changes
//! nothing. Pure.

use super::options::ContentCount;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What an event needs to know of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) id: Uuid,
    pub(super) length_seconds: Option<i32>,
}

/// A row of `content`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) id: Uuid,
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) content_type: &'static str,
    pub(super) length_seconds: Option<i32>,
}

const THINGS: [&str; 24] = [
    "Lighthouses",
    "Bridges",
    "Glaciers",
    "Clocks",
    "Rivers",
    "Violins",
    "Kites",
    "Orchards",
    "Tunnels",
    "Harbours",
    "Comets",
    "Typewriters",
    "Beehives",
    "Deserts",
    "Maps",
    "Canals",
    "Windmills",
    "Elevators",
    "Fireflies",
    "Archives",
    "Volcanoes",
    "Markets",
    "Tides",
    "Greenhouses",
];
const PODCASTS: [&str; 6] = [
    "What We Know About {}",
    "The Sound of {}",
    "A Life Among {}",
    "{}, Explained Slowly",
    "Strangers and {}",
    "The Last of the {}",
];
const VIDEOS: [&str; 6] = [
    "How {} Are Made",
    "{} From Above",
    "Inside the World of {}",
    "{} in Four Minutes",
    "Fixing Old {}",
    "A Day With {}",
];
const NEWSLETTERS: [&str; 6] = [
    "Notes on {}",
    "The Week in {}",
    "Letters About {}",
    "{}: Corrections and Replies",
    "A Short List of {}",
    "Who Still Needs {}?",
];

/// An id of a kind of thing: always the same for a seed and a number.
pub(super) fn id_of(seed: u64, kind: &str, number: u64) -> Uuid {
    Uuid::new_v8(bytes_of(seed, kind, number))
}

fn bytes_of(seed: u64, kind: &str, number: u64) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(number.to_be_bytes());
    hash.update(kind.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
    bytes
}

/// Independent numbers for the properties of one content.
struct Draws(std::array::IntoIter<u8, 16>);

impl Draws {
    /// A number below `bound`, which is small against 2^16.
    fn below(&mut self, bound: u16) -> u16 {
        let high = self.0.next().unwrap_or_default();
        let low = self.0.next().unwrap_or_default();
        u16::from_be_bytes([high, low]) % bound.max(1)
    }

    fn one_of<T: Copy + Default>(&mut self, things: &[T]) -> T {
        let bound = u16::try_from(things.len()).unwrap_or(u16::MAX);
        things.get(usize::from(self.below(bound))).copied().unwrap_or_default()
    }
}

fn made(seed: u64, number: u64) -> Made {
    let id = id_of(seed, "content", number);
    let mut draws = Draws(bytes_of(seed, "properties of a content", number).into_iter());
    // Half are podcasts, and of the newsletters, which have no length by rights, some say how long reading takes.
    let (content_type, titles, length_seconds) = match draws.below(10) {
        0..5 => ("podcast", &PODCASTS, Some(600 + i32::from(draws.below(3600)))),
        5..8 => ("video", &VIDEOS, Some(60 + i32::from(draws.below(1440)))),
        _ => {
            let length = 120 + i32::from(draws.below(780));
            ("newsletter", &NEWSLETTERS, (draws.below(4) == 0).then_some(length))
        }
    };
    let title = draws.one_of(titles).replacen("{}", draws.one_of(&THINGS), 1);
    Made { id, slug: format!("generated-{}", id.simple()), title, content_type, length_seconds }
}

/// The contents of a seed, the most popular first.
pub(super) fn all(seed: u64, count: ContentCount) -> Vec<Made> {
    (0..u64::from(count.get())).map(|number| made(seed, number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn count(count: u32) -> ContentCount {
        count.to_string().parse().unwrap()
    }

    proptest! {
        #[test]
        fn more_contents_begin_with_the_same_ones(seed: u64, few in 1u32..50, more in 0u32..50) {
            let (few, all) = (super::all(seed, count(few)), super::all(seed, count(few + more)));
            prop_assert!(all.starts_with(&few));
        }

        #[test]
        fn contents_are_what_the_table_takes(seed: u64) {
            let all = super::all(seed, count(200));
            let ids: HashSet<_> = all.iter().map(|made| made.id).collect();
            let slugs: HashSet<_> = all.iter().map(|made| &made.slug).collect();
            prop_assert_eq!((ids.len(), slugs.len()), (all.len(), all.len()));
            for made in &all {
                prop_assert!(!made.title.contains(['{', '}']), "{}", made.title);
                prop_assert!(["podcast", "video", "newsletter"].contains(&made.content_type));
                prop_assert!(made.length_seconds.is_none_or(|length| (60..=4200).contains(&length)));
            }
            for content_type in ["podcast", "video", "newsletter"] {
                prop_assert!(all.iter().any(|made| made.content_type == content_type), "no {content_type}");
            }
        }

        #[test]
        fn seeds_share_no_content(seed: u64) {
            let (one, other) = (super::all(seed, count(20)), super::all(seed.wrapping_add(1), count(20)));
            prop_assert!(one.iter().all(|made| other.iter().all(|other| other.id != made.id)));
        }
    }
}
