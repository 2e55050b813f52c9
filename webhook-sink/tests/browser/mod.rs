//! A real browser: Chromium without a window, driven over the WebDriver protocol, which is JSON over HTTP.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Only a hang is that long: tests wait for conditions.
const PATIENCE: Duration = Duration::from_secs(60);
/// Under which the protocol wraps an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page; gone when dropped.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    client: Client,
    _profile: TempDir,
}

impl Browser {
    /// Starts one whose page is so large, in CSS pixels.
    pub async fn start(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, address) = start_driver(profile.path());
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut browser = Self { driver, address, session: String::new(), client, _profile: profile };
        let folder = browser._profile.path().display();
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--no-first-run",
            "--disable-background-networking",
            "--hide-scrollbars",
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={folder}"),
        ]);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let answer = browser.post("/session", wanted).await;
        answer["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {answer}"))
            .clone_into(&mut browser.session);
        browser.resize(width, height).await;
        browser
    }

    /// Lays the page out in so many CSS pixels, below what a window may have.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the system is said to prefer: `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    pub async fn open(&self, url: &str) {
        self.on("/url", json!({ "url": url })).await;
    }

    pub async fn reload(&self) {
        self.on("/refresh", json!({})).await;
    }

    /// What a function body returns, run in the page; a promise is waited for.
    pub async fn run(&self, script: &str) -> Value {
        self.on("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// The text of the first element, as it is in the document.
    pub async fn text(&self, css: &str) -> String {
        let script = format!("return document.querySelector({}).textContent", json!(css));
        self.run(&script).await.as_str().unwrap().to_owned()
    }

    /// Whether an element is there and seen.
    pub async fn sees(&self, css: &str) -> bool {
        let script = format!("return !!document.querySelector({})?.checkVisibility()", json!(css));
        self.run(&script).await == true
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.run(&format!("return !!({expression})")).await != true {
            if Instant::now() > end {
                let text = self.run("return document.body.innerText").await;
                panic!(
                    "never happened: {expression}; the page says: {}; log: {:?}",
                    text.as_str().unwrap(),
                    self.console().await
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.on(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Types into an element, after what is in it.
    pub async fn keys(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.on(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Presses keys, whatever has the focus.
    pub async fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        self.on("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}))
            .await;
    }

    /// A command of Chromium's own protocol.
    pub async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.on("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// What the console has told since it was last asked, with its level.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.on("/se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().clone();
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }

    /// The whole page as a PNG, or its beginning.
    pub async fn screenshot(&self, width: u32, height: u32) -> Vec<u8> {
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let wanted = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.cdp("Page.captureScreenshot", wanted).await;
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    async fn element(&self, css: &str) -> String {
        let found = self.on("/element", json!({ "using": "css selector", "value": css })).await;
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("there is no {css}: {found}")).to_owned()
    }

    async fn on(&self, path: &str, body: Value) -> Value {
        self.post(&format!("/session/{}{path}", self.session), body).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        let status = answer.status();
        let mut told: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path} {body}: {told}");
        told["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session, and leaves nothing behind when it ends itself; killed, it would.
        for request in [format!("DELETE /session/{}", self.session), "GET /shutdown".to_owned()] {
            let Ok(mut stream) = TcpStream::connect(&self.address) else { break };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = write!(stream, "{request} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
            // An answer to the first; the second ends the connection.
            let _ = if request.starts_with("DELETE") {
                stream.read(&mut [0; 256])
            } else {
                stream.read_to_end(&mut Vec::new())
            };
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn start_driver(folder: &Path) -> (Child, String) {
    let mut command = Command::new("chromedriver");
    // What it and the browser write beside the profile goes with the folder.
    command
        .args(["--port=0"])
        .env("TMPDIR", folder)
        .env("HOME", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut driver = command.spawn().unwrap_or_else(|error| {
        panic!(
            "chromedriver can't be started ({error}); stack/stack install --for-tests brings it and Chromium"
        )
    });
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        Some(port.trim_end_matches('.').to_owned())
    });
    let port = port.unwrap_or_else(|| panic!("chromedriver ended without a word on its port"));
    (driver, format!("127.0.0.1:{port}"))
}
