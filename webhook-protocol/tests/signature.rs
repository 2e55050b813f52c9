//! Signatures against the published vector, rotation, tolerance, and every way to be refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that surprises shall fail loudly")]

use proptest::prelude::*;
use webhook_protocol::{Secret, SecretError, SignatureError, SignedHeaders, Verifier, sign};

/// The vector that the specification's own libraries are tested with.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SENT_S: u64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn check(secret: &[&str], signature: &str, body: &[u8], now_s: u64) -> Result<(), SignatureError> {
    let headers = SignedHeaders { id: Some(ID), timestamp: Some("1614265330"), signature: Some(signature) };
    Verifier::new(secrets(secret)).verify(headers, body, now_s)
}

#[test]
fn signs_and_verifies_the_published_vector() {
    assert_eq!(sign(&secrets(&[SECRET]), ID, SENT_S, BODY), SIGNATURE);
    assert_eq!(check(&[SECRET], SIGNATURE, BODY, SENT_S), Ok(()));
}

#[test]
fn rotation_signs_with_each_key_and_accepts_any_of_several() {
    let both = sign(&secrets(&[OTHER, SECRET]), ID, SENT_S, BODY);
    let parts: Vec<&str> = both.split(' ').collect();
    assert_eq!((parts.len(), parts[1]), (2, SIGNATURE));
    assert_eq!(check(&[SECRET], &both, BODY, SENT_S), Ok(()), "second signature, only secret");
    assert_eq!(check(&[OTHER, SECRET], SIGNATURE, BODY, SENT_S), Ok(()), "only signature, second secret");
    let with_foreign = format!("v1a,abc v1,%%% v2,{} {SIGNATURE}", &SIGNATURE[3..]);
    assert_eq!(check(&[SECRET], &with_foreign, BODY, SENT_S), Ok(()), "unknown schemes are passed over");
}

#[test]
fn refuses_what_was_changed_or_signed_by_another() {
    let refused = Err(SignatureError::NoMatch);
    assert_eq!(check(&[OTHER], SIGNATURE, BODY, SENT_S), refused);
    assert_eq!(check(&[SECRET], SIGNATURE, br#"{"test": 2432232315}"#, SENT_S), refused);
    assert_eq!(check(&[SECRET], &SIGNATURE[3..], BODY, SENT_S), refused, "without the scheme");
    assert_eq!(check(&[SECRET], "v1,", BODY, SENT_S), refused, "an empty signature");
    assert_eq!(check(&[SECRET], "v1,g0hM9SsE", BODY, SENT_S), refused, "a shortened signature");
    assert_eq!(check(&[], SIGNATURE, BODY, SENT_S), refused, "a verifier without a secret");
    let headers =
        SignedHeaders { id: Some("msg_x"), timestamp: Some("1614265330"), signature: Some(SIGNATURE) };
    assert_eq!(Verifier::new(secrets(&[SECRET])).verify(headers, BODY, SENT_S), refused, "another id");
}

#[test]
fn tolerates_five_minutes_either_way_and_no_more() {
    assert_eq!(check(&[SECRET], SIGNATURE, BODY, SENT_S + 300), Ok(()));
    assert_eq!(check(&[SECRET], SIGNATURE, BODY, SENT_S - 300), Ok(()));
    let tolerance_s = 300;
    let old = SignatureError::TooOld { age_s: 301, tolerance_s };
    assert_eq!(check(&[SECRET], SIGNATURE, BODY, SENT_S + 301), Err(old));
    let new = SignatureError::TooNew { ahead_s: 301, tolerance_s };
    assert_eq!(check(&[SECRET], SIGNATURE, BODY, SENT_S - 301), Err(new));
}

#[test]
fn each_header_is_needed_and_the_time_is_a_plain_number() {
    let verifier = Verifier::new(secrets(&[SECRET])).with_tolerance_s(u64::MAX);
    let whole = SignedHeaders { id: Some(ID), timestamp: Some("1614265330"), signature: Some(SIGNATURE) };
    let missing = |headers| verifier.verify(headers, BODY, SENT_S).unwrap_err();
    let named = SignatureError::MissingHeader;
    assert_eq!(missing(SignedHeaders { id: None, ..whole }), named("webhook-id"));
    assert_eq!(missing(SignedHeaders { timestamp: None, ..whole }), named("webhook-timestamp"));
    assert_eq!(missing(SignedHeaders { signature: Some(""), ..whole }), named("webhook-signature"));
    for bad in ["soon", "-1", "+1614265330", "1614265330.5", " 1614265330", "99999999999999999999"] {
        let headers = SignedHeaders { timestamp: Some(bad), ..whole };
        assert_eq!(missing(headers), SignatureError::BadTimestamp, "{bad}");
    }
}

#[test]
fn a_secret_never_prints_itself_and_a_bad_one_names_the_remedy() {
    let secret: Secret = SECRET.parse().unwrap();
    assert_eq!(format!("{secret} {secret:?}"), "whsec_[redacted] whsec_[redacted]");
    let kept = format!("{:?}", Verifier::new(vec![secret]));
    assert!(!kept.contains("MfKQ9r8"), "{kept}");
    for (bad, error) in [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
        ("whsec_not base64", SecretError::Base64),
        ("whsec_c2hvcnQ=", SecretError::Length(5)),
    ] {
        let found = bad.parse::<Secret>().unwrap_err();
        assert_eq!(found, error);
        assert!(found.to_string().contains("openssl rand"), "{found}");
        assert!(!found.to_string().contains("c2hvcnQ"), "{found}");
    }
    assert!("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse::<Secret>().is_ok(), "without padding");
}

#[test]
fn a_list_of_secrets_names_the_bad_one_by_its_place() {
    assert_eq!(Secret::parse_list(&format!("{SECRET}, {OTHER}\n{SECRET}")).unwrap().len(), 3);
    assert_eq!(Secret::parse_list(" , ").unwrap_err(), SecretError::Missing);
    let error = Secret::parse_list(&format!("{SECRET} whsec_x")).unwrap_err();
    assert!(error.to_string().contains("number 2"), "{error}");
}

proptest! {
    #[test]
    fn what_is_signed_is_believed_until_one_bit_differs(
        body in proptest::collection::vec(any::<u8>(), 1..200), key in proptest::collection::vec(any::<u8>(), 24..=64),
        at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let secret: Secret = format!("whsec_{}", BASE64_STANDARD.encode(key)).parse().unwrap();
        let signature = sign(std::slice::from_ref(&secret), ID, SENT_S, &body);
        let headers = SignedHeaders { id: Some(ID), timestamp: Some("1614265330"), signature: Some(&signature) };
        let verifier = Verifier::new(vec![secret]);
        prop_assert_eq!(verifier.verify(headers, &body, SENT_S), Ok(()));
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= 1 << bit;
        prop_assert_eq!(verifier.verify(headers, &changed, SENT_S), Err(SignatureError::NoMatch));
    }
}
