//! The media of calls: plain RTP and DTLS-SRTP streams, joined packet by packet.
//!
//! ```text
//! socket → demux → stream (open) → relay (rewrite) → other stream (seal) → socket
//!             └ STUN, DTLS → peer
//! ```
//!
//! [`worker`] is the packet machine of one thread and pure; `io` gives it sockets, a clock and a thread, and
//! runs one controller task a call, which owns the offers and answers ([`session`]) and the associations
//! ([`crate::peer`]). [`Engine`] is the door: it implements [`crate::call::port::MediaEngine`].
//!
//! A call changes its media only by commands to its thread; the thread tells its news by events and
//! counters ([`stats`]). Left out: transcoding, recording, conference, RTCP feedback, trickled candidates.

pub mod codec;
pub mod config;
pub mod demux;
pub mod io;
mod keyed;
pub mod keys;
pub mod packet;
pub mod ports;
pub mod relay;
pub mod rtcp;
pub mod session;
pub mod silence;
pub mod srtp;
pub mod stats;
pub mod stream;
pub mod tone;
pub mod worker;

pub use config::MediaConfig;
pub use io::{Counts, Engine, StartError};
