//! SIP session ↔ leg, for every edge that speaks SIP: what a session reports becomes a leg's words, what the
//! call commands becomes SIP. Pure; an edge's io drives it.
//!
//! Left out as yet: INFO, REFER.

pub mod cause;
mod ending;
mod identity;
mod incoming;
mod offers;
mod outgoing;

pub use identity::Identity;
pub use incoming::IncomingLeg;
pub use offers::Action;
pub use outgoing::OutgoingLeg;
