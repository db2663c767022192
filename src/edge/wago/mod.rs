//! WaGo's HTTP call API: a call is made by JSON over HTTP, and a browser's media is attached to it and
//! detached again by an offer and an answer. The call lives on without a browser.
//!
//! `wire` turns bytes into requests and back, `session` is one call as the API shows it, `table` finds calls
//! by id and owner and forgets ended ones, `cause` maps causes, `io` serves the routes.
//!
//! Served: `GET /call/webrtc/config`, `POST /call/webrtc/offer`, `POST /call/webrtc/close`, `POST /call/make`,
//! `POST /call/hangup`, `GET /call/status`. Not served yet: incoming calls, DTMF, hold, events.

mod cause;
mod config;
mod io;
mod session;
mod table;
mod wire;

use super::contract::{Edge, Table};

/// The row of this edge.
pub const EDGE: Edge =
    Edge { name: "wago", table: Table::One("wago"), prepare: config::prepare, openapi: None };
