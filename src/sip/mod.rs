//! SIP as pure machines plus its io (RFC 3261 and friends).
//!
//! `message`, `uri`, `header`, `value`, `lex` are the wire, `frame` cuts a stream into messages; `transaction` the
//! machines of RFC 3261 §17 and RFC 6026; `dialog` and `session` a call, ours or to us; `digest` the credentials,
//! `digest_server` their check; `register` keeps an address-of-record registered, `registrar` is where others do; `qualify` watches a peer;
//! `idle` says which sockets are given back, `wire` shows messages in the log, `answer` what every UAS must say, `multipart` the session description in a body of several parts; `admission` the budget of strangers. Nothing of it reads a clock, opens a
//! socket or asks for entropy: [`io`] does, and drives them. A transport is a [`Transport`] and a flow: UDP and
//! TCP, and others are added beside them. rsip is named in `code` alone.

pub mod admission;
pub mod answer;
mod code;
mod config;
pub mod dialog;
pub mod digest;
pub mod digest_server;
pub mod endpoint;
mod flow;
pub mod frame;
mod handler;
mod header;
mod idle;
mod info;
pub mod io;
mod lex;
mod message;
mod multipart;
mod outcome;
pub mod qualify;
mod refer;
pub mod register;
pub mod registrar;
pub mod session;
pub mod transaction;
mod uri;
mod value;
mod wire;

/// The realm of our own challenges.
pub const REALM: &str = "sipedge";

pub use answer::{Answer, Body};
pub use code::{Method, StatusCode};
pub use config::SipConfig;
pub use digest::Credentials;
pub use flow::{Flow, Hop, TlsPeer, Transport};
pub use header::{Header, HeaderName, Headers};
pub use info::Key;
pub use lex::{Malformed, Param, Params};
pub use message::{Essentials, Limits, Message, ParseError, Request, Response, parse};
pub use outcome::{CallEnd, CallFailure, IncomingInvite, SessionCommand, SessionEvent};
pub use refer::{Refer, Replaces};
pub use uri::{Host, SipUri, Uri};
pub use value::{CSeq, MAGIC_COOKIE, NameAddr, Reason, Via};
