//! Postgres' snapshots: which transactions an answer has seen. Pure.

/// What `pg_current_snapshot()` says, `xmin:xmax:xip,xip,…`, in 64-bit transaction ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Every transaction below this one is over.
    xmin: u64,
    /// No transaction from this one on is visible.
    xmax: u64,
    /// Those in between that were still running, in ascending order.
    running: Vec<u64>,
}

impl Snapshot {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let mut running = match parts.next()? {
            "" => Vec::new(),
            list => list.split(',').map(|id| id.parse().ok()).collect::<Option<Vec<u64>>>()?,
        };
        running.sort_unstable();
        parts.next().is_none().then_some(Self { xmin, xmax, running })
    }

    /// Whether what the transaction wrote is visible, given that it has committed. `tx_id` is the 32-bit id that the WAL
    /// carries; it stands for the 64-bit id nearest to the snapshot, which is right as long as the two are less than two
    /// thousand million transactions apart (Postgres itself rests on that).
    pub fn sees(&self, tx_id: u32) -> bool {
        let id = self.widen(tx_id);
        id < self.xmin || (id < self.xmax && self.running.binary_search(&id).is_err())
    }

    fn widen(&self, tx_id: u32) -> u64 {
        const EPOCH: u64 = 1 << 32;
        let here = (self.xmax & !(EPOCH - 1)) | u64::from(tx_id);
        let candidates = [here.checked_sub(EPOCH), Some(here), here.checked_add(EPOCH)];
        candidates.into_iter().flatten().min_by_key(|id| id.abs_diff(self.xmax)).unwrap_or(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_running_or_later_transaction_is_not_seen() {
        let snapshot = Snapshot::parse("100:110:103,105").expect("valid");
        assert!(snapshot.sees(99) && snapshot.sees(100) && snapshot.sees(104) && snapshot.sees(109));
        assert!(!snapshot.sees(103) && !snapshot.sees(105) && !snapshot.sees(110) && !snapshot.sees(200));
        assert!(Snapshot::parse("5:5:").expect("valid").sees(4));
        for broken in ["", "1", "1:2", "a:2:", "1:2:x", "1:2:3:4"] {
            assert_eq!(Snapshot::parse(broken), None, "{broken}");
        }
    }

    proptest! {
        /// The 32-bit id means the nearest 64-bit one, on both sides of an epoch's border.
        #[test]
        fn ids_are_widened_to_the_nearest(xmax in 3u64..1 << 40, distance in -2_000_000_000i64..2_000_000_000) {
            let Some(id) = xmax.checked_add_signed(distance) else { return Ok(()) };
            let snapshot = Snapshot { xmin: xmax, xmax, running: Vec::new() };
            let low = u32::try_from(id & 0xffff_ffff).expect("32 bits");
            prop_assert_eq!(snapshot.sees(low), id < xmax);
        }
    }
}
