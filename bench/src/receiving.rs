//! The receiver that we ship, by itself: signed batches of events, posted as fast as it acknowledges them, which it does once they are
//! durable. Meanwhile somebody asks for what its page shows.

use crate::cost::Watched;
use crate::messages::{Kind, Messages};
use crate::pipeline::say;
use crate::processor::Running;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use deltafan::decode::{Decoded, Decoder};
use deltafan::sink::webhook::Events;
use deltafan::sink::{Batch, Event};
use deltafan::transform::{Content, transform};
use rand::RngExt;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;
use uuid::Uuid;
use webhook_protocol::{
    HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, MAX_BODY_BYTES, Secret, sign, webhook_id,
};

/// Of nobody else.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const CONTENTS: usize = 1000;
/// How often the page asks.
const PAGE: Duration = Duration::from_millis(500);
const ASK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Events; they are made before, and lie in memory.
    #[arg(long, default_value_t = 600_000)]
    events: u32,
    /// Events in each POST.
    #[arg(long, default_value_t = 1000)]
    together: usize,
    /// Senders, each of which has one POST under way.
    #[arg(long, default_value_t = 2)]
    senders: usize,
    /// Runs, each with a store of its own.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Where the stores lie while they are needed: a folder on the disk that counts.
    #[arg(long, env = "BENCH_STATE")]
    state: PathBuf,
    /// The receiver.
    #[arg(long, env = "BENCH_WEBHOOK_SINK")]
    webhook_sink: PathBuf,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:5098")]
    listen: String,
    /// Where raw results are added, a line of JSON for each run.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// One POST, signed.
struct Post {
    id: String,
    timestamp_s: u64,
    signature: String,
    body: Vec<u8>,
}

/// Makes the events, posts them to a new receiver in each run, prints a line for each.
///
/// # Errors
/// The receiver does not answer, refuses something, or does not have each event once afterwards.
pub async fn measure(options: &Options) -> Result<()> {
    let posts = Arc::new(posts(options)?);
    let bytes: usize = posts.iter().map(|post| post.body.len()).sum();
    say(&format!("{} events in {} POSTs, {} MiB", options.events, posts.len(), bytes >> 20))?;
    for run in 1..=options.runs {
        let store = options.state.join(format!("bench-receiver-{:08x}", rand::random::<u32>()));
        std::fs::create_dir_all(&store).with_context(|| store.display().to_string())?;
        let measured = one_run(options, &posts, &store).await;
        std::fs::remove_dir_all(&store)?;
        let line = measured?;
        say(&format!("run {run}: {}", told(&line)))?;
        if let Some(path) = &options.results {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{line}")?;
        }
    }
    Ok(())
}

/// The bodies as the processor's webhook sink makes them, of real messages.
fn posts(options: &Options) -> Result<Vec<Post>> {
    let contents: Vec<_> = (0..CONTENTS).map(|_| Uuid::from_u128(rand::random())).collect();
    let mut messages =
        Messages::new(Kind { exponent: 1.0, with_schema: false, transaction: 1, seed: 3 }, &contents)?;
    let content = Content {
        content_type: Some("video".into()),
        title: Some("How bread is made".into()),
        length_seconds: Some(600),
        version: Some(268_548_976),
        ..Content::default()
    };
    let secrets: [Secret; 1] = [SECRET.parse()?];
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut at_us = i64::try_from(now.as_micros())?;
    let first = rand::rng().random_range(1..1 << 40);
    let (mut decoder, mut posts) = (Decoder::default(), Vec::new());
    let ids: Vec<u64> = (first..first + u64::from(options.events)).collect();
    for part in ids.chunks(options.together.max(1)) {
        let (mut batch, mut names) = (Events::new(part.len(), MAX_BODY_BYTES), Vec::new());
        for id in part {
            // A hundred thousand a second, so that their ids grow as those of real rows do.
            at_us += 10;
            messages.make(*id, at_us)?;
            let Decoded::Change(change) = decoder.decode(Some(&messages.value))? else { bail!("no change") };
            let change = transform(change)?;
            names.push(change.event_id().context("no id")?.to_string());
            batch
                .push(&Event { partition: 0, offset: 0, change: &change, content: Some(&content) })
                .map_err(|refusal| anyhow::anyhow!(refusal.reason))?;
        }
        let (id, body) = (webhook_id(&names), batch.body().to_vec());
        let signature = sign(&secrets, &id, now.as_secs(), &body);
        posts.push(Post { id, timestamp_s: now.as_secs(), signature, body });
    }
    Ok(posts)
}

