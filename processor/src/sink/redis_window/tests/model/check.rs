//! What a window is compared with: its own cells after every step, and the naive model once all that is due is done.

use super::*;
use std::collections::BTreeSet;

impl World {
    async fn hash<T: std::str::FromStr>(&mut self, key: &str) -> BTreeMap<String, T> {
        let hash: BTreeMap<String, String> =
            redis::cmd("HGETALL").arg(key).query_async(&mut self.redis).await.expect("a hash");
        hash.into_iter().filter_map(|(field, value)| Some((field, value.parse().ok()?))).collect()
    }

    /// The meta key of a window, unless it is lost.
    async fn meta(&mut self, window: usize) -> Option<BTreeMap<String, String>> {
        let prefix = PREFIXES[window];
        let meta = self.hash::<String>(&format!("{prefix}meta")).await;
        meta.get("incarnation")?;
        let mut sizes = Vec::new();
        let mut companions =
            vec![("HLEN", "positions"), ("HLEN", "totals"), ("ZCARD", "buckets"), ("ZCARD", "future")];
        if WINDOWS[window].2 == By::ContentType {
            companions.extend([("HLEN", "groups"), ("HLEN", "sums"), ("SCARD", "untold")]);
        }
        for (command, name) in companions {
            let size = redis::cmd(command).arg(format!("{prefix}{name}")).query_async(&mut self.redis).await;
            sizes.push(size.map(|size: i64| size.to_string()).expect("a size"));
        }
        (meta["counts"] == sizes.join(":")).then_some(meta)
    }

    /// What holds after every step: totals are the sums of the cells, and the public key shows them, or is being made.
    pub(super) async fn check_invariants(&mut self, window: usize) {
        let (key, prefix) = (WINDOWS[window].0, PREFIXES[window]);
        let Some(meta) = self.meta(window).await else {
            return;
        };
        let incarnation = &meta["incarnation"];
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        let buckets: Vec<String> = redis::cmd("KEYS")
            .arg(format!("{prefix}b:{incarnation}:*"))
            .query_async(&mut self.redis)
            .await
            .expect("keys");
        for bucket in buckets {
            for (member, ms) in cells_of(&mut self.redis, &bucket).await.into_iter().flatten() {
                assert_ne!(ms, 0, "a cell of nothing");
                *sums.entry(member).or_default() += ms;
            }
        }
        sums.retain(|_, ms| *ms != 0);
        let totals = self.hash::<i64>(&format!("{prefix}totals")).await;
        assert_eq!(totals, sums, "the totals of {key} are the sums of its cells");
        let shows = if WINDOWS[window].2 == By::ContentType {
            self.check_sums(window, &totals).await
        } else {
            totals
        };
        let shown = shown(&mut self.redis, key).await;
        if !meta.contains_key("cursor") && shown.len().to_string() == meta["visible"] {
            assert_eq!(shown, scores(&shows), "what clients see of {key}");
        }
    }

    /// Each content with a total has a type, or is one whose type is to be told, and the sum of a type is that of its contents' totals. Answers
    /// the sums.
    async fn check_sums(&mut self, window: usize, totals: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        let (key, prefix) = (WINDOWS[window].0, PREFIXES[window]);
        let groups = self.hash::<String>(&format!("{prefix}groups")).await;
        let untold = self.untold(window).await;
        let known: BTreeSet<&String> = groups.keys().chain(&untold).collect();
        assert_eq!(known, totals.keys().collect(), "contents of {key} with and without a type");
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        for (content, group) in &groups {
            let (_, group) = group.split_once(':').expect("version and type");
            *expected.entry(group.to_owned()).or_default() += totals[content];
        }
        expected.retain(|group, ms| !group.is_empty() && *ms != 0);
        let sums = self.hash::<i64>(&format!("{prefix}sums")).await;
        assert_eq!(sums, expected, "the sums of {key}");
        sums
    }

