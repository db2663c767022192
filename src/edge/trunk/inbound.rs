//! Who may call us by a trunk: digest credentials or the source network decide, and nobody else gets in. Pure.
//!
//! A request that proves nothing is challenged, whatever it asks for and wherever it comes from, so that nothing
//! tells a stranger which trunks or users there are. OPTIONS does not come here: it is answered to all.

use super::config::{Access, Trunk};
use super::logins::{FailedLogins, Logins, Look};
use super::unregistered::{Unregistered, Unregistrations};
use crate::base::{Excerpt, Seed};
use crate::sip::digest::{Algorithm, Credentials};
use crate::sip::digest_server::{DigestServer, DigestServerConfig, Ha1Set, offer};
use crate::sip::endpoint::{Acceptance, Verdict};
use crate::sip::registrar::Registrar;
use crate::sip::{Answer, Flow, HeaderName, Method, REALM, Request, StatusCode};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where the PBXs are that register here, by the names of their trunks.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings(Arc<Mutex<Registrar>>);

impl Bindings {
    pub(super) fn lock(&self) -> MutexGuard<'_, Registrar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trunk's door.
struct Door {
    trunk: Arc<Trunk>,
    credentials: Option<Credentials>,
}

/// A login that is not let in.
struct Refused {
    answer: Answer,
    log: Option<FailedLogins>,
}

/// The reason phrase for who registers another user than that of its login.
const NOT_ITS_OWN: &str = "Not The User Of This Login";
/// All doors.
pub(super) struct Inbound {
    doors: Vec<Door>,
    /// Digest user → its hashes and its door.
    users: BTreeMap<String, (Ha1Set, usize)>,
    digest: DigestServer,
    logins: Logins,
    bindings: Bindings,
    unregistered: Unregistrations,
}

impl Inbound {
    /// The same, with the bindings of those that register.
    pub(super) fn registering(mut self, bindings: Bindings) -> Self {
        self.bindings = bindings;
        self
    }

    /// Whether some trunk's PBX registers here.
    pub(super) fn is_registrar(&self) -> bool {
        self.doors.iter().any(|d| d.trunk.takes_registration)
    }

    /// The doors of these trunks.
    pub(super) fn new(trunks: &[Arc<Trunk>], now: Instant, seed: Seed) -> Self {
        let digest = DigestServer::new(DigestServerConfig::new(REALM), now, seed);
        let mut users = BTreeMap::new();
        for (at, trunk) in trunks.iter().enumerate() {
            if let Access::Digest { user, hashes, .. } = &trunk.access {
                users.insert(user.clone(), (hashes.clone(), at));
            }
        }
        let door = |trunk: &Arc<Trunk>| Door { trunk: trunk.clone(), credentials: trunk.credentials() };
        Self {
            doors: trunks.iter().map(door).collect(),
            users,
            digest,
            logins: Logins::new(),
            bindings: Bindings::default(),
            unregistered: Unregistrations::default(),
        }
    }

