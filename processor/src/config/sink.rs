//! The sinks: what all have in common, and the keys of each type.

use std::{
    fmt, num::NonZeroU32, num::NonZeroU64, num::NonZeroUsize, ops::Deref, path::Path, path::PathBuf,
    time::Duration,
};

use super::{
    collections::NonEmpty,
    describe::{Describe, Outline},
    kinds::{Bytes, BytesIn, CountTo, DurationIn, Fault, Flag, Kind},
    names::{Folder, FolderKind, RedisKey, RedisKeyKind},
    rate::{MaxRate, MaxRateKind},
    secret::WebhookSecretKind,
    section::Section,
    settings::{settings, words},
    url::{HttpUrl, HttpUrlKind, RedisUrl, RedisUrlKind},
};

const WORKERS: CountTo = CountTo {
    max: 64,
    why: "each worker is a consumer with threads of its own, and one partition feeds one worker",
};
const MAX_CONDEMNED: CountTo = CountTo {
    max: 1_000_000,
    why: "a sink that condemns everything is failing, and nobody reads a million letters",
};
const MAX_RECORDS: CountTo =
    CountTo { max: 20_000, why: "one call of 4,000 cells blocks Redis for up to 31 ms already" };
const MAX_EVENTS: CountTo = CountTo { max: 10_000, why: "a receiver stores a batch in one transaction" };
const BODY_BYTES: BytesIn = BytesIn {
    min: 1 << 10,
    max: 2 << 20,
    why: "less holds no event; more is never prepared for one request",
};
const WEBHOOK_TIMEOUT: DurationIn = DurationIn {
    min: Duration::from_millis(100),
    max: Duration::from_secs(300),
    why: "a shorter one fails on a healthy receiver, a longer one hides a dead one",
};
const MAX_FILE: BytesIn = BytesIn {
    min: 1 << 20,
    max: 16 << 30,
    why: "one write holds up to 512 KiB and a line; a larger file is a burden for whoever reads it",
};
const KEEP_FILES: CountTo =
    CountTo { max: 1_000_000, why: "they lie in one folder, which somebody has to list" };
const WINDOW: DurationIn = DurationIn {
    min: Duration::from_secs(1),
    max: Duration::from_secs(24 * 3600),
    why: "buckets are one second wide, and Redis keeps one for each second of a window",
};

/// A destination. Its lane has its own consumer group, position and pace.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Whether its lane runs. Default: true. A sink that is off is checked like any other.
    pub enabled: bool,
    /// How many consumers (threads) its lane runs; they share the partitions. Default: 2.
    pub workers: NonZeroUsize,
    /// So many events in a row, none accepted between them, may it condemn before it counts as failing. Default: 100.
    pub max_condemned: NonZeroUsize,
    /// At most so many events per second is it sent by this instance. Default: none, as many as go.
    pub max_rate: MaxRate,
    /// What it is, with the keys of its type.
    pub target: Target,
}

/// What a sink writes to.
#[derive(Debug, Clone)]
pub enum Target {
    /// Rolling leaderboards in Redis.
    RedisWindow(RedisWindow),
    /// Signed POST requests.
    Webhook(Webhook),
    /// Lines of JSON in files.
    Files(Files),
    /// Nowhere.
    Discard,
}

words! {
    /// The types of sinks.
    SinkType {
        /// Rolling leaderboards in Redis.
        RedisWindow = "redis_window",
        /// Signed POST requests.
        Webhook = "webhook",
        /// Lines of JSON in files.
        File = "file",
        /// Nowhere: events are decoded and let go, to see what a lane costs or whether a topic can be read.
        Discard = "discard",
    }
}

