//! What edges hand to a running stack: who decides on requests, and who takes calls.

use super::super::endpoint::{RequestHandler, Verdict};
use super::super::flow::Flow;
use super::super::{Method, Request};
use super::IncomingSession;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::mpsc;

/// A handler that can be exchanged: edges come after the stack.
pub(super) struct Switch(RwLock<Arc<dyn RequestHandler>>);

impl Switch {
    pub(super) fn new(handler: Arc<dyn RequestHandler>) -> Self {
        Self(RwLock::new(handler))
    }

    pub(super) fn set(&self, handler: Arc<dyn RequestHandler>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = handler;
    }
}

impl RequestHandler for Switch {
    fn handle(&self, now: Instant, request: &Request, flow: &Flow) -> Verdict {
        let handler = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        handler.handle(now, request, flow)
    }

    fn serves(&self) -> &'static [Method] {
        self.0.read().unwrap_or_else(PoisonError::into_inner).serves()
    }
}

/// Who takes the calls of an owner.
#[derive(Default)]
pub(super) struct Served(Mutex<BTreeMap<String, mpsc::Sender<IncomingSession>>>);

impl Served {
    pub(super) fn add(&self, owner: &str, calls: mpsc::Sender<IncomingSession>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.to_owned(), calls);
    }

    /// Hands a call over; false when nobody takes it.
    pub(super) fn deliver(&self, session: IncomingSession) -> bool {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = session.invite.owner.clone();
        let sent = map.get(&owner).map(|calls| calls.try_send(session));
        if matches!(sent, Some(Err(mpsc::error::TrySendError::Closed(_)))) {
            map.remove(&owner);
        }
        matches!(sent, Some(Ok(())))
    }
}
