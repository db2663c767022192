//! WebRTC legs: their transports, the offers that make, restart and replace them, and the news of their associations.

use super::*;
use crate::call::port::NoSocket;
use crate::media::relay::Format;
use crate::media::session::{LocalTransport, TransportKey, WebRtcOffer, answer_webrtc, read_webrtc_offer};
use crate::peer::{IceCredentials, LocalParameters};
use std::net::IpAddr;

/// A WebRTC transport of a leg.
pub(super) struct Transport {
    pub(super) stream: StreamId,
    pub(super) owner: Owner,
    pub(super) stats: Arc<StreamStats>,
    pub(super) key: TransportKey,
    pub(super) local: LocalTransport,
    /// As the first offer and answer decided; it stays (RFC 8842 §5.5).
    pub(super) dtls_role: DtlsRole,
    pub(super) format: Format,
    pub(super) peer: Arc<PeerHandle>,
    pub(super) events: Option<mpsc::Receiver<PeerEvent>>,
}

impl Transport {
    /// New credentials of ours and of the far side for the same association (RFC 8445 §9): DTLS, keys and stream
    /// stay. False when the association takes nothing any more; nothing is changed then.
    fn restart(&mut self, offer: &WebRtcOffer, credentials: IceCredentials) -> bool {
        let remote = Box::new(offer.remote.clone());
        let input = PeerInput::Restart { local: credentials.clone(), remote };
        let is_taken = PeerHandle::input(&self.peer, input).is_ok();
        if is_taken {
            self.local.credentials = credentials;
            self.key = offer.key.clone();
        }
        is_taken
    }
}
impl Controller {
    /// Answers, with the codec where a transport that is up goes on by another one.
    pub(super) fn accept_webrtc(
        &mut self,
        leg: LegId,
        sdp: &SessionDescription,
    ) -> Result<(SessionDescription, Option<Codec>), MediaRefusal> {
        let wanted = self.codecs_beside(leg);
        // an answer that is yet to come will name the first of ours that it can, and this one cannot be changed after
        let likely = self
            .is_undecided_beside(leg)
            .then(|| wanted.iter().find_map(|codec| read_webrtc_offer(sdp, &[*codec]).ok()));
        let mut offer = match likely.flatten() {
            Some(offer) => offer,
            None => read_webrtc_offer(sdp, &wanted)?,
        };
        let at = self.leg(leg);
        self.restart_transport(at, &offer);
        let before = self.legs.get(at).and_then(Leg::live).map(|(_, codec)| codec);
        let known = self.legs.get_mut(at).and_then(|l| l.transports().find(|t| t.key == offer.key));
        let (stream, local) = match known {
            Some(transport) => {
                transport.format = offer.format;
                offer.remote.dtls_role = transport.dtls_role;
                (transport.stream, transport.local.clone())
            }
            None => {
                let party = self.legs.get(at).and_then(|l| l.party.clone());
                let transport = self.open_transport(&offer, Owner { leg, party })?;
                let opened = (transport.stream, transport.local.clone());
                let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
                if let Some(given_up) = leg.pending.replace(transport) {
                    self.close_transport(given_up);
                }
                opened
            }
        };
        self.tell(Command::Format(stream, offer.format));
        self.tell(direction(stream, offer.direction, false));
        self.relink();
        let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
        let after = leg.live().map(|(_, codec)| codec).filter(|codec| before.is_some_and(|b| b != *codec));
        Ok((answer_webrtc(sdp, &offer, &local, &mut leg.origin), after))
    }

    /// Restarts ICE of the transport that the offer is of, if it is an offer of one with another ufrag. An
    /// association that has just ended takes no restart: the offer then makes a new transport.
    pub(super) fn restart_transport(&mut self, at: usize, offer: &WebRtcOffer) {
        let credentials = self.credentials();
        let Some(leg) = self.legs.get_mut(at) else { return };
        let Some(transport) = leg.transports().find(|t| t.key.is_restarted_by(&offer.key)) else { return };
        let ufrag = credentials.ufrag.clone();
        if transport.restart(offer, credentials) {
            let stream = transport.stream;
            self.tell(Command::Ufrag(stream, ufrag));
        }
    }

    pub(super) fn credentials(&mut self) -> IceCredentials {
        let pwd = crate::base::Secret::new(self.seed.token(PWD_LEN));
        IceCredentials { ufrag: self.seed.token(UFRAG_LEN), pwd }
    }

