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

/// Starts a server; none where another one has taken the port meanwhile.
fn spawn(dir: &TempDir, port: u16, args: &[String]) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--hash-max-listpack-entries", "4", "--dir"])
        .arg(dir.path())
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() || !is_listening(&child, port) {
        if child.try_wait().expect("a child").is_some() {
            return None;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "redis-server does not listen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Some(child)
}

/// Whether it is this very server that has the port, as the system tells: it may want a password.
fn is_listening(child: &Child, port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
    let listening = format!("0100007F:{port:04X} 00000000:0000 0A");
    let line = sockets.lines().find(|line| line.contains(&listening));
    let Some(inode) = line.and_then(|line| line.split_whitespace().nth(9)) else {
        return false;
    };
    let Ok(files) = std::fs::read_dir(format!("/proc/{}/fd", child.id())) else {
        return false;
    };
    let socket = format!("socket:[{inode}]");
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == &*socket))
}

impl Server {
    pub(super) fn start(args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let dir = TempDir::new().expect("a folder");
        for _ in 0..10 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
            let port = free.expect("a free port").port();
            if let Some(child) = spawn(&dir, port, &args) {
                return Self { child, dir, port, args };
            }
        }
        panic!("redis-server does not start with {args:?}")
    }

    pub(super) fn port(&self) -> u16 {
        self.port
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
        self.child = spawn(&self.dir, self.port, &self.args).expect("the port is still free");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
