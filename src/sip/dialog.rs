//! Dialogs (RFC 3261 §12): identity, route set, remote target and the two sequences of CSeq.

use super::answer::{self, Answer};
use super::lex::print;
use super::{
    CSeq, Essentials, Flow, HeaderName, Headers, Hop, Method, NameAddr, Request, Response, SipUri,
    StatusCode, TlsPeer, Transport, Uri, Via,
};
use crate::base::External;
use std::net::{IpAddr, SocketAddr};

/// Most Record-Route elements a dialog keeps; more is no route of a real network.
const MAX_ROUTES: usize = 32;

/// Our end of the signalling: what goes into Via, Contact and User-Agent.
#[derive(Debug, Clone)]
pub struct LocalEnd {
    /// Flow towards the far side; `path.local` is the address that it can reach, or that a NAT on the way stands for.
    pub flow: Flow,
    /// What that NAT makes of it.
    pub external: External,
    /// User part of our Contact.
    pub contact_user: Option<String>,
    /// User-Agent and Server.
    pub agent: String,
    /// Our Contact is `sips:`, as what it answers or goes with is (RFC 3261 §8.1.1.8, §12.1.1).
    pub is_sips: bool,
}

impl LocalEnd {
    /// Our address, as the far side reaches it.
    fn address(&self) -> SocketAddr {
        self.external.of(self.flow.path.local)
    }

    /// Our Contact.
    #[must_use]
    pub fn contact(&self) -> SipUri {
        let uri = SipUri::of_address(self.contact_user.as_deref(), self.address());
        if self.is_sips { uri.into_sips() } else { uri.by(self.flow.transport) }
    }

    /// A Via with this branch. By a TLS connection of ours it says that requests to us may come back that way (RFC
    /// 5923).
    #[must_use]
    pub fn via(&self, branch: &str) -> Via {
        let mut via = Via::new(self.flow.transport.as_str(), self.address(), branch);
        if matches!(self.flow.transport, Transport::Tls(peer) if peer != TlsPeer::ANY) {
            via.params.set("alias", None);
        }
        via
    }
}

/// A dialog, early or confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    call_id: String,
    local: NameAddr,
    remote: NameAddr,
    local_seq: u32,
    remote_seq: Option<u32>,
    target: Uri,
    routes: Vec<NameAddr>,
}

/// Why a message makes no dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDialog {
    /// To of the response has no tag.
    #[error("the response has no To tag")]
    NoTag,
    /// Contact of a request is malformed, or names no address.
    #[error("Contact is malformed")]
    NoContact,
    /// Record-Route is malformed or too long.
    #[error("Record-Route is malformed or too long")]
    BadRoute,
}

fn record_routes(headers: &Headers) -> Result<Vec<NameAddr>, NoDialog> {
    let routes = headers.routes(&HeaderName::RecordRoute).map_err(|_| NoDialog::BadRoute)?;
    if routes.len() > MAX_ROUTES { Err(NoDialog::BadRoute) } else { Ok(routes) }
}

fn contact(headers: &Headers) -> Option<Uri> {
    headers.contacts().ok()?.into_iter().next().map(|c| c.uri)
}

impl Dialog {
    /// The dialog a response to our INVITE makes (RFC 3261 §12.1.2): Record-Route reversed.
    ///
    /// # Errors
    /// When the response lacks what a dialog needs. Without Contact the Request-URI is the target: real
    /// peers forget it, and an ACK that arrives is better than none. Only a 2xx may lack the tag (RFC 2543).
    pub fn as_uac(request: &Request, response: &Response) -> Result<Self, NoDialog> {
        let sent = (request.headers.call_id(), request.headers.from(), request.headers.cseq());
        let ((Ok(call_id), Ok(local), Ok(cseq)), Ok(remote)) = (sent, response.headers.to()) else {
            return Err(NoDialog::NoTag);
        };
        if remote.tag().is_none() && response.status.is_provisional() {
            return Err(NoDialog::NoTag);
        }
        let mut routes = record_routes(&response.headers)?;
        routes.reverse();
        let target = contact(&response.headers).unwrap_or_else(|| request.uri.clone());
        Ok(Self {
            call_id: call_id.to_owned(),
            local,
            remote,
            local_seq: cseq.number,
            remote_seq: None,
            target,
            routes,
        })
    }

