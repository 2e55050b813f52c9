//! Mistakes that show only while the processor runs: services that are away, that are something else, or that refuse us.

use super::row::{Mistake, lane};

const BROKERS: &str = "brokers:";
const TOPIC: &str = "topic: engagement_events";
const CONTENT: &str = "topic: content";
const DATABASE: &str = "url: ${PROCESSOR_DATABASE_URL}";
const REDIS: &str = "url: redis:";
const WINDOW: &str = "- {key:";
const WEBHOOK: &str = "url: http:";
const SECRETS: &str = "secrets:";

/// Contents that are not in the topic are asked of Postgres.
const ASKS: (&str, &str) = (CONTENT, "topic: {no-contents}");

/// Each is told at `/readyz` and in the log, and the processor goes on.
pub const LANES: &[Mistake] = &[
    lane(
        "Kafka does not run, or its port is wrong",
        "redis",
        &[(BROKERS, "brokers: {closed}")],
        &["no broker at {closed} answers", "see whether kafka runs there"],
        "start it, or correct `KAFKA_BROKERS`",
    ),
    lane(
        "Kafka's host name does not exist",
        "redis",
        &[(BROKERS, "brokers: no-such-host.invalid:9092")],
        &["no broker at no-such-host.invalid:9092 answers", "see whether kafka runs there"],
        "correct `KAFKA_BROKERS`",
    ),
    lane(
        "`KAFKA_BROKERS` is the address of Redis",
        "redis",
        &[(BROKERS, "brokers: {redis}")],
        &["no broker at {redis} answers", "see whether kafka runs there"],
        "correct `KAFKA_BROKERS`",
    ),
    lane(
        "the topic of the events does not exist",
        "redis",
        &[(TOPIC, "topic: engagement_event")],
        &["topic `engagement_event` does not exist", "check its name, or make it"],
        "correct the name; `stack/stack topics` makes those of the stack",
    ),
    lane(
        "the topic of the contents does not exist",
        "webhook",
        &[(CONTENT, "topic: contents")],
        &[
            "kafka or the topic `contents` of the contents is not there yet",
            "check the topic's name, or make it",
        ],
        "correct the name; `stack/stack topics` makes those of the stack",
    ),
    lane(
        "Redis does not run, or its port is wrong",
        "redis",
        &[(REDIS, "url: redis://{closed}")],
        &["redis at {closed}", "Connection refused", "see whether it runs"],
        "start it, or correct `REDIS_URL`",
    ),
    lane(
        "the host name of Redis does not exist",
        "redis",
        &[(REDIS, "url: redis://no-such-host.invalid")],
        &["redis at no-such-host.invalid", "lookup", "see whether it runs"],
        "correct `REDIS_URL`",
    ),
    lane(
        "`REDIS_URL` is the address of an HTTP server",
        "redis",
        &[(REDIS, "url: redis://{http}")],
        &["redis at {http}", "check the address: what answers there does not speak like Redis"],
        "correct `REDIS_URL`",
    ),
    lane(
        "the password of Redis is wrong",
        "redis",
        &[(REDIS, "url: redis://:hunter2@{locked}")],
        &[
            "redis at {locked}",
            "Password authentication failed",
            "check user and password in the URL of Redis",
        ],
        "correct `REDIS_URL`",
    ),
    lane(
        "Redis wants a password and gets none",
        "redis",
        &[(REDIS, "url: redis://{locked}")],
        &["redis at {locked}", "Authentication required", "check user and password in the URL of Redis"],
        "put it into `REDIS_URL`",
    ),
    lane(
        "the user of Redis lacks rights",
        "redis",
        &[(REDIS, "url: redis://weak:hunter2@{locked}")],
        &[
            "redis at {locked}",
            "no permissions to run the 'evalsha' command",
            "let the user of Redis run EVALSHA",
        ],
        "grant them by `ACL SETUSER`",
    ),
    lane(
        "a database of Redis that there is not",
        "redis",
        &[(REDIS, "url: redis://{redis}/99")],
        &["DB index is out of range", "the number at the end of Redis' URL is its database: 0 to 15"],
        "take 0 to 15",
    ),
    lane(
        "Redis has no memory left",
        "redis",
        &[(REDIS, "url: redis://{full}")],
        &["redis at {full}", "OOM", "Redis is at its maxmemory: raise it"],
        "raise `maxmemory`",
    ),
    lane(
        "Redis may throw keys away",
        "redis",
        &[(REDIS, "url: redis://{evicting}")],
        &["redis at {evicting}", "its maxmemory-policy is allkeys-lru", "set maxmemory-policy to noeviction"],
        "`CONFIG SET maxmemory-policy noeviction`",
    ),
    lane(
        "Redis is a replica",
        "redis",
        &[(REDIS, "url: redis://{replica}")],
        &[
            "redis at {replica}",
            "You can't write against a read only replica",
            "give the address of its master",
        ],
        "name the master",
    ),
    lane(
        "Redis is too old",
        "redis",
        &[(REDIS, "url: redis://{old}")],
        &["redis at {old}", "it is version 5.0.14", "use Redis 6.0 or later"],
        "install a later one",
    ),
    lane(
        "the leaderboard's key holds something else",
        "redis",
        &[(WINDOW, "- {key: \"{wrong-key}\", length: 1h}")],
        &["WRONGTYPE", "a key of the window holds something else: remove it"],
        "remove the key, or choose another",
    ),
    lane(
        "the receiver does not run, or its port is wrong",
        "webhook",
        &[(WEBHOOK, "url: http://{closed}/webhook")],
        &["can't connect to http://{closed}/webhook", "Connection refused", "see whether the receiver runs"],
        "start it, or correct `WEBHOOK_URL`",
    ),
    lane(
        "the receiver's host name does not exist",
        "webhook",
        &[(WEBHOOK, "url: http://no-such-host.invalid/webhook")],
        &["can't connect to http://no-such-host.invalid/webhook", "lookup", "see whether the receiver runs"],
        "correct `WEBHOOK_URL`",
    ),
    lane(
        "the receiver has another secret",
        "webhook",
        &[(SECRETS, "secrets: [\"whsec_ZGVsdGFmYW4gZTJlOiBub3QgdGhlIHNlY3JldCEhISE=\"]")],
        &["answered 401", "no signature matches", "check that both sides have the same secret"],
        "give both the same `WEBHOOK_SECRET`",
    ),
    lane(
        "a clock is off by an hour",
        "webhook",
        &[(WEBHOOK, "url: http://{http}/an-hour-ago")],
        &["answered 401", "s old, more than the 300 s allowed; check both clocks"],
        "set the clock: NTP on both machines",
    ),
    lane(
        "the webhook's path is wrong",
        "webhook",
        &[(WEBHOOK, "url: http://{receiver}/webhooks")],
        &["answered 404", "check the URL's path, or deploy the receiver"],
        "correct `WEBHOOK_URL`",
    ),
    lane(
        "the webhook's URL is a page that one may only read",
        "webhook",
        &[(WEBHOOK, "url: http://{receiver}/")],
        &["answered 405", "the receiver takes no JSON by POST at this path"],
        "add the path, as `/webhook`",
    ),
    lane(
        "the webhook's URL leads to another one",
        "webhook",
        &[(WEBHOOK, "url: http://{http}/redirect")],
        &["answered 308", "redirects are not followed: configure the URL that this one leads to"],
        "name the last one; often it is `https`",
    ),
    lane(
        "the webhook's URL says `https`, the receiver speaks `http`",
        "webhook",
        &[(WEBHOOK, "url: https://{http}/404")],
        &["can't connect to https://{http}/404", "does the receiver speak https?"],
        "write `http`, or put TLS before the receiver",
    ),
    lane(
        "the receiver's certificate is one of its own making",
        "webhook",
        &[(WEBHOOK, "url: https://{self-signed}/webhook")],
        &["can't connect to https://{self-signed}/webhook", "certificate", "install its authority's"],
        "install the authority's certificate on this machine",
    ),
    lane(
        "the receiver does not answer",
        "webhook",
        &[(WEBHOOK, "url: http://{http}/silent"), ("timeout: 10s", "timeout: 1s")],
        &["did not answer within 1s", "see whether the receiver is overloaded"],
        "look at its log; raise `timeout` if it is slow by nature",
    ),
    lane(
        "the receiver fails",
        "webhook",
        &[(WEBHOOK, "url: http://{http}/500")],
        &["answered 500: out of order"],
        "look at its log; the lane goes on by itself",
    ),
    lane(
        "the processor's password in Postgres is wrong",
        "webhook",
        &[ASKS, (DATABASE, "url: postgres://processor:hunter2@{postgres}/streaming_db")],
        &["postgres can't be asked", "password authentication failed for user", "check `postgres.url`"],
        "correct `PROCESSOR_DATABASE_URL`",
    ),
    lane(
        "the processor's database does not exist",
        "webhook",
        &[ASKS, (DATABASE, "url: {processor-url}s")],
        &["postgres can't be asked", "database \"streaming_dbs\" does not exist", "check `postgres.url`"],
        "correct `PROCESSOR_DATABASE_URL`",
    ),
    lane(
        "Postgres does not run, or its port is wrong",
        "webhook",
        &[ASKS, (DATABASE, "url: postgres://processor:hunter2@{closed}/streaming_db")],
        &["postgres can't be asked", "Connection refused", "see whether postgres runs"],
        "start it, or correct `PROCESSOR_DATABASE_URL`",
    ),
    lane(
        "the processor may not read the table `content`",
        "webhook",
        &[ASKS, (DATABASE, "url: postgres://e2e_mistakes:hunter2@{postgres}/streaming_db")],
        &["permission denied for table content", "GRANT SELECT ON content"],
        "grant it: `init.sql` shows how",
    ),
    lane(
        "the table `content` lacks a column",
        "webhook",
        &[ASKS, (DATABASE, "url: {postgres-url-of}e2e_mistakes")],
        &["column", "does not exist", "make the table as init.sql does"],
        "bring the table to the form of `init.sql`",
    ),
    lane(
        "the processor's database is another one, without the tables",
        "webhook",
        &[ASKS, (DATABASE, "url: {postgres-url-of}postgres")],
        &["relation \"content\" does not exist", "make the table as init.sql does"],
        "name the database that Debezium reads",
    ),
];
