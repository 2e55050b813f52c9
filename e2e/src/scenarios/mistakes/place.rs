//! Where mistakes are tried: the stack, servers that are not as they should be, files that are wrong, and the names by which
//! the rows of the table call them.

use super::servers;
use crate::harness::process::{Process, Recipe};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Plan, Receiver, Stack};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Nobody listens there: it takes root, and nothing that is still in use.
const CLOSED: &str = "127.0.0.1:1";
/// The password of everything here that has one; it must not appear in any answer.
pub const PASSWORD: &str = "hunter2";
/// The broker knows no users at all.
const REFUSED: &str = "kafka:\n  properties: {security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, \
                       sasl.username: e2e, sasl.password: hunter2}\n";
const SOON: Duration = Duration::from_secs(20);

/// All that the rows need.
pub struct Place {
    /// The stack.
    pub stack: Arc<Stack>,
    /// Files, logs and stores.
    pub folder: PathBuf,
    /// A right configuration but for the name of the pipeline.
    pub plan: Plan,
    /// Words in braces and what they stand for.
    values: BTreeMap<&'static str, String>,
    _taken: TcpListener,
    _receiver: Receiver,
    _processes: Vec<Process>,
}

impl Place {
    /// Starts the servers and writes the files.
    pub async fn new(bench: &Bench) -> Result<Self> {
        let receiver = bench.receiver().await?;
        let mut plan = bench.plan(&receiver)?;
        plan.workers = 1;
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let mut values = of_the_stack(bench)?;
        values.insert("taken", taken.local_addr()?.to_string());
        let free = bench.stack.free_address()?;
        let (_, port) = free.rsplit_once(':').context("an address without a port")?;
        values.insert("free-port", port.to_owned());
        values.insert("closed", CLOSED.to_owned());
        values.insert("receiver", receiver.address.clone());
        values.insert("http", servers::http(receiver.address.clone()).await?);
        values.insert("old", servers::old_redis().await?);
        values.insert("no-contents", format!("{}-no-contents", bench.name));
        values.insert("wrong-key", format!("{}:text", bench.name));
        let mut place = Self {
            stack: Arc::clone(&bench.stack),
            folder: bench.folder.clone(),
            plan,
            values,
            _taken: taken,
            _receiver: receiver,
            _processes: Vec::new(),
        };
        place.write_files()?;
        for (name, arguments) in servers::REDISES {
            place.start_redis(name, arguments).await?;
        }
        place.start_tls().await?;
        Ok(place)
    }

