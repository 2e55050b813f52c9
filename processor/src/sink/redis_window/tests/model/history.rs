//! What happens in a history: the steps, and the logs that the workers read.

use super::*;

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A worker writes so many records of these partitions, from where it believes to stand.
    Write { worker: usize, partitions: Vec<Partition>, records: usize },
    /// The last write is made again, by another worker.
    Again { worker: usize },
    /// A worker goes back by so many records.
    Back { worker: usize, partition: Partition, records: usize },
    /// A worker misses records, by a bug elsewhere, and writes the next ones.
    Ahead { worker: usize, partition: Partition, records: usize },
    /// Time passes, or goes back.
    Pass { seconds: i64 },
    /// A tick of little.
    Tick { times: usize },
    /// A content changes its type.
    Turn { content: u64, to: usize },
    /// The public key is removed by hand.
    HidePublic { window: usize },
    /// A key without which the window is lost is removed by hand.
    Lose { window: usize, key: usize },
    /// Everything is.
    Flush,
    /// All that is due is done: now it is compared.
    Settle,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let worker = || 0usize..3;
    let partition = || prop::sample::select(&PARTITIONS[..]);
    let subset = prop::sample::subsequence(&PARTITIONS[..], 1..=3);
    prop_oneof![
        12 => (worker(), subset, 0usize..25)
            .prop_map(|(worker, partitions, records)| Step::Write { worker, partitions, records }),
        3 => worker().prop_map(|worker| Step::Again { worker }),
        3 => (worker(), partition(), 1usize..20)
            .prop_map(|(worker, partition, records)| Step::Back { worker, partition, records }),
        9 => (worker(), partition(), 1usize..9)
            .prop_map(|(worker, partition, records)| Step::Ahead { worker, partition, records }),
        6 => (-3i64..9).prop_map(|seconds| Step::Pass { seconds }),
        8 => (1usize..4).prop_map(|times| Step::Tick { times }),
        6 => (0..CONTENTS, 0..TYPES.len()).prop_map(|(content, to)| Step::Turn { content, to }),
        2 => (0..WINDOWS.len()).prop_map(|window| Step::HidePublic { window }),
        1 => (0..WINDOWS.len(), 0..COMPANIONS.len()).prop_map(|(window, key)| Step::Lose { window, key }),
        1 => Just(Step::Flush),
        4 => Just(Step::Settle),
    ]
}

/// Numbers that a seed determines (splitmix64): a failing history is told by its seed and its steps.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) % n).expect("small")
    }

    fn image(&mut self) -> Image {
        let second = match self.below(10) {
            0 => 0,
            1 => 9_224_318_015_999,
            _ => START - 10 + self.below(70),
        };
        let ms = match self.below(10) {
            0 => -7,
            1 => 0,
            2 => i64::from(i32::MAX),
            _ => 1 + self.below(100_000),
        };
        Image::new(self.below(CONTENTS).unsigned_abs().into(), second, ms)
    }
}

/// The logs of all partitions; offsets have holes. Half of what is taken back was added before, just so.
pub(super) fn logs(seed: u64) -> Vec<Vec<Record>> {
    let mut dice = Dice(seed);
    PARTITIONS
        .iter()
        .map(|_| (0..60).scan((0, None), |last, _| Some(record(&mut dice, last))).collect())
        .collect()
}

fn record(dice: &mut Dice, (offset, last): &mut (Offset, Option<Image>)) -> Record {
    *offset += 1 + dice.below(2);
    let before = match dice.below(10) {
        0..4 => *last,
        4..6 => Some(dice.image()),
        _ => None,
    };
    let after = (dice.below(10) < 7).then(|| dice.image());
    *last = after;
    Record { offset: *offset, before, after }
}
