//! Sockets, threads and tasks of media.

mod controller;
mod driver;
mod engine;
mod sockets;
pub mod sys;
mod thread;
mod transactions;

pub use engine::{Counts, Engine, StartError};
pub use sys::{pin_to_core, process_cpu_time};
pub use thread::{Command, MediaThread, News, PeerSink, PlainSockets, StreamNews};
