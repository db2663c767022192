//! Keys that the far side tells by INFO, in early dialogs too.

use super::super::transaction::TransactionId;
use super::super::{Request, info};
use super::SessionEvent;
use super::line::Line;

/// Answers an INFO, and tells the key that it brings.
pub(super) fn accept(line: &mut Line, id: TransactionId, request: &Request) {
    let (answer, key) = info::take(request);
    line.respond_to(id, request, &answer);
    key.into_iter().for_each(|key| line.tell(SessionEvent::Key(key)));
}
