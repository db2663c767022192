//! An in-memory datagram end: what an ICE agent or the DTLS engine takes for its socket.
//!
//! Datagrams for the engine are put in with [`MemoryEnd::deliver`]; what the engine sends goes to the peer's
//! task as [`FromEngine`]. Both ways are bounded and drop when full, as a socket does.
//!
//! After [`MemoryEnd::shut`] the two engines need opposite things of `recv`. The DTLS engine's pends for ever:
//! an error there makes it spin. The ICE agent's fails: an agent that is closed while it still gathers adds its
//! candidate afterwards, and the task that reads for that candidate ends with an error and in no other way.

use async_trait::async_trait;
use std::any::Any;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{Notify, mpsc};
use webrtc_util::conn::Conn;

/// Datagrams that wait for an engine.
const QUEUE_LIMIT: usize = 64;
/// Datagrams of engines that wait for the peer's task.
pub(crate) const ENGINE_QUEUE_LIMIT: usize = 512;

/// What the engines of an association say to its task.
#[derive(Debug)]
pub(crate) enum FromEngine {
    /// An ICE agent sends.
    Ice {
        /// To whom.
        remote: SocketAddr,
        /// A STUN message.
        bytes: Vec<u8>,
    },
    /// An ICE agent has a pair with this remote address.
    Selected {
        /// The address.
        remote: SocketAddr,
    },
    /// The DTLS engine sends.
    Dtls(Vec<u8>),
}

/// Whose end it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// An ICE agent's.
    Ice,
    /// The DTLS engine's.
    Dtls,
}

#[derive(Debug, Default)]
struct State {
    inbound: VecDeque<(SocketAddr, Vec<u8>)>,
    /// What the engine sends is kept here instead of being sent.
    captured: Option<Vec<Vec<u8>>>,
    is_shut: bool,
}

/// One end, shared between an engine and the peer's task.
#[derive(Debug)]
pub(crate) struct MemoryEnd {
    engine: Engine,
    local: SocketAddr,
    state: Mutex<State>,
    arrived: Notify,
    out: mpsc::Sender<FromEngine>,
}

impl MemoryEnd {
    /// An end with this local address.
    pub(crate) fn new(engine: Engine, local: SocketAddr, out: mpsc::Sender<FromEngine>) -> Self {
        Self { engine, local, state: Mutex::default(), arrived: Notify::new(), out }
    }

    /// Hands a datagram to the engine; false when it was dropped because too many wait.
    pub(crate) fn deliver(&self, from: SocketAddr, bytes: Vec<u8>) -> bool {
        let is_taken = self.with(|state| {
            let room = !state.is_shut && state.inbound.len() < QUEUE_LIMIT;
            if room {
                state.inbound.push_back((from, bytes));
            }
            room
        });
        if is_taken {
            self.arrived.notify_one();
        }
        is_taken
    }

    /// From now on the engine hears and says nothing.
    pub(crate) fn shut(&self) {
        self.with(|state| {
            state.is_shut = true;
            state.inbound = VecDeque::new();
        });
        self.arrived.notify_waiters();
    }

    /// From now on what the engine sends is kept for [`Self::captured`].
    pub(crate) fn capture(&self) {
        self.with(|state| state.captured = Some(Vec::new()));
    }

    /// What was kept.
    pub(crate) fn captured(&self) -> Vec<Vec<u8>> {
        self.with(|state| state.captured.take().unwrap_or_default())
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn send_out(&self, remote: SocketAddr, buf: &[u8]) -> usize {
        let bytes = buf.to_vec();
        let bytes = self.with(|state| match &mut state.captured {
            _ if state.is_shut => None,
            Some(kept) => {
                kept.push(bytes);
                None
            }
            None => Some(bytes),
        });
        if let Some(bytes) = bytes {
            let message = match self.engine {
                Engine::Ice => FromEngine::Ice { remote, bytes },
                Engine::Dtls => FromEngine::Dtls(bytes),
            };
            // a full queue drops, as a full socket does; the engines repeat
            let _ = self.out.try_send(message);
        }
        buf.len()
    }

    /// The next datagram; none when there will be no more and the engine is to know.
    async fn next(&self) -> Option<(SocketAddr, Vec<u8>)> {
        loop {
            // made before the look, so that no news falls in between
            let arrived = self.arrived.notified();
            let (datagram, is_shut) = self.with(|state| (state.inbound.pop_front(), state.is_shut));
            if datagram.is_some() || (is_shut && self.engine == Engine::Ice) {
                return datagram;
            }
            arrived.await;
        }
    }
}

type Result<T> = std::result::Result<T, webrtc_util::Error>;

#[async_trait]
impl Conn for MemoryEnd {
    async fn connect(&self, _: SocketAddr) -> Result<()> {
        Ok(())
    }

