//! Where a message ends in a stream of bytes, and whether it is one that a scenario waits for. Pure.
//!
//! Only as much of each protocol as our own clients and servers speak: a Redis client sends arrays of bulk strings, and a
//! webhook's request and its answer say how long they are. Of Postgres nothing is known: nothing of it is waited for.

/// What goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// RESP, version 2 or 3.
    Redis,
    /// HTTP/1.1 with the length in the head.
    Http,
    /// Bytes of whatever kind: what has come together is a message.
    Bytes,
}

/// A request, as a scenario tells one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records are written: a batch that is posted, a batch that is applied to a window.
    Write,
    /// A window is moved on.
    Tick,
    /// Something else: a handshake, a question.
    Other,
}

/// Nesting of a Redis answer beyond which it is none.
const DEEPEST: usize = 8;

impl Speaks {
    /// The length of the message at the beginning of `bytes`; none where its end has not come yet.
    pub fn message(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Redis => value(bytes, DEEPEST),
            Self::Http => http(bytes),
            Self::Bytes => (!bytes.is_empty()).then_some(bytes.len()),
        }
    }

    /// What a request asks for.
    pub fn kind(self, request: &[u8]) -> Kind {
        match self {
            Self::Redis => of_command(&words(request)),
            Self::Http if request.starts_with(b"POST ") => Kind::Write,
            Self::Http | Self::Bytes => Kind::Other,
        }
    }
}

/// The length of a Redis value.
fn value(bytes: &[u8], deepest: usize) -> Option<usize> {
    let head = line(bytes)?;
    let number = || std::str::from_utf8(bytes.get(1..head.checked_sub(2)?)?).ok()?.parse::<i64>().ok();
    match bytes.first()? {
        b'$' | b'=' | b'!' => match usize::try_from(number()?) {
            Ok(length) => (bytes.len() >= head + length + 2).then_some(head + length + 2),
            // Null.
            Err(_) => Some(head),
        },
        kind @ (b'*' | b'~' | b'>' | b'%') => {
            let pairs = if *kind == b'%' { 2 } else { 1 };
            let mut end = head;
            for _ in 0..number()?.max(0).saturating_mul(pairs) {
                end += value(bytes.get(end..)?, deepest.checked_sub(1)?)?;
            }
            Some(end)
        }
        _ => Some(head),
    }
}

/// The length of the line at the beginning, its end included.
fn line(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n").map(|end| end + 2)
}

fn http(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(bytes.get(..head)?).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = length.map_or(Some(0), |length| length.trim().parse().ok())?;
    (bytes.len() >= head + body).then_some(head + body)
}

/// The words of a command that has come whole.
fn words(request: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let mut rest = line(request).and_then(|end| request.get(end..)).unwrap_or_default();
    while let Some(end) = value(rest, 1) {
        let word = line(rest).and_then(|head| rest.get(head..end.checked_sub(2)?));
        words.push(word.unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
    }
    words
}

/// Of the scripts that keep a window those that write to it, by what they are given behind their keys and the keys' prefix: a
/// tick one or two numbers, a batch the incarnation, how many positions and how many buckets.
fn of_command(words: &[&[u8]]) -> Kind {
    let number = |word: Option<&&[u8]>| std::str::from_utf8(word?).ok()?.parse::<usize>().ok();
    if words.first() != Some(&b"EVALSHA".as_slice()) {
        return Kind::Other;
    }
    let Some(given) = number(words.get(2)).and_then(|keys| words.get(3 + keys + 1..)) else {
        return Kind::Other;
    };
    match given {
        [_] | [_, _] if given.iter().all(|word| number(Some(word)).is_some()) => Kind::Tick,
        [_, positions, buckets, ..]
            if number(Some(positions)).is_some() && number(Some(buckets)).is_some() =>
        {
            Kind::Write
        }
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<u8> {
        let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("*{}\r\n{words}", words.matches('$').count()).into_bytes()
    }

    /// Each message is found as soon as its last byte is there and not before, whatever follows it.
    fn ends_where_it_ends(speaks: Speaks, message: &[u8]) {
        for cut in 0..message.len() {
            assert_eq!(
                speaks.message(&message[..cut]),
                None,
                "{cut} of {:?}",
                String::from_utf8_lossy(message)
            );
        }
        let followed = [message, b"*1\r\n"].concat();
        assert_eq!(speaks.message(&followed), Some(message.len()), "{:?}", String::from_utf8_lossy(message));
    }

    #[test]
    fn a_message_of_redis_ends_where_it_ends() {
        let values: [&[u8]; 9] = [
            b"+OK\r\n",
            b":-12\r\n",
            b"-NOSCRIPT no\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*3\r\n$2\r\nok\r\n*2\r\n:1\r\n$0\r\n\r\n+x\r\n",
            b"%1\r\n+server\r\n$5\r\nredis\r\n",
        ];
        for message in values {
            ends_where_it_ends(Speaks::Redis, message);
        }
        ends_where_it_ends(Speaks::Redis, &command(&["EVALSHA", "abc", "0"]));
    }

    #[test]
    fn a_message_of_http_ends_where_its_length_says() {
        ends_where_it_ends(Speaks::Http, b"POST /webhook HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\nab");
        ends_where_it_ends(Speaks::Http, b"HTTP/1.1 200 OK\r\n\r\n");
    }

    #[test]
    fn bytes_are_a_message_as_they_come() {
        assert_eq!((Speaks::Bytes.message(b""), Speaks::Bytes.message(b"ab")), (None, Some(2)));
        assert_eq!(Speaks::Bytes.kind(b"POST "), Kind::Other);
    }

    #[test]
    fn what_nests_without_end_is_no_message() {
        assert_eq!(Speaks::Redis.message(&b"*1\r\n".repeat(1000)), None);
    }

    #[test]
    fn writes_and_ticks_are_told_apart_from_the_rest() {
        let script =
            |given: &[&str]| command(&[&["EVALSHA", "hash", "2", "one", "two", "{prefix}:"], given].concat());
        let kind = |given: &[&str]| Speaks::Redis.kind(&script(given));
        assert_eq!((kind(&["1000"]), kind(&["1000", "7"])), (Kind::Tick, Kind::Tick));
        assert_eq!(kind(&["00ff", "1", "0", "log/0", "5", "9"]), Kind::Write);
        assert_eq!(kind(&["00ff", "3600", "content", "0", "log/0"]), Kind::Other);
        assert_eq!(kind(&["7b1c-uuid", "77", "video"]), Kind::Other);
        assert_eq!(kind(&[]), Kind::Other);
        assert_eq!(Speaks::Redis.kind(&command(&["INFO"])), Kind::Other);
        assert_eq!(Speaks::Http.kind(b"POST /webhook HTTP/1.1\r\n\r\n"), Kind::Write);
        assert_eq!(Speaks::Http.kind(b"GET /health HTTP/1.1\r\n\r\n"), Kind::Other);
    }
}