    async fn untold(&mut self, window: usize) -> BTreeSet<String> {
        let key = format!("{}untold", PREFIXES[window]);
        redis::cmd("SMEMBERS").arg(key).query_async(&mut self.redis).await.expect("a set")
    }

    /// The totals of contents by the type that each has now.
    fn by_type(&self, totals: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for (content, ms) in totals {
            let content = self.feed.get(Uuid::try_parse(&content).expect("a UUID"));
            if let Some(name) = content.and_then(|content| content.content_type.clone()) {
                *sums.entry(name.into()).or_default() += ms;
            }
        }
        sums
    }

    /// After all that is due was done, a window holds just what lies in it, of each record below its position once.
    pub(super) async fn check_against_model(&mut self, window: usize) {
        let ((key, length, by), prefix) = (WINDOWS[window], PREFIXES[window]);
        let Some(meta) = self.meta(window).await else {
            return;
        };
        let clock: i64 = meta["clock"].parse().expect("a second");
        let first = clock - i64::try_from(length).expect("short");
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        let positions = self.hash::<Offset>(&format!("{prefix}positions")).await;
        for (partition, records) in self.logs.iter().enumerate() {
            let held = positions.get(&format!("cluster/topic/{partition}")).copied().unwrap_or(0);
            for record in records.iter().filter(|record| record.offset < held) {
                for (image, sign) in [(record.before, -1), (record.after, 1)] {
                    let Some(Image { content: Some(content), ts: Some(ts), ms: Some(ms), .. }) = image else {
                        continue;
                    };
                    let Timestamp::At { secs, .. } = ts else { continue };
                    if ms > 0 && (first..=clock).contains(&secs) {
                        *expected.entry(Uuid::from_u128(content).to_string()).or_default() += sign * ms;
                    }
                }
            }
        }
        expected.retain(|_, ms| *ms != 0);
        assert_eq!(self.hash::<i64>(&format!("{prefix}totals")).await, expected, "{key} at {clock}");
        if by == By::ContentType {
            expected = self.by_type(expected);
            for content in self.untold(window).await {
                let id = Uuid::try_parse(&content).expect("a UUID");
                assert!(self.feed.get(id).is_none(), "the type of {content} was told");
            }
            self.count(if expected.is_empty() { "compared no types" } else { "compared types" });
        }
        assert_eq!(shown(&mut self.redis, key).await, scores(&expected), "{key} at {clock}");
        self.count("compared");
        if !expected.is_empty() {
            self.count("compared something");
        }
    }

    /// After all has left, nothing is left over.
    pub(super) async fn check_empty(&mut self) {
        drain(&mut self.ticker).await;
        self.clock = 9_300_000_000_000;
        set_clock(&mut self.redis, self.clock).await;
        drain(&mut self.ticker).await;
        let mut keys: Vec<String> =
            redis::cmd("KEYS").arg("*").query_async(&mut self.redis).await.expect("keys");
        // Of a window that was lost, the next opening clears the rest away.
        self.ask(0).await;
        drain(&mut self.ticker).await;
        keys = redis::cmd("KEYS").arg("*").query_async(&mut self.redis).await.unwrap_or(keys);
        keys.retain(|key| !["test:clock"].contains(&key.as_str()) && !key.ends_with(":positions"));
        keys.sort();
        let orphans = |key: &String| key.contains(":b:") || key.contains(":f:");
        let buckets_were_lost = self.happened.contains_key("lost buckets");
        keys.retain(|key| !(buckets_were_lost && orphans(key)));
        assert_eq!(keys, ["{long}:meta", "{short}:meta", "{types}:meta"]);
    }
}

fn scores(totals: &BTreeMap<String, i64>) -> Vec<(String, f64)> {
    let visible = totals.iter().filter(|(_, ms)| **ms > 0);
    let score = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000).parse::<f64>().expect("a number");
    visible.map(|(member, ms)| (member.clone(), score(*ms))).collect()
}
