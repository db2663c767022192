//! Requests that are too large for a datagram (RFC 3261 §18.1.1): they go by TCP, and by UDP after all where nobody takes
//! them there.

use crate::sip::{Flow, Request, Transport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Most bytes of a request that goes by UDP.
const MAX_DATAGRAM: usize = 1_300;
/// TCP that has brought no answer by then brings none.
const SILENCE: Duration = Duration::from_secs(1);
/// Where TCP did not work it is not tried again for so long.
const HOLDS: Duration = Duration::from_secs(3_600);
/// Most targets that are remembered.
const MAX_TARGETS: usize = 256;

/// How a request goes when TCP brings no answer.
#[derive(Debug)]
pub(super) struct Fallback {
    /// Given up then.
    pub(super) at: Instant,
    /// As it goes by UDP.
    pub(super) request: Request,
    /// The way by UDP.
    pub(super) flow: Flow,
}

/// Where TCP did not work, and until when that holds.
#[derive(Debug, Default)]
pub(super) struct Large {
    shut: BTreeMap<SocketAddr, Instant>,
}

impl Large {
    /// The way by TCP of a request that has too many bytes, and how it goes after all; none for one that stays as it is.
    pub(super) fn by_tcp(
        &mut self,
        now: Instant,
        request: &Request,
        flow: Flow,
    ) -> Option<(Flow, Request, Fallback)> {
        let is_fit = flow.transport != Transport::Udp || request.size() <= MAX_DATAGRAM;
        if is_fit || self.shut.get(&flow.path.remote).is_some_and(|until| *until > now) {
            return None;
        }
        self.shut.remove(&flow.path.remote);
        let mut by_tcp = request.clone();
        by_tcp.go_by(Transport::Tcp);
        let fallback = Fallback { at: now + SILENCE, request: request.clone(), flow };
        Some((Flow { transport: Transport::Tcp, ..flow }, by_tcp, fallback))
    }

    /// TCP did not work there.
    pub(super) fn shut(&mut self, now: Instant, remote: SocketAddr) {
        if self.shut.len() >= MAX_TARGETS
            && let Some(oldest) = self.shut.iter().min_by_key(|(_, until)| **until).map(|(a, _)| *a)
        {
            self.shut.remove(&oldest);
        }
        self.shut.insert(remote, now + HOLDS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transaction::{Layer, LayerConfig, LayerOutput, Timer};
    use crate::sip::{CSeq, HeaderName, Method, StatusCode, Uri, Via};

    const SECOND: Duration = Duration::from_secs(1);

    fn flow() -> Flow {
        Flow::udp("192.0.2.4:5080".parse().unwrap(), "192.0.2.1:5060".parse().unwrap())
    }

    fn request(method: Method, branch: &str, size: usize) -> Request {
        let mut r = Request::new(method.clone(), Uri::parse("sip:bob@192.0.2.1").unwrap());
        r.headers.push(HeaderName::Via, Via::new("UDP", flow().path.local, branch).to_string());
        r.headers.push(HeaderName::From, "<sip:alice@192.0.2.4>;tag=1");
        r.headers.push(HeaderName::To, "<sip:bob@192.0.2.1>");
        r.headers.push(HeaderName::CallId, "c");
        r.headers.push(HeaderName::CSeq, CSeq { number: 1, method }.to_string());
        r.headers.push(HeaderName::Subject, "");
        r.headers.set(HeaderName::Subject, "x".repeat(size - r.size()));
        assert_eq!(r.size(), size);
        r
    }

    /// What goes out, in short: transport of the flow and of Via, method.
    fn sent(layer: &mut Layer) -> String {
        let mut out = Vec::new();
        while let Some(output) = layer.poll_output() {
            out.push(match output {
                LayerOutput::Send { flow, bytes } => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let via = text.split("SIP/2.0/").nth(1).map(|v| v[..3].to_owned()).unwrap();
                    let method = text.split(' ').next().unwrap().to_owned();
                    assert_eq!(via, flow.transport.as_str(), "{text}");
                    assert!(text.contains(";branch=z9hG4bKa"), "{text}");
                    format!("{via} {method}")
                }
                LayerOutput::Response { response, .. } => format!("tell {}", response.status),
                LayerOutput::Failed { failure, .. } => format!("{failure:?}"),
                LayerOutput::Terminated { .. } => "end".to_owned(),
                other => panic!("{other:?}"),
            });
        }
        out.join(", ")
    }

    fn answer(method: Method, code: u16) -> crate::sip::Response {
        let status = StatusCode::new(code).unwrap();
        request(method, "z9hG4bKa", 900).response(status, Some("t"))
    }

    fn started(method: Method, size: usize) -> (Layer, Instant) {
        let (mut layer, now) = (Layer::new(LayerConfig::default()), Instant::now());
        layer.send_request(now, request(method, "z9hG4bKa", size), flow()).unwrap();
        (layer, now)
    }

    #[test]
    fn what_fits_into_a_datagram_goes_by_udp_and_what_does_not_by_tcp() {
        for method in [Method::INVITE, Method::REGISTER] {
            let (mut fits, _) = started(method.clone(), 1_300);
            assert_eq!(sent(&mut fits), format!("UDP {method}"));
            let (mut large, now) = started(method.clone(), 1_301);
            assert_eq!(sent(&mut large), format!("TCP {method}"));
            large.handle_response(now + SECOND / 2, answer(method.clone(), 100));
            assert_eq!(sent(&mut large), "tell 100");
            large.handle_timeout(now + SECOND * 3);
            assert_eq!(sent(&mut large), "", "it is there: nothing is repeated");
        }
    }

    #[test]
    fn refused_closed_or_silent_tcp_is_udp_after_all_with_its_timers_and_that_is_remembered() {
        let tcp = Flow { transport: Transport::Tcp, ..flow() }.hop();
        for (how, method) in
            [("refused", Method::INVITE), ("closed", Method::REGISTER), ("silent", Method::INVITE)]
        {
            let (mut layer, t0) = started(method.clone(), 1_400);
            sent(&mut layer);
            assert_eq!(layer.poll_timeout(), Some((t0 + SECOND, Timer::Fallback)));
            let mut now = t0 + SECOND / 10;
            match how {
                "refused" => layer.handle_transport_error(now, tcp),
                "closed" => layer.handle_closed(now, tcp),
                _ => {
                    now = t0 + SECOND;
                    layer.handle_timeout(now);
                }
            }
            assert_eq!(sent(&mut layer), format!("UDP {method}"), "{how}");
            layer.handle_transport_error(now, tcp);
            assert_eq!(sent(&mut layer), "", "{how}: TCP is of no interest any more");
            layer.handle_timeout(now + SECOND / 2);
            assert_eq!(sent(&mut layer), format!("UDP {method}"), "{how}: repeated after T1");
            layer.handle_response(now + SECOND, answer(method.clone(), 486));
            let ack = if method == Method::INVITE { "UDP ACK, " } else { "" };
            assert_eq!(sent(&mut layer), format!("{ack}tell 486"), "{how}");
            for (later, by) in [(HOLDS - SECOND, "UDP"), (HOLDS, "TCP")] {
                let again = request(Method::OPTIONS, &format!("z9hG4bKa{by}"), 1_400);
                layer.send_request(now + later, again, flow()).unwrap();
                assert_eq!(sent(&mut layer), format!("{by} OPTIONS"), "{how}");
            }
        }
    }

    #[test]
    fn nobody_there_by_either_is_a_failure_and_one_time_out_holds_for_both() {
        let (mut layer, t0) = started(Method::INVITE, 1_400);
        layer.handle_timeout(t0 + SECOND);
        sent(&mut layer);
        layer.handle_transport_error(t0 + SECOND, flow().hop());
        assert_eq!(sent(&mut layer), "Transport, end");
        let (mut layer, t0) = started(Method::INVITE, 1_400);
        (1..=32).for_each(|n| layer.handle_timeout(t0 + SECOND * n));
        assert!(sent(&mut layer).ends_with(", Timeout, end"));
    }

    #[test]
    fn a_cancel_goes_where_its_invite_went_rfc_3261_9_1() {
        let (mut layer, now) = started(Method::INVITE, 1_400);
        layer.handle_response(now, answer(Method::INVITE, 180));
        sent(&mut layer);
        layer.send_request(now, request(Method::CANCEL, "z9hG4bKa", 900), flow()).unwrap();
        assert_eq!(sent(&mut layer), "TCP CANCEL");
        layer.handle_response(now, answer(Method::INVITE, 487));
        assert_eq!(sent(&mut layer), "TCP ACK, tell 487, end");
    }

    #[test]
    fn a_late_answer_by_tcp_counts() {
        let (mut layer, now) = started(Method::INVITE, 1_400);
        layer.handle_timeout(now + SECOND);
        layer.handle_response(now + SECOND, answer(Method::INVITE, 200));
        assert_eq!(sent(&mut layer), "TCP INVITE, UDP INVITE, tell 200");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let (mut large, now) = (Large::default(), Instant::now());
        let target = |n: u16| SocketAddr::from(([192, 0, 2, 1], n));
        for n in 0..300 {
            large.shut(now + Duration::from_millis(u64::from(n)), target(n));
        }
        assert_eq!(large.shut.len(), MAX_TARGETS);
        assert!(!large.shut.contains_key(&target(43)) && large.shut.contains_key(&target(44)));
    }
}
