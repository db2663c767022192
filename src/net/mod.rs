//! What sockets share: the guard against strangers, TLS, and an HTTP client that goes only where it may.

pub mod client;
pub mod guard;
pub mod tls;

pub use tls::install_crypto;