impl Sink {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let sink_type = section.required("type", "What it writes to.", &SinkType::KIND);
        let enabled = section.optional("enabled", "Whether its lane runs.", &Flag, "true");
        let workers = section.optional(
            "workers",
            "How many consumers (threads) its lane runs; they share the partitions.",
            &WORKERS,
            "2",
        );
        let max_condemned = section.optional(
            "max_condemned",
            "So many events in a row, with none accepted between them, may the sink condemn. Beyond that it counts as failing: \
             no more dead letters, its breaker opens.",
            &MAX_CONDEMNED,
            "100",
        );
        let max_rate = section.optional(
            "max_rate",
            "At most so many events per second is the sink sent, by all workers of this instance together; `none`: as many as \
             go. A write then holds a tenth of that at most. The others are not slowed down by it.",
            &MaxRateKind,
            "none",
        );
        let Some(sink_type) = sink_type else {
            section.excuse_unknown();
            return None;
        };
        section.narrow(sink_type.as_str());
        let target = match sink_type {
            SinkType::RedisWindow => RedisWindow::read(section).map(Target::RedisWindow),
            SinkType::Webhook => Webhook::read(section).map(Target::Webhook),
            SinkType::File => Files::read(section).map(Target::Files),
            SinkType::Discard => Some(Target::Discard),
        };
        Some(Self {
            enabled: enabled?,
            workers: workers?,
            max_condemned: max_condemned?,
            max_rate: max_rate?,
            target: target?,
        })
    }

    /// The type, as the file names it.
    #[must_use]
    pub fn sink_type(&self) -> SinkType {
        match self.target {
            Target::RedisWindow(_) => SinkType::RedisWindow,
            Target::Webhook(_) => SinkType::Webhook,
            Target::Files(_) => SinkType::File,
            Target::Discard => SinkType::Discard,
        }
    }
}

impl Describe for Sink {
    fn describe(&self, out: &mut Outline) {
        out.group(|out| {
            out.entry("type", &self.sink_type());
            out.entry("enabled", &self.enabled);
            out.entry("workers", &self.workers);
            out.entry("max_condemned", &self.max_condemned);
            out.entry("max_rate", &self.max_rate);
        });
        match &self.target {
            Target::RedisWindow(redis) => redis.describe(out),
            Target::Webhook(webhook) => webhook.describe(out),
            Target::Files(files) => files.describe(out),
            Target::Discard => {}
        }
    }
}

settings! {
    /// Rolling leaderboards in Redis: sorted sets that hold the sums of the last minutes.
    pub struct RedisWindow {
        /// The server: `redis://[user:password@]host[:port][/database]`.
        pub url: RedisUrl = required(&RedisUrlKind),
        /// The leaderboards, each with its key and its length.
        pub windows: Windows = windows(),
        /// At most so many records in one write.
        pub max_records: NonZeroUsize = optional(&MAX_RECORDS, "4000"),
    }
}

settings! {
    /// One leaderboard.
    pub struct Window {
        /// The key of the sorted set. No other sink may write it on the same server.
        pub key: RedisKey = required(&RedisKeyKind),
        /// How far back it reaches: whole seconds, from 1 s (a bucket) to 24 h (a bucket each second).
        pub length: WindowLength = required(&WindowLengthKind),
        /// What its members are: `content` (ids), `content_type` (as the content has it now) or `device`.
        pub by: By = optional(&By::KIND, "content"),
    }
}

words! {
    /// What the members of a leaderboard are.
    By {
        /// Contents, by their ids.
        Content = "content",
        /// Types of content.
        ContentType = "content_type",
        /// Devices.
        Device = "device",
    }
}

settings! {
    /// Batches of events as signed POST requests (Standard Webhooks 1.0.0).
    pub struct Webhook {
        /// Where to post to.
        pub url: HttpUrl = required(&HttpUrlKind),
        /// The signing secrets. Every request is signed with all of them, so that a receiver can change from one to the next.
        pub secrets: NonEmpty<webhook_protocol::Secret> = list(&WebhookSecretKind),
        /// How long the receiver may take to answer before the request is sent again.
        pub timeout: Duration = optional(&WEBHOOK_TIMEOUT, "10s"),
        /// At most so many events in one request.
        pub max_events: NonZeroUsize = optional(&MAX_EVENTS, "1000"),
        /// At most so many bytes in the body of one request; a single event above it goes alone.
        pub max_body: Bytes = optional(&BODY_BYTES, "1MiB"),
        /// Whether the address may be loopback or a private network.
        pub allow_private_targets: bool = optional(&Flag, "false"),
    }
}

settings! {
    /// A line of JSON for each event, in files.
    pub struct Files {
        /// The folder, which must exist. No other sink may write into it.
        pub path: Folder = folder(),
        /// A file is finished before a write that would take it beyond this size, and the next one is begun.
        pub max_file: Bytes = optional(&MAX_FILE, "64MiB"),
        /// How many finished files of each partition stay: `all`, or a number; older ones are removed.
        pub keep_files: KeepFiles = optional(&KeepFilesKind, "all"),
    }
}

