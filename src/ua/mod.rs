//! SIP session ↔ leg, for every edge that speaks SIP: what a session reports becomes a leg's words, what the
//! call commands becomes SIP. Pure; an edge's io drives it.
//!
//! Left out as yet: REFER of ours.

pub mod cause;
mod connected;
mod diversion;
mod ending;
mod identity;
mod incoming;
mod offers;
mod outgoing;
mod policy;
mod redirect;
mod within;

pub use identity::Identity;
pub use incoming::IncomingLeg;
pub use offers::Action;
pub use outgoing::{Destination, Login, Logins, Others, OutgoingLeg};
pub use policy::{CallerId, DiversionStyle, Policy};
pub use within::Terms;
