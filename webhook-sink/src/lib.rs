//! The reference receiver of the webhook sink: it verifies each batch, stores each event once in an embedded
//! database, answers only when it is durable, and shows what arrived.
//!
//! The journey of a batch: [`server`] takes the request, [`verify`] believes it or not, [`event`] reads the events
//! one by one, [`store`] writes them and keeps them as long as [`retention`] says, [`stats`] counts them. [`app`] alone knows every part.

pub mod app;
pub mod cause;
pub mod clock;
pub mod config;
pub mod event;
pub mod quantity;
pub mod retention;
pub mod server;
pub mod stats;
pub mod store;
pub mod verify;
