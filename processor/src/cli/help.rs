//! What `--help` teaches: the journey, the order of the commands, variables, exit status, examples.

/// Before the list of commands.
pub(super) const ABOUT: &str = "\
A change in Postgres takes effect everywhere else: at once, exactly once, whatever breaks.

  Postgres ─ WAL ─→ Debezium ─→ Kafka ─→ deltafan run ─┬─→ Redis: rolling leaderboards
                                                       └─→ webhook: signed events

Debezium streams the write-ahead log into Kafka. `deltafan run` reads each change there, enriches it
with its content, computes engagement, and delivers it to every sink of its configuration; each sink
goes at its own pace, and none waits for another. ./quick_start.sh sets all of that up.";

/// Behind the options, with `-h`.
pub(super) const AFTER_SHORT: &str = "\
`deltafan --help` says more: variables, exit status, examples; `deltafan COMMAND --help` too.";

/// Behind the options, with `--help`.
pub(super) const AFTER: &str = "\
The commands stand in the order in which one needs them: `validate` a configuration, `run` it,
`generate` something to watch, look at the leaderboards with `top`, and `verify` that all is there.

Environment:
  DELTAFAN_CONFIG         the configuration file, where --config is not given
  POSTGRES_URL            where `generate` writes: postgres://user:password@host:port/database
  RUST_LOG, NO_COLOR      what is logged in detail, as \"debug\"; no colours

  The embedded default configuration (config/deltafan.yaml, which documents every key) takes:
  KAFKA_BROKERS           default 127.0.0.1:9092
  CONNECT_URL             Kafka Connect, whose connector is watched; default http://127.0.0.1:8083
  PROCESSOR_DATABASE_URL  Postgres for look-ups, default without a password on 127.0.0.1:5432
  REDIS_URL               default redis://127.0.0.1:6379
  WEBHOOK_URL             default http://127.0.0.1:5001/webhook
  WEBHOOK_SECRET          signs webhooks; must be set
  ADMIN_LISTEN            health, metrics, administration; default 127.0.0.1:9464
  LOG_LEVEL, LOG_FORMAT   defaults info and text

  The script ./deltafan of the repository sets them all to the stack of ./quick_start.sh, then
  runs this program: ./deltafan top

Exit status:
  0  done, or stopped in order
  1  something failed that may pass by itself: a service is away
  2  somebody must act: configuration, options, credentials, rights, tables
  `verify` also: 1 for differences, 3 where not everything could be compared

Examples:
  deltafan validate --config deltafan.yaml --print
  deltafan run --config deltafan.yaml
  deltafan generate --rate 20 --contents 50
  deltafan top
  deltafan verify --since 1h
  deltafan pause webhook --reason \"receiver is being moved\"
  deltafan resume webhook
  deltafan reset webhook --to 2026-05-01T12:00:00Z
  deltafan dlq list --sink webhook";

pub(super) const VALIDATE: &str = "\
Nothing is connected to. All mistakes are told at once, each with its line and what to write instead;
then the exit status is 2.

Examples:
  deltafan validate                                  the embedded default, with this environment
  deltafan validate --config deltafan.yaml
  deltafan validate --config deltafan.yaml --print   what holds, with every default";

pub(super) const RUN: &str = "\
It waits for services that are not there yet, and goes on where it stood after any crash. Its state:
  curl -s localhost:9464/readyz       each lane, what it waits for and what to do
  curl -s localhost:9464/metrics      for Prometheus

Stopped once, it finishes the writes in flight; asked a second time, it ends at once, and what was in
flight is done again at the next start, without a second effect.

Examples:
  deltafan run                        the embedded default, with this environment
  deltafan run --config deltafan.yaml
  LOG_LEVEL=debug LOG_FORMAT=json deltafan run";

pub(super) const GENERATE: &str = "\
Changes come as in life: at irregular intervals (Poisson); few contents get most of them (Zipf: with
--zipf 0 all alike, 1 as he found it, 4 almost only the first); all types and devices occur (ios,
android, web, tv, smart-speaker, car). Late rows have an event_ts of up to 15 minutes ago.

