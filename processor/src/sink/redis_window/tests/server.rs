//! A Redis of its own for each test: a real server, on a free port, in a folder that goes away with it.

use redis::aio::MultiplexedConnection;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(super) struct Server {
    child: Child,
    dir: TempDir,
    port: u16,
    args: Vec<String>,
}

fn spawn(dir: &TempDir, port: u16, args: &[String]) -> Child {
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--hash-max-listpack-entries", "4", "--dir"])
        .arg(dir.path())
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "redis-server does not listen"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    child
}

impl Server {
    pub(super) fn start(args: &[&str]) -> Self {
        let dir = TempDir::new().expect("a folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let port = free.expect("a free port").port();
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self {
            child: spawn(&dir, port, &args),
            dir,
            port,
            args,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(super) async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a URL");
        let begun = Instant::now();
        loop {
            match client.get_multiplexed_async_connection().await {
                Ok(connection) => return connection,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it again on what it left behind.
    pub(super) fn restart(&mut self) {
        self.child = spawn(&self.dir, self.port, &self.args);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
