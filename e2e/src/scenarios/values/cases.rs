//! The table of cases: what is done in Postgres, one transaction after the other. What must come of it, SQL says.

use crate::harness::Bench;
use crate::harness::db::Db;
use crate::harness::load;
use anyhow::{Context, Result};

/// Statements; each is a transaction unless it says otherwise.
const CASES: &[(&str, &[&str])] = &[
    (
        "durations",
        &[
            "SELECT e2e.add('d-plain', 'podcast', 8000)",
            "SELECT e2e.add('d-null', 'podcast', NULL)",
            "SELECT e2e.add('d-zero', 'podcast', 0)",
            "SELECT e2e.add('d-negative', 'podcast', -5)",
            "SELECT e2e.add('d-least', 'podcast', -2147483648)",
            "SELECT e2e.add('d-most', 'video', 2147483647)",
            "SELECT e2e.add('d-longer-than-content', 'short', 123456)",
        ],
    ),
    (
        "contents",
        &[
            "SELECT e2e.add('c-length-zero', 'zero', 4000)",
            "SELECT e2e.add('c-length-null', 'newsletter', 4000)",
            "SELECT e2e.add('c-none', NULL, 4000)",
            "SELECT e2e.add('c-none-null', NULL, NULL)",
            "BEGIN; INSERT INTO content (slug, title, content_type, length_seconds) VALUES ('e2e-same-tx', 'T', 'video', 77); \
             SELECT e2e.add('c-same-tx', 'same-tx', 5000); COMMIT",
            "BEGIN; INSERT INTO content (slug, title, content_type, length_seconds) VALUES ('e2e-same-tx-2', 'T', 'video', 78); \
             SELECT e2e.add('c-same-tx-2', 'same-tx-2', 5000); \
             UPDATE content SET length_seconds = 79 WHERE slug = 'e2e-same-tx-2'; \
             SELECT e2e.add('c-same-tx-2', 'same-tx-2', 6000); COMMIT",
            // The content is gone by the time of the commit.
            "SELECT e2e.add('c-deleted', 'doomed', 7000)",
            "BEGIN; DELETE FROM engagement_events WHERE device = 'c-deleted'; \
             DELETE FROM content WHERE slug = 'e2e-doomed'; COMMIT",
            "SELECT e2e.add('c-let-go', 'let-go', 7000)",
            "BEGIN; UPDATE engagement_events SET content_id = NULL WHERE device = 'c-let-go'; \
             DELETE FROM content WHERE slug = 'e2e-let-go'; COMMIT",
        ],
    ),
    (
        "times",
        &[
            "SELECT e2e.add('t-infinity', 'podcast', 1000, 'infinity')",
            "SELECT e2e.add('t-minus-infinity', 'podcast', 1000, '-infinity')",
            "SELECT e2e.add('t-first', 'podcast', 1000, '4713-01-01 BC')",
            "SELECT e2e.add('t-1bc', 'podcast', 1000, '0001-02-28 12:00 BC')",
            "SELECT e2e.add('t-year-1', 'podcast', 1000, '0001-01-01 00:00:00.000001+00')",
            "SELECT e2e.add('t-before-1970', 'podcast', 1000, '1969-12-31 23:59:59.999999+00')",
            "SELECT e2e.add('t-9999', 'podcast', 1000, '9999-12-31 23:59:59.999999+00')",
            "SELECT e2e.add('t-10000', 'podcast', 1000, '10000-01-01 00:00+00')",
            "SELECT e2e.add('t-last', 'podcast', 1000, '294276-12-31 23:59:59.999999+00')",
            "SELECT e2e.add('t-2-hours-ago', 'podcast', 20000, now() - interval '2 hours')",
            "SELECT e2e.add('t-30-hours-ago', 'podcast', 30000, now() - interval '30 hours')",
            "SELECT e2e.add('t-in-an-hour', 'podcast', 40000, now() + interval '1 hour')",
            "SELECT e2e.add('t-in-two-days', 'podcast', 50000, now() + interval '2 days')",
        ],
    ),
    (
        "texts",
        &[
            "SELECT e2e.add(E'x-Gerät \"Ünïcode\" 日本 🎧 \\\\ \\n \\t \\x01', 'podcast', 1000)",
            "SELECT e2e.add('', 'podcast', 1000)",
            "SELECT e2e.add(NULL, 'podcast', 1000)",
            "SELECT e2e.add(repeat('ü', 5000), 'podcast', 1000)",
            r#"SELECT e2e.add('x-payload', 'podcast', 1000, now(), '{"s": "x\ny \"é\" 日本", "n": {"a": [1, 2.50, null, true]}}')"#,
            "SELECT e2e.add('x-payload-scalar', 'podcast', 1000, now(), '\"text\"')",
            "SELECT e2e.add('x-payload-large', 'podcast', 1000, now(), jsonb_build_object('t', repeat('🎧x', 50000)))",
        ],
    ),
    (
        "updates",
        &[
            "SELECT e2e.add('u', 'podcast', n * 1000) FROM generate_series(1, 12) AS n",
            "UPDATE engagement_events SET duration_ms = duration_ms + 1 WHERE device = 'u'",
            "UPDATE engagement_events SET duration_ms = NULL WHERE device = 'u' AND duration_ms = 1001",
            "UPDATE engagement_events SET duration_ms = 1500 WHERE device = 'u' AND duration_ms IS NULL",
            "UPDATE engagement_events SET duration_ms = -1 WHERE device = 'u' AND duration_ms = 2001",
            "UPDATE engagement_events SET duration_ms = -2 WHERE device = 'u' AND duration_ms = -1",
            "UPDATE engagement_events SET duration_ms = 2500 WHERE device = 'u' AND duration_ms = -2",
            "UPDATE engagement_events SET content_id = e2e.content('video') WHERE device = 'u' AND duration_ms = 3001",
            "UPDATE engagement_events SET content_id = NULL WHERE device = 'u' AND duration_ms = 4001",
            "UPDATE engagement_events SET content_id = e2e.content('video') WHERE device = 'u' AND content_id IS NULL",
            "UPDATE engagement_events SET event_ts = now() - interval '2 hours' WHERE device = 'u' AND duration_ms = 5001",
            "UPDATE engagement_events SET event_ts = now() - interval '2 days' WHERE device = 'u' AND duration_ms = 6001",
            "UPDATE engagement_events SET event_ts = now() - interval '1 minute' WHERE device = 'u' AND duration_ms = 6001",
            "UPDATE engagement_events SET event_ts = 'infinity' WHERE device = 'u' AND duration_ms = 7001",
            "UPDATE engagement_events SET event_ts = now() + interval '3 hours' WHERE device = 'u' AND duration_ms = 8001",
            "UPDATE engagement_events SET event_ts = now(), content_id = e2e.content('short'), duration_ms = 8002 \
             WHERE device = 'u' AND duration_ms = 8001",
            "UPDATE engagement_events SET event_type = 'finish' WHERE device = 'u' AND duration_ms = 9001",
            "UPDATE engagement_events SET duration_ms = duration_ms WHERE device = 'u' AND duration_ms = 10001",
            // The large payload is left alone: it lies outside the row and must come all the same.
            "UPDATE engagement_events SET duration_ms = 1001 WHERE device = 'x-payload-large'",
        ],
    ),
    (
        "deletes",
        &[
            "SELECT e2e.add('e', 'video', 1000 * n) FROM generate_series(1, 4) AS n",
            "SELECT e2e.add('e', 'video', -7)",
            "SELECT e2e.add('e', 'video', 9000, now() - interval '3 days')",
            "DELETE FROM engagement_events WHERE device = 'e' AND duration_ms IN (1000, 2000, -7, 9000)",
            "DELETE FROM engagement_events WHERE device = 't-infinity'",
        ],
    ),
    (
        "primary keys",
        &[
            "SELECT e2e.add('k', 'short', 1000 * n) FROM generate_series(1, 3) AS n",
            "UPDATE engagement_events SET id = id + 1000000 WHERE device = 'k' AND duration_ms = 1000",
            "UPDATE engagement_events SET id = id + 1000000, duration_ms = 2500, content_id = e2e.content('video') \
             WHERE device = 'k' AND duration_ms = 2000",
        ],
    ),
    (
        "a content that changes its type",
        &[
            "SELECT e2e.add('y', 'turned', 1000 * n) FROM generate_series(1, 3) AS n",
            "UPDATE content SET content_type = 'video', title = 'Türned \"round\"' WHERE slug = 'e2e-turned'",
            "DELETE FROM engagement_events WHERE device = 'y' AND duration_ms = 1000",
            "UPDATE engagement_events SET duration_ms = 2500 WHERE device = 'y' AND duration_ms = 2000",
        ],
    ),
    (
        "transactions",
        &[
            "BEGIN; SELECT e2e.add('b', 'podcast', 1000); UPDATE engagement_events SET duration_ms = 1100 WHERE device = 'b'; \
             DELETE FROM engagement_events WHERE device = 'b'; COMMIT",
            "BEGIN; SELECT e2e.add('b-rolled-back', 'podcast', 1000); ROLLBACK",
            "BEGIN; SELECT e2e.add('b-kept', 'podcast', 1000); SAVEPOINT s; SELECT e2e.add('b-not-kept', 'podcast', 2000); \
             ROLLBACK TO s; SELECT e2e.add('b-kept', 'podcast', 3000); COMMIT",
        ],
    ),
    (
        "many at once",
        &[
            "SELECT e2e.add('m', CASE n % 3 WHEN 0 THEN 'podcast' WHEN 1 THEN 'video' ELSE 'short' END, n) \
             FROM generate_series(1, 1000) AS n",
            "UPDATE engagement_events SET duration_ms = duration_ms + 7 WHERE device = 'm'",
            "DELETE FROM engagement_events WHERE device = 'm' AND id % 2 = 0",
        ],
    ),
    (
        "columns added and dropped",
        &[
            "ALTER TABLE engagement_events ADD COLUMN mood text DEFAULT 'calm'",
            "SELECT e2e.add('a-default', 'podcast', 1000)",
            "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device, mood) \
             VALUES (e2e.content('podcast'), uuid_generate_v4(), 'play', 1000, 'a-mood', 'fröhlich')",
            "UPDATE engagement_events SET duration_ms = 8001 WHERE device = 'd-plain'",
            // A column with the name of a computed field travels under another one.
            "ALTER TABLE engagement_events ADD COLUMN op text",
            "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device, op) \
             VALUES (e2e.content('podcast'), uuid_generate_v4(), 'play', 1000, 'a-op', 'opus')",
            "ALTER TABLE engagement_events DROP COLUMN op",
            "ALTER TABLE engagement_events DROP COLUMN mood",
            "SELECT e2e.add('a-dropped', 'podcast', 1000)",
        ],
    ),
];

