//! Deltafan: turns the changes of a Postgres database into up-to-date effects in every system that needs them.
//!
//! The modules follow the journey of a record: [`decode`] → [`transform`]
//! strings them together.

pub mod decode;
pub mod position;
pub mod transform;
