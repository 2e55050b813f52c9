//! A Redis of a test's own: a real server on a free port, in a folder that goes away with it.

use super::free_port;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than any start takes.
const STARTED: Duration = Duration::from_secs(10);

pub struct Redis {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    pub fn start(arguments: &[&str]) -> Self {
        for _ in 0..10 {
            let (folder, port) = (TempDir::new().expect("a folder"), free_port());
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"])
                .arg(folder.path())
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            let mut redis = Self { child, port, _folder: folder };
            if redis.listens() {
                return redis;
            }
        }
        panic!("redis-server does not start with {arguments:?}");
    }

    /// False where another one has taken the port meanwhile.
    fn listens(&mut self) -> bool {
        let began = Instant::now();
        loop {
            let is_ours = self.child.try_wait().expect("a child").is_none();
            if !is_ours || TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return is_ours;
            }
            assert!(began.elapsed() < STARTED, "redis-server does not listen");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn run(&self, words: &[&str]) {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_connection().expect("a connection");
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.exec(&mut connection).expect("it is done");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