    /// The dialog of a 2xx whose route cannot be used: good for its ACK and a BYE.
    pub(super) fn without_route(request: &Request, response: &Response) -> Option<Self> {
        let mut bare = response.clone();
        bare.headers.remove(&HeaderName::RecordRoute);
        Self::as_uac(request, &bare).ok()
    }

    /// The dialog an INVITE to us makes, with our tag (RFC 3261 §12.1.1): Record-Route in order. Without Contact,
    /// as peers of RFC 2543 send it, requests go to the address of From (RFC 4475 §3.4.1).
    ///
    /// # Errors
    /// When the request lacks what a dialog needs.
    pub fn as_uas(request: &Request, e: &Essentials, local_tag: &str) -> Result<Self, NoDialog> {
        let target = match request.headers.count(&HeaderName::Contact) {
            0 => e.from.uri.clone(),
            _ => contact(&request.headers).ok_or(NoDialog::NoContact)?,
        };
        let mut local = e.to.clone();
        local.params.set("tag", Some(local_tag));
        Ok(Self {
            call_id: e.call_id.clone(),
            local,
            remote: e.from.clone(),
            local_seq: 0,
            remote_seq: Some(e.cseq.number),
            target,
            routes: record_routes(&request.headers)?,
        })
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        self.local.tag().unwrap_or_default()
    }

