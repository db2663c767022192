//! Who decides on requests of no dialog: the edges, by a handler that they give to the endpoint.

use super::answer::Answer;
use super::digest::Credentials;
use super::session::TimerRules;
use super::{Flow, Method, Request, StatusCode};
use crate::base::External;
use std::time::Instant;

/// What becomes of a request of no dialog.
#[derive(Debug)]
pub enum Verdict {
    /// This is its final answer.
    Answer(Answer),
    /// An INVITE becomes a session.
    Accept(Acceptance),
}

/// An INVITE that becomes a session.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// Who proved identity (a trunk's name, an account's); opaque here, and told with the call.
    pub owner: String,
    /// For challenges of our own requests within the dialog.
    pub credentials: Option<Credentials>,
    /// Requests within the dialog go where the INVITE came from, whatever Contact and Record-Route say
    /// (a peer behind NAT).
    pub stays_on_flow: bool,
    /// What a NAT between us makes of our address.
    pub external: External,
    /// Its session timer.
    pub timers: TimerRules,
}

/// Decides on requests of no dialog that passed the checks every UAS makes. It must not block.
///
/// OPTIONS is answered without it; BYE, INFO, UPDATE, PRACK, ACK and CANCEL live in dialogs or transactions alone.
pub trait RequestHandler: Send + Sync {
    /// What becomes of a request that came by this flow.
    fn handle(&self, now: Instant, request: &Request, flow: &Flow) -> Verdict;

    /// Methods it serves beside INVITE; others get 405 before they come here (RFC 3261 §8.2.1).
    fn serves(&self) -> &'static [Method] {
        &[]
    }
}

/// Refuses every call with one status.
#[derive(Debug, Clone, Copy)]
pub struct Refuse(pub StatusCode);

impl RequestHandler for Refuse {
    fn handle(&self, _: Instant, _: &Request, _: &Flow) -> Verdict {
        Verdict::Answer(Answer::new(self.0))
    }
}
