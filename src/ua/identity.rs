//! Who we are towards a peer.

use super::CallerId;
use crate::base::External;
use crate::call::leg::Party;
use crate::sip::{Header, HeaderName, Host, NameAddr, SipUri, Transport, Uri};

/// How calls towards a peer are addressed.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Host of the peer, in Request-URI and To.
    pub host: Host,
    /// Where it registered: it is dialled there, the number in the place of the user.
    pub contact: Option<SipUri>,
    /// Proxies on the way to it (RFC 3327 §5.3), the nearest first.
    pub routes: Vec<NameAddr>,
    /// Its port; none for the default.
    pub port: Option<u16>,
    /// How it is reached; one that is reached by UDP, the default, is not told so.
    pub transport: Transport,
    /// It is dialled as `sips:`: TLS on every hop to who answers (RFC 3261 §26.2.2).
    pub is_sips: bool,
    /// Our user at the peer; none when we are known by address.
    pub user: Option<String>,
    /// What a NAT between us makes of our address.
    pub external: External,
}

impl Identity {
    /// Where a number is at the peer. It names the transport, so that a proxy in between keeps to it (RFC 3261
    /// §19.1.1); To and From may not (table 1 there). RFC 3261 §16.6 step 2 not followed where it registered: the
    /// contact of a PBX stands for all its numbers, so the one that is called takes the place of its user. Its
    /// parameters stay, by which a PBX knows its own registration (`line`, `gw`).
    #[must_use]
    pub fn request_uri(&self, number: &str) -> Uri {
        if let Some(contact) = &self.contact {
            return contact.as_request_uri().with_user(number).into();
        }
        let uri = SipUri::new(Some(number), self.host.clone(), self.port);
        if self.is_sips { uri.into_sips().into() } else { uri.by(self.transport).into() }
    }

    /// Route lines of the way to it.
    pub fn route_lines(&self) -> impl Iterator<Item = Header> + '_ {
        self.routes.iter().map(|route| Header::new(HeaderName::Route, route.to_string()))
    }

    /// To, without tag.
    #[must_use]
    pub fn to(&self, number: &str) -> NameAddr {
        NameAddr::new(SipUri::new(Some(number), self.host.clone(), None))
    }

    /// From, without tag: our user at the peer, by which it knows us, or the caller.
    #[must_use]
    pub fn from(&self, caller: &Party, caller_id: CallerId) -> NameAddr {
        let user = match &self.user {
            Some(user) if caller_id != CallerId::From => user,
            _ => &caller.user,
        };
        let mut from = NameAddr::new(SipUri::new(Some(user), self.host.clone(), None));
        from.display.clone_from(&caller.display);
        from
    }

    /// Who had the call transferred, for a trusted peer (RFC 3892).
    #[must_use]
    pub fn referred_by(&self, by: &Party) -> Option<Header> {
        if by.user.is_empty() {
            return None;
        }
        let mut address = NameAddr::new(SipUri::new(Some(&by.user), self.host.clone(), None));
        address.display.clone_from(&by.display);
        Some(Header::new(HeaderName::ReferredBy, address.to_string()))
    }

    /// A peer that is known by its host alone.
    #[cfg(test)]
    pub(super) fn of_host(host: Host) -> Self {
        Self {
            host,
            contact: None,
            routes: Vec::new(),
            port: None,
            transport: Transport::Udp,
            is_sips: false,
            user: None,
            external: External::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::TlsPeer;

    fn identity(user: Option<&str>) -> Identity {
        Identity {
            host: Host::parse("pbx.example").unwrap(),
            contact: None,
            routes: Vec::new(),
            port: Some(5070),
            transport: Transport::Udp,
            is_sips: false,
            user: user.map(str::to_owned),
            external: External::default(),
        }
    }

    fn caller() -> Party {
        Party { user: "+551130000001".into(), display: Some("Anna \"A\"".into()) }
    }

    #[test]
    fn a_stock_pbx_sees_its_trunk_user_in_from_and_the_caller_in_asserted_identity() {
        let i = identity(Some("trunk-in"));
        assert_eq!(i.request_uri("600").to_string(), "sip:600@pbx.example:5070");
        assert_eq!(i.to("600").to_string(), "<sip:600@pbx.example>");
        assert_eq!(
            i.from(&caller(), CallerId::Asserted).to_string(),
            "\"Anna \\\"A\\\"\" <sip:trunk-in@pbx.example>"
        );
    }

    #[test]
    fn a_peer_that_is_reached_by_tcp_is_told_so_in_the_request_uri_alone() {
        let i = Identity { transport: Transport::Tcp, ..identity(None) };
        assert_eq!(i.request_uri("600").to_string(), "sip:600@pbx.example:5070;transport=tcp");
        assert_eq!(i.to("600").to_string(), "<sip:600@pbx.example>");
        assert!(!i.from(&caller(), CallerId::Asserted).to_string().contains("transport"));
        let i = Identity { transport: Transport::Tls(TlsPeer::ANY), ..i };
        assert_eq!(i.request_uri("600").to_string(), "sip:600@pbx.example:5070;transport=tls");
        let i = Identity { is_sips: true, ..i };
        assert_eq!(i.request_uri("600").to_string(), "sips:600@pbx.example:5070");
    }

    #[test]
    fn one_that_registered_is_dialled_at_its_contact_with_the_number_as_user() {
        let mut i = identity(Some("trunk-in"));
        let contact = "sip:s:secret@192.0.2.1:5062;transport=TCP;line=x1;method=INVITE?Subject=a";
        i.contact = Uri::parse(contact).unwrap().sip().cloned();
        i.routes =
            vec![NameAddr::parse("<sip:p1.example;lr>").unwrap(), NameAddr::parse("<sip:p2;lr>").unwrap()];
        assert_eq!(i.request_uri("600").to_string(), "sip:600@192.0.2.1:5062;transport=TCP;line=x1");
        let lines: Vec<String> = i.route_lines().map(|h| format!("{}: {}", h.name(), h.value())).collect();
        assert_eq!(lines, ["Route: <sip:p1.example;lr>", "Route: <sip:p2;lr>"]);
    }

    #[test]
    fn without_a_user_or_by_choice_the_caller_stands_in_from() {
        for (user, by) in [(None, CallerId::Asserted), (Some("trunk-in"), CallerId::From)] {
            assert!(
                identity(user).from(&caller(), by).to_string().ends_with("<sip:+551130000001@pbx.example>")
            );
        }
    }
}
