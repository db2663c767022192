//! The media of calls: plain RTP and DTLS-SRTP streams, joined packet by packet.
//!
//! ```text
//! socket → demux → stream (open) → relay (rewrite) → other stream (seal) → socket
//!             └ STUN, DTLS → peer
//! ```

pub mod config;
pub mod demux;
pub mod io;
mod keyed;
pub mod packet;
pub mod ports;
pub mod relay;
pub mod rtcp;
pub mod session;
pub mod silence;
pub mod srtp;
pub mod stats;
pub mod stream;
pub mod worker;

pub use config::MediaConfig;
pub use io::{Counts, Engine, StartError};
