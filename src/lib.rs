//! sipedge: a WebRTC edge for a PBX.
//!
//! A SIP B2BUA that sits beside Asterisk or FreeSWITCH and makes every browser call an SRTP leg, put
//! together from ICE, DTLS and SRTP, and bridged packet by packet to the PBX.
//!
//! # The house
//!
//! ```text
//! signalling   socket → edge/io → edge/session → LegEvent → Call → LegCommand → other edge/session → socket
//! media        socket → demux → leg's stream (open) → relay (rewrite) → peer leg's stream (seal) → socket
//!                          └ STUN, DTLS → peer
//! ```
//!
//! Protocol logic is sans-IO: it is told the time and the bytes and answers with outputs. Sockets, clocks,
//! spawns and entropy live in files named `io.rs`, folders named `io`, `app.rs` and `main.rs`; who may
//! import whom is checked by `sip-tests/layering.rs`.

#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

pub mod app;
pub mod base;
pub mod call;
pub mod cli;
pub mod config;
pub mod edge;
pub mod http;
pub mod media;
pub mod net;
pub mod peer;
pub mod registry;
pub mod sdp;
pub mod sip;
pub mod ua;
