-- What happened, kept by triggers in a schema of its own, which is not replicated.

DROP SCHEMA IF EXISTS e2e CASCADE;
CREATE SCHEMA e2e;

-- Every version of every content. `lsn` is taken just before the change is written: a version's LSN in the WAL lies at or
-- behind its own `lsn` and before that of the next version of the same content.
CREATE TABLE e2e.content_history (
    seq bigserial PRIMARY KEY, op text, id uuid, content_type text, title text, length_seconds int, lsn pg_lsn, txid bigint
);
INSERT INTO e2e.content_history (op, id, content_type, title, length_seconds, lsn, txid)
SELECT 'INSERT', id, content_type, title, length_seconds, '0/0', 0 FROM content;

CREATE FUNCTION e2e.keep_content() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed content;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    INSERT INTO e2e.content_history (op, id, content_type, title, length_seconds, lsn, txid)
    VALUES (TG_OP, changed.id, changed.content_type, changed.title, changed.length_seconds, pg_current_wal_insert_lsn(),
            txid_current());
    RETURN changed;
END $$;
CREATE TRIGGER e2e BEFORE INSERT OR UPDATE OR DELETE ON content FOR EACH ROW EXECUTE FUNCTION e2e.keep_content();

-- Every change of an event. Kept while its transaction commits, so that `least_before` and `least_after` name the oldest
-- version of its content that is as new as the commit; of the versions that its own transaction made, as new as the change.
CREATE TABLE e2e.event_history (
    seq bigserial PRIMARY KEY, op text, before jsonb, after jsonb, least_before bigint, least_after bigint,
    at timestamptz DEFAULT clock_timestamp()
);
CREATE INDEX ON e2e.content_history (id, seq);

-- How far `content_history` was when an event changed. Deferred triggers fire in the order in which the immediate ones did.
CREATE TABLE e2e.reached (n bigserial PRIMARY KEY, txid bigint, seq bigint);
CREATE INDEX ON e2e.reached (txid, n);

CREATE FUNCTION e2e.reach() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO e2e.reached (txid, seq) SELECT txid_current(), max(seq) FROM e2e.content_history;
    RETURN NULL;
END $$;
CREATE TRIGGER e2e_reach AFTER INSERT OR UPDATE OR DELETE ON engagement_events FOR EACH ROW EXECUTE FUNCTION e2e.reach();

CREATE FUNCTION e2e.newest(content uuid, own bigint) RETURNS bigint VOLATILE LANGUAGE sql AS $$
    SELECT max(seq) FROM e2e.content_history WHERE id = content AND (txid <> txid_current() OR seq <= own)
$$;

CREATE FUNCTION e2e.keep_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    own bigint;
BEGIN
    DELETE FROM e2e.reached WHERE n = (SELECT min(n) FROM e2e.reached WHERE txid = txid_current()) RETURNING seq INTO own;
    INSERT INTO e2e.event_history (op, before, after, least_before, least_after)
    VALUES (TG_OP,
            CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
            CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END,
            CASE WHEN TG_OP <> 'INSERT' THEN e2e.newest(OLD.content_id, own) END,
            CASE WHEN TG_OP <> 'DELETE' THEN e2e.newest(NEW.content_id, own) END);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER e2e AFTER INSERT OR UPDATE OR DELETE ON engagement_events
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION e2e.keep_event();

-- The changes as a receiver must see them. A change of the primary key is a delete and an insert. Negative durations are
-- dead letters.
CREATE VIEW e2e.changes AS
SELECT *, (image ->> 'id')::bigint AS id, coalesce((image ->> 'duration_ms')::int < 0, false) AS is_negative FROM (
    SELECT seq, at, 'c' AS op, after AS image, least_after AS least FROM e2e.event_history WHERE op = 'INSERT'
    UNION ALL
    SELECT seq, at, 'u', after, least_after FROM e2e.event_history WHERE op = 'UPDATE' AND before -> 'id' = after -> 'id'
    UNION ALL
    SELECT seq, at, 'd', before, least_before FROM e2e.event_history WHERE op = 'DELETE'
    UNION ALL
    SELECT seq, at, 'd', before, least_before FROM e2e.event_history WHERE op = 'UPDATE' AND before -> 'id' <> after -> 'id'
    UNION ALL
    SELECT seq, at, 'c', after, least_after FROM e2e.event_history WHERE op = 'UPDATE' AND before -> 'id' <> after -> 'id'
) AS change;

-- What came.
CREATE TABLE e2e.received (seq bigint PRIMARY KEY, event_id text, op text, id bigint, body jsonb);

-- A time as Debezium writes it: years beyond four digits have a sign, and 1 BC is year 0.
CREATE FUNCTION e2e.instant(written text) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE
        WHEN written ~ '^\+' THEN substr(written, 2)::timestamptz
        WHEN written ~ '^-?\d+-' AND (written ~ '^-' OR written ~ '^0000') THEN
            (lpad((1 - substring(written FROM '^-?\d+')::int)::text, 4, '0')
                || substring(written FROM '^-?\d+(.*)$') || ' BC')::timestamptz
        ELSE written::timestamptz
    END
$$;

-- The id of the row that came to be, as `processor/src/decode/event_id.rs` states it. (Of the last times that there are,
-- the epoch with its fraction is not exact.)
CREATE FUNCTION e2e.event_id(id bigint, at timestamptz) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    WITH exact(seconds, micros) AS (
        SELECT extract(epoch FROM date_trunc('second', at))::bigint, extract(microseconds FROM at)::bigint % 1000000
        WHERE isfinite(at)
    ), canonical(text, ms) AS (
        SELECT seconds || '.' || lpad(micros::text, 6, '0'), least(greatest(seconds * 1000 + micros / 1000, 0), 281474976710655)
        FROM exact
        UNION ALL
        SELECT at::text, CASE WHEN at > '2000-01-01' THEN 281474976710655 ELSE 0 END WHERE NOT isfinite(at)
    ), parts(n, part) AS (
        SELECT * FROM (VALUES (1, current_database()::text), (2, 'public'), (3, 'engagement_events'), (4, id::text)) AS fixed
        UNION ALL SELECT 5, text FROM canonical
    ), id(bytes) AS (
        SELECT substr(int8send((SELECT ms FROM canonical)), 3)
            || sha256(string_agg(int4send(octet_length(part)) || convert_to(part, 'UTF8'), ''::bytea ORDER BY n))
        FROM parts
    )
    SELECT encode(substr(set_byte(set_byte(bytes, 6, get_byte(bytes, 6) & 15 | 128), 8, get_byte(bytes, 8) & 63 | 128), 1, 16),
                  'hex')::uuid::text
    FROM id
$$;

-- Helpers of the cases: a content by its short name, and a new event.
CREATE FUNCTION e2e.content(name text) RETURNS uuid STABLE LANGUAGE sql AS
    $$ SELECT id FROM content WHERE slug = 'e2e-' || name $$;

CREATE FUNCTION e2e.add(device text, content text, duration_ms int, event_ts timestamptz DEFAULT now(), payload jsonb DEFAULT NULL)
RETURNS bigint VOLATILE LANGUAGE sql AS $$
    INSERT INTO engagement_events (content_id, user_id, event_type, event_ts, duration_ms, device, raw_payload)
    VALUES (e2e.content(content), uuid_generate_v4(), 'play', event_ts, duration_ms, device, payload) RETURNING id
$$;