The same seed, options and contents give the same changes; only times and the rows' numbers differ.
With --contents those of the seed that are not there yet are made. A row that is updated or deleted is
one of this run: what others wrote is never touched. Every change of the load is written, also where
Postgres is too slow for its rate. Where Postgres goes away it waits up to two minutes and writes
no row twice. Ctrl-C ends it after the batch in flight; what was committed is told in any case.

Examples:
  deltafan generate --rate 20                        until Ctrl-C, over the contents that are there
  deltafan generate --rate 20 --contents 50 --late-share 0.05 --update-share 0.1 --delete-share 0.02
  deltafan generate --rate 10000 --duration 1min     a load
  deltafan generate --rows 1000 --contents 50 --seed 7 --json   the same 1000 rows, a result to parse";

pub(super) const TOP: &str = "\
What is shown is what any client reads with ZREVRANGE; the titles come from Postgres. On a terminal it
is drawn in place each second until q or Ctrl-C; elsewhere one table (with --json one line) a second.
`change` is since the last second; `new` was not among those shown before.

Examples:
  deltafan top                                       every leaderboard of the embedded default
  deltafan top --config deltafan.yaml --count 20
  deltafan top --board engagement:10min
  deltafan top --once --json                         one JSON object, for jq";

pub(super) const PAUSE: &str = "\
The order is kept in Kafka: it reaches every instance within a second, outlives restarts and
rebalances, and can be given while none runs. The lane keeps its partitions, reads nothing and writes
nothing; the others do not notice. A leaderboard that is paused still ages. Kafka's retention is the
limit of how long a lane may stand still.

Examples:
  deltafan pause webhook
  deltafan pause engagement/webhook --reason \"receiver is being moved\"";

pub(super) const RESUME: &str = "\
Examples:
  deltafan resume webhook";

pub(super) const RESET: &str = "\
The position is looked up now, in Kafka, and ordered as offsets: so it means the same whenever an
instance obeys, each partition once. Going back, a receiver gets events again and refuses those whose
ids it knows; a file gets lines again. Going forward, what lies between is never delivered. A
leaderboard keeps sums: it is emptied and counted anew from what Kafka still has.

Examples:
  deltafan reset webhook --to earliest
  deltafan reset webhook --to latest                 what waits is given up
  deltafan reset webhook --to 2026-05-01T12:00:00Z   records of this time or later
  deltafan reset webhook --to 0:1500,2:1498          these partitions, and no others
  deltafan reset redis --to earliest                 counted anew";
pub(super) const DLQ: &str = "\
A record that can't be delivered to a sink becomes a dead letter: it lies in the pipeline's topic for
them, byte for byte, with the reason; the sink's lane goes on, and the other sinks do not notice.

Examples:
  deltafan dlq list
  deltafan dlq show 3f0a
  deltafan dlq replay --sink webhook --since 2h
  deltafan dlq purge --all";

pub(super) const DLQ_LIST: &str = "\
Conditions add up. A letter that was written twice, by a kill at the wrong moment, has one id and is
listed once. TRIED counts the writes that it was part of: a sink that refuses a batch is asked with
halves of it until the poison is alone.

Examples:
  deltafan dlq list
  deltafan dlq list --sink webhook --since 2h
  deltafan dlq list --stage decode --reason \"no op\" --state all
  deltafan dlq list --json                           one JSON object a line, for jq";

pub(super) const DLQ_SHOW: &str = "\
Examples:
  deltafan dlq show 3f0a                             as much of the id as no other letter has
  deltafan dlq show 3f0a --value                     the value alone, to be redirected and edited
  deltafan dlq show 3f0a --json                      with bytes in base64";

pub(super) const VERIFY: &str = "\
One snapshot of Postgres is the truth. A logical message behind it (the mark) says from where on Kafka
holds all that the snapshot sees; live traffic is no difference, and nothing has to stand still:
  topic         every row came to Kafka, and its last change there says what the table says
  leaderboards  each member's sum and score, to the millisecond, where the window stands
  webhook       each change is held once, with the row's values and what follows from them
  files         the same; they are read where they lie
An event may be enriched with content that is newer than it is: that is counted, and no difference.
What nobody can tell any more (older than the topic, the receiver or the lane) is unchecked.

It writes nothing but the mark, and needs no more rights than `run` has. Some 250 MB of memory for a
million rows; at most five millions at once. Further columns than those of init.sql are compared with
their change in Kafka, not with the table.

