//! SIP session ↔ leg, for every edge that speaks SIP: what a session reports becomes a leg's words, what the
//! call commands becomes SIP. Pure; an edge's io drives it.
//!
//! Left out as yet: calls that SIP places to us, re-INVITE, INFO, REFER.

pub mod cause;
mod identity;
mod outgoing;

pub use identity::Identity;
pub use outgoing::{Action, OutgoingLeg};
