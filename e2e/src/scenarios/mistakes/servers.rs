//! Servers that are not as they should be.

use anyhow::Result;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Real Redis servers: name and arguments.
pub const REDISES: [(&str, &[&str]); 4] = [
    (
        "locked",
        &["--requirepass", "right-password", "--user", "weak", "on", ">hunter2", "~*", "+ping", "+info"],
    ),
    ("full", &["--maxmemory", "1"]),
    ("evicting", &["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]),
    ("replica", &["--replicaof", "127.0.0.1 1"]),
];

/// More than any request of ours has.
const LONGEST: u64 = 4 * 1024 * 1024;
/// Longer than any lane waits for it.
const SILENCE: Duration = Duration::from_secs(600);
const HOUR_S: u64 = 3600;

/// An HTTP server whose answer depends on the path: `/404`, `/500`, `/redirect`, `/silent`, and `/an-hour-ago`, which passes
/// requests on to `receiver` as if the sender's clock were an hour behind. Its address.
pub async fn http(receiver: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let receiver = receiver.clone();
            tokio::spawn(async move { answer(stream, &receiver).await });
        }
    });
    Ok(address)
}

async fn answer(stream: TcpStream, receiver: &str) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    (&mut stream).take(LONGEST).read_line(&mut first).await?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        (&mut stream).take(LONGEST).read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = Vec::new();
    (&mut stream).take(length.unwrap_or(0)).read_to_end(&mut body).await?;
    let answer = match first.split(' ').nth(1).unwrap_or_default() {
        "/silent" => {
            tokio::time::sleep(SILENCE).await;
            return Ok(());
        }
        "/redirect" => {
            "308 Permanent Redirect\r\nlocation: https://example.invalid/\r\ncontent-length: 0\r\n\r\n"
                .to_owned()
        }
        "/500" => "500 Internal Server Error\r\ncontent-length: 12\r\n\r\nout of order".to_owned(),
        "/an-hour-ago" => an_hour_ago(receiver, &headers, body).await?,
        _ => "404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    };
    stream
        .write_all(format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nconnection: close\r\n", 1)).as_bytes())
        .await?;
    Ok(())
}

async fn an_hour_ago(receiver: &str, headers: &[(String, String)], body: Vec<u8>) -> Result<String> {
    let mut request =
        reqwest::Client::builder().no_proxy().build()?.post(format!("http://{receiver}/webhook"));
    for (name, value) in headers {
        request = match name.as_str() {
            "webhook-timestamp" => {
                let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                request.header(name, now_s.saturating_sub(HOUR_S).to_string())
            }
            "webhook-id" | "webhook-signature" | "content-type" => request.header(name, value),
            _ => request,
        };
    }
    let answered = request.body(body).send().await?;
    let status = answered.status();
    let text = answered.text().await?;
    Ok(format!("{} Refused\r\ncontent-length: {}\r\n\r\n{text}", status.as_u16(), text.len()))
}

/// A server that says it is Redis 5. Its address.
pub async fn old_redis() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak_redis(stream));
        }
    });
    Ok(address)
}

async fn speak_redis(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let words = number(&mut stream, '*').await?;
        let mut command = String::new();
        for at in 0..words {
            let length = number(&mut stream, '$').await?;
            let mut word = vec![0; length.saturating_add(2)];
            stream.read_exact(&mut word).await?;
            if at == 0 {
                command = String::from_utf8_lossy(&word).trim().to_ascii_uppercase();
            }
        }
        let info = "redis_version:5.0.14\r\nrole:master\r\n";
        let answer = match command.as_str() {
            "INFO" => format!("${}\r\n{info}\r\n", info.len()),
            "HELLO" => "-ERR unknown command `HELLO`\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn number(stream: &mut BufReader<TcpStream>, mark: char) -> Result<usize> {
    let mut line = String::new();
    stream.take(LONGEST).read_line(&mut line).await?;
    Ok(line.trim().trim_start_matches(mark).parse()?)
}
