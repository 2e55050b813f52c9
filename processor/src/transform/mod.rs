//! Transform: pure functions from a decoded change and its content to what sinks deliver. Knows no sink.

pub mod decimal;
pub mod engagement;

pub use decimal::Decimal;
pub use engagement::{Content, Engagement, Transformed, Written, shown, transform};