    pub(super) fn open_transport(
        &mut self,
        offer: &WebRtcOffer,
        owner: Owner,
    ) -> Result<Transport, MediaRefusal> {
        let thread = self.media_thread().ok_or(MediaRefusal::Congestion)?;
        let stream = self.shared.stream_id();
        let addresses: Vec<SocketAddr> = thread.addresses().collect();
        if addresses.is_empty() {
            return Err(MediaRefusal::NoSocket(NoSocket::NoAddress));
        }
        let sink = Arc::new(thread.sink(stream));
        let credentials = self.credentials();
        let config = &self.shared.config;
        let candidates = addresses.iter().map(|a| announced(*a, config.external())).collect();
        let fingerprint = self.shared.certificate.fingerprint();
        let source = OwnSource::random(&mut self.seed);
        let local = LocalTransport {
            credentials: credentials.clone(),
            fingerprint,
            candidates,
            source: source.clone(),
            // with a peer that is lite too nobody would check
            is_lite: config.is_lite() && !offer.remote.is_lite,
        };
        let parameters = LocalParameters {
            credentials,
            certificate: Arc::clone(&self.shared.certificate),
            profiles: config.profiles().to_vec(),
            addresses,
            allow_loopback: config.is_loopback_allowed(),
        };
        let (sender, events) = mpsc::channel(PEER_EVENT_LIMIT);
        let peer = Arc::new(if local.is_lite {
            peer::spawn_lite(parameters, sink, sender)
        } else {
            peer::spawn(parameters, sink, sender, self.seed.fork())
        });
        let stats: Arc<StreamStats> = Arc::default();
        let added = self.tell(Command::AddWebRtc {
            id: stream,
            source,
            ufrag: local.credentials.ufrag.clone(),
            inlet: Some(Arc::<PeerHandle>::clone(&peer)),
            stats: Arc::clone(&stats),
            news: Some(self.news.clone()),
        });
        let remote = PeerInput::Remote(Box::new(offer.remote.clone()));
        if !added || PeerHandle::input(&peer, remote).is_err() {
            if added {
                self.tell(Command::Remove(stream));
            }
            return Err(MediaRefusal::Congestion);
        }
        Ok(Transport {
            stream,
            owner,
            stats,
            key: offer.key.clone(),
            local,
            dtls_role: offer.remote.dtls_role,
            format: offer.format,
            peer,
            events: Some(events),
        })
    }

    pub(super) async fn handle_peer(&mut self, stream: StreamId, event: PeerEvent) {
        if self.handle_dtls(stream, &event).await {
            return;
        }
        match event {
            PeerEvent::Authenticated(path) => drop(self.tell(Command::Bind(stream, path))),
            PeerEvent::Selected(path) => drop(self.tell(Command::Select(stream, path))),
            PeerEvent::Connected(keys) => {
                self.tell(Command::Keys(stream, Box::new(keys)));
                let pending = |l: &Leg| l.pending.as_ref().is_some_and(|t| t.stream == stream);
                let Some(leg) = self.legs.iter_mut().find(|l| pending(l)) else { return };
                let replaced = std::mem::replace(&mut leg.current, leg.pending.take());
                let connected = leg.live().map(|(_, codec)| (leg.id, codec));
                // first the new one takes over at the listener, then the old one ends
                self.relink();
                if let Some(replaced) = replaced {
                    self.close_transport(replaced);
                }
                if let Some((leg, codec)) = connected {
                    self.say(MediaEvent::Connected { leg, codec }).await;
                }
            }
            PeerEvent::Failed(cause) => match self.end_transport(stream) {
                Some((leg, true)) => self.say(MediaEvent::Lost { leg, cause }).await,
                Some((leg, false)) => self.say(MediaEvent::Failed { leg, cause }).await,
                None => {}
            },
            PeerEvent::ConsentLost => {
                if let Some((leg, _)) = self.end_transport(stream) {
                    self.say(MediaEvent::Lost { leg, cause: Cause::ConsentLost }).await;
                }
            }
        }
    }

    /// Ends the transport of that stream; answers its leg and whether it was the one in use.
    pub(super) fn end_transport(&mut self, stream: StreamId) -> Option<(LegId, bool)> {
        let is_it = |t: &Option<Transport>| t.as_ref().is_some_and(|t| t.stream == stream);
        let leg = self.legs.iter_mut().find(|l| is_it(&l.current) || is_it(&l.pending))?;
        let was_current = is_it(&leg.current);
        let ended = if was_current { leg.current.take() } else { leg.pending.take() };
        let id = leg.id;
        if let Some(ended) = ended {
            self.close_transport(ended);
        }
        Some((id, was_current))
    }

    pub(super) fn close_transport(&self, transport: Transport) {
        self.tell(Command::Remove(transport.stream));
        self.note_end(transport.stream, &transport.owner, "webrtc", None, &transport.stats);
        let _ = PeerHandle::input(&transport.peer, PeerInput::Close);
    }
}

/// The address to announce for a socket.
fn announced(socket: SocketAddr, external: Option<IpAddr>) -> SocketAddr {
    match external {
        Some(ip) if ip.is_ipv4() == socket.is_ipv4() => (ip, socket.port()).into(),
        _ => socket,
    }
}

/// The next event of any association; pends when there is none. Cancel-safe: nothing is taken before it is
/// returned.
pub(super) async fn next_event(legs: &mut [Leg]) -> Option<(StreamId, PeerEvent)> {
    std::future::poll_fn(|context| {
        for transport in legs.iter_mut().flat_map(Leg::transports) {
            let Some(events) = &mut transport.events else { continue };
            match events.poll_recv(context) {
                Poll::Ready(Some(event)) => return Poll::Ready(Some((transport.stream, event))),
                // a transport leaves the leg with its last event; one that is still there ended without a word
                Poll::Ready(None) => {
                    transport.events = None;
                    let fault = PeerEvent::Failed(Cause::Internal);
                    return Poll::Ready(Some((transport.stream, fault)));
                }
                Poll::Pending => {}
            }
        }
        for dtls in legs.iter_mut().filter_map(|l| l.plain.as_mut()?.dtls.as_mut()) {
            if let Poll::Ready(event) = dtls.poll_event(context) {
                return Poll::Ready(Some(event));
            }
        }
        Poll::Pending
    })
    .await
}
