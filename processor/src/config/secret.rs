//! What must not be printed: passwords and signing secrets.

use std::fmt;

use super::kinds::{Fault, Kind};

/// What stands for a secret wherever one would be printed.
pub(super) const REDACTED: &str = "[redacted]";

/// A text that is never printed: `Debug` and `Display` are `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one who needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Any text, kept as a secret.
pub(super) struct SecretText;

impl Kind for SecretText {
    type Value = Secret;

    fn name(&self) -> String {
        "a text".to_owned()
    }

    fn parse(&self, text: &str) -> Result<Secret, Fault> {
        if text.contains('\0') {
            return Err(Fault::new("holds a NUL character", "remove it"));
        }
        Ok(Secret(text.to_owned()))
    }

    fn secret(&self) -> bool {
        true
    }
}

/// A secret that signs webhooks.
pub(super) struct WebhookSecretKind;

impl Kind for WebhookSecretKind {
    type Value = webhook_protocol::Secret;

    fn name(&self) -> String {
        "a webhook secret: whsec_ and base64 of 24 to 64 bytes".to_owned()
    }

    fn parse(&self, text: &str) -> Result<webhook_protocol::Secret, Fault> {
        text.parse().map_err(|error: webhook_protocol::SecretError| {
            let text = error.to_string();
            let (what, remedy) = text.split_once("; ").unwrap_or((&text, "give it another value"));
            Fault::new(format!("is refused: {what}"), remedy)
        })
    }

    fn secret(&self) -> bool {
        true
    }
}
