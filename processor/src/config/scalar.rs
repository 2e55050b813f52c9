//! A single value: the node's text, its variables put in, parsed as a kind. No answer holds what a variable held.

use super::{
    interpolate::{self, Env},
    kinds::{Fault, Kind},
    source::SECRET_PREFIX,
    yaml::{Node, Value},
};

/// Reads a value.
///
/// # Errors
/// Every fault of it; none for what was refused, and reported, when the YAML was read.
pub(super) fn read<K: Kind>(node: &Node, kind: &K, env: Env<'_>) -> Result<K::Value, Vec<Fault>> {
    let text = text_of(node, kind)?;
    let filled = interpolate::fill(text, env).map_err(|faults| {
        let explain = |fault: &interpolate::Fault| fault.explain(kind.secret());
        faults.iter().map(explain).map(|(what, remedy)| Fault { what, remedy }).collect::<Vec<_>>()
    })?;
    if !kind.secret() && filled.text.contains(SECRET_PREFIX) {
        let what = "holds a webhook secret, which would be printed";
        return Err(vec![Fault::new(what, "secrets belong into `secrets` of a webhook sink alone")]);
    }
    kind.parse(&filled.text).map_err(|fault| {
        let subject = match (kind.secret(), filled.interpolated) {
            (true, true) => format!("the value{}", interpolate::origin(text)),
            (true, false) => "the value".to_owned(),
            (false, true) => format!("`{text}`, with its variable put in,"),
            (false, false) => format!("`{text}`"),
        };
        vec![Fault { what: format!("{subject} {}", fault.what), ..fault }]
    })
}

/// The text of a node that may be a value of this kind.
fn text_of<'n, K: Kind>(node: &'n Node, kind: &K) -> Result<&'n str, Vec<Fault>> {
    let name = kind.name();
    let fault = match &node.value {
        Value::Scalar { plain: false, .. } if kind.plain_only() => {
            Fault::new("is text in quotes", format!("write {name} without quotes"))
        }
        Value::Scalar { text, .. } => return Ok(text),
        Value::Refused => return Err(Vec::new()),
        Value::Null => Fault::new("has no value", format!("give it {name}, or remove the key")),
        other => {
            Fault::new(format!("is {}, wanted is a single value", other.noun()), format!("write {name}"))
        }
    };
    Err(vec![fault])
}
