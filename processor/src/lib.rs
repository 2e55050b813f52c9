//! Deltafan: turns the changes of a Postgres database into up-to-date effects in every system that needs them.
//!
//! The modules follow the journey of a record: [`source`] → [`decode`] → [`enrich`] → [`transform`] → [`deliver`] →
//! [`sink`], and a [`lane`] strings them together. Everything on that road knows only what comes before it; [`app`]
//! alone knows every part.

pub mod admin;
pub mod app;
pub mod config;
pub mod connector;
pub mod control;
pub mod decode;
pub mod deliver;
pub mod dlq;
pub mod enrich;
pub mod generate;
pub mod health;
pub mod lane;
pub mod metrics;
pub mod past;
pub mod position;
pub mod postgres;
pub mod reference;
pub mod sink;
pub mod source;
pub mod top;
pub mod transform;
pub mod verify;
