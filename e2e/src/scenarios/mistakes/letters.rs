//! Mistakes that show in single records: they go to the dead letters with the reason, and the lane goes on.

use super::row::{Mistake, letter};

/// Each is found in the header `deltafan.reason` of the dead letter.
pub const LETTERS: &[Mistake] = &[
    letter(
        "the table has no REPLICA IDENTITY FULL (here: a row is deleted)",
        r#"{"op":"d","before":{"id":7,"content_id":null,"user_id":"","event_type":"","event_ts":"1970-01-01T00:00:00.000000Z","duration_ms":null,"device":null,"raw_payload":null},"after":null,"source":{"db":"d","schema":"s","table":"t","lsn":1,"txId":2,"ts_ms":3}}"#,
        &["the row image holds nothing but its key", "the table needs REPLICA IDENTITY FULL"],
        "`ALTER TABLE engagement_events REPLICA IDENTITY FULL`",
    ),
    letter(
        "the table has no REPLICA IDENTITY FULL (here: a row is updated)",
        r#"{"op":"u","before":null,"after":{"id":7},"source":{"db":"d","schema":"s","table":"t","lsn":1,"txId":2,"ts_ms":3}}"#,
        &["operation `u` without `before`", "REPLICA IDENTITY FULL"],
        "`ALTER TABLE engagement_events REPLICA IDENTITY FULL`",
    ),
    letter(
        "another program writes to the topic",
        r#"{"hello":"world"}"#,
        &["the value is JSON but no Debezium message", "is this the connector's topic"],
        "let it write elsewhere",
    ),
    letter(
        "the connector unwraps its messages (ExtractNewRecordState)",
        r#"{"id":7,"content_id":null,"event_type":"play","duration_ms":8000}"#,
        &["the value is JSON but no Debezium message", "does no transform of it unwrap rows?"],
        "take the transform out of the connector",
    ),
    letter(
        "the connector writes Avro",
        "\u{0}\u{0}\u{0}\u{0}\u{7}\u{2}play",
        &["the value is not the JSON that Debezium writes", "the connector needs JsonConverter"],
        "set `value.converter` to JsonConverter, as `connect/` does",
    ),
    letter(
        "the events' table has no column `event_ts`",
        r#"{"op":"c","before":null,"after":{"id":7,"event_type":"play","duration_ms":8000},"source":{"db":"d","schema":"s","table":"t","lsn":1,"txId":2,"ts_ms":3}}"#,
        &["the row has no column `event_ts`, so it is in no window", "make the table as init.sql does"],
        "`ALTER TABLE engagement_events ADD event_ts timestamptz NOT NULL DEFAULT now()`",
    ),
    letter(
        "a timestamp column is one of text",
        r#"{"op":"c","before":null,"after":{"id":7,"event_ts":"yesterday"},"source":{"db":"d","schema":"s","table":"t","lsn":1,"txId":2,"ts_ms":3}}"#,
        &["column `event_ts`"],
        "make it `timestamptz`, as `init.sql` does",
    ),
];
