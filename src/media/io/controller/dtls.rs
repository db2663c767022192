//! DTLS of legs without ICE: an association for each port, or for both, on the path that the descriptions name.
//!
//! It is there from the ports on, so that a far side that begins before its answer is read loses nothing. A description
//! with another certificate or address, or one that says so, is another association (RFC 5763 §5, RFC 8842 §4, RFC 4145
//! §5); until that is up, the keys of the one before stay.

use super::*;
use crate::media::io::PlainSockets;
use crate::media::io::sockets::PairSink;
use crate::media::session::{FarDtls, setup_as};
use crate::peer::{FixedParameters, FixedRemote};

/// What identifies the far side of an association.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FarKey {
    fingerprints: Vec<Fingerprint>,
    rtp: SocketAddr,
    /// Where RTCP has a port of its own.
    rtcp: Option<SocketAddr>,
    /// The version of the description that began it, where one says so.
    begun_in: Option<u64>,
}

impl FarKey {
    /// Whether a description of `next` goes on with this association. One that begins another is obeyed where it is us who
    /// send the ClientHello; else theirs begins it (RFC 6347 §4.2.8), and may have come before the description.
    fn goes_on_with(&self, next: &Self, role: DtlsRole) -> bool {
        let is_begun = next.begun_in.is_some_and(|version| self.begun_in != Some(version));
        let is_ours_to_begin = is_begun && role == DtlsRole::Client;
        !is_ours_to_begin && *self == Self { begun_in: self.begun_in, ..next.clone() }
    }
}

/// One association.
struct Association {
    /// Its name among the events.
    id: StreamId,
    peer: Arc<PeerHandle>,
    events: Option<mpsc::Receiver<PeerEvent>>,
}

/// The associations of a leg.
pub(super) struct Dtls {
    /// Copies of the leg's sockets, for associations to come.
    sinks: [Arc<PairSink>; 2],
    far: Option<(FarKey, DtlsRole)>,
    rtp: Association,
    /// Of RTCP, unless that goes with RTP.
    rtcp: Option<Association>,
    /// A handshake was done; keys of another one take the place of its.
    is_up: bool,
}

impl Dtls {
    /// Whether media is keyed.
    pub(super) const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Where DTLS that comes to the two sockets goes.
    pub(super) fn inlets(&self) -> [Option<Arc<dyn PeerInlet>>; 2] {
        let inlet = |a: &Association| Arc::<PeerHandle>::clone(&a.peer) as Arc<dyn PeerInlet>;
        [Some(inlet(&self.rtp)), self.rtcp.as_ref().map(inlet)]
    }

    pub(super) fn close(&self) {
        for association in [Some(&self.rtp), self.rtcp.as_ref()].into_iter().flatten() {
            let _ = PeerHandle::input(&association.peer, PeerInput::Close);
        }
    }

    /// The next event of its associations: whose, and what.
    pub(super) fn poll_event(&mut self, context: &mut std::task::Context<'_>) -> Poll<(StreamId, PeerEvent)> {
        for association in [Some(&mut self.rtp), self.rtcp.as_mut()].into_iter().flatten() {
            let Some(events) = &mut association.events else { continue };
            let event = match events.poll_recv(context) {
                Poll::Ready(Some(event)) => event,
                // one that is still here and ended without a word
                Poll::Ready(None) => PeerEvent::Failed(Cause::Internal),
                Poll::Pending => continue,
            };
            if matches!(event, PeerEvent::Failed(_)) {
                association.events = None;
            }
            return Poll::Ready((association.id, event));
        }
        Poll::Pending
    }
}

impl Controller {
    /// Associations for both ports, waiting for the far side's description.
    pub(super) fn open_dtls(&mut self, sockets: &PlainSockets) -> std::io::Result<Dtls> {
        let sink = |socket| PairSink::of(socket).map(Arc::new);
        let sinks = [sink(&sockets.rtp)?, sink(&sockets.rtcp)?];
        let [rtp, rtcp] = [self.open_association(&sinks[0]), self.open_association(&sinks[1])];
        Ok(Dtls { sinks, far: None, rtp, rtcp: Some(rtcp), is_up: false })
    }

    fn open_association(&self, sink: &Arc<PairSink>) -> Association {
        let parameters = FixedParameters {
            certificate: Arc::clone(&self.shared.certificate),
            profiles: self.shared.config.profiles().to_vec(),
        };
        let (sender, events) = mpsc::channel(PEER_EVENT_LIMIT);
        let peer = Arc::new(peer::spawn_fixed(parameters, Arc::<PairSink>::clone(sink), sender));
        Association { id: self.shared.stream_id(), peer, events: Some(events) }
    }