    /// Their tag; empty for a peer of RFC 2543.
    #[must_use]
    pub fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or_default()
    }

    /// Remote target.
    #[must_use]
    pub const fn target(&self) -> &Uri {
        &self.target
    }

    /// Whether a request from the far side belongs here (RFC 3261 §12.2.2).
    #[must_use]
    pub fn matches(&self, e: &Essentials) -> bool {
        e.call_id == self.call_id
            && e.to.tag().unwrap_or_default() == self.local_tag()
            && e.from.tag().unwrap_or_default() == self.remote_tag()
    }

    /// A request of the far side: its answer, or none for what the call has to answer: INVITE, UPDATE, PRACK, INFO and
    /// REFER (RFC 3261 §12.2.2). The order is that of the checks: its number, what every UAS refuses, its method.
    pub fn handle_request(&mut self, request: &Request, e: &Essentials) -> Option<Answer> {
        if !self.take_remote_seq(e) {
            return Some(Answer::new(StatusCode::SERVER_ERROR));
        }
        let refusal = answer::check_in_dialog(request);
        let is_of_the_session = [Method::INVITE, Method::UPDATE, Method::PRACK, Method::INFO, Method::REFER]
            .contains(&request.method);
        refusal.or_else(|| (!is_of_the_session).then(|| answer::in_dialog(request)))
    }

    /// Takes the number of a request from the far side; false when it is out of order and gets 500
    /// (RFC 3261 §12.2.2). ACK and CANCEL carry the number of their INVITE and are not counted. The same number again
    /// is taken of a BYE alone: it is not lower, as the RFC has it, and some telephones do not count on.
    fn take_remote_seq(&mut self, e: &Essentials) -> bool {
        if e.cseq.method == Method::ACK || e.cseq.method == Method::CANCEL {
            return true;
        }
        let is_bye = e.cseq.method == Method::BYE;
        if self.remote_seq.is_some_and(|last| e.cseq.number < last || (e.cseq.number == last && !is_bye)) {
            return false;
        }
        self.remote_seq = Some(e.cseq.number);
        true
    }

    /// Takes the Contact of a target refresh (RFC 3261 §12.2.1.2, §12.2.2); the route set stays.
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Some(uri) = contact(headers) {
            self.target = uri;
        }
    }

    /// Takes over the sequences of the early dialog that this one confirms.
    pub(super) const fn adopt_sequences(&mut self, early: &Self) {
        self.remote_seq = early.remote_seq;
        self.local_seq = early.local_seq;
    }

    /// A new request within the dialog: the next CSeq (RFC 3261 §12.2.1.1).
    pub fn request(&mut self, method: Method, end: &LocalEnd, branch: &str) -> Request {
        self.local_seq = self.local_seq.saturating_add(1);
        self.build(method, self.local_seq, end, branch)
    }

    /// The ACK of a 2xx: the number of the INVITE (RFC 3261 §13.2.2.4).
    #[must_use]
    pub fn ack(&self, invite_seq: u32, end: &LocalEnd, branch: &str) -> Request {
        self.build(Method::ACK, invite_seq, end, branch)
    }

    fn build(&self, method: Method, number: u32, end: &LocalEnd, branch: &str) -> Request {
        let is_loose = |r: &NameAddr| r.uri.sip().is_none_or(|u| u.param("lr").is_some());
        let target = self.target.sip().map_or_else(|| self.target.clone(), |u| u.as_request_uri().into());
        let mut routes: Vec<String> = self.routes.iter().map(print).collect();
        let mut uri = target;
        if let Some(first) = self.routes.first().filter(|r| !is_loose(r)) {
            // a strict router: it becomes the Request-URI, the target goes to the end
            routes.remove(0);
            routes.push(NameAddr::new(uri).to_string());
            uri = first.uri.sip().map_or_else(|| first.uri.clone(), |u| u.as_request_uri().into());
        }
        let mut r = Request::new(method.clone(), uri);
        r.headers.push_printed(HeaderName::Via, &end.via(branch));
        routes.into_iter().for_each(|route| r.headers.push(HeaderName::Route, route));
        r.headers.push(HeaderName::MaxForwards, "70");
        r.headers.push_printed(HeaderName::From, &self.local);
        r.headers.push_printed(HeaderName::To, &self.remote);
        r.headers.push(HeaderName::CallId, self.call_id.clone());
        r.headers.push(HeaderName::CSeq, CSeq { number, method }.to_string());
        r.headers.push(HeaderName::UserAgent, end.agent.clone());
        r
    }

    /// Whether its requests go by proxies.
    #[must_use]
    pub const fn is_routed(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Where the next request goes: the first route, else the target, when that is an address of the same
    /// family that can be sent to, by the transport that it names (RFC 3263 §4.1), else as before. None for a name: the
    /// caller goes on with the flow it has. A peer elsewhere
    /// cannot send us to this machine itself or to its link. Nor can anybody lead a dialog by TLS out of it, or one that
    /// is not into it: then too it goes on where it is.
    #[must_use]
    pub fn next_hop(&self, flow: &Flow) -> Option<Hop> {
        numeric_hop(self.routes.first().map_or(&self.target, |r| &r.uri).sip()?, flow)
    }
}

/// Where a URI leads that who is at the far end of a flow has named; see [`Dialog::next_hop`].
pub(super) fn numeric_hop(uri: &SipUri, flow: &Flow) -> Option<Hop> {
    let ip = uri.host.ip()?;
    let is_usable = !ip.is_unspecified()
        && !ip.is_multicast()
        && ip != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
        && ip.is_ipv4() == flow.path.local.is_ipv4()
        && (!is_near(ip) || is_near(flow.path.remote.ip()))
        && uri.port != Some(0)
        && uri.is_by_tls() == flow.transport.is_secure();
    let transport = match uri.param("transport").flatten() {
        _ if flow.transport.is_secure() => flow.transport,
        Some(word) if word.eq_ignore_ascii_case("tcp") => Transport::Tcp,
        Some(word) if word.eq_ignore_ascii_case("udp") => Transport::Udp,
        _ => flow.transport,
    };
    let address = SocketAddr::new(ip, uri.port.unwrap_or(transport.default_port()));
    is_usable.then_some(Hop { transport, address })
}

