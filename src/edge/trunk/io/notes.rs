//! What the responses of a trunk's PBX tell of its places, logins and offers, remembered and said in the log.

use super::*;
use crate::base::Told;
use crate::edge::trunk::refusals;
use crate::sdp::SessionDescription;
use crate::sip::digest::DigestError;
use crate::sip::session::IncomingInvite;
use crate::sip::{Body, CallEnd, Reason};

/// Remembers whether somebody was at a place.
pub(super) fn note(trunk: &Trunk, hop: Hop, event: &SessionEvent) {
    match event {
        SessionEvent::Failed(CallFailure::Congestion) => {}
        SessionEvent::Failed(failure) if failure.is_absence() => {
            let retry_after = match failure {
                CallFailure::Status { retry_after, .. } => *retry_after,
                _ => None,
            };
            trunk.targets().failed(Instant::now(), hop, retry_after);
        }
        SessionEvent::Ringing
        | SessionEvent::Progress { .. }
        | SessionEvent::Answered { .. }
        | SessionEvent::Failed(_) => trunk.targets().answered(hop),
        _ => {}
    }
}

/// Says why a call came to nothing; an answer that cannot be understood is the PBX's fault.
pub(super) fn note_failure(trunk: &Trunk, call: &LegRef, event: &SessionEvent) {
    match event {
        SessionEvent::Failed(failure @ CallFailure::BadAnswer(_)) => {
            warn!(call = %call.call, leg = %call.leg, trunk = trunk.name, %failure, "the trunk did not take the call");
        }
        SessionEvent::Failed(failure) => {
            info!(call = %call.call, leg = %call.leg, %failure, "the trunk did not take the call");
        }
        _ => {}
    }
}

/// What is wrong with the session description of an answer, in words for the log; one that can be read may still be of no
/// use. A caller's stands in its ACK or PRACK.
pub(super) fn unusable(event: &SessionEvent) -> Option<String> {
    let (SessionEvent::Answered { body }
    | SessionEvent::Confirmed { body }
    | SessionEvent::OfferAnswered { body }) = event
    else {
        return None;
    };
    match body {
        Some(body) => unreadable(body),
        None => Some("it has no session description".to_owned()),
    }
}

/// Tells why a leg that ended by itself did, where that is its answer.
pub(super) fn note_unusable(trunk: &str, call: &LegRef, parting: Option<&Reason>, why: Option<String>) {
    if let (Some(_), Some(why)) = (parting, why) {
        warn!(call = %call.call, leg = %call.leg, trunk, why, "the PBX's answer cannot be used; the call ends");
    }
}

/// What is wrong with a body, where it is no session description that can be read, in words for the log.
pub(super) fn unreadable(body: &Body) -> Option<String> {
    if !body.is_sdp() {
        return Some(format!("its body is {}, which is no session description", Excerpt(&body.content_type)));
    }
    let text = String::from_utf8_lossy(&body.bytes);
    let fault = SessionDescription::parse(&text).err()?.to_string();
    Some(format!("its session description cannot be read: {}", Excerpt(&fault)))
}

/// Tells of a call to us that is refused before it starts; of many, how many there are.
pub(super) fn note_unstarted(trunk: &Trunk, invite: &IncomingInvite, id: &str, status: StatusCode) {
    let remote = invite.flow.path.remote;
    let why = || invite.body.as_ref().and_then(unreadable);
    match trunk.occupancy.unstarted(Instant::now()) {
        Told::InFull => {
            let from = invite.from.uri.user_text().unwrap_or_default();
            warn!(trunk = trunk.name, from = %Pii(&from), sip_call_id = %Excerpt(id), %status, why = why(), "a call is refused before it starts");
        }
        Told::Sum(times) => {
            warn!(trunk = trunk.name, %remote, %status, why = why(), times, "more calls of the trunk are refused before they start than the log tells one by one: this is the last of them");
        }
        Told::Not => {}
    }
}

/// Remembers whether our login was refused, and tells of it once.
pub(super) fn note_login(trunk: &Trunk, call: &LegRef, user: Option<&str>, event: &SessionEvent) {
    let refused = match event {
        // nobody there says nothing of the login
        SessionEvent::Failed(failure) if failure.is_absence() => return,
        SessionEvent::Failed(failure) => refusals::of_call(failure, user),
        SessionEvent::Ringing | SessionEvent::Progress { .. } | SessionEvent::Answered { .. } => None,
        _ => return,
    };
    let Some(why) = refused else { return trunk.refusals().taken(user) };
    if trunk.refusals().refused(Instant::now(), user, &why) {
        let user = user.unwrap_or("(none)");
        let what = match why {
            DigestError::Forbidden => "the trunk's PBX forbids a call of our login",
            _ => "the trunk's PBX does not take our login: such calls fail",
        };
        warn!(call = %call.call, leg = %call.leg, trunk = trunk.name, user, %why, "{what}");
    }
}

/// Tells of a call that goes wrong after its answer: of an ACK that does not arrive, and of a far side that is gone.
pub(super) fn note_trouble(trunk: &str, call: &LegRef, event: &SessionEvent) {
    let (id, leg) = (call.call, call.leg);
    match event {
        SessionEvent::AckUnheard { contact, sent_to } => {
            let why = "its Contact names an address that does not lead to it; symmetric = true sends to where it was dialled";
            let contact = Excerpt(contact);
            warn!(call = %id, %leg, trunk, %contact, %sent_to, why, "our ACK does not reach the PBX, which goes on repeating its 200 and will hang up");
        }
        SessionEvent::Ended(CallEnd::Lost(why)) => {
            warn!(call = %id, %leg, trunk, why, "the PBX is lost to a call, which ends");
        }
        _ => {}
    }
}

/// Tells of an offer of ours that the PBX took nothing of; it does not say why.
pub(super) fn note_offer(trunk: &Trunk, call: &LegRef, offer: &[u8], event: &SessionEvent) {
    let SessionEvent::Failed(failure @ CallFailure::Status { status, .. }) = event else { return };
    let Some(offered) = refusals::offer_of_call(failure, offer) else { return };
    let status = status.code();
    if !trunk.refusals().offer_refused(Instant::now(), &format!("{status} {offered}")) {
        return;
    }
    if matches!(status, 406 | 415) {
        let why = "it refuses the kind of body, application/sdp, and not what stands in it: look at its own log, and at a proxy between";
        warn!(call = %call.call, leg = %call.leg, trunk = trunk.name, offered, status, why, "the PBX takes no session description");
    } else {
        let why = "compare media_encryption, codecs and avpf of the trunk with its own (Asterisk: media_encryption, allow, use_avpf)";
        warn!(call = %call.call, leg = %call.leg, trunk = trunk.name, offered, why, "the PBX takes nothing of our offer (488)");
    }
}
