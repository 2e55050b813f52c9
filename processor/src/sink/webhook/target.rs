//! Where a webhook goes: a URL that can be printed without its secrets, and the networks that it may not lead into.

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The URL of a receiver. Neither `Debug` nor `Display` shows credentials or the query, where tokens are put.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Url);

/// Why a text is no URL of a receiver. Never holds the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL at all.
    #[error("the URL can't be read ({0}): write it as http://host:port/path")]
    Syntax(String),
    /// Another scheme.
    #[error("the URL's scheme is `{0}`: known are http and https")]
    Scheme(String),
    /// An address of a private network, written into the URL itself.
    #[error("{0}; {ALLOW}")]
    Private(#[from] PrivateTarget),
}

/// What to do about a [`PrivateTarget`].
pub(super) const ALLOW: &str = "set `allow_private_targets: true` if the receiver is meant to be there";

/// A host whose addresses all lie in networks that are not public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the URL's host `{host}` is in no public network ({address})")]
pub struct PrivateTarget {
    host: String,
    address: IpAddr,
}

impl Target {
    /// Refuses a URL that names a private address outright. Names are judged when they are resolved.
    pub(super) fn check(&self, allow_private: bool) -> Result<(), TargetError> {
        match self.address() {
            Some(address) if !allow_private && !is_public(address) => {
                let host = self.0.host_str().unwrap_or_default().to_owned();
                Err(PrivateTarget { host, address }.into())
            }
            _ => Ok(()),
        }
    }

    /// The URL to post to, credentials included.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it is reached by TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, where it is an address and no name.
    fn address(&self) -> Option<IpAddr> {
        let host = self.0.host_str()?;
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text.trim()).map_err(|error| TargetError::Syntax(error.to_string()))?;
        match url.scheme() {
            "http" | "https" => Ok(Self(url)),
            other => Err(TargetError::Scheme(other.to_owned())),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Resolves names and passes only public addresses on. The connection is made to what passed here, so a name that
/// answers differently a moment later (DNS rebinding) changes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            // The port is set by the caller afterwards.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            Ok(public(host, found)?)
        })
    }
}

/// The public ones among the addresses of a host.
fn public(host: String, found: Vec<SocketAddr>) -> Result<Addrs, PrivateTarget> {
    let first = found.first().map(SocketAddr::ip);
    let public: Vec<_> = found.into_iter().filter(|found| is_public(found.ip())).collect();
    match first {
        Some(address) if public.is_empty() => Err(PrivateTarget { host, address }),
        _ => Ok(Box::new(public.into_iter())),
    }
}

/// Whether an address is one of the open internet: neither this machine, nor a private or link-local network (where
/// clouds keep their credentials), nor one of the special ranges of RFC 6890.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => embedded(address).map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 127 | 10, ..] => true,
        [100, b, ..] => (64..128).contains(&b),
        [169, 254, ..] | [192, 168, ..] => true,
        [172, b, ..] => (16..32).contains(&b),
        [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        [a, ..] => a >= 224,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Of all addresses only 2000::/3 is given out; within it, documentation (2001:db8::/32) and Teredo (2001::/32).
    match address.segments() {
        [0x2001, 0 | 0xdb8, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}
