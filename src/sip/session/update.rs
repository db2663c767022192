//! UPDATE (RFC 3311): without an offer it is answered here, in early dialogs too; with one it is an offer like that of
//! a re-INVITE, which `confirmed` holds for the user, but for the ACK that it lacks, and `early` in early dialogs.

use super::super::answer::{Answer, Body};
use super::super::dialog::Dialog;
use super::super::transaction::TransactionId;
use super::super::{Method, Request, StatusCode};
use super::identity;
use super::line::Line;
use super::sdp_of;
use std::time::Instant;

/// Whether it is an UPDATE that offers nothing: a target refresh and, with it, a sign of life.
pub(super) fn is_bare(request: &Request) -> bool {
    request.method == Method::UPDATE && sdp_of(&request.headers, &request.body).is_none()
}

/// 200 to an UPDATE that offers nothing; its Contact is the new target (RFC 3311 §5.2).
pub(super) fn accept(
    now: Instant,
    line: &mut Line,
    dialog: &mut Dialog,
    id: TransactionId,
    request: &Request,
) {
    dialog.refresh_target(&request.headers);
    identity::tell(line, &request.headers);
    answer(now, line, id, request, None);
}

/// 200 to an UPDATE, with the answer to its offer. It carries our Contact: an UPDATE refreshes both targets.
pub(super) fn answer(
    now: Instant,
    line: &mut Line,
    id: TransactionId,
    request: &Request,
    body: Option<Body>,
) {
    let mut response = line.invite_response(request, &Answer { body, ..Answer::new(StatusCode::OK) });
    line.timer.grant(now, &request.headers, &mut response.headers);
    line.respond(id, response);
}
