//! SIP trunks: PBXs and carriers that are called by address, with digest where they ask for it.
//!
//! `config` reads `[trunk.…]`, `io` dials; everything SIP is `sip/`'s and `ua/`'s.
//!
//! Left out as yet: calls that come in by a trunk, registration, qualify, other transports than UDP.

mod config;
mod io;

use super::contract::{Edge, Table};

/// The row of this edge.
pub const EDGE: Edge =
    Edge { name: "trunk", table: Table::Named("trunk"), prepare: config::prepare, openapi: None };
