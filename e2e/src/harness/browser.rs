//! Chromium without a window, driven over the WebDriver protocol, which is JSON over HTTP.

use super::process::{Process, Recipe};
use super::wait::{self, Look, seen_if};
use super::{Bench, Stack};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the driver may take to answer after its start.
const START: Duration = Duration::from_secs(20);

/// A browser with one page; gone when dropped.
#[derive(Debug)]
pub struct Browser {
    address: String,
    session: String,
    http: reqwest::Client,
    _driver: Process,
}

impl Browser {
    /// Starts one, whose files lie in the bench's folder.
    pub async fn start(bench: &Bench) -> Result<Self> {
        let address = bench.stack.free_address()?;
        let driver = driver(&bench.stack, &bench.folder, &address)?.start().context(
            "the browser's driver can't be started; stack/stack install --for-tests brings it and Chromium",
        )?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let mut browser = Self { address, session: String::new(), http, _driver: driver };
        wait::until("the browser's driver answers", START, async || {
            browser.http.get(format!("http://{}/status", browser.address)).send().await?;
            Ok(Look::Seen(()))
        })
        .await?;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let made = browser.post("/session", wanted).await?;
        made.get("sessionId").and_then(Value::as_str).context("no session")?.clone_into(&mut browser.session);
        Ok(browser)
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.on("/url", json!({ "url": url })).await.map(drop)
    }

    /// What an expression is in the page.
    pub async fn value(&self, expression: &str) -> Result<Value> {
        self.on("/execute/sync", json!({ "script": format!("return {expression}"), "args": [] })).await
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&self, expression: &str, within: Duration) -> Result<()> {
        wait::until(expression, within, async || {
            let value = self.value(&format!("!!({expression})")).await?;
            Ok(seen_if(value == true, || "false".to_owned()))
        })
        .await
    }

    /// What the console has told since it was last asked.
    pub async fn console(&self) -> Result<Vec<String>> {
        let entries = self.on("/se/log", json!({ "type": "browser" })).await?;
        Ok(entries.as_array().into_iter().flatten().map(Value::to_string).collect())
    }

    async fn on(&self, path: &str, body: Value) -> Result<Value> {
        self.post(&format!("/session/{}{path}", self.session), body).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        let answer = self.http.post(format!("http://{}{path}", self.address)).json(&body).send().await?;
        let status = answer.status();
        let mut told: Value = answer.json().await?;
        ensure!(status.is_success(), "the browser refuses {path}: {told}");
        Ok(told.get_mut("value").map(Value::take).unwrap_or_default())
    }
}

/// The browser finds its place by these variables; all it leaves behind lies in the folder.
fn driver(stack: &Stack, folder: &std::path::Path, address: &str) -> Result<Recipe> {
    let (_, port) = address.rsplit_once(':').context("an address without a port")?;
    let mut env = stack.env().clone();
    for name in ["HOME", "TMPDIR"] {
        env.insert(name.to_owned(), folder.display().to_string());
    }
    Ok(Recipe {
        name: "the browser's driver".to_owned(),
        program: PathBuf::from("chromedriver"),
        arguments: vec![format!("--port={port}").into()],
        env,
        log: folder.join("browser.log"),
    })
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session, and leaves nothing behind when it ends itself; killed, it would.
        for request in [format!("DELETE /session/{}", self.session), "GET /shutdown".to_owned()] {
            let Ok(mut stream) = TcpStream::connect(&self.address) else { return };
            let _ = stream.set_read_timeout(Some(START));
            let _ = write!(stream, "{request} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
            // An answer to the first; the second ends the connection.
            let _ = if request.starts_with("DELETE") {
                stream.read(&mut [0; 256])
            } else {
                stream.read_to_end(&mut Vec::new())
            };
        }
    }
}
