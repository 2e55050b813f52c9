//! What Kafka Connect says of a connector, read into what matters here. Pure.

use serde::Deserialize;

/// Of a stack trace a line or two are shown, and of each this much.
const MAX_REASON_CHARS: usize = 300;

/// How a connector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// It and its tasks run.
    Running,
    /// It, or a task of it, has failed.
    Failed {
        /// The first reason there is.
        why: String,
    },
    /// Somebody paused or stopped it, or Connect is just about to start it: its own word for that, in small letters.
    Otherwise {
        /// The word.
        state: String,
    },
    /// Nobody can say.
    Unknown {
        /// Why not.
        why: String,
    },
}

#[derive(Deserialize)]
struct Status {
    connector: Part,
    tasks: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    state: String,
    trace: Option<String>,
}

/// Reads the answer to `GET /connectors/NAME/status`. What has failed counts first: a task can fail while its connector runs.
pub(super) fn parse(body: &[u8]) -> Seen {
    let Ok(status) = serde_json::from_slice::<Status>(body) else {
        return Seen::Unknown { why: "what answers is no Kafka Connect (`connect.url`)".to_owned() };
    };
    let mut parts = std::iter::once(&status.connector).chain(&status.tasks);
    if let Some(failed) = parts.clone().find(|part| part.state == "FAILED") {
        return Seen::Failed { why: reason(failed.trace.as_deref().unwrap_or_default()) };
    }
    if let Some(other) = parts.find(|part| part.state != "RUNNING") {
        return Seen::Otherwise { state: other.state.to_lowercase() };
    }
    if status.tasks.is_empty() {
        return Seen::Otherwise { state: "without a task".to_owned() };
    }
    Seen::Running
}

/// The first line of a stack trace and its last cause.
fn reason(trace: &str) -> String {
    let short = |line: &str| line.trim().chars().take(MAX_REASON_CHARS).collect::<String>();
    let first = trace.lines().next().map(short).unwrap_or_default();
    let cause = trace.lines().filter_map(|line| line.trim().strip_prefix("Caused by: ")).next_back();
    match cause {
        Some(cause) => format!("{first} (caused by {})", short(cause)),
        None if first.is_empty() => "Connect does not say why".to_owned(),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(connector: &str, tasks: &[&str]) -> Seen {
        let part = |state: &str| serde_json::json!({ "state": state, "worker_id": "w:8083" });
        let tasks: Vec<_> = tasks.iter().map(|state| part(state)).collect();
        parse(
            serde_json::json!({ "name": "c", "connector": part(connector), "tasks": tasks })
                .to_string()
                .as_bytes(),
        )
    }

    #[test]
    fn a_failed_task_of_a_running_connector_is_a_failure() {
        assert_eq!(seen("RUNNING", &["RUNNING"]), Seen::Running);
        assert!(matches!(seen("RUNNING", &["RUNNING", "FAILED"]), Seen::Failed { .. }));
        assert!(matches!(seen("FAILED", &[]), Seen::Failed { .. }));
        assert!(matches!(seen("PAUSED", &["FAILED"]), Seen::Failed { .. }));
        assert_eq!(seen("PAUSED", &["PAUSED"]), Seen::Otherwise { state: "paused".to_owned() });
        assert_eq!(seen("RUNNING", &["UNASSIGNED"]), Seen::Otherwise { state: "unassigned".to_owned() });
        assert!(matches!(seen("RUNNING", &[]), Seen::Otherwise { .. }));
        assert!(matches!(parse(b"<html>"), Seen::Unknown { .. }));
    }

    #[test]
    fn the_reason_is_the_first_line_and_the_last_cause() {
        assert_eq!(
            reason("a.B: outer\n\tat x\nCaused by: c.D: middle\n\tat y\nCaused by: e.F: inner\n\tat z\n"),
            "a.B: outer (caused by e.F: inner)"
        );
        assert_eq!(reason("a.B: alone\n\tat x"), "a.B: alone");
        assert_eq!(reason(""), "Connect does not say why");
        assert_eq!(reason(&"x".repeat(10_000)).chars().count(), MAX_REASON_CHARS);
    }
}
