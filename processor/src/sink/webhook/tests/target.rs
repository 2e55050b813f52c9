//! URLs that keep their secrets, and networks that are not to be reached.

use super::super::target::is_public;
use super::super::{Settings, SettingsError, Target, TargetError, Webhook};
use super::settings;
use std::time::Duration;

#[test]
fn a_url_never_shows_credentials_or_query() {
    let target: Target = "http://me:hunter2@example.com:8000/hook?token=hunter2#x".parse().expect("a URL");
    assert_eq!(target.to_string(), "http://example.com:8000/hook");
    let sink = Webhook::new(settings("http://me:hunter2@example.com/hook?token=hunter2")).expect("a sink");
    let (sink, settings) = (format!("{sink:?}"), format!("{:?}", settings("http://me:hunter2@example.com/")));
    assert!(!sink.contains("hunter2"), "{sink}");
    assert!(!settings.contains("hunter2") && settings.contains("redacted"), "{settings}");
    let error = "http://me:hunter2@:x/".parse::<Target>().expect_err("no URL");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn only_http_and_https_are_webhooks() {
    for url in ["ftp://a/", "file:///etc/passwd", "unix:/x"] {
        assert!(matches!(url.parse::<Target>(), Err(TargetError::Scheme(_))), "{url}");
    }
    for url in ["", "example.com/hook", "http://", "http://a b/", "/hook"] {
        assert!(matches!(url.parse::<Target>(), Err(TargetError::Syntax(_))), "{url}");
    }
    for url in ["http://a/", "https://a", " https://[2606:4700::1111]:1/x "] {
        assert!(url.parse::<Target>().is_ok(), "{url}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let good = || settings("http://example.com/");
    let refused = |settings: Settings| Webhook::new(settings).expect_err("refused").to_string();
    assert!(Webhook::new(good()).is_ok());
    assert!(refused(Settings { secrets: Vec::new(), ..good() }).contains("secret"));
    assert!(refused(Settings { timeout: Duration::ZERO, ..good() }).contains("timeout"));
    assert!(refused(Settings { max_events: 0, ..good() }).contains("max_events"));
    assert!(refused(Settings { max_events: 10_001, ..good() }).contains("10000"));
    assert!(refused(Settings { max_body_bytes: 0, ..good() }).contains("max_body_bytes"));
    assert!(refused(Settings { max_body_bytes: usize::MAX, ..good() }).contains("max_body_bytes"));
}

#[test]
fn a_private_address_in_the_url_is_refused_unless_allowed() {
    for url in [
        "http://127.0.0.1:5001/webhook",
        "http://10.1.2.3/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::ffff:192.168.0.1]/",
    ] {
        let forbidden = Settings { allow_private_targets: false, ..settings(url) };
        let error = Webhook::new(forbidden).expect_err(url);
        assert!(matches!(error, SettingsError::Target(TargetError::Private(_))), "{url}: {error}");
        assert!(error.to_string().contains("allow_private_targets"), "{error}");
        assert!(Webhook::new(settings(url)).is_ok(), "{url}");
    }
}

#[test]
fn addresses_are_told_apart() {
    for private in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "::10.0.0.1",
        "4000::1",
    ] {
        assert!(!is_public(private.parse().expect("an address")), "{private}");
    }
    for public in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "126.0.0.1",
        "128.0.0.1",
        "169.253.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.167.0.1",
        "192.169.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ] {
        assert!(is_public(public.parse().expect("an address")), "{public}");
    }
}
