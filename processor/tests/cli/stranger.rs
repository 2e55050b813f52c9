//! A server that is none of those that are looked for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// What it does once something was sent to it.
#[derive(Clone, Copy)]
pub enum Does {
    Says(&'static [u8]),
    HangsUp,
    KeepsSilent,
}

/// As a web server answers what is no request.
pub const HTTP: Does = Does::Says(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");

/// Its port; it serves as long as the test runs.
pub fn stranger(does: Does) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || meet(stream, does));
        }
    });
    port
}

fn meet(mut stream: TcpStream, does: Does) {
    let mut some = [0; 4096];
    let _ = stream.read(&mut some);
    match does {
        Does::Says(text) => {
            let _ = stream.write_all(text);
        }
        Does::HangsUp => {}
        // Until the other side has had enough.
        Does::KeepsSilent => while stream.read(&mut some).is_ok_and(|count| count > 0) {},
    }
}
