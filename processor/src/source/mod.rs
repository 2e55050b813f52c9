//! Source: reads the records of a topic from Kafka and says how far they are done. Knows no sink and no format.
//!
//! A worker's [`reader`] is a member of the lane's consumer group. It never decides by itself where to begin: each time
//! partitions are assigned it asks, through the [`handoff`], where the sink stands.

pub mod chunk;
pub mod client;
pub(crate) mod group;
pub mod handoff;
pub mod reader;
mod reset;
pub mod topic;
pub mod watch;

pub use chunk::{Chunk, Record};
pub use handoff::{Epoch, Handoff, Limits, Order, Question};
