//! What waits to be written to a connection.
//!
//! Its bound is bytes, and the time that a write may take: who does not read makes us hold no more than that. How many
//! messages come at once says nothing of the far side; all calls of a PBX may end in one turn of the owner.

use super::super::frame::PONG;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What is written must be taken by then.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes that wait for a known peer: the BYEs of 2,000 calls are more than a megabyte.
const MOST: usize = 4 << 20;
/// Most bytes that wait for a stranger.
const MOST_OF_STRANGERS: usize = 128 << 10;
/// What a message takes beside its bytes, so that many small ones count.
const OVERHEAD: usize = 64;

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too much waits.
    Full,
    /// The connection has ended.
    Ended,
}

/// Where messages are put. When it is gone, the connection ends after what waits was written.
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// The other end: where they are taken out to be written.
pub(super) struct Waiting {
    queue: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// Both ends, empty.
pub(super) fn outbox() -> (Outbox, Waiting) {
    let ((sender, receiver), waiting) = (mpsc::unbounded_channel(), Arc::new(AtomicUsize::new(0)));
    (Outbox { queue: sender, waiting: Arc::clone(&waiting) }, Waiting { queue: receiver, waiting })
}

impl Outbox {
    /// Puts a message in. Whether the far side is known is asked for when it matters.
    pub(super) fn push(&self, bytes: Bytes, is_known: impl FnOnce() -> bool) -> Result<(), Refused> {
        // the owner alone puts something in: it is less at most when it is added
        let size = bytes.len() + OVERHEAD;
        let total = self.waiting.load(Ordering::Relaxed) + size;
        if total > MOST || (total > MOST_OF_STRANGERS && !is_known()) {
            return Err(Refused::Full);
        }
        // before it can be taken out
        self.waiting.fetch_add(size, Ordering::Relaxed);
        self.queue.send(bytes).map_err(|_| Refused::Ended)
    }
}

/// Writes what waits until the outbox is gone, or the far side takes no more.
pub(super) async fn write_all<W: AsyncWrite + Unpin>(
    mut write: W,
    mut waiting: Waiting,
    mut pong: mpsc::Receiver<()>,
) {
    loop {
        // both arms only receive: nothing is lost when the other is taken
        let (bytes, size) = tokio::select! {
            next = waiting.queue.recv() => match next {
                Some(bytes) => {
                    let size = bytes.len() + OVERHEAD;
                    (bytes, size)
                }
                None => break,
            },
            Some(()) = pong.recv() => (Bytes::from_static(PONG), 0),
        };
        // TLS holds back what is not flushed
        let writing = async {
            write.write_all(&bytes).await?;
            write.flush().await
        };
        if !matches!(timeout(WRITE_TIMEOUT, writing).await, Ok(Ok(()))) {
            return;
        }
        waiting.waiting.fetch_sub(size, Ordering::Relaxed);
    }
    let _ = timeout(WRITE_TIMEOUT, write.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    const MESSAGE: usize = 1_000;

    /// How many messages are taken while nothing is written.
    fn taken(outbox: &Outbox, is_known: bool) -> usize {
        let push = || outbox.push(Bytes::from_static(&[b'x'; MESSAGE]), || is_known);
        std::iter::repeat_with(push).take_while(Result::is_ok).count()
    }

    #[test]
    fn bytes_are_the_bound_a_lower_one_for_strangers() {
        let (of_stranger, _waiting) = outbox();
        assert_eq!(taken(&of_stranger, false), MOST_OF_STRANGERS / (MESSAGE + OVERHEAD));
        let (of_peer, _waiting) = outbox();
        assert_eq!(taken(&of_peer, true), MOST / (MESSAGE + OVERHEAD));
    }

    #[tokio::test]
    async fn what_was_written_waits_no_more_and_the_rest_is_written_when_the_outbox_is_gone() {
        let (outbox, waiting) = outbox();
        let (pongs, pong) = mpsc::channel(1);
        let (ours, mut theirs) = tokio::io::duplex(MESSAGE);
        let writing = tokio::spawn(write_all(ours, waiting, pong));
        for _ in 0..MOST_OF_STRANGERS / MESSAGE {
            assert_eq!(outbox.push(Bytes::from_static(&[b'x'; MESSAGE]), || false), Ok(()));
            theirs.read_exact(&mut [0; MESSAGE]).await.unwrap();
        }
        let count = taken(&outbox, false);
        assert!(count > 100, "{count}");
        drop((outbox, pongs));
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), count * MESSAGE);
        writing.await.unwrap();
    }
}
