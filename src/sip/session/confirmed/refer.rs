//! A transfer that the far side asks for (RFC 3515): REFER, its answer, and the NOTIFYs of the subscription that it
//! implies. One at a time: another is 491 until the last word on the first is said.
//!
//! Left out: SUBSCRIBE to prolong or end the subscription, which lasts as long as a call rings.

use super::super::SessionEvent;
use super::super::SessionTimer;
use super::super::errands::Errand;
use super::super::line::Line;
use super::{Bye, Confirmed};
use crate::sip::answer::{Answer, Body};
use crate::sip::transaction::TransactionId;
use crate::sip::{Header, HeaderName, Method, NameAddr, Refer, Request, StatusCode};
use std::time::Instant;

/// How long a subscription lasts unless it ends before, in seconds: longer than anything rings.
const EXPIRES: u32 = 3_600;

/// A transfer that they asked for.
#[derive(Debug)]
pub(super) enum Referral {
    /// The user has to answer the REFER.
    Asked { id: TransactionId, request: Box<Request>, until: Instant },
    /// It was accepted.
    Active {
        /// `id` of the Event header; the first REFER of a dialog has none (RFC 3515 §2.4.6).
        event: String,
        /// NOTIFYs are wanted (RFC 4488).
        is_told: bool,
    },
}

impl Referral {
    pub(super) fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        match self {
            Self::Asked { until, .. } => Some((*until, SessionTimer::ReferLimit)),
            Self::Active { .. } => None,
        }
    }
}

impl Confirmed {
    pub(super) fn handle_refer(
        &mut self,
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        request: &Request,
    ) {
        let refusal = if self.bye != Bye::None || !line.is_live() {
            Answer::new(StatusCode::NO_SUCH_CALL)
        } else if self.referral.is_some() {
            Answer::new(StatusCode::REQUEST_PENDING)
        } else {
            match Refer::read(request) {
                Ok(refer) => {
                    // before its sender gives up waiting (RFC 3261 §17.1.2.2 timer F)
                    let until = now + line.timings.give_up() / 2;
                    self.referral = Some(Referral::Asked { id, request: Box::new(request.clone()), until });
                    return line.tell(SessionEvent::Refer(Box::new(refer)));
                }
                Err(refusal) => refusal,
            }
        };
        line.respond_to(id, request, &refusal);
    }

    /// What the REFER that waits hears; one that is accepted is told at once that it is tried (RFC 3515 §2.4.4).
    pub(in super::super) fn answer_refer(&mut self, line: &mut Line, answer: &Answer) {
        let (id, request) = match self.referral.take() {
            Some(Referral::Asked { id, request, .. }) => (id, request),
            other => {
                self.referral = other;
                return;
            }
        };
        if answer.status.is_failure() {
            return line.respond_to(id, &request, answer);
        }
        let is_told = Refer::wants_news(&request);
        let contact = NameAddr::new(line.end.contact()).to_string();
        let mut answer = answer.clone().with(HeaderName::Contact, contact);
        if !is_told {
            answer = answer.with(HeaderName::ReferSub, "false");
        }
        line.respond_to(id, &request, &answer);
        self.referrals = self.referrals.saturating_add(1);
        let number = request.headers.cseq().map_or(0, |c| c.number);
        let event = if self.referrals == 1 { "refer".to_owned() } else { format!("refer;id={number}") };
        self.referral = Some(Referral::Active { event, is_told });
        self.notify(line, StatusCode::TRYING);
    }

    /// Tells what became of it; a final status ends the subscription.
    pub(in super::super) fn notify(&mut self, line: &mut Line, status: StatusCode) {
        let Some(Referral::Active { event, is_told }) = &self.referral else { return };
        let (event, is_told) = (event.clone(), *is_told);
        if !status.is_provisional() {
            self.referral = None;
        }
        if !is_told {
            return;
        }
        let state = if status.is_provisional() {
            format!("active;expires={EXPIRES}")
        } else {
            "terminated;reason=noresource".to_owned()
        };
        let headers =
            vec![Header::new(HeaderName::Event, event), Header::new(HeaderName::SubscriptionState, state)];
        let text = format!("SIP/2.0 {} {}\r\n", status.code(), status.phrase());
        let body = Body { content_type: "message/sipfrag;version=2.0".to_owned(), bytes: text.into() };
        self.run(line, Errand { method: Method::NOTIFY, headers, body: Some(body) });
    }

    /// Nobody has answered the REFER.
    pub(super) fn refuse_late_referral(&mut self, now: Instant, line: &mut Line) {
        if matches!(&self.referral, Some(Referral::Asked { until, .. }) if *until <= now) {
            self.answer_refer(line, &Answer::new(StatusCode::SERVER_TIMEOUT));
        }
    }
}
