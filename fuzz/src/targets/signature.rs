//! Signatures: nothing is believed that was not signed just so.

use super::{Outcome, Target};
use crate::mutate;
use anyhow::{Result, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use webhook_protocol::{Secret, SignedHeaders, Verifier, sign};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_00112233445566778899aabbccddeeff";
const NOW_S: u64 = 1_795_233_939;
const BODY: &[u8] = br#"{"events":[{"event_id":"e","op":"c"}]}"#;

/// An input is four lines: id, time, signatures, body.
pub struct Signature {
    verifier: Verifier,
    genuine: [Vec<u8>; 4],
}

impl Signature {
    pub fn new() -> Result<Self> {
        let secrets = Secret::parse_list(SECRET)?;
        let signature = sign(&secrets, ID, NOW_S, BODY);
        let genuine =
            [ID.as_bytes().to_vec(), NOW_S.to_string().into_bytes(), signature.into_bytes(), BODY.to_vec()];
        Ok(Self { verifier: Verifier::new(secrets), genuine })
    }
}

impl Target for Signature {
    fn make(&mut self, random: &mut StdRng) -> Vec<u8> {
        let mut parts = self.genuine.clone();
        let at = random.random_range(0..parts.len() + 1);
        if let Some(part) = parts.get_mut(at) {
            *part = match random.random_range(0..6) {
                0 => mutate::pick(
                    &["v1,", "v1a,AAAA", "v1,AAAA v1,", "1", "+1795233939", " 1795233939"],
                    random,
                )
                .as_bytes()
                .to_vec(),
                1 => [part.as_slice(), b" ", part.as_slice()].concat(),
                _ => mutate::bytes(part, random),
            };
        }
        parts.join(&b'\n')
    }

    fn throw(&mut self, input: &[u8]) -> Result<Outcome> {
        let mut parts = input.splitn(4, |byte| *byte == b'\n');
        let mut header = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
        let headers = SignedHeaders { id: header(), timestamp: header(), signature: header() };
        let body = parts.next().unwrap_or_default();
        let parsed = headers.id.is_some() && headers.timestamp.is_some() && headers.signature.is_some();
        let believed = self.verifier.verify(headers, body, NOW_S).is_ok();
        let [id, timestamp, signature, genuine] = &self.genuine;
        let is_signed = headers.id.map(str::as_bytes) == Some(id)
            && headers.timestamp.map(str::as_bytes) == Some(timestamp)
            && body == genuine
            && headers.signature.is_some_and(|list| list.split(' ').any(|one| one.as_bytes() == signature));
        ensure!(believed == is_signed, "believed: {believed}, signed just so: {is_signed}");
        Ok(Outcome { parsed, accepted: believed })
    }
}