/// Columns that a run which was broken off may have left.
const CLEAN: &str = "ALTER TABLE engagement_events DROP COLUMN IF EXISTS mood; \
                     ALTER TABLE engagement_events DROP COLUMN IF EXISTS op";

/// Contents by their short names.
const CONTENTS: [(&str, &str, Option<i32>); 8] = [
    ("podcast", "podcast", Some(1800)),
    ("video", "video", Some(742)),
    ("newsletter", "newsletter", None),
    ("zero", "video", Some(0)),
    ("short", "podcast", Some(7)),
    ("doomed", "video", Some(60)),
    ("let-go", "video", Some(61)),
    ("turned", "podcast", Some(62)),
];
/// Rounds of an event, a change of its content, and an event.
const CHANGED_BETWEEN: usize = 60;
/// Rows by one COPY.
const COPIED: usize = 1000;

/// How many cases there are, the ones of [`run`] included.
pub fn count() -> usize {
    CASES.iter().map(|(_, statements)| statements.len()).sum::<usize>() + 3
}

/// Does everything.
pub async fn run(bench: &Bench) -> Result<()> {
    let db = &bench.db;
    db.run(CLEAN).await?;
    for (name, kind, length_seconds) in CONTENTS {
        db.insert_content(&format!("e2e-{name}"), kind, length_seconds).await?;
    }
    for (name, statements) in CASES {
        for statement in *statements {
            db.run(statement).await.with_context(|| format!("case {name}"))?;
        }
    }
    changed_between(db).await?;
    changed_before_commit(bench).await?;
    copied(db).await
}

