//! Registrations that a PBX is refused after it has proved who it is: nobody but its admin can mend them, and the PBX often says
//! no more than that it failed.

use crate::base::Seldom;
use crate::sip::{Answer, StatusCode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often the log hears of registrations that a trunk is refused for one reason.
const UNREGISTERED_INTERVAL: Duration = Duration::from_secs(600);

/// A registration that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unregistered {
    /// The trunk's name.
    pub(super) trunk: String,
    /// Status.
    pub(super) status: StatusCode,
    /// What to do about it.
    pub(super) remedy: Option<&'static str>,
    /// The reason phrase, where it is one of ours.
    pub(super) phrase: Option<String>,
    /// How many there were since the log was told last, this one included.
    pub(super) count: u64,
}

/// Those of all trunks.
#[derive(Debug, Default)]
pub(super) struct Unregistrations {
    told: BTreeMap<(String, u16), Seldom>,
    waiting: Option<Unregistered>,
}

impl Unregistrations {
    /// An answer to a REGISTER. A PBX that is told a longer interval (423) asks again by itself.
    pub(super) fn note(&mut self, now: Instant, trunk: &str, answer: &Answer) {
        let status = answer.status;
        if status.code() < 400 || status == StatusCode::INTERVAL_TOO_BRIEF {
            return;
        }
        let told = self.told.entry((trunk.to_owned(), status.code()));
        let Some(count) = told.or_insert_with(|| Seldom::new(UNREGISTERED_INTERVAL)).happened(now) else {
            return;
        };
        let remedy = match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                Some("write register = \"accept\" for this trunk, or have the PBX not register here")
            }
            StatusCode::BAD_EXTENSION => Some(
                "a proxy on the way adds Path, which the PBX does not know of: write support_path = yes in Asterisk's registration",
            ),
            _ => None,
        };
        let (trunk, phrase) = (trunk.to_owned(), answer.phrase.clone());
        self.waiting = Some(Unregistered { trunk, status, remedy, phrase, count });
    }

    /// What the log is to hear.
    pub(super) fn take(&mut self) -> Option<Unregistered> {
        self.waiting.take()
    }
}
