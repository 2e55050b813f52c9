//! Dead letters from beginning to end: listed, shown, delivered again to the sink that refused them alone and once, also over a
//! kill -9; purged. And a receiver that condemns everything: its breaker opens instead.

mod ask;
pub mod killed;

use crate::harness::bench::COMPLETE;
use crate::harness::config::By;
use crate::harness::kafka::{DEAD_LETTERS, EVENTS, Record};
use crate::harness::stand_in::{Manner, StandIn};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Plan, Processor, check, effects};
use anyhow::{Context, Result};
use ask::{Dlq, number, text};
use rand::RngExt;

/// As much as fits the source topic beside the headers and the frame; nothing in it can be compressed.
const LARGEST_BYTES: usize = 16 * 1024 * 1024 - 300;
const MAX_CONDEMNED: usize = 20;
/// Far more than may be condemned.
const BURST: i64 = 300;
const REPLAYS: &str = "engagement_events.replay";
const BREAKER: &str = "deltafan_sink_breaker_state";

pub async fn run(bench: &Bench) -> Result<Measured> {
    bench.kafka.empty(DEAD_LETTERS).await?;
    let receiver = StandIn::start(&bench.stack.free_address()?).await?;
    let mut plan = Plan::new(&bench.stack, &bench.name, &receiver.address)?;
    plan.max_condemned = MAX_CONDEMNED;
    let mut processor = bench.processor(&plan).await?;
    let dlq = Dlq::new(bench);
    let mut measured = Measured::default();

    refused(bench, &dlq).await?;
    edited(bench, &dlq, (&plan, &receiver)).await?;
    over_a_kill(bench, &dlq, (&plan, &receiver), &mut processor, &mut measured).await?;
    overtaken(bench, &dlq, &receiver).await?;
    dlq.done("purge --all --state all").await?;
    check::equal("letters after a purge", dlq.list("--state open").await?.len(), 0)?;
    let left = bench.kafka.records(DEAD_LETTERS, [(0, 0)].into()).await?;
    check::equal("records left in the topic after a purge of all", left.len(), 0)?;
    condemned(bench, &dlq, (&plan, &receiver), &processor, &mut measured).await?;
    largest(bench, &dlq, &mut measured).await?;
    anyhow::ensure!(processor.process.runs(), "the processor has ended");
    Ok(measured)
}

async fn rows(bench: &Bench, device: &str, count: i64) -> Result<()> {
    let sql = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device) \
               SELECT (SELECT id FROM content ORDER BY id LIMIT 1), uuid_generate_v4(), 'play', 1000 + n::int, $2 \
               FROM generate_series(1, $1::bigint) AS n";
    bench.db.execute(sql, &[&count, &device]).await?;
    Ok(())
}

/// Five rows that the receiver refuses among many that it takes, and a record that nobody can read.
async fn refused(bench: &Bench, dlq: &Dlq<'_>) -> Result<()> {
    rows(bench, "good", 50).await?;
    for poison in ["poison-1", "poison-2", "poison-3", "poison-4", "poison-5"] {
        rows(bench, poison, 1).await?;
    }
    let unreadable = Record {
        key: Some(b"unreadable".to_vec()),
        value: Some(b"{no JSON".to_vec()),
        headers: vec![("own".to_owned(), Some(b"kept".to_vec()))],
        written_ms: None,
    };
    bench.kafka.produce(EVENTS, 0, &[unreadable]).await?;
    let letters = dlq.await_list("", 7).await?;
    for (conditions, wanted) in [
        ("--sink webhook", 6),
        ("--sink redis", 1),
        ("--stage sink", 5),
        ("--stage decode", 2),
        ("--reason 422", 5),
        ("--sink webhook --stage decode --since 1h", 1),
        ("--until 2020-01-01T00:00:00Z", 0),
        ("--state replayed", 0),
    ] {
        check::equal(format!("letters of {conditions}"), dlq.list(conditions).await?.len(), wanted)?;
    }
    for letter in letters.iter().filter(|letter| text(letter, "stage") == "sink") {
        check::equal("class of a row that was refused", text(letter, "class"), "refused")?;
        check::at_least("attempts of a row that was refused", number(letter, "attempts"), 1)?;
        check::at_most("first failed", text(letter, "first_failed_at"), text(letter, "last_failed_at"))?;
    }
    let decoded =
        letters.iter().find(|letter| text(letter, "stage") == "decode").context("no such letter")?;
    let id = text(decoded, "id");
    let value = dlq.done(&format!("show {} --value", id.get(..12).unwrap_or(id))).await?;
    check::equal("its value", value.as_slice(), b"{no JSON".as_slice())?;
    let shown = String::from_utf8(dlq.done(&format!("show {id}")).await?)?;
    check::contains("what is shown", &shown, "own = kept")?;
    let (status, said) = dlq.run("replay").await?;
    check::equal("exit status of a replay of nothing", status, 2)?;
    check::contains("what it says", &String::from_utf8_lossy(&said), "--all")
}

