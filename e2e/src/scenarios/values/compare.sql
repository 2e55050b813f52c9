-- Every difference between what happened and what came, one line each. Changes of one row come in order, so the n-th of
-- a kind is compared with the n-th of the same kind.
WITH happened AS (
    SELECT *, row_number() OVER (PARTITION BY op, id ORDER BY seq) AS n FROM e2e.changes WHERE NOT is_negative
), came AS (
    SELECT *, row_number() OVER (PARTITION BY op, id ORDER BY seq) AS n FROM e2e.received
), pairs AS (
    SELECT op, id, h.seq IS NOT NULL AS happened, c.seq IS NOT NULL AS came, h.image, h.least, h.at, c.event_id, c.body,
           (h.image ->> 'content_id')::uuid AS content, '0/0'::pg_lsn + (c.body ->> 'content_version')::numeric AS version,
           (c.body ->> 'duration_ms')::numeric AS ms, (c.body ->> 'length_seconds')::numeric AS length
    FROM happened AS h FULL JOIN came AS c USING (op, id, n)
), computed(name) AS (
    VALUES ('event_id'), ('op'), ('content_type'), ('content_title'), ('length_seconds'), ('content_version'),
           ('engagement_seconds'), ('engagement_pct'), ('committed_at'), ('received_at'), ('seq')
), both_sides AS (
    SELECT * FROM pairs WHERE happened AND came
), columns AS (
    SELECT p.op, p.id, c.key, c.value AS expected,
           p.body -> CASE WHEN c.key IN (SELECT name FROM computed) THEN 'row_' || c.key ELSE c.key END AS actual
    FROM both_sides AS p, jsonb_each(p.image) AS c
), enriched AS (
    SELECT p.*, h.seq AS version_seq, h.op AS version_op, h.content_type AS version_type, h.title AS version_title,
           h.length_seconds AS version_length
    FROM both_sides AS p LEFT JOIN LATERAL (
        SELECT * FROM e2e.content_history AS h WHERE h.id = p.content AND h.lsn <= p.version ORDER BY h.lsn DESC, h.seq DESC LIMIT 1
    ) AS h ON true
), differences(op, id, difference) AS (
    SELECT op, id, 'it is not at the receiver' FROM pairs WHERE NOT came
    UNION ALL
    SELECT op, id, 'nothing like it happened, or not as often' FROM pairs WHERE NOT happened
    UNION ALL
    SELECT op, id, format('%s is %s, not %s', key, actual, expected) FROM columns WHERE CASE key
        WHEN 'event_ts' THEN e2e.instant(actual #>> '{}') IS DISTINCT FROM (expected #>> '{}')::timestamptz
        WHEN 'raw_payload' THEN coalesce((actual #>> '{}')::jsonb, 'null') IS DISTINCT FROM expected
        ELSE actual IS DISTINCT FROM expected END
    UNION ALL
    SELECT op, id, format('it has the field %s', key) FROM both_sides AS p, jsonb_object_keys(p.body) AS key
    WHERE key NOT IN (SELECT name FROM computed) AND NOT p.image ? regexp_replace(key, '^row_(op)$', '\1')
    UNION ALL
    SELECT op, id, format('engagement_seconds is %s of %s ms', body -> 'engagement_seconds', ms) FROM both_sides
    WHERE (body ->> 'engagement_seconds')::numeric IS DISTINCT FROM ms / 1000
    UNION ALL
    SELECT op, id, format('engagement_pct is %s of %s ms and %s s', body -> 'engagement_pct', ms, length) FROM both_sides
    WHERE (body ->> 'engagement_pct')::numeric IS DISTINCT FROM CASE WHEN length > 0 THEN round(ms / 1000 / length, 4) END
    UNION ALL
    SELECT op, id, 'it has content fields without a content' FROM both_sides
    WHERE content IS NULL AND (body -> 'content_type', body -> 'content_title', body -> 'length_seconds', body -> 'content_version')
        IS DISTINCT FROM ('null'::jsonb, 'null'::jsonb, 'null'::jsonb, 'null'::jsonb)
    UNION ALL
    SELECT op, id, format('its content is of version %s, older than its commit', version) FROM enriched
    WHERE content IS NOT NULL AND version IS NOT NULL AND coalesce(version_seq, 0) < least
    UNION ALL
    SELECT op, id, format('its content is %s, %s, %s s, but %s, %s, %s s at version %s', body -> 'content_type',
                          body -> 'content_title', length, version_type, version_title, version_length, version) FROM enriched
    WHERE content IS NOT NULL AND version IS NOT NULL
        AND (version_op = 'DELETE' OR (body ->> 'content_type', body ->> 'content_title', length)
            IS DISTINCT FROM (version_type, version_title, version_length::numeric))
    UNION ALL
    SELECT op, id, format('its content (%s, %s s, asked for) is no version as new as its commit', body -> 'content_type', length)
    FROM both_sides AS p
    WHERE content IS NOT NULL AND version IS NULL AND NOT EXISTS (
        SELECT FROM e2e.content_history AS h WHERE h.id = p.content AND h.seq >= p.least AND CASE
            WHEN h.op = 'DELETE' THEN p.body ->> 'content_type' IS NULL AND p.length IS NULL
            ELSE (p.body ->> 'content_type', p.body ->> 'content_title', p.length)
                IS NOT DISTINCT FROM (h.content_type, h.title, h.length_seconds::numeric) END)
    UNION ALL
    SELECT op, id, format('committed_at is %s, its commit began at %s', body -> 'committed_at', at) FROM both_sides
    WHERE NOT (body ->> 'committed_at')::timestamptz BETWEEN at - interval '1 ms' AND (body ->> 'received_at')::timestamptz
    UNION ALL
    SELECT op, id, format('event_id is %s, its row of %s gives %s', event_id, image -> 'event_ts',
                          e2e.event_id(id, (image ->> 'event_ts')::timestamptz)) FROM both_sides
    WHERE op = 'c' AND event_id <> e2e.event_id(id, (image ->> 'event_ts')::timestamptz)
    UNION ALL
    SELECT min(op), min(id), format('event_id %s is there %s times', event_id, count(*)) FROM came
    GROUP BY event_id HAVING count(*) > 1
)
SELECT format('%s of row %s: %s', op, id, difference) FROM differences ORDER BY id LIMIT 200
