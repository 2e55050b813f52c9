//! Environment variables in values: `${VAR}`, `${VAR:-default}`, and `$${` for a literal `${`.
//!
//! Applied to a scalar after the YAML is parsed, so that no content of a variable can change the structure of the file.

/// Looks up an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value with its variables put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Whether anything came from the environment or a default: such text is never printed.
    pub(super) interpolated: bool,
}

/// Why a variable can't be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not set, and without a default.
    Missing(String),
    /// Opened with `${` and never closed.
    Unclosed,
    /// What stands between the braces is no name.
    Name,
}

impl Fault {
    /// What is wrong, and the remedy.
    ///
    /// A secret gets no default: it would stand in the file.
    pub(super) fn explain(&self, secret: bool) -> (String, String) {
        match self {
            Self::Missing(name) => (
                format!("the environment variable {name} is not set"),
                if secret {
                    format!("set {name} in `.env` or the environment")
                } else {
                    format!("set {name} in `.env` or the environment, or write a default: `${{{name}:-value}}`")
                },
            ),
            Self::Unclosed => (
                "`${` has no closing `}`".to_owned(),
                "write `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`".to_owned(),
            ),
            Self::Name => (
                "what stands in `${…}` is no name of a variable".to_owned(),
                "a name has letters, digits and `_`, as in `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`".to_owned(),
            ),
        }
    }
}

/// Puts the variables in.
///
/// # Errors
/// Every fault of the text.
pub(super) fn fill(text: &str, env: Env<'_>) -> Result<Filled, Vec<Fault>> {
    let mut filled = Filled { text: String::new(), interpolated: false };
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            filled.text.push_str(literal);
            filled.text.push_str("${");
            rest = after;
            continue;
        }
        filled.text.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            faults.push(Fault::Unclosed);
            rest = "";
            break;
        };
        match value_of(inside, env) {
            Ok(value) => filled.text.push_str(&value),
            Err(fault) => faults.push(fault),
        }
        filled.interpolated = true;
        rest = after;
    }
    filled.text.push_str(rest);
    if faults.is_empty() { Ok(filled) } else { Err(faults) }
}

/// " of NAME" where the text is one variable and nothing else: what may be said of a value that is never printed.
pub(super) fn origin(text: &str) -> String {
    let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    match inside.split(":-").next() {
        Some(name) if is_name(name) => format!(" of {name}"),
        _ => String::new(),
    }
}

fn value_of(inside: &str, env: Env<'_>) -> Result<String, Fault> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
        return Err(Fault::Name);
    }
    // As in a shell, `:-` also stands in for a variable that is set to nothing.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Fault::Missing(name.to_owned())),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
