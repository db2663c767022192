//! SIP trunks: PBXs and carriers that are called by address, with digest where they ask for it, and that call us with
//! digest or from their network.
//!
//! `config` reads `[trunk.…]`, `branches` says which of a PBX's places ring, `inbound` decides who may call, `logins` who failed
//! too often, `occupancy` who finds a place, `targets` which of a PBX's places failed lately, `lookups` which of its names lead
//! nowhere, `refusals` which of our logins it refuses, `unregistered` which registrations it is refused, `io` finds these places, dials, takes calls, keeps the trunk registered
//! and knows whether it is up, `pbx_end` writes the PBX's configuration; everything SIP is `sip/`'s and `ua/`'s.

mod branches;
mod config;
mod inbound;
mod io;
mod logins;
mod lookups;
mod occupancy;
mod pbx_end;
mod refusals;
mod targets;
mod tls;
mod unregistered;

use super::contract::{Edge, Table};

pub use config::hash_lines;

/// The row of this edge.
pub const EDGE: Edge =
    Edge { name: "trunk", table: Table::Named("trunk"), prepare: config::prepare, openapi: None };