/// A record as large as the source allows fits among the dead letters, byte for byte.
async fn largest(bench: &Bench, dlq: &Dlq<'_>, measured: &mut Measured) -> Result<()> {
    let mut value = vec![0; LARGEST_BYTES];
    rand::rng().fill(value.as_mut_slice());
    let record = Record {
        key: Some(b"largest".to_vec()),
        value: Some(value.clone()),
        headers: vec![("own".to_owned(), Some(b"kept".to_vec()))],
        written_ms: None,
    };
    bench.kafka.produce(EVENTS, 1, &[record]).await?;
    let letters = dlq.await_list("--stage decode", 2).await?;
    let large = |letter: &&serde_json::Value| number(letter, "value_bytes") > 1_000_000;
    let large: Vec<_> = letters.iter().filter(large).collect();
    check::equal("large letters", large.len(), 2)?;
    for letter in large {
        let id = text(letter, "id");
        anyhow::ensure!(
            dlq.done(&format!("show {id} --value")).await? == value,
            "letter {id} is not the record"
        );
    }
    measured.add(format!("a record of {LARGEST_BYTES} bytes whole in two letters"));
    Ok(())
}

/// A letter that is replayed as it is comes back under its id; with a better value it reaches its sink, once, and no other.
async fn edited(bench: &Bench, dlq: &Dlq<'_>, (plan, receiver): (&Plan, &StandIn)) -> Result<()> {
    let letters = dlq.list("--sink webhook --stage sink").await?;
    let id = text(letters.first().context("no letter")?, "id");
    dlq.done(&format!("replay {id}")).await?;
    wait::until("the letter is refused again", COMPLETE, async || {
        let letters = dlq.list("--sink webhook --stage sink").await?;
        let again = letters.iter().find(|letter| text(letter, "id") == id);
        Ok(seen_if(again.is_some_and(|again| number(again, "replays") == 1), || format!("{again:?}")))
    })
    .await?;
    check::equal("letters after that", dlq.list("--sink webhook --stage sink").await?.len(), 5)?;

    let before = board(bench, plan).await?;
    let value = String::from_utf8(dlq.done(&format!("show {id} --value")).await?)?;
    let path = bench.folder.join("edited.json");
    std::fs::write(&path, value.replace("\"poison-", "\"mended-"))?;
    dlq.done(&format!("replay {id} --value {}", path.display())).await?;
    let mended = || {
        let events = receiver.events();
        events.values().filter(|event| text(event, "device").starts_with("mended-")).count()
    };
    wait::until("the edited letter has arrived", COMPLETE, async || {
        Ok(seen_if(mended() == 1, || format!("{} are there", mended())))
    })
    .await?;
    replayed(bench, plan).await?;
    check::equal("edited letters at the receiver", mended(), 1)?;
    check::equal("the leaderboard after a replay to the webhook", board(bench, plan).await?, before)?;
    let (status, said) = dlq.run(&format!("replay {id}")).await?;
    check::equal("exit status of a second replay", status, 2)?;
    check::contains("what it says", &String::from_utf8_lossy(&said), "it was replayed at")
}

/// The processor is killed while the receiver has stored what was replayed and said nothing; Redis gets a letter as well.
async fn over_a_kill(
    bench: &Bench,
    dlq: &Dlq<'_>,
    (plan, receiver): (&Plan, &StandIn),
    processor: &mut Processor,
    measured: &mut Measured,
) -> Result<()> {
    let before = board(bench, plan).await?;
    let letters = dlq.list("--sink webhook --stage sink").await?;
    let two: Vec<_> = letters.iter().take(2).map(|letter| text(letter, "id")).collect();
    let redis = dlq.list("--sink redis").await?;
    let redis = text(redis.first().context("no letter")?, "id");
    let value = dlq.done(&format!("show {} --value", two.first().context("no letter")?)).await?;
    let path = bench.folder.join("row.json");
    std::fs::write(&path, &value)?;
    receiver.set(Manner::Mute);
    dlq.done(&format!("replay {}", two.join(" "))).await?;
    dlq.done(&format!("replay {redis} --value {}", path.display())).await?;
    wait::until("the receiver has what it does not answer for", COMPLETE, async || {
        Ok(seen_if(receiver.unheard() >= 2, || format!("{} events", receiver.unheard())))
    })
    .await?;
    processor.process.kill()?;
    receiver.set(Manner::Takes);
    processor.process.start_again()?;
    processor.admin.ready().await?;
    replayed(bench, plan).await?;
    let poison =
        receiver.events().values().filter(|event| text(event, "device").starts_with("poison")).count();
    check::equal("replayed rows at the receiver", poison, 2)?;
    let row: serde_json::Value = serde_json::from_slice(&value)?;
    let after = row.get("payload").unwrap_or(&row).get("after").context("no row")?;
    let mut expected = before;
    *expected.entry(text(after, "content_id").to_owned()).or_default() += number(after, "duration_ms");
    let actual = board(bench, plan).await?;
    check::no_differences(
        "the leaderboard after one replay to it",
        &effects::board_differences(&actual, &expected),
    )?;
    // Kafka lacks what was there before the scenario, so what is lost comes again from the table, which never had that value.
    bench.redis.run(&["FLUSHALL"]).await?;
    let leaderboard = (plan.key()?, By::Content);
    effects::board_equals_sql(&bench.db, &bench.redis, leaderboard, "1 hour", COMPLETE).await?;
    check::equal("letters replayed", dlq.list("--state replayed").await?.len(), 4)?;
    measured.add("4 letters replayed once each, 3 of them over a kill".to_owned());
    receiver.set(Manner::Picky);
    Ok(())
}

