-- The database as Deltafan expects it: tables, least-privilege roles, publication, a little content to try with.
--
-- Run by psql as the owner of the database (`stack/stack up` does, and so does the containers' setup). Safe to
-- run again: what is there stays, and the roles' passwords become what the environment says.
-- Takes CDC_PASSWORD and PROCESSOR_PASSWORD from the environment.

\set ON_ERROR_STOP on
\set cdc_password `printenv CDC_PASSWORD`
\set processor_password `printenv PROCESSOR_PASSWORD`
SET client_min_messages = warning;

SELECT :'cdc_password' = '' OR :'processor_password' = '' AS passwords_missing \gset
\if :passwords_missing
DO $$ BEGIN RAISE EXCEPTION 'CDC_PASSWORD and PROCESSOR_PASSWORD must be in the environment'; END $$;
\endif

BEGIN;

CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

-- What the public may do by default is more than a role made for one purpose should.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC;

-- Tables ---------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS content (
    id             uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    slug           text NOT NULL UNIQUE,
    title          text NOT NULL,
    content_type   text NOT NULL CHECK (content_type IN ('podcast', 'newsletter', 'video')),
    length_seconds int,                      -- a newsletter has none
    publish_ts     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS engagement_events (
    id             bigserial PRIMARY KEY,
    content_id     uuid REFERENCES content (id),
    user_id        uuid NOT NULL,
    event_type     text NOT NULL CHECK (event_type IN ('play', 'pause', 'finish', 'click')),
    event_ts       timestamptz NOT NULL DEFAULT now(),
    duration_ms    int,                      -- a click has none
    device         text,
    raw_payload    jsonb
);

-- A window is rebuilt from the rows of its time.
CREATE INDEX IF NOT EXISTS engagement_events_event_ts ON engagement_events (event_ts);

-- An update or a delete must carry the whole old row: the leaderboard takes back what it had added, and a large value
-- that an update left alone would otherwise be missing from the change of `content`.
ALTER TABLE content REPLICA IDENTITY FULL;
ALTER TABLE engagement_events REPLICA IDENTITY FULL;

-- What Debezium reads. TRUNCATE is left out: it says nothing of the rows it removed.
SELECT $$CREATE PUBLICATION deltafan FOR TABLE engagement_events, content WITH (publish = 'insert,update,delete')$$
WHERE NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'deltafan')
\gexec

-- Roles ----------------------------------------------------------------------------------------------------------------

-- cdc: Debezium. Streams the WAL and takes the first snapshot of content. Its heartbeats are logical messages, so it may
-- write nothing.
SELECT 'CREATE ROLE cdc' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cdc')
\gexec
ALTER ROLE cdc WITH LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'cdc_password';
GRANT SELECT ON content, engagement_events TO cdc;

-- processor: Deltafan. Looks content up and rebuilds windows, and may write nothing.
SELECT 'CREATE ROLE processor' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'processor')
\gexec
ALTER ROLE processor WITH LOGIN NOREPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'processor_password';
GRANT SELECT ON content, engagement_events TO processor;

-- Content to try with --------------------------------------------------------------------------------------------------

INSERT INTO content (id, slug, title, content_type, length_seconds, publish_ts) VALUES
    ('5b1f0c5e-0001-4a6e-9c1d-0d5a3c7e1001', 'deep-sea-cables',       'The Cables Under the Sea',               'podcast',    2710, '2026-01-06 06:00+00'),
    ('5b1f0c5e-0002-4a6e-9c1d-0d5a3c7e1002', 'small-hours-radio',     'Small Hours: Radio After Midnight',      'podcast',    1835, '2026-01-13 06:00+00'),
    ('5b1f0c5e-0003-4a6e-9c1d-0d5a3c7e1003', 'bread-and-patience',    'Bread and Patience',                     'podcast',    3120, '2026-01-20 06:00+00'),
    ('5b1f0c5e-0004-4a6e-9c1d-0d5a3c7e1004', 'night-trains',          'Night Trains of Europe',                 'video',       742, '2026-01-08 17:30+00'),
    ('5b1f0c5e-0005-4a6e-9c1d-0d5a3c7e1005', 'how-a-lens-is-ground',  'How a Lens Is Ground',                   'video',       486, '2026-01-15 17:30+00'),
    ('5b1f0c5e-0006-4a6e-9c1d-0d5a3c7e1006', 'tide-tables',           'Reading Tide Tables in Four Minutes',    'video',       240, '2026-01-22 17:30+00'),
    ('5b1f0c5e-0007-4a6e-9c1d-0d5a3c7e1007', 'cafe-muller-at-forty',  'Café Müller at Forty',                   'video',      1265, '2026-01-29 17:30+00'),
    ('5b1f0c5e-0008-4a6e-9c1d-0d5a3c7e1008', 'the-week-in-ports',     'The Week in Ports, No. 112',             'newsletter', NULL, '2026-01-09 05:00+00'),
    ('5b1f0c5e-0009-4a6e-9c1d-0d5a3c7e1009', 'letters-from-the-lab',  'Letters From the Lab: Slow Glass',       'newsletter', NULL, '2026-01-16 05:00+00'),
    ('5b1f0c5e-0010-4a6e-9c1d-0d5a3c7e1010', 'sunday-long-read',      'Sunday Long Read: A Map of Every Bench', 'newsletter',  660, '2026-01-25 05:00+00')
ON CONFLICT DO NOTHING;

COMMIT;
