//! Which stream's association sent a STUN request, by its transaction id (RFC 8489 §5): the way a response
//! from an address that nobody proved yet finds home. Bounded; the oldest is forgotten.

use crate::base::StreamId;
use std::collections::{HashMap, VecDeque};

/// Requests remembered: those of some hundred calls that set up at once.
const LIMIT: usize = 4_096;

/// The open requests.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    by_id: HashMap<[u8; 12], StreamId>,
    order: VecDeque<[u8; 12]>,
}

impl Transactions {
    /// A request went out. A repeated one counts once.
    pub(super) fn add(&mut self, id: [u8; 12], stream: StreamId) {
        if self.by_id.insert(id, stream).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > LIMIT {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// Whose request this response answers; each is answered once.
    pub(super) fn take(&mut self, id: &[u8; 12]) -> Option<StreamId> {
        self.by_id.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_finds_its_stream_once_and_old_requests_are_forgotten() {
        let mut open = Transactions::default();
        open.add([1; 12], StreamId(1));
        assert_eq!(open.take(&[1; 12]), Some(StreamId(1)));
        assert_eq!(open.take(&[1; 12]), None);
        for n in 0..10_000_u32 {
            let mut id = [0; 12];
            id[..4].copy_from_slice(&n.to_be_bytes());
            open.add(id, StreamId(u64::from(n)));
        }
        assert!(open.by_id.len() <= LIMIT && open.order.len() <= LIMIT);
        assert_eq!(open.take(&[0; 12]), None);
    }
}
