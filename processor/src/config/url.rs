//! Addresses that may hold a password, and are printed without it.

use std::{fmt, num::NonZeroU16};

use super::{
    kinds::{Fault, Kind},
    names::is_host,
    secret::REDACTED,
};

/// The parts of an address that are used here; the rest is checked for form alone.
#[derive(Clone, PartialEq, Eq)]
struct Url {
    text: String,
    /// The text without user, password and the values of the query.
    printable: String,
    host: String,
    port: u16,
    /// Without the leading slash.
    path: String,
}

impl Url {
    /// `scheme://[user[:password]@]host[:port][/path][?query]`.
    fn parse(text: &str, schemes: &[(&str, u16)]) -> Option<Self> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, default_port) = schemes.iter().find(|(known, _)| *known == scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host, *default_port)?;
        // An `@` here is most likely the end of a password with an unencoded slash, which would be printed as a path.
        if tail.contains('@') {
            return None;
        }
        let (path, query) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
        // A user by itself may be a token.
        let user = user.map_or(String::new(), |_| format!("{REDACTED}@"));
        let query = if query.is_empty() { "" } else { "?[redacted]" };
        Some(Self {
            text: text.to_owned(),
            printable: format!("{scheme}://{user}{host}:{port}{path}{query}"),
            host: host.to_owned(),
            port,
            path: path.trim_start_matches('/').to_owned(),
        })
    }

    /// Host and port, written in one way: `localhost` and `127.0.0.1` are the same server.
    fn server(&self) -> String {
        let host = self.host.to_ascii_lowercase();
        let host = if matches!(host.as_str(), "localhost" | "[::1]") { "127.0.0.1" } else { &host };
        format!("{host}:{}", self.port)
    }
}

fn host_and_port(text: &str, default: u16) -> Option<(&str, u16)> {
    let bracketed = text.ends_with(']');
    let (host, port) = match text.rsplit_once(':').filter(|_| !bracketed) {
        Some((host, port)) => (host, port.parse::<NonZeroU16>().ok()?.get()),
        None => (text, default),
    };
    is_host(host).then_some((host, port))
}

macro_rules! url_type {
    ($(#[doc = $doc:literal])+ $name:ident, $kind:ident, $example:literal, $schemes:expr) => {
        $(#[doc = $doc])+
        ///
        /// Printed without user, password and query; the whole is behind [`Self::expose`].
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Url);

        impl $name {
            /// The whole text, password included.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0.text
            }

            /// The host's name or address (IPv6 in brackets).
            #[must_use]
            pub fn host(&self) -> &str {
                &self.0.host
            }

            /// The port; the scheme's own where none is written.
            #[must_use]
            pub fn port(&self) -> u16 {
                self.0.port
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.printable)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.printable)
            }
        }

        pub(super) struct $kind;

        impl Kind for $kind {
            type Value = $name;

            fn name(&self) -> String {
                concat!("an address, as ", $example).to_owned()
            }

            fn parse(&self, text: &str) -> Result<$name, Fault> {
                let url = Url::parse(text, $schemes).map($name);
                url.and_then($name::checked).ok_or_else(|| {
                    let what = concat!("is no address of the form ", $example);
                    Fault::new(what, "correct it; special characters of a password are percent-encoded")
                })
            }

            fn secret(&self) -> bool {
                true
            }
        }
    };
}

url_type! {
    /// Where Postgres is: `postgres://` or `postgresql://`.
    PostgresUrl, PostgresUrlKind, "postgres://user:password@host:5432/database", &[("postgres", 5432), ("postgresql", 5432)]
}
url_type! {
    /// Where a Redis server is.
    RedisUrl, RedisUrlKind, "redis://user:password@host:6379/0", &[("redis", 6379)]
}
url_type! {
    /// Where a webhook is posted to: `http://` or `https://`.
    HttpUrl, HttpUrlKind, "https://host/path", &[("http", 80), ("https", 443)]
}

impl PostgresUrl {
    fn checked(self) -> Option<Self> {
        Some(self)
    }
}

impl HttpUrl {
    fn checked(self) -> Option<Self> {
        // A fragment never reaches a server.
        (!self.0.text.contains('#')).then_some(self)
    }
}

impl RedisUrl {
    /// The path of a Redis address is the number of a database.
    fn checked(self) -> Option<Self> {
        (self.0.path.is_empty() || self.0.path.parse::<u8>().is_ok()).then_some(self)
    }

    /// The server and its database, written in one way.
    pub(super) fn server(&self) -> String {
        let database = self.0.path.parse::<u8>().unwrap_or(0);
        format!("{}/{database}", self.0.server())
    }
}
