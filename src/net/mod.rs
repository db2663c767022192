//! What all sockets share.

pub mod guard;