    /// The far side's description names its end: the handshakes begin, unless they are those that were before.
    pub(super) fn associate(
        &mut self,
        at: usize,
        far: &FarDtls,
        rtp: Option<SocketAddr>,
        rtcp: Option<SocketAddr>,
    ) -> Result<(), MediaRefusal> {
        let fingerprint = self.shared.certificate.fingerprint();
        let Some(plain) = self.legs.get_mut(at).and_then(|l| l.plain.as_mut()) else { return Ok(()) };
        let (stream, Some(dtls)) = (plain.stream, &mut plain.dtls) else { return Ok(()) };
        let rtcp = rtcp.filter(|_| !far.is_muxed);
        let key = match rtp {
            Some(rtp) => FarKey { fingerprints: far.fingerprints.clone(), rtp, rtcp, begun_in: far.begun_in },
            // on hold by a null address: nothing to shake hands with
            None if dtls.far.is_some() => return Ok(()),
            None => return Err(MediaRefusal::Unusable("DTLS needs an address; offer one")),
        };
        let role = match &dtls.far {
            Some((known, role)) if known.goes_on_with(&key, *role) => *role,
            known => {
                let is_another = known.is_some();
                dtls.far = Some((key.clone(), far.role));
                if is_another {
                    let sinks = dtls.sinks.clone();
                    let [new_rtp, new_rtcp] =
                        [self.open_association(&sinks[0]), self.open_association(&sinks[1])];
                    self.replace_associations(at, new_rtp, new_rtcp);
                }
                self.begin_handshakes(at, &key, far.role);
                far.role
            }
        };
        if let Some(plain) = self.legs.get_mut(at).and_then(|l| l.plain.as_mut()) {
            plain.settle_dtls(fingerprint, setup_as(role), far.is_muxed);
            if let Some(inlets) = plain.dtls.as_ref().map(Dtls::inlets) {
                self.tell(Command::Inlets(stream, inlets));
            }
        }
        Ok(())
    }

    fn replace_associations(&mut self, at: usize, rtp: Association, rtcp: Association) {
        let dtls = self.legs.get_mut(at).and_then(|l| l.plain.as_mut()?.dtls.as_mut());
        if let Some(dtls) = dtls {
            dtls.close();
            dtls.rtp = rtp;
            dtls.rtcp = Some(rtcp);
        }
    }

    fn begin_handshakes(&mut self, at: usize, key: &FarKey, dtls_role: DtlsRole) {
        let dtls = self.legs.get_mut(at).and_then(|l| l.plain.as_mut()?.dtls.as_mut());
        let Some(dtls) = dtls else { return };
        let begin = |association: &Association, address| {
            let fingerprints = key.fingerprints.clone();
            let remote = FixedRemote { address, fingerprints, dtls_role };
            // one that takes nothing has said by an event that it ended
            let _ = PeerHandle::input(&association.peer, PeerInput::FixedRemote(Box::new(remote)));
        };
        begin(&dtls.rtp, key.rtp);
        match (key.rtcp, &dtls.rtcp) {
            (Some(address), Some(association)) => begin(association, address),
            _ => {
                if let Some(unused) = dtls.rtcp.take() {
                    let _ = PeerHandle::input(&unused.peer, PeerInput::Close);
                }
            }
        }
    }

    /// An event of an association of a plain leg; false when it is of none.
    pub(super) async fn handle_dtls(&mut self, id: StreamId, event: &PeerEvent) -> bool {
        let is_its = |a: &Association| a.id == id;
        let found = self.legs.iter_mut().find_map(|leg| {
            let plain = leg.plain.as_mut()?;
            let dtls = plain.dtls.as_mut()?;
            let is_rtcp = dtls.rtcp.as_ref().is_some_and(is_its);
            (is_rtcp || is_its(&dtls.rtp)).then_some((leg.id, plain.stream, plain.format, dtls, is_rtcp))
        });
        let Some((leg, stream, format, dtls, is_rtcp)) = found else { return false };
        match event {
            PeerEvent::Connected(keys) if is_rtcp => {
                self.tell(Command::RtcpKeys(stream, Box::new(keys.clone())));
            }
            PeerEvent::Connected(keys) => {
                let was_up = std::mem::replace(&mut dtls.is_up, true);
                self.tell(Command::Keys(stream, Box::new(keys.clone())));
                self.relink();
                if let Some(format) = format.filter(|_| !was_up) {
                    self.say(MediaEvent::Connected { leg, codec: format.codec }).await;
                }
            }
            // reports are missed, and nobody hears of that
            PeerEvent::Failed(cause) if is_rtcp => {
                tracing::info!(call = %self.call, stream = stream.0, %cause, "no DTLS for RTCP");
            }
            PeerEvent::Failed(cause) => {
                let cause = *cause;
                let event = match dtls.is_up {
                    true => MediaEvent::Lost { leg, cause },
                    false => MediaEvent::Failed { leg, cause },
                };
                self.note_unkeyed(stream);
                self.say(event).await;
            }
            PeerEvent::Authenticated(_) | PeerEvent::Selected(_) | PeerEvent::ConsentLost => {}
        }
        true
    }
}