    /// A row's words with what they stand for.
    pub fn fill(&self, words: &str) -> String {
        self.values
            .iter()
            .fold(words.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    fn write_files(&self) -> Result<()> {
        self.write("empty.yaml", "")?;
        self.write("tab.yaml", "kafka:\n\tbrokers: localhost:9092\n")?;
        self.write("binary.yaml", [0xff, 0xfe, 0x00])?;
        self.write(
            "notes.txt",
            "no store, but something that somebody wrote and wants to keep\n".repeat(20),
        )?;
        let good = self.plan.yaml(&self.stack, "${ADMIN_LISTEN}")?;
        for (name, right, wrong) in [
            ("key", "transform:", "transfrom:"),
            ("type", "workers: 1", "workers: many"),
            ("unit", "length: 1h", "length: 60"),
            ("sink", "type: redis_window", "type: redis_windows"),
            ("refused", "kafka:\n", REFUSED),
            ("property", "kafka:\n", "kafka:\n  properties: {enable.auto.commit: true}\n"),
            ("private", "        allow_private_targets: true\n", ""),
        ] {
            let wrong = good.replacen(right, wrong, 1);
            anyhow::ensure!(wrong != good, "{right:?} is not in the configuration");
            self.write(&format!("{name}.yaml"), wrong)?;
        }
        for name in ["bin", "broken-env"] {
            std::fs::create_dir_all(self.folder.join(name))?;
        }
        self.write("broken-env/.env", format!("WEBHOOK_SECRET={PASSWORD}\n"))?;
        self.write_program("df", "echo 'Filesystem 1M-blocks Used Available'; echo 'disk 100 88 12 88% /'")?;
        self.write_program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    }

    fn write_program(&self, name: &str, script: &str) -> Result<()> {
        let name = format!("bin/{name}");
        self.write(&name, format!("#!/bin/sh\n{script}\n"))?;
        Ok(std::fs::set_permissions(self.folder.join(name), std::fs::Permissions::from_mode(0o755))?)
    }

    async fn start_redis(&mut self, name: &'static str, arguments: &[&str]) -> Result<()> {
        let address = self.stack.free_address()?;
        let (_, port) = address.rsplit_once(':').context("an address without a port")?;
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let folder = folder.display().to_string();
        let all = ["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", &folder];
        let recipe = Recipe {
            name: format!("the redis `{name}`"),
            program: PathBuf::from("redis-server"),
            arguments: all.iter().chain(arguments).map(Into::into).collect(),
            env: BTreeMap::new(),
            log: self.folder.join(format!("redis-{name}.txt")),
        };
        self.serve(name, address, recipe).await
    }

    /// A server whose certificate nobody vouches for.
    async fn start_tls(&mut self) -> Result<()> {
        let address = self.stack.free_address()?;
        let [key, certificate] =
            ["key.pem", "certificate.pem"].map(|name| self.folder.join(name).display().to_string());
        let openssl = |log: &str, arguments: &[&str]| Recipe {
            name: "openssl".to_owned(),
            program: PathBuf::from("openssl"),
            arguments: arguments.iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            log: self.folder.join(log),
        };
        let subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
        let make = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        let (status, said) =
            openssl("certificate.txt", &[&make[..], &subject[..]].concat()).run(SOON).await?;
        anyhow::ensure!(status.success(), "openssl makes no certificate: {said}");
        let serve = ["s_server", "-quiet", "-accept", &address, "-key", &key, "-cert", &certificate];
        let recipe = openssl("tls.txt", &serve);
        self.serve("self-signed", address, recipe).await
    }

    async fn serve(&mut self, name: &'static str, address: String, recipe: Recipe) -> Result<()> {
        self._processes.push(recipe.start()?);
        wait::until(&format!("{name} listens"), SOON, async || {
            let listens = tokio::net::TcpStream::connect(&address).await.is_ok();
            Ok(seen_if(listens, || "nobody is there".to_owned()))
        })
        .await?;
        self.values.insert(name, address);
        Ok(())
    }
}

fn of_the_stack(bench: &Bench) -> Result<BTreeMap<&'static str, String>> {
    let stack = &bench.stack;
    let root = stack.root().display().to_string();
    let url = stack.get("POSTGRES_URL")?;
    let (without_database, _) = url.rsplit_once('/').context("POSTGRES_URL has no database")?;
    let port: u16 = stack.get("POSTGRES_PORT")?.parse()?;
    let offset = port.saturating_sub(5432);
    // Of no stack: the ports of ours, but for one that nobody uses.
    let other_offset = offset.saturating_add(7);
    let redis = stack.get("REDIS_URL")?;
    Ok(BTreeMap::from([
        ("deltafan", stack.binary("deltafan").display().to_string()),
        ("webhook-sink", stack.binary("webhook-sink").display().to_string()),
        ("stack", format!("{root}/stack/stack")),
        ("quick_start", format!("{root}/quick_start.sh")),
        ("binaries", stack.binaries().display().to_string()),
        ("root", root),
        ("state", stack.state().display().to_string()),
        ("folder", bench.folder.display().to_string()),
        ("path", std::env::var("PATH")?),
        ("redis", redis.trim_start_matches("redis://").to_owned()),
        ("postgres", format!("{}:{port}", stack.get("POSTGRES_HOST")?)),
        ("postgres-url-of", format!("{without_database}/")),
        ("postgres-url", url.to_owned()),
        ("processor-url", stack.get("PROCESSOR_DATABASE_URL")?.to_owned()),
        ("offset", offset.to_string()),
        ("other-offset", other_offset.to_string()),
    ]))
}
