//! WaGo's HTTP call API: a call is made by JSON over HTTP, and a browser's media is attached to it and
//! detached again by an offer and an answer. The call lives on without a browser.
//!
//! A call that rings an account is announced to whoever listens to its events (`GET /call/events`) and to its
//! webhook; the first answer takes it. An account that has neither cannot be rung here.
//!
//! `wire` turns bytes into requests and back, `session` is one call as the API shows it, `table` finds calls
//! by id and owner and forgets ended ones, `cause` maps causes, `event` numbers, keeps and spreads events, `webhook`
//! is the queue of those on their way, `io` serves the routes. `openapi.json` describes them; a test holds it against
//! what is served.

mod cause;
mod config;
mod event;
mod io;
mod session;
mod table;
mod webhook;
mod wire;

use super::contract::{Edge, Table};

/// The number that is looked up where an account dials a text; none where the API refuses it.
#[must_use]
pub fn dialled(text: &str) -> Option<String> {
    wire::read_number(text).ok()
}

/// The row of this edge.
pub const EDGE: Edge = Edge {
    name: "wago",
    table: Table::One("wago"),
    prepare: config::prepare,
    openapi: Some(include_str!("openapi.json")),
};
