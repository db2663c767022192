//! Places for a trunk's calls, and what the log hears when there are none.

use super::super::config::Trunk;
use super::super::occupancy::{Occupied, Shortage};
use crate::base::CallId;
use crate::registry::{CallPermit, Registry, Unanswered};
use crate::sip::Answer;
use crate::sip::answer::out_of_service;
use crate::sip::session::SessionEvent;
use std::time::{Duration, Instant};
use tracing::warn;

/// Whoever finds no place may ask again then: a call ends every few seconds where there are many, and a proxy that obeys
/// Retry-After sends us nothing at all meanwhile (RFC 3261 §21.5.4).
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// 503 for want of a place.
pub(super) fn no_place() -> Answer {
    out_of_service(RETRY_AFTER)
}

/// What a leg that calls us holds until it is over.
pub(super) struct Held {
    _occupied: Occupied,
    unanswered: Option<Unanswered>,
}

impl Held {
    /// The caller of an answered call has acknowledged that: it is where it says.
    pub(super) fn hear(&mut self, event: &SessionEvent) {
        if matches!(event, SessionEvent::Confirmed { .. }) {
            self.unanswered = None;
        }
    }
}

impl Trunk {
    /// A place for a call to us: the leg's, and the call's.
    pub(super) fn admit(&self, registry: &Registry) -> Option<(Held, CallPermit)> {
        let Some(occupied) = self.occupancy.enter() else {
            self.tell(Shortage::MaxCalls);
            return None;
        };
        match registry.admit_trunk(&self.name) {
            Ok((permit, unanswered)) => {
                Some((Held { _occupied: occupied, unanswered: Some(unanswered) }, permit))
            }
            Err(why) => {
                self.tell(why.into());
                None
            }
        }
    }

    /// A place for a leg that takes another one's place, whose call has one already.
    pub(super) fn admit_replacing(&self) -> Held {
        Held { _occupied: self.occupancy.take_over(), unanswered: None }
    }

    /// A place for a leg that a call dials.
    pub(super) fn admit_dialled(&self, call: CallId) -> Option<Occupied> {
        let occupied = self.occupancy.dial(call);
        if occupied.is_none() {
            self.tell(Shortage::MaxCalls);
        }
        occupied
    }

    fn tell(&self, why: Shortage) {
        let Some(times) = self.occupancy.refused(Instant::now(), why) else { return };
        let (trunk, key) = (&self.name, format!("trunk.{}.max_calls", self.name));
        match why {
            Shortage::MaxCalls => {
                let limit = self.occupancy.most();
                warn!(
                    trunk,
                    key,
                    limit,
                    times,
                    "the trunk has as many calls as max_calls allows: further ones to us get 503, ours go on to the next place of their route; raise it, or leave it out"
                );
            }
            Shortage::Unanswered => {
                warn!(
                    trunk,
                    key = "media.calls",
                    times,
                    "calls of the trunk get 503: those that nobody has answered leave a fifth of the free places of media.calls to others; raise it, or find out who sends so many in the trunk's name"
                );
            }
            Shortage::Full => {
                warn!(
                    trunk,
                    key = "media.calls",
                    times,
                    "calls of the trunk get 503: all places of media.calls are taken; raise it, or share the calls among several sipedge"
                );
            }
        }
    }
}
