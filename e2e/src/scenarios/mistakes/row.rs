//! A row of the table: what a newcomer did, how it is tried, what must be said, and what to do.
//!
//! Words of a row may hold places (`{taken}`, `{folder}`, …), which [`super::place::Place`] fills.

/// A mistake.
#[derive(Debug, Clone, Copy)]
pub struct Mistake {
    /// What the newcomer did.
    pub did: &'static str,
    /// How that is tried.
    pub trial: Trial,
    /// What the answer must hold, in this order: cause, then remedy.
    pub says: &'static [&'static str],
    /// What to do, for the page.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page is made by a test"))]
    pub remedy: &'static str,
}

/// How a mistake is tried.
#[derive(Debug, Clone, Copy)]
pub enum Trial {
    /// A command that ends by itself.
    Ends {
        /// Program and arguments.
        command: &'static [&'static str],
        /// What differs from a right environment; `None` is a variable that is not set.
        env: &'static [(&'static str, Option<&'static str>)],
        /// The exit status.
        status: i32,
    },
    /// `deltafan run` with a file in which one thing is exchanged for another: it goes on, and `/readyz` and the log say
    /// what is the matter with the lane.
    Lane {
        /// The lane that has trouble.
        sink: &'static str,
        /// The lines of a right file that begin with the one are exchanged for the other.
        edits: &'static [(&'static str, &'static str)],
    },
    /// A record in the topic that is none of ours: it goes to the dead letters, with the reason.
    Letter {
        /// The record's value.
        value: &'static str,
    },
}

/// A command that ends with `status`.
pub const fn ends(
    did: &'static str,
    command: &'static [&'static str],
    env: &'static [(&'static str, Option<&'static str>)],
    status: i32,
    says: &'static [&'static str],
    remedy: &'static str,
) -> Mistake {
    Mistake { did, trial: Trial::Ends { command, env, status }, says, remedy }
}

/// A lane that waits, retries or pauses, and says why.
pub const fn lane(
    did: &'static str,
    sink: &'static str,
    edits: &'static [(&'static str, &'static str)],
    says: &'static [&'static str],
    remedy: &'static str,
) -> Mistake {
    Mistake { did, trial: Trial::Lane { sink, edits }, says, remedy }
}

/// A record that goes to the dead letters.
pub const fn letter(
    did: &'static str,
    value: &'static str,
    says: &'static [&'static str],
    remedy: &'static str,
) -> Mistake {
    Mistake { did, trial: Trial::Letter { value }, says, remedy }
}
