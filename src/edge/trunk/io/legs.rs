//! Which leg each session of a trunk is, for those who name a dialog (RFC 3891).

use crate::base::{CallId, LegId};
use crate::call::io::LegRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Table = HashMap<u64, (String, CallId, LegId)>;

/// The legs of all trunks, by the tokens of their sessions. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Legs(Arc<Mutex<Table>>);

/// A leg is known while this lives.
pub(super) struct Known {
    legs: Legs,
    token: u64,
}

impl Legs {
    /// Makes a leg known.
    pub(super) fn add(&self, token: u64, trunk: &str, leg: &LegRef) -> Known {
        self.table().insert(token, (trunk.to_owned(), leg.call, leg.leg));
        Known { legs: self.clone(), token }
    }

    /// The leg of a session, if it is this trunk's.
    pub(super) fn get(&self, token: u64, trunk: &str) -> Option<(CallId, LegId)> {
        self.table().get(&token).filter(|(owner, ..)| owner == trunk).map(|(_, call, leg)| (*call, *leg))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.legs.table().remove(&self.token);
    }
}
