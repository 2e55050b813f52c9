//! The harness: what scenarios stand on. It starts processes, speaks to the real systems and waits for conditions; it
//! knows no scenario, and nothing of Deltafan but what a user sees (binaries, configuration, ports, topics).

pub mod bench;
pub mod browser;
pub mod changes;
pub mod check;
pub mod config;
pub mod connect;
pub mod db;
pub mod disk;
pub mod effects;
pub mod follow;
pub mod forward;
pub mod group;
pub mod kafka;
pub mod load;
pub mod metrics;
pub mod process;
pub mod processor;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod redis_server;
pub mod stack;
pub mod stand_in;
pub mod wait;

pub use bench::Bench;
pub use check::Measured;
pub use config::Plan;
pub use processor::Processor;
pub use receiver::Receiver;
pub use stack::Stack;