async fn one_run(options: &Options, posts: &Arc<Vec<Post>>, store: &Path) -> Result<Value> {
    let receiver = Receiver::start(options, store).await?;
    let before = receiver.watched.cpu_seconds()?;
    let page = Page::open(&receiver);
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..options.senders)
        .map(|_| {
            let (http, url) = (receiver.http.clone(), receiver.url("webhook"));
            let (posts, next) = (Arc::clone(posts), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some(post) = posts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    post.send(&http, &url).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for sender in senders {
        sender.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = receiver.watched.cpu_seconds()? - before;
    let (answers, slowest_ms) = page.close().await?;
    let peak_mib = receiver.watched.peak_mib()?;
    receiver.has(u64::from(options.events), 0).await?;
    // The same events once more are refused as known.
    let again = posts.first().context("no POST")?;
    again.send(&receiver.http, &receiver.url("webhook")).await?;
    receiver
        .has(u64::from(options.events), u64::try_from(options.together)?.min(options.events.into()))
        .await?;
    let million = f64::from(options.events) / 1e6;
    Ok(json!({
        "measured": "receiver", "events": options.events, "together": options.together, "senders": options.senders,
        "events_per_second": million * 1e6 / seconds, "cpu_seconds_per_million": cpu / million, "peak_mib": peak_mib,
        "page_answers": answers, "page_slowest_ms": slowest_ms,
    }))
}

fn told(line: &Value) -> String {
    let number = |name: &str| line.get(name).and_then(Value::as_f64).unwrap_or_default();
    format!(
        "{:.0} events/s acknowledged; {:.2} CPU-seconds per million, at most {:.0} MiB; {:.0} answers for the page meanwhile, the slowest \
         after {:.0} ms",
        number("events_per_second"),
        number("cpu_seconds_per_million"),
        number("peak_mib"),
        number("page_answers"),
        number("page_slowest_ms")
    )
}

impl Post {
    async fn send(&self, http: &reqwest::Client, url: &str) -> Result<()> {
        let answer = http
            .post(url)
            .header("content-type", "application/json")
            .header(HEADER_ID, &self.id)
            .header(HEADER_TIMESTAMP, self.timestamp_s)
            .header(HEADER_SIGNATURE, &self.signature)
            .body(self.body.clone())
            .send()
            .await?;
        ensure!(answer.status().is_success(), "the receiver answers {}", answer.status());
        answer.bytes().await?;
        Ok(())
    }
}

/// The receiver under test.
struct Receiver {
    watched: Watched,
    http: reqwest::Client,
    listen: String,
    _running: Running,
}

impl Receiver {
    async fn start(options: &Options, store: &Path) -> Result<Self> {
        let child = Command::new(&options.webhook_sink)
            .args(["--listen", &options.listen, "--store"])
            .arg(store.join("events.db"))
            .env("WEBHOOK_SECRET", SECRET)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("{} can't be started", options.webhook_sink.display()))?;
        let watched = Watched { name: "receiver", pid: child.id() };
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let receiver = Self { watched, http, listen: options.listen.clone(), _running: Running::new(child) };
        let began = Instant::now();
        while receiver.http.get(receiver.url("health")).send().await.is_err() {
            ensure!(began.elapsed() < PATIENCE, "the receiver does not answer");
            sleep(ASK).await;
        }
        Ok(receiver)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.listen)
    }

    async fn has(&self, events: u64, duplicates: u64) -> Result<()> {
        let stats: Value = self.http.get(self.url("stats")).send().await?.error_for_status()?.json().await?;
        let count = |name: &str| stats.get(name).and_then(Value::as_u64).context(name.to_owned());
        let found = (count("total_events")?, count("duplicates")?, count("invalid_signatures")?);
        ensure!(
            found == (events, duplicates, 0),
            "it has {found:?}, not {events} and {duplicates} duplicates"
        );
        Ok(())
    }
}

/// Who looks at the page.
struct Page {
    closed: Arc<AtomicBool>,
    looking: tokio::task::JoinHandle<Result<(u32, f64)>>,
}

impl Page {
    fn open(receiver: &Receiver) -> Self {
        let (http, urls) =
            (receiver.http.clone(), ["live?after=0", "events?limit=50"].map(|path| receiver.url(path)));
        let closed = Arc::new(AtomicBool::new(false));
        let is_closed = Arc::clone(&closed);
        let looking = tokio::spawn(async move {
            let (mut answers, mut slowest_ms) = (0, 0f64);
            while !is_closed.load(Ordering::Relaxed) {
                for url in &urls {
                    let asked = Instant::now();
                    http.get(url).send().await?.error_for_status()?.bytes().await?;
                    slowest_ms = slowest_ms.max(asked.elapsed().as_secs_f64() * 1e3);
                    answers += 1;
                }
                sleep(PAGE).await;
            }
            Ok((answers, slowest_ms))
        });
        Self { closed, looking }
    }

    /// How many answers there were, and how long the slowest took in milliseconds.
    async fn close(self) -> Result<(u32, f64)> {
        self.closed.store(true, Ordering::Relaxed);
        self.looking.await?
    }
}
