//! Bindings that outlive the program: as they are written down at its end, and taken up at the next start.
//!
//! Only those by UDP are: a connection ends with the program, and its peer registers again when it sees that.

use super::{Binding, Registrar};
use crate::sip::{CSeq, Flow, HeaderName, Method, NameAddr, Request, Transport, Uri};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A binding as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBinding {
    /// Its address-of-record.
    pub aor: String,
    /// When it ends, in seconds of Unix time.
    pub until: u64,
    contact: String,
    path: Vec<String>,
    call_id: String,
    cseq: u32,
    local: SocketAddr,
    remote: SocketAddr,
}

impl SavedBinding {
    /// Whether both are the same binding, as it was at two moments: its end wanders by a second between two clocks.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let until = other.until;
        self.until.abs_diff(until) <= 1 && Self { until, ..self.clone() } == *other
    }
}

impl Registrar {
    /// All that can be taken up again, the oldest first; `unix` is the time of day, in seconds.
    #[must_use]
    pub fn save(&self, now: Instant, unix: u64) -> Vec<SavedBinding> {
        let all = self.bindings.iter().flat_map(|(aor, list)| list.iter().map(move |b| (aor, b)));
        let mut all: Vec<_> =
            all.filter(|(_, b)| b.until > now && b.flow.transport == Transport::Udp).collect();
        all.sort_by_key(|(_, b)| b.serial);
        all.into_iter().map(|(aor, b)| b.saved(aor, now, unix)).collect()
    }

    /// Takes up what was written down and has not ended meanwhile; how many those are. What is malformed is left out.
    pub fn restore(&mut self, now: Instant, unix: u64, saved: &[SavedBinding]) -> usize {
        let restored = saved.iter().filter(|binding| {
            let left = Duration::from_secs(binding.until.saturating_sub(unix));
            // a lifetime so short is refused of a REGISTER; here some seconds more do no harm
            let lifetime = left.max(self.config.least);
            !left.is_zero() && self.register(now, binding, lifetime).is_some()
        });
        restored.count()
    }

    /// The REGISTER that made a binding, once more.
    fn register(&mut self, now: Instant, saved: &SavedBinding, lifetime: Duration) -> Option<()> {
        let contact = NameAddr::parse(&saved.contact).ok()?;
        let mut request = Request::new(Method::REGISTER, contact.uri);
        request.headers.push(HeaderName::Contact, saved.contact.clone());
        saved.path.iter().for_each(|path| request.headers.push(HeaderName::Path, path.clone()));
        request.headers.push(HeaderName::Supported, "path");
        request.headers.push(HeaderName::Expires, lifetime.as_secs().to_string());
        request.headers.push(HeaderName::CallId, saved.call_id.clone());
        request
            .headers
            .push(HeaderName::CSeq, CSeq { number: saved.cseq, method: Method::REGISTER }.to_string());
        let flow = Flow::udp(saved.local, saved.remote);
        let answer = self.handle_register(now, &saved.aor, &request, &flow);
        (!answer.status.is_failure()).then_some(())
    }
}

