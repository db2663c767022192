//! The B2BUA heart: legs, their vocabulary, and the call that joins two of them.
//!
//! No word of SIP, JSON, HTTP or protobuf appears here; a session description is an opaque value that goes
//! from an edge to `media` and back.

pub mod core;
pub mod io;
pub mod leg;
pub mod port;
pub mod route;
