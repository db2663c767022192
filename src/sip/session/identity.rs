//! What the far side says of who it is (RFC 3325 §9.1): with its answer to our INVITE and, within the dialog, with a
//! re-INVITE or an UPDATE. Answers within the dialog say nothing new, and who is no more than an echo is not heard so.

use super::super::{HeaderName, Headers};
use super::SessionEvent;
use super::line::Line;

/// The lines that say who it is; none when nothing does.
pub(super) fn of(headers: &Headers) -> Option<Box<Headers>> {
    let former = HeaderName::parse("Remote-Party-ID");
    let says = [HeaderName::PAssertedIdentity, former, HeaderName::Privacy];
    let mut found = Headers::default();
    headers.iter().filter(|h| says.contains(h.name())).for_each(|h| found.push_header(h.clone()));
    let has_name = found.iter().any(|h| *h.name() != HeaderName::Privacy);
    has_name.then(|| Box::new(found))
}

/// Tells what a message says of it.
pub(super) fn tell(line: &mut Line, headers: &Headers) {
    of(headers).into_iter().for_each(|identity| line.tell(SessionEvent::Identity(identity)));
}