impl Binding {
    fn saved(&self, aor: &str, now: Instant, unix: u64) -> SavedBinding {
        let mut contact = NameAddr::new(Uri::from(self.contact.clone()));
        contact.params = self.params.clone();
        SavedBinding {
            aor: aor.to_owned(),
            until: unix.saturating_add(self.until.saturating_duration_since(now).as_secs()),
            contact: contact.to_string(),
            path: self.path.iter().map(ToString::to_string).collect(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            local: self.flow.path.local,
            remote: self.flow.path.remote,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Change, RegistrarConfig};
    use super::*;
    use crate::sip::StatusCode;

    const DAY: u64 = 1_800_000_000;

    fn flow(transport: Transport) -> Flow {
        let (local, remote) = ("192.0.2.1:5080".parse().unwrap(), "192.0.2.9:5060".parse().unwrap());
        Flow { transport, ..Flow::udp(local, remote) }
    }

    fn register(contact: &str, call_id: &str, cseq: u32) -> Request {
        let mut r = Request::new(Method::REGISTER, Uri::parse("sip:192.0.2.1").unwrap());
        r.headers.push(HeaderName::Contact, contact);
        r.headers.push(HeaderName::Path, "<sip:192.0.2.30;lr>, <sip:192.0.2.31;lr>");
        r.headers.push(HeaderName::Supported, "path, outbound");
        r.headers.push(HeaderName::CallId, call_id);
        r.headers.push(HeaderName::CSeq, CSeq { number: cseq, method: Method::REGISTER }.to_string());
        r
    }

    /// Three bindings of two users, one of them by TCP.
    fn registrar(now: Instant) -> Registrar {
        let mut registrar = Registrar::new(RegistrarConfig::default());
        for (aor, contact, call_id, transport) in [
            (
                "pbx",
                "<sip:one@192.0.2.9;line=a>;q=0.5;expires=100;+sip.instance=\"<urn:x>\";reg-id=1",
                "a",
                Transport::Udp,
            ),
            ("pbx", "\"Two\" <sip:two@192.0.2.9:5070>;expires=3000", "b", Transport::Udp),
            ("office", "<sip:o@192.0.2.9;transport=tcp>", "c", Transport::Tcp),
        ] {
            let answer =
                registrar.handle_register(now, aor, &register(contact, call_id, 7), &flow(transport));
            assert_eq!(answer.status, StatusCode::OK);
        }
        while registrar.poll_output().is_some() {}
        registrar
    }

    #[test]
    fn what_was_registered_by_udp_is_found_again_with_all_that_it_had_and_what_was_left_of_its_time() {
        let before = Instant::now();
        let old = registrar(before);
        let saved = old.save(before + Duration::from_secs(10), DAY + 10);
        let written = serde_json::to_string(&saved).unwrap();
        let saved: Vec<SavedBinding> = serde_json::from_str(&written).unwrap();
        assert_eq!(saved.len(), 2, "what came by a connection is not kept");

        // another process: its clock begins elsewhere
        let after = before + Duration::from_secs(86_400);
        let mut new = Registrar::new(RegistrarConfig::default());
        assert_eq!(new.restore(after, DAY + 20, &saved), 2);
        let best = new.best(after, "pbx").unwrap();
        assert_eq!(best.contact.to_string(), "sip:two@192.0.2.9:5070");
        assert_eq!(best.until, after + Duration::from_secs(2_980));
        assert!(matches!(new.poll_output(), Some((aor, Change::Registered(_))) if aor == "pbx"));
        let strip = |mut b: Binding| {
            (b.until, b.serial) = (before, 0);
            b
        };
        let all = |r: &Registrar| r.bindings("pbx").iter().cloned().map(strip).collect::<Vec<_>>();
        assert_eq!(all(&new), all(&old));
        // a repetition of what was answered before the restart is as late as it was
        let late = register("<sip:two@192.0.2.9:5070>", "b", 7);
        let answer = new.handle_register(after, "pbx", &late, &flow(Transport::Udp));
        assert_eq!(answer.status, StatusCode::SERVER_ERROR);
    }

    #[test]
    fn what_ended_meanwhile_is_forgotten_what_was_about_to_gets_a_minute_and_nothing_lives_longer_than_it_may()
     {
        let now = Instant::now();
        let saved = registrar(now).save(now, DAY);
        let restored = |unix| {
            let mut new = Registrar::new(RegistrarConfig::default());
            let count = new.restore(now, unix, &saved);
            (count, new.bindings("pbx").iter().map(|b| (b.until - now).as_secs()).max())
        };
        assert_eq!(restored(DAY + 99), (2, Some(2_901)));
        assert_eq!(restored(DAY + 100), (1, Some(2_900)));
        assert_eq!(restored(DAY + 2_995), (1, Some(60)));
        assert_eq!(restored(DAY + 3_000), (0, None));
        assert_eq!(restored(DAY - 86_400), (2, Some(3_600)), "a clock that was set back");
    }

    #[test]
    fn a_file_that_somebody_wrote_by_hand_binds_nothing_that_a_register_could_not() {
        let now = Instant::now();
        let good = registrar(now).save(now, DAY).remove(0);
        for contact in ["*", "", "<tel:+49>", "<sips:x@192.0.2.9>", "<sip:x@192.0.2.9>\r\nVia: x"] {
            let saved = SavedBinding { contact: contact.to_owned(), ..good.clone() };
            assert_eq!(
                Registrar::new(RegistrarConfig::default()).restore(now, DAY, &[saved]),
                0,
                "{contact}"
            );
        }
    }
}
