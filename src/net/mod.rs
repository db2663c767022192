//! What sockets share: the guard against strangers and the places of connections, TLS, an HTTP client that goes only where it
//! may, and who has a port that we want.

pub mod client;
pub mod dns;
pub mod guard;
pub mod io;
pub mod owner;
pub mod places;
pub mod tls;

pub use tls::install_crypto;