/// A content is changed between two events.
async fn changed_between(db: &Db) -> Result<()> {
    for round in 1..=CHANGED_BETWEEN {
        db.run("SELECT e2e.add('v-before', 'short', 1000)").await?;
        db.run(&format!("UPDATE content SET length_seconds = {} WHERE slug = 'e2e-short'", 7 + round))
            .await?;
        db.run("SELECT e2e.add('v-after', 'short', 1000)").await?;
    }
    Ok(())
}

/// Another transaction changes the content after the event was inserted and before it commits.
async fn changed_before_commit(bench: &Bench) -> Result<()> {
    let other = Db::connect(bench.stack.get("POSTGRES_URL")?).await?;
    for length in [1111, 2222, 3333] {
        bench.db.run("BEGIN").await?;
        bench.db.run("SELECT e2e.add('w', 'video', 3000)").await?;
        other.run(&format!("UPDATE content SET length_seconds = {length} WHERE slug = 'e2e-video'")).await?;
        bench.db.run("COMMIT").await?;
    }
    Ok(())
}

/// Rows of one COPY share their place in the WAL.
async fn copied(db: &Db) -> Result<()> {
    let podcast: String = db.value("SELECT e2e.content('podcast')::text", &[]).await?;
    let line = |number| format!("{podcast}\t11111111-2222-4333-8444-555555555555\tplay\t{number}\tcöpy\n");
    db.copy(load::COPY, (1..=COPIED).map(line).collect()).await?;
    db.run("UPDATE engagement_events SET device = 'copied' WHERE device = 'cöpy' AND id % 10 = 0").await
}