Exit status:
  0  no difference, and all was compared
  1  differences; they are named by row, event or member
  2  somebody must act: configuration, options, rights, tables
  3  no difference, but something could not be compared: it is away, paused or behind

Examples:
  deltafan verify                                    rows of the last hour, in every sink
  deltafan verify --since 7d --sink webhook --wait 5min
  deltafan verify --since 2026-11-21T03:00:00Z --until 2026-11-21T04:00:00Z
  deltafan verify --json --limit 1000                one JSON object, for jq";

pub(super) const DLQ_REPLAY: &str = "\
The letter goes through the topic <topic>.replay to the sink that refused it, and to no other, once:
a command that is killed has replayed a letter and noted it, or neither; repeated, it finds the note.
What is refused again is the same letter, open again, with more attempts.

A letter whose row has changed since is held back, because the sink would take the older state for the
newer; --force replays it. A leaderboard keeps sums: there it is only said. The exit status is 2 where
a letter was held back.

Examples:
  deltafan dlq replay 3f0a
  deltafan dlq replay --sink webhook --reason 422 --dry-run
  deltafan dlq replay --all
  deltafan dlq show 3f0a --value > 3f0a.json         edit it, then
  deltafan dlq replay 3f0a --value 3f0a.json";

pub(super) const DLQ_PURGE: &str = "\
Purged letters are not listed any more. Their room is given back as soon as no letter that is still
wanted lies before them: Kafka deletes from the beginning of a topic only.

Examples:
  deltafan dlq purge 3f0a 77c2
  deltafan dlq purge --state replayed --all
  deltafan dlq purge --until 2026-05-01T12:00:00Z --state all";

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use clap::{Command, CommandFactory};

    /// What each command says behind its options.
    const OF_COMMANDS: [&str; 13] = [
        super::VALIDATE,
        super::RUN,
        super::GENERATE,
        super::TOP,
        super::PAUSE,
        super::RESUME,
        super::RESET,
        super::DLQ,
        super::DLQ_LIST,
        super::DLQ_SHOW,
        super::VERIFY,
        super::DLQ_REPLAY,
        super::DLQ_PURGE,
    ];

    fn help_of(mut command: Command) -> String {
        command.render_long_help().to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_named_and_explained() {
        let help = help_of(Cli::command());
        for command in Cli::command().get_subcommands() {
            let (name, about) = (command.get_name(), command.get_about().unwrap().to_string());
            assert!(help.contains(name) && help.contains(&about), "{name} is not in --help");
            if name != "version" {
                let own = help_of(command.clone());
                let example = format!("  deltafan {name}");
                assert!(own.contains("Examples:") && own.contains(&example), "{name} has no example");
                assert!(super::AFTER.contains(&example), "--help has no example of {name}");
            }
        }
    }

    #[test]
    fn every_variable_of_the_default_configuration_is_named() {
        let text = deltafan::config::default_text();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let variables = lines.flat_map(|line| line.split("${").skip(1));
        let names: Vec<&str> = variables.filter_map(|rest| rest.split([':', '}']).next()).collect();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(super::AFTER.contains(name), "{name} is not in --help");
        }
    }

    /// Examples must be possible: each is parsed.
    #[test]
    fn every_example_can_be_typed() {
        let mut examples = 0;
        for text in [super::AFTER].iter().chain(&OF_COMMANDS) {
            let (_, lines) = text.split_once("Examples:").unwrap();
            for line in lines.lines().filter_map(|line| line.find("deltafan ").map(|at| &line[at..])) {
                // What stands behind some blanks explains it.
                let typed = line.split("   ").next().unwrap().split(" >").next().unwrap();
                let typed = typed.replace("receiver is being moved", "x").replace("no op", "no-op");
                let words = typed.split_whitespace();
                let parsed = Cli::command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{typed}: {}", parsed.unwrap_err());
                examples += 1;
            }
        }
        assert!(examples > 8, "{examples} examples");
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        for text in [super::ABOUT, super::AFTER, super::AFTER_SHORT].iter().chain(&OF_COMMANDS) {
            for line in text.lines() {
                assert!(line.chars().count() <= 102, "{line}");
            }
        }
    }
}
