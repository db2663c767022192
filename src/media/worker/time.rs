//! What the clock asks of the streams: silence, reports, media timeouts.

use super::*;

impl Worker {
    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let housekeeping = (!self.streams.is_empty()).then_some(self.next_housekeeping);
        let frame = !self.silent.is_empty() || !self.keying.is_empty();
        housekeeping.into_iter().chain(frame.then_some(self.next_silence)).min()
    }

    /// The clock went on; then ask [`Self::poll_output`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_silence {
            if !self.silent.is_empty() {
                self.silence_at = Some(0);
            }
            if !self.keying.is_empty() {
                self.keying_at = Some(0);
            }
            let behind = now.saturating_duration_since(self.next_silence);
            self.next_silence = if behind > FRAME * 5 { now + FRAME } else { self.next_silence + FRAME };
        }
        if now >= self.next_housekeeping {
            self.forgive(now);
            self.housekeeping_at = Some(0);
            self.next_housekeeping = now + HOUSEKEEPING;
        }
    }

    /// What there is to send or to say; call until none.
    pub fn poll_output(&mut self, now: Instant, buf: &mut PacketBuf) -> Option<Output> {
        if let Some(id) = self.failed.pop() {
            return Some(Output::Lost(id, Cause::Internal));
        }
        if let Some((id, digit)) = self.pressed.pop() {
            return Some(Output::Pressed(id, digit));
        }
        if let Some(id) = self.other_codecs.pop() {
            return Some(Output::OtherCodec(id));
        }
        if let Some((id, errno)) = self.unsent.pop() {
            return Some(Output::Unsent(id, errno));
        }
        while let Some(at) = self.keying_at {
            let Some(slot) = self.keying.get(at).copied() else {
                self.keying_at = None;
                break;
            };
            let sent = self.make_key(now, slot, buf);
            if self.streams.get(slot).is_none_or(|s| s.sending.is_idle()) {
                self.keying.swap_remove(at);
            } else {
                self.keying_at = Some(at + 1);
            }
            if let Some(transmit) = sent {
                return Some(Output::Send(transmit));
            }
        }
        while let Some(at) = self.silence_at {
            let Some(slot) = self.silent.get(at).copied() else {
                self.silence_at = None;
                break;
            };
            self.silence_at = Some(at + 1);
            if let Some(transmit) = self.make_silence(now, slot, buf) {
                return Some(Output::Send(transmit));
            }
        }
        while let Some(at) = self.housekeeping_at {
            if at >= self.streams.capacity() {
                self.housekeeping_at = None;
                break;
            }
            let Some(stream) = self.streams.get_mut(at) else {
                self.housekeeping_at = Some(at + 1);
                continue;
            };
            if now >= stream.next_report {
                // after the report, the same slot again for its timeout
                let jitter = Duration::from_millis(self.seed.below(1_000));
                stream.next_report = now + INTERVAL + jitter - Duration::from_millis(500);
                if let Some(transmit) = self.report(now, at, false, buf) {
                    return Some(Output::Send(transmit));
                }
                continue;
            }
            self.housekeeping_at = Some(at + 1);
            stream.stats.publish(stream.reception.quality());
            self.check_holding(now, at);
            // a loss is told after all else: the stream is over then
            if let Some(output) = self.check_quiet(now, at).or_else(|| self.check_media(now, at)) {
                return Some(output);
            }
        }
        None
    }

    /// The next packet of a key that is being sent.
    fn make_key(&mut self, now: Instant, slot: usize, buf: &mut PacketBuf) -> Option<Transmit> {
        let stream = self.streams.get_mut(slot)?;
        let event = stream.format.and_then(|f| f.event_out).filter(|_| stream.is_ready());
        let Some(event) = event else {
            // its far side went away, or takes keys no more
            stream.sending.clear();
            return None;
        };
        let packet = stream.sending.next(event)?;
        let start = stream.sending.start.filter(|_| !packet.is_first);
        let (placed, start) =
            stream.outgoing.as_mut()?.key(now, event, start, packet.before, packet.payload, buf);
        stream.sending.start = Some(start);
        stream.seal_rtp(buf, placed.index).ok()?;
        let transmit = destination(slot, stream, Content::Media)?;
        stream.stats.packets_out.add(1);
        stream.stats.bytes_out.add(buf.len() as u64);
        Some(transmit)
    }

    fn make_silence(&mut self, now: Instant, slot: usize, buf: &mut PacketBuf) -> Option<Transmit> {
        let stream = self.streams.get_mut(slot)?;
        let format = stream.format?;
        if stream.sending.is_sounding() {
            return None;
        }
        let mut room = [0; 160];
        let payload = stream.player.frame(format.codec, &mut room);
        let placed = stream.outgoing.as_mut()?.generate(now, &format, payload, buf);
        stream.seal_rtp(buf, placed.index).ok()?;
        let transmit = destination(slot, stream, Content::Filling)?;
        stream.stats.packets_out.add(1);
        stream.stats.silence_out.add(1);
        stream.stats.bytes_out.add(buf.len() as u64);
        Some(transmit)
    }

    /// A far side that holds and sends nothing leaves the music to us.
    fn check_holding(&mut self, now: Instant, slot: usize) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let Some(holding) = &mut stream.holding else { return };
        let is_mute = holding.look(now, stream.stats.packets_in.get());
        if is_mute && !std::mem::replace(&mut stream.is_mute, true) {
            self.refresh_around(slot);
        }
    }

    fn check_media(&mut self, now: Instant, slot: usize) -> Option<Output> {
        let media_timeout = self.media_timeout;
        let stream = self.streams.get_mut(slot)?;
        let is_over = now.saturating_duration_since(stream.last_heard) >= media_timeout;
        if stream.must_send() && is_over && !stream.is_timed_out {
            stream.is_timed_out = true;
            return Some(Output::Lost(stream.id, Cause::MediaTimeout));
        }
        None
    }

    /// Writes and protects a stream's report, and publishes its figures.
    pub(super) fn report(
        &mut self,
        now: Instant,
        slot: usize,
        is_goodbye: bool,
        buf: &mut PacketBuf,
    ) -> Option<Transmit> {
        let wall = self.wall(now);
        let stream = self.streams.get_mut(slot)?;
        stream.stats.publish(stream.reception.quality());
        let outgoing = stream.outgoing.as_ref()?;
        let report = Report {
            ssrc: outgoing.ssrc(),
            sent: outgoing.figures(now),
            cname: &stream.source.cname,
            is_goodbye,
        };
        // who never sent anything leaves without a word (RFC 3550 §6.3.7)
        if is_goodbye && report.sent.is_none() && !stream.has_reported {
            return None;
        }
        let (via, to) = match &mut stream.transport {
            Transport::WebRtc(webrtc) => {
                let (socket, to) = webrtc.selected?;
                let srtp = webrtc.srtp.as_mut()?;
                write_report(&report, &mut stream.reception, now, wall, buf);
                srtp.protect_rtcp(buf).ok()?;
                (Via::Shared(socket), to)
            }
            Transport::Plain(plain) => {
                let (to, is_muxed) = (plain.rtcp?, plain.is_muxed());
                let srtp = plain.keys.as_mut().map(|k| k.rtcp()).transpose().ok()?;
                write_report(&report, &mut stream.reception, now, wall, buf);
                srtp.map_or(Ok(()), |s| s.protect_rtcp(buf)).ok()?;
                (if is_muxed { Via::Rtp(slot) } else { Via::Rtcp(slot) }, to)
            }
        };
        stream.has_reported = true;
        Some(Transmit { via, to, slot, content: Content::Report })
    }
}