/// A row that has changed since is held back.
async fn overtaken(bench: &Bench, dlq: &Dlq<'_>, receiver: &StandIn) -> Result<()> {
    let letters = dlq.list("--sink webhook --stage sink").await?;
    check::equal("letters left", letters.len(), 2)?;
    let id = text(letters.first().context("no letter")?, "id");
    let value: serde_json::Value = serde_json::from_slice(&dlq.done(&format!("show {id} --value")).await?)?;
    let row = number(value.get("payload").unwrap_or(&value).get("after").context("no row")?, "id");
    bench.db.execute("UPDATE engagement_events SET device = 'changed' WHERE id = $1", &[&row]).await?;
    let is_there = |device: &str| {
        let here = |event: &&serde_json::Value| number(event, "id") == row && text(event, "device") == device;
        receiver.events().values().filter(here).count()
    };
    wait::until("the change is at the receiver", COMPLETE, async || {
        Ok(seen_if(is_there("changed") == 1, || "not yet".to_owned()))
    })
    .await?;
    let (status, said) = dlq.run(&format!("replay {id}")).await?;
    check::equal("exit status of a replay that comes too late", status, 2)?;
    check::contains("what it says", &String::from_utf8_lossy(&said), "a later change of its row")?;
    receiver.set(Manner::Takes);
    dlq.done(&format!("replay {id} --force")).await?;
    wait::until("the replay that was forced has arrived", COMPLETE, async || {
        let there = receiver.events().values().filter(|event| number(event, "id") == row).count();
        Ok(seen_if(there == 2, || format!("{there} events of the row")))
    })
    .await
}

/// A receiver that condemns everything gets no more letters than it may; mended, it gets all.
async fn condemned(
    bench: &Bench,
    dlq: &Dlq<'_>,
    (plan, receiver): (&Plan, &StandIn),
    processor: &Processor,
    measured: &mut Measured,
) -> Result<()> {
    let before = receiver.events().len();
    receiver.set(Manner::Condemns);
    rows(bench, "burst", BURST).await?;
    let why = processor.admin.lane_is(&plan.pipeline, "webhook", "sink", "paused").await?;
    check::contains("why the lane stands still", &why, "max_condemned")?;
    let state = async || -> Result<f64> {
        let labels = [("pipeline", plan.pipeline.as_str()), ("sink", "webhook")];
        Ok(processor.admin.metrics().await?.sum(BREAKER, &labels))
    };
    check::at_least("the breaker's state", state().await?, 1.0)?;
    let letters = dlq.await_list("", MAX_CONDEMNED).await?.len();

    let all = usize::try_from(BURST)?;
    check::equal("letters of a receiver that still condemns", dlq.list("").await?.len(), MAX_CONDEMNED)?;
    receiver.set(Manner::Takes);
    wait::until("the mended receiver has the rest", COMPLETE, async || {
        let there = receiver.events().len() - before;
        Ok(seen_if(there == all - MAX_CONDEMNED, || format!("{there} are there")))
    })
    .await?;
    dlq.done("replay --all").await?;
    wait::until("the mended receiver has all", COMPLETE, async || {
        let there = receiver.events().len() - before;
        Ok(seen_if(there == all, || format!("{there} are there")))
    })
    .await?;
    check::equal("the breaker's state once all is well", state().await?, 0.0)?;
    measured.add(format!("{letters} letters of {BURST} condemned events, then the breaker"));
    Ok(())
}

/// Waits until every replay has been delivered or passed over by both lanes.
async fn replayed(bench: &Bench, plan: &Plan) -> Result<()> {
    wait::until("the replays are through", COMPLETE, async || {
        let mut lags = Vec::new();
        for sink in crate::harness::config::SINKS {
            lags.push(bench.kafka.lag(&format!("{}.replay", plan.group(sink)), REPLAYS).await?);
        }
        Ok(seen_if(lags.iter().all(|lag| *lag == 0), || format!("{lags:?}")))
    })
    .await
}

async fn board(bench: &Bench, plan: &Plan) -> Result<crate::harness::redis::Board> {
    bench.redis.board(plan.key()?).await
}