    async fn recv(&self, buf: &mut [u8]) -> Result<usize> {
        self.recv_from(buf).await.map(|(len, _)| len)
    }

    async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr)> {
        loop {
            let (from, bytes) = self.next().await.ok_or(webrtc_util::Error::ErrUseClosedNetworkConn)?;
            // a datagram longer than the engine's buffer is no datagram of its protocol
            if let Some(place) = buf.get_mut(..bytes.len()) {
                place.copy_from_slice(&bytes);
                return Ok((bytes.len(), from));
            }
        }
    }

    async fn send(&self, buf: &[u8]) -> Result<usize> {
        Ok(self.send_out(self.local, buf))
    }

    async fn send_to(&self, buf: &[u8], target: SocketAddr) -> Result<usize> {
        Ok(self.send_out(target, buf))
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.local)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<()> {
        self.shut();
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn end(engine: Engine) -> (MemoryEnd, mpsc::Receiver<FromEngine>) {
        let (out, engines) = mpsc::channel(2);
        (MemoryEnd::new(engine, "192.0.2.1:7000".parse().unwrap(), out), engines)
    }

    fn remote() -> SocketAddr {
        "192.0.2.2:5".parse().unwrap()
    }

    #[tokio::test]
    async fn datagrams_keep_their_order_and_sender() {
        let (end, _engines) = end(Engine::Ice);
        assert!(end.deliver(remote(), vec![1]) && end.deliver(remote(), vec![2, 2]));
        let mut buf = [0; 8];
        assert_eq!(end.recv_from(&mut buf).await.unwrap(), (1, remote()));
        assert_eq!(end.recv_from(&mut buf).await.unwrap(), (2, remote()));
        assert_eq!(buf[..2], [2, 2]);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_a_datagram_too_long_for_the_buffer_is_skipped() {
        let (end, _engines) = end(Engine::Dtls);
        assert!(end.deliver(remote(), vec![0; 9]));
        for _ in 1..QUEUE_LIMIT {
            assert!(end.deliver(remote(), vec![7]));
        }
        assert!(!end.deliver(remote(), vec![7]));
        let mut buf = [0; 8];
        assert_eq!(end.recv(&mut buf).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn recv_of_an_ice_agent_fails_after_close_also_when_it_waited_before() {
        let (end, _engines) = end(Engine::Ice);
        let end = std::sync::Arc::new(end);
        let waiting = std::sync::Arc::clone(&end);
        let waiting = tokio::spawn(async move { waiting.recv(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        end.close().await.unwrap();
        assert!(waiting.await.unwrap().is_err());
        assert!(end.recv(&mut [0; 8]).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn recv_of_the_dtls_engine_pends_for_ever_after_close() {
        let (end, mut engines) = end(Engine::Dtls);
        assert!(end.deliver(remote(), vec![1]));
        end.close().await.unwrap();
        assert!(!end.deliver(remote(), vec![2]));
        let mut buf = [0; 8];
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, end.recv(&mut buf)).await.is_err());
        assert_eq!(end.send(&[1]).await.unwrap(), 1);
        assert!(engines.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_is_sent_goes_to_the_task_or_while_captured_to_the_keeper() {
        let (end, mut engines) = end(Engine::Dtls);
        for byte in 0..3 {
            assert_eq!(end.send(&[byte]).await.unwrap(), 1);
        }
        assert!(matches!(engines.try_recv(), Ok(FromEngine::Dtls(b)) if b == [0]));
        assert!(matches!(engines.try_recv(), Ok(FromEngine::Dtls(b)) if b == [1]));
        assert!(engines.try_recv().is_err(), "the third was dropped");
        end.capture();
        assert_eq!(end.send(&[9]).await.unwrap(), 1);
        assert!(engines.try_recv().is_err());
        assert_eq!(end.captured(), [[9]]);
    }
}
