//! Redis is no longer what it was: two servers, of which the replica that lags behind takes over from the one that was killed;
//! an old copy that is put back; nothing at all; keys removed by hand. Under load, and while nothing comes in. Each is
//! noticed, and the leaderboard equals SQL again, without a restart.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Plan};
use crate::harness::effects::board_equals_sql;
use crate::harness::forward::Forward;
use crate::harness::load::{Flow, Load};
use crate::harness::redis::Redis;
use crate::harness::redis_server::RedisServer;
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

const LOAD: Flow = Flow { rate: 800, copy_rows: 500, copy_every: std::time::Duration::from_secs(1) };
/// Offsets by which the replica is behind when it has to take over.
const BEHIND: i64 = 500;
/// Rows that come in after the failover, at least.
const AFTER: i64 = 1500;
/// Rows that come in while nothing else does.
const FEW: i64 = 60;

/// Offsets by field, as a window keeps them.
type Offsets = BTreeMap<String, i64>;

struct Scene<'b> {
    bench: &'b Bench,
    plan: Plan,
    /// Where the processor finds Redis.
    door: Forward,
    /// Between a replica and its master.
    link: Forward,
    redis: Redis,
}

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let first = RedisServer::start(bench, "first").await?;
    let door = Forward::start(&bench.stack.free_address()?, &first.address).await?;
    let link = Forward::start(&bench.stack.free_address()?, &first.address).await?;
    let mut plan = bench.plan(&receiver)?;
    plan.redis_url = format!("redis://{}", door.address);
    let mut processor = bench.processor(&plan).await?;
    let scene = Scene { bench, door, link, redis: Redis::new(&plan.redis_url)?, plan };
    let mut measured = Measured::default();
    let second = scene.fails_over_under_load(first, &mut measured).await?;
    let mut third = scene.fails_over_idle(second, &mut measured).await?;
    scene.goes_back(&mut third).await?;
    scene.begins_empty(&mut third).await?;
    let removed = scene.loses_keys(&third).await?;
    measured.add(format!("old copy, empty, {removed} keys removed: each repaired while idle"));
    ensure!(processor.process.runs(), "the processor has ended");
    bench.no_lag(&scene.plan).await?;
    Ok(measured)
}