    /// What becomes of a request of no dialog, and what the log is to hear of it.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &Flow,
    ) -> (Verdict, Option<FailedLogins>) {
        let source = flow.path.remote.ip().to_canonical();
        let remote = SocketAddr::new(source, flow.path.remote.port());
        if request.method == Method::REGISTER && !self.is_registrar() {
            let answer = crate::sip::answer::not_served(&request.method);
            if let Some(door) = self.doors.iter().find(|d| d.trunk.admits(source)) {
                self.unregistered.note(now, &door.trunk.name, &answer);
            }
            return (Verdict::Answer(answer), None);
        }
        // an address is no user whose contact could be bound
        let needs_login = request.method == Method::REGISTER;
        let admitted = self.doors.iter().filter(|d| !needs_login && d.trunk.admits(source));
        // of several trunks to one address it is the one whose own user is called, where that is one's, then the one whose PBX has
        // this port, else the first
        let called = request.uri.user_text();
        let by_address = admitted.min_by_key(|d| {
            (d.trunk.user.is_none() || d.trunk.user != called, !d.trunk.has_port(remote.port()))
        });
        let door = match by_address {
            Some(door) => door,
            None => match self.logged_in(now, request, remote, &self.offered(flow)) {
                Ok(user) => match self.users.get(&user).and_then(|(_, at)| self.doors.get(*at)) {
                    Some(door) => door,
                    None => return (Verdict::Answer(Answer::new(StatusCode::SERVER_ERROR)), None),
                },
                Err(refused) => return (Verdict::Answer(refused.answer), refused.log),
            },
        };
        if request.method == Method::REGISTER {
            let trunk = door.trunk.clone();
            let answer = match trunk.takes_registration {
                true => self.register(now, &trunk, request, flow),
                false => crate::sip::answer::not_served(&request.method),
            };
            self.unregistered.note(now, &trunk.name, &answer);
            return (Verdict::Answer(answer), None);
        }
        if request.method == Method::NOTIFY {
            return (Verdict::Answer(notified(request)), None);
        }
        if request.method != Method::INVITE {
            return (Verdict::Answer(crate::sip::answer::not_served(&request.method)), None);
        }
        let acceptance = Acceptance {
            owner: door.trunk.name.clone(),
            credentials: door.credentials.clone(),
            stays_on_flow: door.trunk.is_symmetric,
            external: door.trunk.external,
            timers: door.trunk.timers,
        };
        (Verdict::Accept(acceptance), None)
    }

    /// A REGISTER of who proved to be this trunk's PBX; it may speak for itself alone (RFC 3261 §10.3 step 4).
    fn register(&self, now: Instant, trunk: &Trunk, request: &Request, flow: &Flow) -> Answer {
        let aor = request.headers.to().ok().and_then(|to| to.uri.user_text());
        match &trunk.access {
            Access::Digest { user, .. } if aor.as_ref() == Some(user) => {
                self.bindings.lock().handle_register(now, &trunk.name, request, flow)
            }
            _ => Answer { phrase: Some(NOT_ITS_OWN.to_owned()), ..Answer::new(StatusCode::FORBIDDEN) },
        }
    }

    /// What the log is to hear of registrations that were refused to who proved to be a trunk's PBX.
    pub(super) fn take_unregistered(&mut self) -> Option<Unregistered> {
        self.unregistered.take()
    }

    /// The user that a request proves to come from.
    fn logged_in(
        &mut self,
        now: Instant,
        request: &Request,
        remote: SocketAddr,
        offered: &[Algorithm],
    ) -> Result<String, Box<Refused>> {
        let source = remote.ip();
        if self.logins.is_suspect(now, source)
            && let Some(named) = self.digest.named(request, source, offered)
        {
            let answer = match self.logins.look(now, remote, &named) {
                Look::Check => None,
                Look::Challenge => Some(self.digest.challenge(now, source, offered)),
                Look::Refuse => Some(Answer::new(StatusCode::FORBIDDEN)),
            };
            if let Some(answer) = answer {
                let user = Excerpt(&named.user).to_string();
                let log = self.logins.failed(now, remote, user, named.is_source_proved);
                return Err(Box::new(Refused { answer, log }));
            }
        }
        let users = &self.users;
        let secrets = |user: &str| users.get(user).map(|(hashes, _)| hashes);
        match self.digest.check(now, request, source, offered, secrets) {
            Ok(user) => {
                self.logins.succeeded(now, remote, &user);
                Ok(user)
            }
            Err(denied) if denied.is_failed_login => {
                let user = denied.user.unwrap_or_default();
                let log = self.logins.failed(now, remote, user, denied.is_source_proved);
                Err(Box::new(Refused { answer: denied.answer, log }))
            }
            Err(denied) => Err(Box::new(Refused { answer: denied.answer, log: None })),
        }
    }

