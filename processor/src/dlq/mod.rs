//! Dead letters after they were written: what one says of itself, which there are, and what can be done about them.
//!
//! [`crate::deliver`] writes them; the command line lists, shows, replays and purges them. What was done about a letter
//! stands in the same topic as a [`Mark`]: behind the letter, so that it is kept at least as long.

mod act;
mod later;
mod ledger;
pub mod letter;
mod read;
mod trim;

pub use act::Acting;
pub use later::Later;
pub use ledger::{Filter, Kept, KeyDigest, Known, Ledger, Mark, Marked, Place, State};
pub use letter::{Letter, Origin};
pub use read::{DlqError, Mailbox, Whole};
