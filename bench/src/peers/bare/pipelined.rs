//! Both sinks over plain sockets, so that the loop goes on while an answer is under way: the last answer is read before the next
//! request is written.

use super::event::Row;
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use uuid::Uuid;

/// The minute within `2026-11-21T03:00:00.123456Z`.
const MINUTE: usize = 16;
const REDIS_PORT: &str = "6379";

struct Connection {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
    line: String,
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, answers, line: String::new() })
    }

    fn line(&mut self) -> Result<&str> {
        self.line.clear();
        ensure!(self.answers.read_line(&mut self.line)? > 0, "the connection was closed");
        Ok(self.line.trim_end())
    }
}

/// POSTs of JSON arrays, answered without a body.
pub(super) struct Post {
    connection: Connection,
    head: String,
    body: Vec<u8>,
    events: usize,
    unanswered: bool,
}

impl Post {
    pub(super) fn connect(url: &str) -> Result<Self> {
        let (address, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .context("not http://HOST:PORT/PATH")?;
        let head = format!(
            "POST /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: "
        );
        Ok(Self {
            connection: Connection::open(address)?,
            head,
            body: Vec::new(),
            events: 0,
            unanswered: false,
        })
    }

    /// Where the next event is to be written.
    pub(super) fn next(&mut self) -> &mut Vec<u8> {
        self.body.push(if self.events == 0 { b'[' } else { b',' });
        self.events += 1;
        &mut self.body
    }

    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn send(&mut self) -> Result<()> {
        self.answered()?;
        if self.events > 0 {
            self.body.push(b']');
            let stream = &mut self.connection.stream;
            stream.write_all(format!("{}{}\r\n\r\n", self.head, self.body.len()).as_bytes())?;
            stream.write_all(&self.body)?;
            self.body.clear();
            (self.events, self.unanswered) = (0, true);
        }
        Ok(())
    }

    fn answered(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.unanswered) {
            return Ok(());
        }
        let status = self.connection.line()?;
        ensure!(status.starts_with("HTTP/1.1 204"), "the receiver answers {status}");
        while !self.connection.line()?.is_empty() {}
        Ok(())
    }
}

/// Sums by minute and content, added to sorted sets.
pub(super) struct Scores {
    connection: Connection,
    board: String,
    /// Events come almost in order: there are one or two.
    minutes: Vec<([u8; MINUTE], HashMap<Uuid, i64>)>,
    commands: Vec<u8>,
    events: usize,
    /// Answers that are to come.
    due: usize,
}

impl Scores {
    pub(super) fn connect(url: &str, board: &str) -> Result<Self> {
        let address = url.strip_prefix("redis://").context("not redis://")?.trim_end_matches('/');
        let address =
            if address.contains(':') { address.to_owned() } else { format!("{address}:{REDIS_PORT}") };
        let connection = Connection::open(&address)?;
        Ok(Self {
            connection,
            board: board.to_owned(),
            minutes: Vec::new(),
            commands: Vec::new(),
            events: 0,
            due: 0,
        })
    }

    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<()> {
        let minute = *row.event_ts.as_bytes().first_chunk::<MINUTE>().context("no time")?;
        let content = Uuid::try_parse(row.content_id)?;
        let at = match self.minutes.iter().position(|(known, _)| *known == minute) {
            Some(at) => at,
            None => {
                self.minutes.push((minute, HashMap::new()));
                self.minutes.len() - 1
            }
        };
        let (_, sums) = self.minutes.get_mut(at).context("just found")?;
        *sums.entry(content).or_default() += row.duration_ms;
        self.events += 1;
        Ok(())
    }

    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn send(&mut self) -> Result<()> {
        self.answered()?;
        self.commands.clear();
        for (minute, sums) in &mut self.minutes {
            let key = format!("{}:{}", self.board, std::str::from_utf8(minute)?);
            for (content, ms) in sums.drain() {
                let (ms, content) = (ms.to_string(), content.to_string());
                command(&mut self.commands, &["ZINCRBY", &key, &ms, &content])?;
                self.due += 1;
            }
        }
        self.minutes.clear();
        self.events = 0;
        self.connection.stream.write_all(&self.commands)?;
        Ok(())
    }

    fn answered(&mut self) -> Result<()> {
        for _ in 0..std::mem::take(&mut self.due) {
            let length = self.connection.line()?;
            if !length.starts_with('$') {
                bail!("redis answers {length}");
            }
            self.connection.line()?;
        }
        Ok(())
    }
}

/// In Redis' protocol.
fn command(commands: &mut Vec<u8>, words: &[&str]) -> Result<()> {
    write!(commands, "*{}\r\n", words.len())?;
    for word in words {
        write!(commands, "${}\r\n{word}\r\n", word.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tells_the_length_of_each_word() -> Result<()> {
        let mut commands = Vec::new();
        command(&mut commands, &["ZINCRBY", "k", "12"])?;
        assert_eq!(commands, b"*3\r\n$7\r\nZINCRBY\r\n$1\r\nk\r\n$2\r\n12\r\n");
        Ok(())
    }
}