/// How many finished files of a partition stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepFiles(Option<NonZeroU64>);

impl KeepFiles {
    /// The number; `None` for all of them.
    #[must_use]
    pub fn get(self) -> Option<NonZeroU64> {
        self.0
    }
}

impl Describe for KeepFiles {
    fn describe(&self, out: &mut Outline) {
        match self.0 {
            Some(number) => out.value(number),
            None => out.value("all"),
        }
    }
}

struct KeepFilesKind;

impl Kind for KeepFilesKind {
    type Value = KeepFiles;

    fn name(&self) -> String {
        format!("all, or {}", KEEP_FILES.name())
    }

    fn parse(&self, text: &str) -> Result<KeepFiles, Fault> {
        if text == "all" {
            return Ok(KeepFiles(None));
        }
        if text.parse::<usize>().is_err() {
            return Err(Fault::new("is neither a number nor `all`", format!("write {}", self.name())));
        }
        let number = KEEP_FILES.parse(text)?;
        Ok(KeepFiles(u64::try_from(number.get()).ok().and_then(NonZeroU64::new)))
    }
}

/// The leaderboards of a sink: at least one, each with a key of its own.
#[derive(Debug, Clone)]
pub struct Windows(NonEmpty<Window>);

impl Deref for Windows {
    type Target = [Window];

    fn deref(&self) -> &[Window] {
        &self.0
    }
}

impl Describe for Windows {
    fn describe(&self, out: &mut Outline) {
        out.group(|out| {
            for window in &self.0 {
                let Window { key, length, by } = window;
                out.item(format_args!("{{key: \"{key}\", length: {length}, by: {}}}", by.as_str()));
            }
        });
    }
}

/// How far back a window reaches: whole seconds, one to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowLength(NonZeroU32);

impl WindowLength {
    /// The length in seconds, 1 to 86,400.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0.get()
    }

    /// The length as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds()))
    }
}

impl fmt::Display for WindowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::kinds::ms(self.duration()))
    }
}

impl Describe for WindowLength {
    fn describe(&self, out: &mut Outline) {
        out.value(self);
    }
}

struct WindowLengthKind;

impl Kind for WindowLengthKind {
    type Value = WindowLength;

    fn name(&self) -> String {
        WINDOW.name()
    }

    fn parse(&self, text: &str) -> Result<WindowLength, Fault> {
        let length = WINDOW.parse(text)?;
        let seconds = u32::try_from(length.as_secs()).ok().and_then(NonZeroU32::new);
        let whole = seconds.filter(|_| length.subsec_nanos() == 0);
        whole.map(WindowLength).ok_or_else(|| {
            Fault::new("is no whole number of seconds", "write whole seconds: buckets are one second wide")
        })
    }
}

impl Section<'_> {
    /// The windows of a Redis sink. Two sinks that write one key would take back each other's sums.
    fn windows(&self, key: &'static str, doc: &str) -> Option<Windows> {
        let off = self.peek("enabled", &Flag) == Some(false);
        let server =
            self.peek("url", &RedisUrlKind).filter(|_| !off).map_or(self.path.clone(), |url| url.server());
        let windows = self.sections(key, doc, |item| {
            let window = Window::read(item);
            let key = item.peek("key", &RedisKeyKind)?;
            let path = item.child("key");
            if let Some(owner) = self.reader.claim(format!("{server} {key}"), &path) {
                let what = format!("is written by {owner} already");
                let remedy = "give each window a key of its own, or another server or database";
                item.report(item.place_of("key"), &path, &what, remedy);
            }
            window
        });
        windows.map(Windows)
    }

    /// The folder of a file sink. Two sinks in one folder would take each other's positions for their own.
    fn folder(&self, key: &'static str, doc: &str) -> Option<Folder> {
        let folder = self.required(key, doc, &FolderKind)?;
        if self.peek("enabled", &Flag) != Some(false) {
            let plain: PathBuf = Path::new(folder.as_str()).components().collect();
            let path = self.child(key);
            if let Some(owner) = self.reader.claim(format!("folder {}", plain.display()), &path) {
                let what = format!("is written by {owner} already");
                self.report(self.place_of(key), &path, &what, "give each file sink a folder of its own");
            }
        }
        Some(folder)
    }
}
