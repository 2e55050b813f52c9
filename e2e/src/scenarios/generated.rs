//! `deltafan generate` and `deltafan top`: the same seed gives the same table, also where the connection is cut again and
//! again; what is inserted, updated and deleted reaches the leaderboard; `top` shows it with titles.

use crate::harness::bench::COMPLETE;
use crate::harness::config::By;
use crate::harness::effects;
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Plan, check};
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::Duration;

const ROWS: i64 = 4000;
const CONTENTS: i64 = 60;
const OPTIONS: &str = "generate --rate 1000 --rows 4000 --contents 60 --seed 5 --late-share 0.05 --update-share 0.2 \
     --delete-share 0.1 --json";
/// How often the second run is cut off from the database.
const CUTS: usize = 3;
/// Rows that come between two cuts, so that each strikes a run that moves.
const BETWEEN: i64 = 300;
const ENDED: Duration = Duration::from_secs(60);

/// All of a row but its number and its time.
const DIGEST: &str = "SELECT md5(string_agg(concat_ws(' ', content_id, user_id, event_type, coalesce(duration_ms, -1), \
     device), ',' ORDER BY id)) FROM engagement_events";
/// The contents that the generator has made, here or elsewhere.
const FORGET: &str = "DELETE FROM content WHERE starts_with(slug, 'generated-')";
const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
     WHERE application_name = 'deltafan generate'";

pub async fn run(bench: &Bench) -> Result<Measured> {
    bench.db.run(FORGET).await?;
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let _processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();

    let undisturbed = generate(bench, "undisturbed", 0).await?;
    let digest: String = bench.db.value(DIGEST, &[]).await?;
    shares(bench, &undisturbed).await?;
    let (members, _) =
        effects::board_equals_sql(&bench.db, &bench.redis, (plan.key()?, By::Content), "1 hour", COMPLETE)
            .await?;
    top(bench, &plan).await?;
    measured.add(format!("{members} contents in Redis as in SQL after updates and deletes, titles in top"));

    bench.db.run("DELETE FROM engagement_events").await?;
    let cut = generate(bench, "cut", CUTS).await?;
    check::equal("rows after cuts", bench.db.value::<String>(DIGEST, &[]).await?, digest)?;
    for count in ["inserted", "updated", "deleted"] {
        check::equal(format!("{count}, after cuts and without"), cut.get(count), undisturbed.get(count))?;
    }
    effects::board_equals_sql(&bench.db, &bench.redis, (plan.key()?, By::Content), "1 hour", COMPLETE)
        .await?;
    measured.add(format!("{ROWS} rows the same with {CUTS} cuts"));

    bench.db.run("DELETE FROM engagement_events").await?;
    bench.db.run(FORGET).await?;
    Ok(measured)
}

/// Runs the generator to its end and cuts it off so often; its result.
async fn generate(bench: &Bench, name: &str, cuts: usize) -> Result<Value> {
    let arguments: Vec<_> = OPTIONS.split_whitespace().collect();
    let recipe = bench.deltafan(name, &arguments);
    let log = recipe.log.clone();
    let mut process = recipe.start()?;
    let mut rows = 0;
    for number in 1..=cuts {
        wait::until(&format!("rows come before cut {number}"), ENDED, async || {
            let now = bench.db.count_events().await?;
            Ok(seen_if(now >= rows + BETWEEN, || format!("{now} are there")))
        })
        .await?;
        check::equal(format!("sessions that cut {number} ended"), bench.db.value::<i64>(CUT, &[]).await?, 1)?;
        rows = bench.db.count_events().await?;
    }
    let status = process.ended(ENDED).await?;
    let said = std::fs::read_to_string(&log)?;
    check::equal(format!("exit status of the generator ({said})"), status.code(), Some(0))?;
    check::equal("cuts that the generator told", said.matches("takes batches again").count(), cuts)?;
    let last = said.lines().last().context("the generator says nothing")?;
    serde_json::from_str(last).with_context(|| format!("the generator's result is {last:?}"))
}

/// What was asked for is what is in the table.
async fn shares(bench: &Bench, result: &Value) -> Result<()> {
    let count = |name: &str| {
        result.get(name).and_then(Value::as_i64).with_context(|| format!("no {name} in {result}"))
    };
    check::equal("inserted", count("inserted")?, ROWS)?;
    check::equal("changes of unknown fate", count("unsure")?, 0)?;
    check::equal("rows left", bench.db.count_events().await?, ROWS - count("deleted")?)?;
    let of = |sql: &'static str| async move { bench.db.value::<i64>(sql, &[]).await };
    check::equal(
        "contents made",
        of("SELECT count(*) FROM content WHERE starts_with(slug, 'generated-')").await?,
        CONTENTS,
    )?;
    let foreign = "SELECT count(*) FROM engagement_events AS e JOIN content AS c ON c.id = e.content_id \
         WHERE NOT starts_with(c.slug, 'generated-')";
    check::equal("rows of other contents", of(foreign).await?, 0)?;
    check::equal("types", of("SELECT count(DISTINCT event_type) FROM engagement_events").await?, 4)?;
    check::equal("devices", of("SELECT count(DISTINCT device) FROM engagement_events").await?, 6)?;
    // Shares of 4,000 draws, with more than six deviations on each side.
    let near = |what: &str, actual: i64, least: i64, most: i64| {
        check::at_least(what, actual, least).and_then(|()| check::at_most(what, actual, most))
    };
    near("updated", count("updated")?, 900, 1400)?;
    near("deleted", count("deleted")?, 430, 730)?;
    near(
        "without a duration",
        of("SELECT count(*) FROM engagement_events WHERE duration_ms IS NULL").await?,
        260,
        620,
    )?;
    let late = "SELECT count(*) FROM engagement_events \
         WHERE event_ts < (SELECT max(event_ts) FROM engagement_events) - interval '1 minute'";
    near("late", of(late).await?, 80, 290)
}

/// `top` shows what SQL says, with titles.
async fn top(bench: &Bench, plan: &Plan) -> Result<()> {
    let admin = bench.stack.free_address()?;
    let config = plan.write(&bench.stack, &bench.folder, "top", &admin)?;
    let config = config.to_str().context("the folder's name is no UTF-8")?;
    let (status, said) = bench
        .deltafan("top", &["top", "--once", "--json", "--count", "5", "--config", config])
        .run(ENDED)
        .await?;
    check::equal(format!("exit status of top ({said})"), status.code(), Some(0))?;
    let view: Value = serde_json::from_str(&said).with_context(|| format!("top says {said:?}"))?;
    let entries = view.pointer("/boards/0/entries").and_then(Value::as_array).context("no entries")?;
    let title = |entry: &Value| entry.get("title").and_then(Value::as_str).map(ToOwned::to_owned);
    let shown: Vec<Option<String>> = entries.iter().map(title).collect();
    let titles = bench
        .db
        .texts(
            "SELECT c.title FROM engagement_events AS e JOIN content AS c ON c.id = e.content_id \
             WHERE event_ts > now() - interval '1 hour' GROUP BY c.id, c.title \
             ORDER BY sum(duration_ms) DESC NULLS LAST LIMIT 5",
            &[],
        )
        .await?;
    check::equal("titles", shown, titles.into_iter().map(Some).collect::<Vec<_>>())
}
