//! Extensions of sipedge's own, to try it without a PBX: each is a target of routes, `to = "local.echo"`.
//!
//! `echo` sends back what it hears, `tone` and `music` play, `dtmf` plays back the keys it hears, and `callback` says
//! with a short tone that it was understood, hangs up, and calls the account that called a second later.
//!
//! `config` reads `[local]`, `session` is one call to an extension (pure), `io` runs it. What is heard is media's
//! business: a leg names its application where others carry a session description.

mod config;
mod io;
mod session;

use super::contract::{Edge, Table};

/// The row of this edge.
pub const EDGE: Edge =
    Edge { name: "local", table: Table::One("local"), prepare: config::prepare, openapi: None };