    /// The algorithms of a challenge, the strongest first (RFC 8760 §2.4): those that some trunk's login has a hash
    /// of. Who asks is not known yet, so all hear the same.
    fn offered(&self, flow: &Flow) -> Vec<Algorithm> {
        if self.users.is_empty() {
            return offer(flow.transport).to_vec();
        }
        let is_taken = |a: &Algorithm| self.users.values().any(|(hashes, _)| hashes.has(*a));
        Algorithm::ALL.into_iter().rev().filter(is_taken).collect()
    }
}

/// What a NOTIFY of no dialog hears. A PBX tells who is registered there of waiting messages without being asked (RFC 3842
/// §4.1); nobody here wants to know, and to refuse it would fill its log. Any other is of no subscription of ours (RFC 6665
/// §8.3.2).
fn notified(request: &Request) -> Answer {
    const MESSAGES: &str = "message-summary";
    let event = request.headers.get(&HeaderName::Event).unwrap_or_default();
    let package = event.split(';').next().unwrap_or_default().trim();
    if package.eq_ignore_ascii_case(MESSAGES) {
        return Answer::new(StatusCode::OK);
    }
    Answer::new(StatusCode::BAD_EVENT).with(HeaderName::AllowEvents, MESSAGES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Secret, Section};
    use crate::sip::digest::DigestClient;
    use crate::sip::{HeaderName, Uri};
    use serde_json::json;
    use std::time::Duration;

    fn trunks() -> Vec<Arc<Trunk>> {
        let trunk = |name: &str, value| {
            let section = Section::new(format!("trunk.{name}"), "t", value);
            Arc::new(super::super::config::read(&section).unwrap())
        };
        vec![
            trunk(
                "pbx",
                json!({"host": "192.0.2.1", "inbound_user": "pbx", "inbound_password": "pbx-secret"}),
            ),
            trunk(
                "isp",
                json!({"host": "198.51.100.7", "inbound": "address", "inbound_networks": ["198.51.100.0/24"]}),
            ),
            trunk("out", json!({"host": "203.0.113.1", "inbound": "off"})),
        ]
    }

    fn inbound() -> Inbound {
        Inbound::new(&trunks(), Instant::now(), Seed::from_number(1))
    }

    fn flow(remote: &str) -> Flow {
        Flow::udp("192.0.2.10:5080".parse().unwrap(), remote.parse().unwrap())
    }

    fn request(method: Method) -> Request {
        let mut r = Request::new(method.clone(), Uri::parse("sip:1001@192.0.2.10:5080").unwrap());
        r.headers.push(HeaderName::From, "<sip:pbx@192.0.2.1>;tag=a");
        r.headers.push(HeaderName::CSeq, format!("1 {method}"));
        r
    }

    /// A trunk whose PBX registers, beside one that is known by its address.
    fn registering() -> (Inbound, Bindings) {
        let login = json!({"register": "accept", "inbound_user": "pbx", "inbound_password": "pbx-secret"});
        let trunk = |name: &str, value| {
            Arc::new(super::super::config::read(&Section::new(format!("trunk.{name}"), "t", value)).unwrap())
        };
        let trunks = [trunk("isp", json!({"host": "192.0.2.1"})), trunk("office", login)];
        let bindings = Bindings::default();
        (Inbound::new(&trunks, Instant::now(), Seed::from_number(1)).registering(bindings.clone()), bindings)
    }

    /// What a REGISTER for this user with this password hears.
    fn register(i: &mut Inbound, from: &str, aor: &str, password: &str) -> (u16, Option<FailedLogins>) {
        let mut r = Request::new(Method::REGISTER, Uri::parse("sip:192.0.2.10:5080").unwrap());
        r.headers.push(HeaderName::From, format!("<sip:{aor}@192.0.2.10>;tag=a"));
        r.headers.push(HeaderName::To, format!("<sip:{aor}@192.0.2.10>"));
        r.headers.push(HeaderName::CallId, "c");
        r.headers.push(HeaderName::CSeq, "1 REGISTER");
        r.headers.push(HeaderName::Contact, "<sip:s@192.0.2.1:5060;line=x>");
        let (Verdict::Answer(challenge), None) = i.handle(Instant::now(), &r, &flow(from)) else { panic!() };
        assert_eq!(challenge.status, StatusCode::UNAUTHORIZED);
        let mut client = DigestClient::new(Credentials::new("pbx", Secret::new(password)));
        let uri = r.uri.to_string();
        let lines =
            client.answer(&challenge.to(&r, Some("t")), &[], &Method::REGISTER, &uri, "cnonce").unwrap();
        lines.into_iter().for_each(|line| r.headers.push_header(line));
        match i.handle(Instant::now(), &r, &flow(from)) {
            (Verdict::Answer(answer), failed) => (answer.status.code(), failed),
            (Verdict::Accept(_), _) => panic!("a REGISTER is no call"),
        }
    }

    #[test]
    fn a_pbx_registers_with_its_password_and_for_itself_alone_rfc_3261_10_3() {
        let (mut i, bindings) = registering();
        let bound = || bindings.lock().bindings("office").len();
        // also from the address of another trunk: that is no login
        for from in ["203.0.113.5:5060", "192.0.2.1:5060"] {
            let (status, failed) = register(&mut i, from, "pbx", "wrong");
            assert_eq!((status, failed.unwrap().attempts, bound()), (401, 1, 0), "{from}");
        }
        assert_eq!((register(&mut i, "192.0.2.1:5060", "other", "pbx-secret"), bound()), ((403, None), 0));
        assert_eq!((register(&mut i, "192.0.2.1:5060", "pbx", "pbx-secret"), bound()), ((200, None), 1));
        // its calls are known by the password as ever
        assert_eq!(owner(&login(&mut i, "203.0.113.5:5060", "pbx", "pbx-secret").0), Ok("office"));
        assert!(!inbound().is_registrar());
    }

    #[test]
    fn guesses_at_a_registration_and_at_a_call_have_one_budget() {
        let (mut i, _) = registering();
        let here = "203.0.113.5:5060";
        for n in 0..30 {
            let status = if n % 2 == 0 {
                register(&mut i, here, "pbx", "guess").0
            } else {
                owner(&login(&mut i, here, "pbx", "guess").0).unwrap_err()
            };
            assert_eq!(status, 401, "{n}");
        }
        assert_eq!(register(&mut i, here, "pbx", "pbx-secret").0, 403);
        assert_eq!(owner(&login(&mut i, here, "pbx", "pbx-secret").0), Err(403));
    }

    #[test]
    fn a_trunk_may_tell_of_waiting_messages_unasked_and_of_nothing_else_rfc_6665_8_3_2() {
        let (mut i, _) = registering();
        let mut hear = |from: &str, event: &str| {
            let mut r = request(Method::NOTIFY);
            r.headers.push(HeaderName::Event, event);
            match i.handle(Instant::now(), &r, &flow(from)) {
                (Verdict::Answer(answer), None) => answer,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(hear("192.0.2.1:5060", "message-summary").status, StatusCode::OK);
        assert_eq!(hear("192.0.2.1:5060", "Message-Summary;id=1").status, StatusCode::OK);
        let refused = hear("192.0.2.1:5060", "presence");
        assert_eq!(refused.status, StatusCode::BAD_EVENT);
        let known = refused.headers.iter().find(|h| *h.name() == HeaderName::AllowEvents);
        assert_eq!(known.map(|h| h.value()), Some("message-summary"));
        assert_eq!(hear("203.0.113.5:5060", "message-summary").status, StatusCode::UNAUTHORIZED);
    }

    fn owner(verdict: &Verdict) -> Result<&str, u16> {
        match verdict {
            Verdict::Accept(acceptance) => Ok(&acceptance.owner),
            Verdict::Answer(answer) => Err(answer.status.code()),
        }
    }

    /// The request again, with an answer to its challenge.
    fn login(
        inbound: &mut Inbound,
        from: &str,
        user: &str,
        password: &str,
    ) -> (Verdict, Option<FailedLogins>) {
        let mut r = request(Method::INVITE);
        let (Verdict::Answer(challenge), None) = inbound.handle(Instant::now(), &r, &flow(from)) else {
            panic!("a challenge was expected")
        };
        let mut client = DigestClient::new(Credentials::new(user, Secret::new(password)));
        let uri = r.uri.to_string();
        let lines =
            client.answer(&challenge.to(&r, Some("t")), &[], &Method::INVITE, &uri, "cnonce").unwrap();
        lines.into_iter().for_each(|line| r.headers.push_header(line));
        inbound.handle(Instant::now(), &r, &flow(from))
    }

    #[test]
    fn a_trunk_is_known_by_its_password_or_by_its_network_and_nobody_else_gets_in() {
        let mut i = inbound();
        assert_eq!(owner(&login(&mut i, "192.0.2.1:5060", "pbx", "pbx-secret").0), Ok("pbx"));
        assert_eq!(
            owner(&login(&mut i, "203.0.113.99:5060", "pbx", "pbx-secret").0),
            Ok("pbx"),
            "from anywhere"
        );
        let by_address = i.handle(Instant::now(), &request(Method::INVITE), &flow("198.51.100.9:5060"));
        assert_eq!(owner(&by_address.0), Ok("isp"));
        for source in ["203.0.113.1:5060", "192.0.2.1:5060", "[2001:db8::1]:5060"] {
            let (verdict, failed) = i.handle(Instant::now(), &request(Method::INVITE), &flow(source));
            assert_eq!((owner(&verdict), failed), (Err(401), None), "{source}");
        }
    }

    #[test]
    fn of_two_trunks_to_one_pbx_the_one_is_meant_whose_user_is_called_else_the_first() {
        let trunk = |name: &str, user: &str| {
            let value = json!({"host": "192.0.2.1", "user": user, "password": "p", "register": true});
            Arc::new(super::super::config::read(&Section::new(format!("trunk.{name}"), "t", value)).unwrap())
        };
        let trunks = [trunk("sales", "100"), trunk("support", "200")];
        let mut i = Inbound::new(&trunks, Instant::now(), Seed::from_number(1));
        for (number, name) in [("100", "sales"), ("200", "support"), ("1001", "sales")] {
            let mut invite = request(Method::INVITE);
            invite.uri = Uri::parse(&format!("sip:{number}@192.0.2.9")).unwrap();
            let (verdict, _) = i.handle(Instant::now(), &invite, &flow("192.0.2.1:5060"));
            assert_eq!(owner(&verdict), Ok(name), "{number}");
        }
    }

    #[test]
    fn who_sends_from_where_dns_finds_the_host_is_let_in_where_the_admin_says_so_and_as_long_as_it_is_there()
    {
        let named = trunk(json!({"host": "pbx.example", "inbound": "address"}));
        let silent = trunk(json!({"host": "pbx.example"}));
        let found = |ip: &str| super::super::targets::Target {
            hop: SocketAddr::new(ip.parse().unwrap(), 5060).into(),
            place: 0,
        };
        let mut i = Inbound::new(std::slice::from_ref(&named), Instant::now(), Seed::from_number(1));
        let asked = |i: &mut Inbound, from: &str| {
            owner(&i.handle(Instant::now(), &request(Method::INVITE), &flow(from)).0).map(str::to_owned)
        };
        assert_eq!(asked(&mut i, "198.51.100.1:5060"), Err(401));
        for trunk in [&named, &silent] {
            trunk.targets().locate(&[found("198.51.100.1"), found("2001:db8::1")]);
        }
        assert_eq!(asked(&mut i, "198.51.100.1:9999"), Ok("a".into()), "from any port");
        assert_eq!(asked(&mut i, "[2001:db8::1]:5060"), Ok("a".into()));
        assert_eq!(asked(&mut i, "198.51.100.2:5060"), Err(401));
        named.targets().locate(&[found("198.51.100.2")]);
        assert_eq!(asked(&mut i, "198.51.100.1:5060"), Err(401));
        let mut i = Inbound::new(&[silent], Instant::now(), Seed::from_number(1));
        assert_eq!(asked(&mut i, "198.51.100.1:5060"), Err(401), "by default a name proves nothing");
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
        let mut i = inbound();
        for (user, password) in [("pbx", "wrong"), ("nobody", "wrong")] {
            let (verdict, failed) = login(&mut i, "203.0.113.5:5060", user, password);
            let source = "203.0.113.5".parse().unwrap();
            let line = FailedLogins { source, user: user.to_owned(), attempts: 1, is_shut: false };
            assert_eq!(failed, Some(line).filter(|_| user == "pbx"), "the first of a source");
            let Verdict::Answer(answer) = verdict else { panic!() };
            let names: Vec<&str> = answer.headers.iter().map(|h| h.name().as_str()).collect();
            assert_eq!((answer.status.code(), names), (401, vec!["WWW-Authenticate"; 2]));
        }
    }

    #[test]
    fn who_guesses_is_refused_unread_and_a_trunk_behind_the_same_address_still_calls() {
        let mut i = inbound();
        let here = "203.0.113.5:5060";
        assert_eq!(owner(&login(&mut i, here, "pbx", "pbx-secret").0), Ok("pbx"));
        let status = |i: &mut Inbound, user: &str| owner(&login(i, here, user, "guess").0).unwrap_err();
        assert!((0..30).all(|n| status(&mut i, &format!("u{n}")) == 401));
        let before = i.digest.work();
        assert_eq!(status(&mut i, "admin"), 403);
        // the challenge and a look at whose nonce it is: nothing about the password
        assert_eq!(i.digest.work().hashes - before.hashes, 2);
        assert_eq!(owner(&login(&mut i, here, "pbx", "pbx-secret").0), Ok("pbx"));
        assert_eq!(owner(&login(&mut i, "203.0.113.6:5060", "pbx", "pbx-secret").0), Ok("pbx"));
    }

    #[test]
    fn who_has_logged_in_well_may_not_guess_at_others_from_there_for_ever_and_shuts_none_of_them_out() {
        let login_of =
            |name: &str| json!({"host": "192.0.2.1", "inbound_user": name, "inbound_password": name});
        let trunk = |name: &str| {
            let section = Section::new(format!("trunk.{name}"), "t", login_of(name));
            Arc::new(super::super::config::read(&section).unwrap())
        };
        let mut i = Inbound::new(&[trunk("pbx"), trunk("bad")], Instant::now(), Seed::from_number(1));
        let (pbx, bad) = ("203.0.113.5:5060", "203.0.113.5:40000");
        assert_eq!(owner(&login(&mut i, pbx, "pbx", "pbx").0), Ok("pbx"));
        let statuses: Vec<u16> = (0..40)
            .map(|_| {
                assert_eq!(owner(&login(&mut i, bad, "bad", "bad").0), Ok("bad"));
                owner(&login(&mut i, bad, "pbx", "guess").0).unwrap_err()
            })
            .collect();
        assert_eq!(statuses.iter().position(|status| *status == 403), Some(30));
        // a right guess tells nothing then, and costs a look at the nonce alone
        let before = i.digest.work();
        assert_eq!(owner(&login(&mut i, bad, "pbx", "pbx").0), Err(403));
        assert_eq!(i.digest.work().hashes - before.hashes, 2);
        assert_eq!(owner(&login(&mut i, pbx, "pbx", "pbx").0), Ok("pbx"), "by the way that it came");
        assert_eq!(owner(&login(&mut i, "203.0.113.6:5060", "pbx", "pbx").0), Ok("pbx"));
    }

    #[test]
    fn datagrams_with_a_forged_address_do_not_shut_a_pbx_out() {
        let mut i = inbound();
        let mut forged = request(Method::INVITE);
        let credentials = "Digest username=\"pbx\", realm=\"sipedge\", nonce=\"0\", \
                           uri=\"sip:1001@192.0.2.10:5080\", response=\"0\", algorithm=SHA-256";
        forged.headers.push(HeaderName::Authorization, credentials);
        let lines = (0..1_000).filter_map(|_| {
            let (verdict, line) = i.handle(Instant::now(), &forged, &flow("192.0.2.1:5060"));
            assert_eq!(owner(&verdict), Err(401));
            line
        });
        assert_eq!(lines.count(), 1);
        assert_eq!(owner(&login(&mut i, "192.0.2.1:5060", "pbx", "pbx-secret").0), Ok("pbx"));
    }

    #[test]
    fn other_methods_must_prove_who_they_are_too() {
        let mut i = inbound();
        let message = request(Method::parse("MESSAGE").unwrap());
        assert_eq!(owner(&i.handle(Instant::now(), &message, &flow("192.0.2.1:5060")).0), Err(401));
        assert_eq!(owner(&i.handle(Instant::now(), &message, &flow("198.51.100.9:5060")).0), Err(405));
    }

    #[test]
    fn of_two_pbxs_at_one_address_the_one_with_this_port_calls() {
        let trunk = |(name, host): (&str, &str)| {
            let section = Section::new(format!("trunk.{name}"), "t", json!({"host": host}));
            Arc::new(super::super::config::read(&section).unwrap())
        };
        let trunks = [("freeswitch", "192.0.2.1:5070"), ("pbx", "192.0.2.1")].map(trunk);
        let mut i = Inbound::new(&trunks, Instant::now(), Seed::from_bytes([7; 32]));
        let mut by = |source: &str| {
            owner(&i.handle(Instant::now(), &request(Method::INVITE), &flow(source)).0).map(str::to_owned)
        };
        assert_eq!(by("192.0.2.1:5060").as_deref(), Ok("pbx"));
        assert_eq!(by("192.0.2.1:5070").as_deref(), Ok("freeswitch"));
        assert_eq!(
            by("192.0.2.1:40000").as_deref(),
            Ok("freeswitch"),
            "the first, as a connection has any port"
        );
    }

    #[test]
    fn a_registration_that_is_refused_to_a_pbx_is_told_with_a_remedy_now_and_then() {
        let t0 = Instant::now();
        let at = |i: &mut Inbound, seconds: u64, source: &str| {
            let mut message = request(Method::REGISTER);
            message.uri = Uri::parse("sip:192.0.2.10:5080").unwrap();
            let verdict = i.handle(t0 + Duration::from_secs(seconds), &message, &flow(source)).0;
            assert_eq!(owner(&verdict), Err(405));
            i.take_unregistered()
        };
        let address = json!({"host": "192.0.2.1", "inbound": "address"});
        let trunk =
            Arc::new(super::super::config::read(&Section::new("trunk.pbx", "test", address)).unwrap());
        let mut i = Inbound::new(&[trunk], t0, Seed::from_bytes([7; 32]));
        let told = at(&mut i, 0, "192.0.2.1:5060").unwrap();
        assert_eq!((told.trunk.as_str(), told.status.code(), told.count), ("pbx", 405, 1));
        assert!(told.remedy.unwrap().contains("register = \"accept\""));
        assert_eq!(at(&mut i, 5, "192.0.2.1:5060"), None);
        assert_eq!(at(&mut i, 600, "192.0.2.1:5060").unwrap().count, 2);
        assert_eq!(at(&mut i, 1_200, "198.51.100.9:5060"), None, "a stranger");
    }

    #[test]
    fn a_trunk_that_takes_md5_alone_is_challenged_with_it_alone() {
        let section =
            json!({"host": "192.0.2.1", "inbound_user": "u", "inbound_password": "p", "digest": ["MD5"]});
        assert_eq!(
            challenged(&mut Inbound::new(&[trunk(section)], Instant::now(), Seed::from_number(1))),
            ["MD5"]
        );
    }

    fn trunk(value: serde_json::Value) -> Arc<Trunk> {
        Arc::new(super::super::config::read(&Section::new("trunk.a", "t", value)).unwrap())
    }

    /// The algorithms that a stranger hears, in their order.
    fn challenged(inbound: &mut Inbound) -> Vec<String> {
        let (Verdict::Answer(answer), None) =
            inbound.handle(Instant::now(), &request(Method::INVITE), &flow("203.0.113.1:5060"))
        else {
            panic!()
        };
        let algorithm = |value: &str| value.split("algorithm=").nth(1)?.split(',').next().map(str::to_owned);
        answer.headers.iter().map(|h| algorithm(h.value()).unwrap()).collect()
    }

    #[test]
    fn what_is_offered_is_what_there_are_hashes_for_the_strongest_first_rfc_8760_2_4() {
        let start = |value| Inbound::new(&[trunk(value)], Instant::now(), Seed::from_number(1));
        let lines = super::super::hash_lines("pbx", &Secret::new("pbx-secret"));
        let hash = |algorithm: &str| {
            let line = lines.lines().find(|l| l.starts_with(&format!("inbound_ha1_{algorithm} "))).unwrap();
            line.split('"').nth(1).unwrap().to_owned()
        };
        let all = json!({
            "host": "192.0.2.1", "inbound_user": "pbx", "inbound_ha1_md5": hash("md5"),
            "inbound_ha1_sha256": hash("sha256"), "inbound_ha1_sha512_256": hash("sha512_256"),
        });
        let mut i = start(all.clone());
        assert_eq!(challenged(&mut i), ["SHA-512-256", "SHA-256", "MD5"]);
        assert_eq!(owner(&login(&mut i, "192.0.2.1:5060", "pbx", "pbx-secret").0), Ok("a"));
        assert_eq!(owner(&login(&mut i, "192.0.2.1:5060", "pbx", "wrong").0), Err(401));
        let mut one = json!({"host": "192.0.2.1", "inbound_user": "pbx", "inbound_ha1_md5": hash("md5")});
        let mut i = start(one.clone());
        assert_eq!(challenged(&mut i), ["MD5"]);
        assert_eq!(owner(&login(&mut i, "192.0.2.1:5060", "pbx", "pbx-secret").0), Ok("a"));
        one["inbound_ha1_md5"] = serde_json::Value::Null;
        one["inbound_password"] = json!("pbx-secret");
        assert_eq!(challenged(&mut start(one.clone())), ["SHA-256", "MD5"], "unless it is configured");
        one["digest"] = json!(["MD5", "SHA-512-256"]);
        let mut i = start(one);
        assert_eq!(challenged(&mut i), ["SHA-512-256", "MD5"]);
        assert_eq!(owner(&login(&mut i, "192.0.2.1:5060", "pbx", "pbx-secret").0), Ok("a"));
    }

    #[test]
    fn a_login_costs_the_same_work_whoever_asks_and_whether_there_is_a_hash_of_its_algorithm() {
        let lines = super::super::hash_lines("pbx", &Secret::new("pbx-secret"));
        let md5 = lines.split('"').nth(1).unwrap();
        let mut other = json!({"host": "192.0.2.1", "inbound_user": "pbx", "inbound_ha1_md5": md5});
        let few = trunk(other.clone());
        other["inbound_user"] = json!("all");
        other["inbound_ha1_md5"] = serde_json::Value::Null;
        other["inbound_password"] = json!("all-secret");
        let mut i = Inbound::new(&[few, trunk(other)], Instant::now(), Seed::from_number(1));
        // all of them by SHA-256, the first that is offered
        let logins =
            [("all", "all-secret"), ("all", "wrong"), ("pbx", "pbx-secret"), ("nobody", "all-secret")];
        let work = logins.map(|(user, password)| {
            let before = i.digest.work();
            let is_in = owner(&login(&mut i, "203.0.113.5:5060", user, password).0).is_ok();
            assert_eq!(is_in, password == "all-secret" && user == "all", "{user}");
            let after = i.digest.work();
            // a refusal makes one nonce more
            let hashes = after.hashes - before.hashes - u64::from(!is_in);
            (hashes, after.bytes_compared - before.bytes_compared)
        });
        assert!(work.iter().all(|w| *w == work[0]), "{work:?}");
    }
}