impl Scene<'_> {
    fn companion(&self, name: &str) -> Result<String> {
        Ok(format!("{{{}}}:{name}", self.plan.key()?))
    }

    async fn positions(&self, server: &RedisServer) -> Result<Offsets> {
        let mut connection = server.redis.connect().await?;
        let key = self.companion("positions")?;
        redis::cmd("HGETALL").arg(key).query_async(&mut connection).await.context("HGETALL")
    }

    async fn incarnation(&self) -> Result<String> {
        let mut connection = self.redis.connect().await?;
        let key = self.companion("meta")?;
        redis::cmd("HGET").arg(key).arg("incarnation").query_async(&mut connection).await.context("HGET")
    }

    async fn equals_sql(&self) -> Result<()> {
        let board = (self.plan.key()?, By::Content);
        let (members, _) = board_equals_sql(&self.bench.db, &self.redis, board, "1 hour", COMPLETE).await?;
        check::at_least("members", members, 1)
    }

    async fn few_rows(&self) -> Result<()> {
        let insert = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
                      SELECT content.id, uuid_generate_v4(), 'play', n FROM content, generate_series(1, $1::bigint) AS n";
        self.bench.db.execute(insert, &[&FEW]).await?;
        self.equals_sql().await
    }

    /// A replica of `master` that has its data; what comes from here on is kept from it as long as the link is held.
    async fn replica(&self, master: &RedisServer, name: &str) -> Result<RedisServer> {
        self.link.hold(false);
        self.link.lead(&master.address);
        let replica = RedisServer::start(self.bench, name).await?;
        replica.follow(&self.link.address).await?;
        Ok(replica)
    }

    /// The master is killed, and the replica takes over where it stands; by how many offsets that is behind.
    async fn take_over(&self, mut master: RedisServer, replica: &RedisServer) -> Result<i64> {
        let stood = self.positions(&master).await?;
        master.kill()?;
        replica.promote().await?;
        let behind = lag(&stood, &self.positions(replica).await?);
        self.door.lead(&replica.address);
        Ok(behind)
    }

    async fn fails_over_under_load(
        &self,
        first: RedisServer,
        measured: &mut Measured,
    ) -> Result<RedisServer> {
        let second = self.replica(&first, "second").await?;
        let mut load = Load::start(self.bench, LOAD).await?;
        wait::until("the replica follows", COMPLETE, async || {
            let stands = self.positions(&second).await?;
            Ok(seen_if(stands.values().any(|at| *at > 0), || format!("it stands at {stands:?}")))
        })
        .await?;
        self.link.hold(true);
        wait::until("the replica is behind", COMPLETE, async || {
            let behind = lag(&self.positions(&first).await?, &self.positions(&second).await?);
            Ok(seen_if(behind >= BEHIND, || format!("by {behind}")))
        })
        .await?;
        ensure!(load.runs(), "the load has ended by itself");
        let behind = self.take_over(first, &second).await?;
        check::at_least("offsets that the replica was behind", behind, BEHIND)?;
        let rows = self.bench.db.count_events().await?;
        load.finish(rows + AFTER).await?;
        self.equals_sql().await?;
        measured.add(format!("failed over under load to a replica {behind} behind"));
        Ok(second)
    }

    async fn fails_over_idle(&self, second: RedisServer, measured: &mut Measured) -> Result<RedisServer> {
        let third = self.replica(&second, "third").await?;
        self.link.hold(true);
        self.few_rows().await?;
        let behind = self.take_over(second, &third).await?;
        check::at_least("offsets that the replica was behind", behind, FEW)?;
        self.equals_sql().await?;
        measured.add(format!("idle to one {behind} behind"));
        Ok(third)
    }

    /// A copy of some time ago is put back.
    async fn goes_back(&self, server: &mut RedisServer) -> Result<()> {
        server.redis.run(&["SAVE"]).await?;
        let stood = self.positions(server).await?;
        let copy = std::fs::read(server.dump())?;
        self.few_rows().await?;
        check::at_least("offsets since the copy", lag(&self.positions(server).await?, &stood), FEW)?;
        self.door.hold(true);
        server.kill()?;
        std::fs::write(server.dump(), copy)?;
        server.start_again().await?;
        check::equal("where the copy stands", self.positions(server).await?, stood)?;
        self.door.hold(false);
        self.equals_sql().await
    }

    async fn begins_empty(&self, server: &mut RedisServer) -> Result<()> {
        self.door.hold(true);
        server.kill()?;
        std::fs::remove_file(server.dump())?;
        server.start_again().await?;
        check::equal("keys of an empty Redis", server.redis.number(&["DBSIZE"]).await?, 0)?;
        self.door.hold(false);
        self.equals_sql().await
    }

    /// Half of the keys, then the other half; then single ones. How many in all.
    async fn loses_keys(&self, server: &RedisServer) -> Result<usize> {
        let mut removed = 0;
        let public = self.plan.key()?.to_owned();
        for half in [0, 1] {
            let keys = self.keys(server).await?;
            let keys: Vec<_> = keys.into_iter().skip(half).step_by(2).collect();
            check::at_least("half of the keys", keys.len(), 4)?;
            removed += self.remove(server, &keys, true).await?;
        }
        removed += self.remove(server, &[public], false).await?;
        removed += self.remove(server, &[self.companion("positions")?], true).await?;
        // Not one of a former window, whose index was among the keys above: those go by themselves.
        let cells = self.companion(&format!("b:{}:", self.incarnation().await?))?;
        let bucket = self.keys(server).await?.into_iter().find(|key| key.starts_with(&cells));
        Ok(removed + self.remove(server, &[bucket.context("no bucket")?], true).await?)
    }

    /// The keys of the window.
    async fn keys(&self, server: &RedisServer) -> Result<Vec<String>> {
        let mut connection = server.redis.connect().await?;
        let pattern = format!("*{}*", self.plan.key()?);
        let mut keys: Vec<String> =
            redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.context("KEYS")?;
        keys.sort();
        Ok(keys)
    }

    /// Removes keys, and waits until the leaderboard is right again, as a window made anew where it `is_lost`.
    async fn remove(&self, server: &RedisServer, keys: &[String], is_lost: bool) -> Result<usize> {
        let was = self.incarnation().await?;
        let mut words = vec!["DEL"];
        words.extend(keys.iter().map(String::as_str));
        let gone = server.redis.number(&words).await?;
        check::equal("keys removed", usize::try_from(gone)?, keys.len())?;
        if is_lost {
            wait::until(&format!("the loss of {} keys is noticed", keys.len()), COMPLETE, async || {
                let is = self.incarnation().await?;
                Ok(if is == was { Look::NotYet(format!("still {is}")) } else { Look::Seen(()) })
            })
            .await?;
        }
        self.equals_sql().await?;
        Ok(keys.len())
    }
}

/// How many offsets one is behind the other, over all partitions.
fn lag(ahead: &Offsets, behind: &Offsets) -> i64 {
    ahead.iter().map(|(field, at)| at - behind.get(field).copied().unwrap_or(0)).sum()
}