/// Whether an address means this machine, or a neighbour on its link (RFC 1122 §3.2.1.3, RFC 3927, RFC 4291).
const fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::StatusCode;

    fn end() -> LocalEnd {
        let flow = Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap());
        LocalEnd {
            flow,
            external: External::default(),
            contact_user: Some("edge".into()),
            agent: "test".into(),
            is_sips: false,
        }
    }

    fn invite() -> Request {
        let mut r = Request::new(Method::INVITE, Uri::parse("sip:bob@biloxi.com").unwrap());
        r.headers.push(HeaderName::Via, end().via("z9hG4bKa").to_string());
        r.headers.push(HeaderName::From, "<sip:alice@atlanta.com>;tag=us");
        r.headers.push(HeaderName::To, "<sip:bob@biloxi.com>");
        r.headers.push(HeaderName::CallId, "c1");
        r.headers.push(HeaderName::CSeq, "31862 INVITE");
        r
    }

    fn ok(lines: &[(HeaderName, &str)]) -> Response {
        let mut r = invite().response(StatusCode::OK, Some("them"));
        lines.iter().for_each(|(n, v)| r.headers.push(n.clone(), *v));
        r
    }

    #[test]
    fn a_uac_reverses_record_route_and_sends_to_the_target_rfc_3261_12_1_2() {
        let response = ok(&[
            (HeaderName::Contact, "<sip:bob@192.0.2.4:5070;transport=udp>"),
            (HeaderName::RecordRoute, "<sip:p2.example;lr>, <sip:192.0.2.20:5066;lr>"),
        ]);
        let mut d = Dialog::as_uac(&invite(), &response).unwrap();
        let bye = d.request(Method::BYE, &end(), "z9hG4bKb");
        assert_eq!(bye.uri.to_string(), "sip:bob@192.0.2.4:5070;transport=udp");
        let routes: Vec<_> = bye.headers.all(&HeaderName::Route).collect();
        assert_eq!(routes, ["<sip:192.0.2.20:5066;lr>", "<sip:p2.example;lr>"]);
        assert_eq!(bye.headers.get(&HeaderName::CSeq), Some("31863 BYE"));
        assert_eq!(bye.headers.to().unwrap().tag(), Some("them"));
        assert_eq!(d.next_hop(&end().flow).map(|hop| hop.address), Some("192.0.2.20:5066".parse().unwrap()));
        assert_eq!(d.ack(31862, &end(), "z9hG4bKc").headers.get(&HeaderName::CSeq), Some("31862 ACK"));
    }

    #[test]
    fn a_strict_router_becomes_the_request_uri_rfc_3261_12_2_1_1() {
        let response = ok(&[
            (HeaderName::Contact, "<sip:user@remoteua>"),
            (HeaderName::RecordRoute, "<sip:proxy4;lr>, <sip:proxy3;lr>, <sip:proxy2>, <sip:proxy1>"),
        ]);
        let mut d = Dialog::as_uac(&invite(), &response).unwrap();
        let r = d.request(Method::BYE, &end(), "z9hG4bKb");
        assert_eq!(r.uri.to_string(), "sip:proxy1");
        let routes: Vec<_> = r.headers.all(&HeaderName::Route).collect();
        assert_eq!(routes, ["<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4;lr>", "<sip:user@remoteua>"]);
    }

    #[test]
    fn lr_is_lr_however_it_is_written_rfc_3261_19_1_4() {
        for route in ["<sip:192.0.2.20;lr>", "<sip:192.0.2.20;LR=on>", "<sip:192.0.2.20;%6C%72>"] {
            let response =
                ok(&[(HeaderName::Contact, "<sip:b@192.0.2.4>"), (HeaderName::RecordRoute, route)]);
            let mut d = Dialog::as_uac(&invite(), &response).unwrap();
            let r = d.request(Method::BYE, &end(), "z9hG4bKb");
            assert_eq!(
                (r.uri.to_string().as_str(), r.headers.get(&HeaderName::Route)),
                ("sip:b@192.0.2.4", Some(route))
            );
        }
    }

    #[test]
    fn without_contact_the_address_of_from_is_the_target_and_a_bad_one_is_none_rfc_4475_3_4_1() {
        let mut their = invite();
        let e = their.essentials().unwrap();
        let d = Dialog::as_uas(&their, &e, "ours").unwrap();
        assert_eq!(d.target().to_string(), "sip:alice@atlanta.com");
        assert_eq!(d.next_hop(&end().flow), None, "it goes on where the INVITE came from");
        for bad in ["<sip:>", "*", "", "\"x"] {
            their.headers.set(HeaderName::Contact, bad);
            assert_eq!(Dialog::as_uas(&their, &e, "ours"), Err(NoDialog::NoContact), "{bad}");
        }
    }

    #[test]
    fn a_number_not_above_the_last_is_out_of_order_rfc_3261_12_2_2() {
        let mut their = invite();
        their.headers.push(HeaderName::Contact, "<sip:alice@192.0.2.9>");
        let mut e = their.essentials().unwrap();
        let mut d = Dialog::as_uas(&their, &e, "ours").unwrap();
        e.cseq.method = Method::INFO;
        assert!(!d.take_remote_seq(&e));
        e.cseq.number += 1;
        assert!(d.take_remote_seq(&e) && !d.take_remote_seq(&e));
        // lower numbers are out of order, says the RFC: a call is not left up for a BYE that did not count on
        e.cseq.method = Method::BYE;
        assert!(d.take_remote_seq(&e));
        e.cseq.number -= 1;
        assert!(!d.take_remote_seq(&e));
        e.cseq.number += 1;
        e.to.params.set("tag", Some("ours"));
        assert!(d.matches(&e));
        e.from.params.set("tag", Some("x"));
        assert!(!d.matches(&e));
    }

    #[test]
    fn a_dialog_by_tls_stays_in_it_and_another_out_of_it() {
        let by = |transport| {
            let mut end = end();
            end.flow.transport = transport;
            end
        };
        let (udp, tls) = (end(), by(Transport::Tls(TlsPeer(3))));
        for (contact, by_udp, by_tls) in [
            ("<sip:b@192.0.2.7>", Some("192.0.2.7:5060"), None),
            ("<sip:b@192.0.2.7:5070;transport=tcp>", Some("192.0.2.7:5070"), None),
            ("<sip:b@192.0.2.7;transport=TLS>", None, Some("192.0.2.7:5061")),
            ("<sips:b@192.0.2.7>", None, Some("192.0.2.7:5061")),
            ("<sips:b@192.0.2.7:5070;transport=tcp>", None, Some("192.0.2.7:5070")),
        ] {
            let d = Dialog::as_uac(&invite(), &ok(&[(HeaderName::Contact, contact)])).unwrap();
            let hop = |end: &LocalEnd| d.next_hop(&end.flow).map(|hop| hop.address.to_string());
            assert_eq!((hop(&udp).as_deref(), hop(&tls).as_deref()), (by_udp, by_tls), "{contact}");
        }
    }

    #[test]
    fn a_target_is_reached_by_the_transport_that_it_names_rfc_3263_4_1() {
        let by = |transport| Flow { transport, ..end().flow };
        for (contact, from_udp, from_tcp) in [
            ("<sip:b@192.0.2.7>", "UDP", "TCP"),
            ("<sip:b@192.0.2.7;transport=TCP>", "TCP", "TCP"),
            ("<sip:b@192.0.2.7;transport=udp>", "UDP", "UDP"),
            ("<sip:b@192.0.2.7;transport=sctp>", "UDP", "TCP"),
        ] {
            let d = Dialog::as_uac(&invite(), &ok(&[(HeaderName::Contact, contact)])).unwrap();
            let hop = |transport| d.next_hop(&by(transport)).unwrap().transport.as_str();
            assert_eq!((hop(Transport::Udp), hop(Transport::Tcp)), (from_udp, from_tcp), "{contact}");
        }
    }

    #[test]
    fn our_end_by_tls_says_so_and_offers_its_connection_where_we_made_it_rfc_5923() {
        let mut end = end();
        assert!(!end.via("z9hG4bKa").params.has("alias"));
        end.flow.transport = Transport::Tls(TlsPeer::ANY);
        assert!(!end.via("z9hG4bKa").params.has("alias"), "they made it");
        end.flow.transport = Transport::Tls(TlsPeer(1));
        let via = end.via("z9hG4bKa").to_string();
        assert_eq!(via, "SIP/2.0/TLS 192.0.2.1:5080;branch=z9hG4bKa;rport;alias");
        assert_eq!(end.contact().to_string(), "sip:edge@192.0.2.1:5080;transport=tls");
        end.is_sips = true;
        assert_eq!(end.contact().to_string(), "sips:edge@192.0.2.1:5080");
    }

    #[test]
    fn beyond_a_nat_our_end_has_the_address_there_and_the_dialog_goes_where_it_went() {
        let external = External::new(&["203.0.113.7".parse().unwrap()]).unwrap();
        let mut nat = LocalEnd { external, ..end() };
        for (transport, via, contact) in [
            (Transport::Udp, "UDP", ""),
            (Transport::Tcp, "TCP", ";transport=tcp"),
            (Transport::Tls(TlsPeer::ANY), "TLS", ";transport=tls"),
        ] {
            nat.flow.transport = transport;
            let line = nat.via("z9hG4bKa").to_string();
            assert_eq!(line, format!("SIP/2.0/{via} 203.0.113.7:5080;branch=z9hG4bKa;rport"));
            assert_eq!(nat.contact().to_string(), format!("sip:edge@203.0.113.7:5080{contact}"));
        }
        nat.is_sips = true;
        assert_eq!(nat.contact().to_string(), "sips:edge@203.0.113.7:5080");
        let v6 = Flow::udp("[fd00::1]:5080".parse().unwrap(), "[2001:db8::4]:5060".parse().unwrap());
        let v6 = LocalEnd { flow: v6, ..end() };
        let external = External::new(&["2001:db8::7".parse().unwrap()]).unwrap();
        let nat = LocalEnd { external, ..v6 };
        assert_eq!(nat.contact().to_string(), "sip:edge@[2001:db8::7]:5080");
        let mut d =
            Dialog::as_uac(&invite(), &ok(&[(HeaderName::Contact, "<sip:b@192.0.2.7:5070>")])).unwrap();
        let bye = d.request(Method::BYE, &nat, "z9hG4bKb").headers;
        let via = bye.get(&HeaderName::Via);
        assert_eq!(via, Some("SIP/2.0/UDP [2001:db8::7]:5080;branch=z9hG4bKb;rport"));
    }

    #[test]
    fn a_target_that_cannot_be_sent_to_is_no_next_hop() {
        for contact in
            ["<sip:b@0.0.0.0>", "<sip:b@[2001:db8::1]>", "<sip:b@name.example>", "<sip:b@224.0.0.1>"]
        {
            let d = Dialog::as_uac(&invite(), &ok(&[(HeaderName::Contact, contact)])).unwrap();
            assert_eq!(d.next_hop(&end().flow), None, "{contact}");
        }
        for contact in ["<sip:b@127.0.0.1:9580>", "<sip:b@169.254.169.254:80>"] {
            let d = Dialog::as_uac(&invite(), &ok(&[(HeaderName::Contact, contact)])).unwrap();
            assert_eq!(d.next_hop(&end().flow), None, "{contact}");
            let here = Flow::udp("127.0.0.1:5080".parse().unwrap(), "127.0.0.1:5060".parse().unwrap());
            assert!(d.next_hop(&here).is_some(), "a peer on this machine may name another port of it");
        }
        let without = Dialog::as_uac(&invite(), &ok(&[])).unwrap();
        assert_eq!(without.target().to_string(), "sip:bob@biloxi.com");
    }
}
