//! Keeps one address-of-record registered (RFC 3261 §10.2), client side.
//!
//! Drive it: drain [`Registration::poll_output`]; at [`Output::Send`] ask [`Registration::request`] for the
//! REGISTER, which is built for the address that reaches the registrar at that moment, and hand its final
//! response or failure back; wake it at [`Registration::poll_timeout`]. [`Registration::close`] takes the
//! binding away. One request is out at a time; Call-ID stays, CSeq rises (§10.2.4).
//!
//! It refreshes when 80 to 90 per cent of the granted time have passed. A registrar that is away is asked
//! again after a random, growing wait of at most [`MAX_WAIT`], so one that comes back knows us again
//! within about that time. One that refuses us, as with a wrong password, is asked ever more slowly, up to
//! [`MAX_REFUSED_WAIT`]: it may count refusals and shut us out (RFC 3261 §22.3). Retry-After is kept to (§21.5.4).
//! The state changes once, not with every attempt. When our address has changed, the
//! same REGISTER takes the old contact away, so no call is sent where nobody listens.
//! The way that the registrar wants our requests to go (RFC 3608) is told when it changes, and given up when the binding
//! lapses. Left out: Path, GRUU, outbound (RFC 5626).

use super::dialog::LocalEnd;
use super::digest::{Credentials, DigestClient, DigestError};
use super::transaction::Failure;
use super::{
    CSeq, Header, HeaderName, Host, MAGIC_COOKIE, Method, NameAddr, Request, Response, SipUri, StatusCode,
    Uri,
};
use crate::base::Seed;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait between a failure and the next attempt.
pub const MAX_WAIT: Duration = Duration::from_secs(4);
/// Longest wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The same for a registrar that refuses us: what it wants, somebody has to configure. A tool that counts refusals in
/// a log sees four in the first ten minutes, which is fewer than shut anybody out.
const FIRST_REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Longest wait between two refusals.
pub const MAX_REFUSED_WAIT: Duration = Duration::from_secs(600);
/// A registrar that wants to be left alone for longer than this is asked after it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// A registrar that grants less is asked again after this all the same.
const MIN_REFRESH: Duration = Duration::from_secs(1);
/// A registrar that asks for more than a day (423) is not obeyed: it would forget us for good.
const MAX_EXPIRES: u32 = 86_400;
/// Longest way that is followed.
const MAX_SERVICE_ROUTES: usize = 8;
/// Most former contacts that are taken away at once.
const MAX_FORMER: usize = 4;

/// What to register and where.
#[derive(Debug, Clone)]
pub struct RegisterConfig {
    /// The registrar's domain: the Request-URI, without user (RFC 3261 §10.2).
    pub registrar: SipUri,
    /// Address-of-record: To and From.
    pub aor: SipUri,
    /// User part of our Contact; it comes back in the Request-URI of calls to us.
    pub contact_user: Option<String>,
    /// For 401 and 407.
    pub credentials: Option<Credentials>,
    /// Lifetime asked for.
    pub expires: Duration,
}

/// Whether calls to the address-of-record reach us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterState {
    /// The first attempt is under way.
    Registering,
    /// They do.
    Registered {
        /// The lifetime that was granted.
        expires: Duration,
    },
    /// They do not, or will not for long; it is tried again.
    Failed(RegisterFailure),
    /// The binding was taken away, as far as that could be done.
    Closed,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterFailure {
    /// The registrar refused.
    #[error("the registrar answers {0} {phrase}", phrase = .0.phrase())]
    Status(StatusCode),
    /// It asked for credentials that we lack or that it refused.
    #[error("{0}")]
    Credentials(DigestError),
    /// It answered our credentials with 403.
    #[error(
        "the registrar answers our login with 403 Forbidden: check user and password, and that it lets this user register"
    )]
    Forbidden,
    /// It asked for credentials and none are configured.
    #[error("the registrar asks for a user and password, and none are configured")]
    NoCredentials,
    /// It answered 200, and our contact is not bound.
    #[error("the registrar accepted the request and did not bind our contact")]
    NotBound,
    /// Nobody answered in time.
    #[error("nobody answered in time")]
    Timeout,
    /// Nobody is there.
    #[error("nobody is there")]
    Unreachable,
    /// Its name leads nowhere.
    #[error("{host} cannot be looked up: {why}")]
    Unlocated {
        /// The name.
        host: Arc<str>,
        /// What DNS says, or who does not answer.
        why: Arc<str>,
    },
}

impl RegisterFailure {
    /// Whether somebody is there and does not want us: asking again changes nothing before somebody changes a
    /// configuration. A server that is overloaded or starts (5xx, 408, 480) is not meant.
    const fn is_refusal(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::NoCredentials | Self::NotBound | Self::Forbidden => true,
            Self::Status(status) => !matches!(status.code(), 408 | 480 | 500..600),
            Self::Timeout | Self::Unreachable | Self::Unlocated { .. } => false,
        }
    }
}

impl From<Failure> for RegisterFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Timeout => Self::Timeout,
            Failure::Transport => Self::Unreachable,
        }
    }
}

/// What it asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send the request of [`Registration::request`].
    Send,
    /// The state is another one now.
    State(RegisterState),
    /// Our requests go this way from now on, the nearest first; empty: no special one (RFC 3608 §6.1).
    ServiceRoute(Vec<NameAddr>),
    /// Forget it; nothing more comes.
    Done,
}

/// Why it wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegisterTimer {
    /// The binding is to be refreshed.
    Refresh,
    /// A failed attempt is to be repeated.
    Retry,
    /// The binding ends, and the way that came with it.
    Lapse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request is out.
    Asking,
    /// Bound, until the refresh.
    Resting,
    /// Not bound, until the next attempt.
    Waiting,
    /// The request that takes the binding away is out.
    Removing,
    /// Over.
    Closed,
}

/// The machine.
#[derive(Debug)]
pub struct Registration {
    config: RegisterConfig,
    seed: Seed,
    phase: Phase,
    state: RegisterState,
    call_id: String,
    from_tag: String,
    cseq: u32,
    expires: u32,
    digest: Option<DigestClient>,
    /// Credentials of the next request.
    answers: Vec<Header>,
    /// Those of the last one.
    answered: Vec<Header>,
    /// Proxies on the way.
    routes: Vec<NameAddr>,
    /// The contact of the last request, and those before it that the registrar may still hold.
    contact: Option<SipUri>,
    former: Vec<SipUri>,
    service_route: Vec<NameAddr>,
    /// When the binding ends that has it.
    lapses_at: Option<Instant>,
    failures: u32,
    /// 423 was obeyed in this attempt.
    has_obeyed: bool,
    is_closing: bool,
    deadline: Option<(Instant, RegisterTimer)>,
    outputs: VecDeque<Output>,
}

impl Registration {
    /// Asks for the first attempt.
    #[must_use]
    pub fn start(config: RegisterConfig, mut seed: Seed) -> Self {
        let state = RegisterState::Registering;
        Self {
            phase: Phase::Asking,
            call_id: seed.token(32),
            from_tag: seed.token(16),
            cseq: seed.next_u32() % 0x7fff,
            expires: u32::try_from(config.expires.as_secs()).unwrap_or(MAX_EXPIRES),
            digest: config.credentials.clone().map(DigestClient::new),
            answers: Vec::new(),
            answered: Vec::new(),
            routes: Vec::new(),
            contact: None,
            former: Vec::new(),
            service_route: Vec::new(),
            lapses_at: None,
            failures: 0,
            has_obeyed: false,
            is_closing: false,
            deadline: None,
            outputs: VecDeque::from([Output::State(state.clone()), Output::Send]),
            state,
            seed,
            config,
        }
    }

    /// State.
    #[must_use]
    pub const fn state(&self) -> &RegisterState {
        &self.state
    }

    /// The registrar is this server from now on, and requests go to it by these proxies: where one of several took over,
    /// which each have a domain of their own.
    pub fn set_registrar(&mut self, host: &Host, port: Option<u16>, routes: Vec<NameAddr>) {
        let RegisterConfig { registrar, aor, .. } = &mut self.config;
        (registrar.host, registrar.port) = (host.clone(), port);
        aor.host = host.clone();
        self.routes = routes;
    }

    /// The request to send now, from this end.
    pub fn request(&mut self, end: &LocalEnd) -> Request {
        let end = LocalEnd { contact_user: self.config.contact_user.clone(), ..end.clone() };
        let contact = end.contact();
        if let Some(last) = self.contact.replace(contact.clone()).filter(|last| *last != contact) {
            self.former.retain(|f| *f != contact && *f != last);
            if self.former.len() >= MAX_FORMER {
                self.former.remove(0);
            }
            self.former.push(last);
        }
        let expires = if self.phase == Phase::Removing { 0 } else { self.expires };
        let bind = |uri: &SipUri, expires: u32| {
            let mut contact = NameAddr::new(uri.clone());
            contact.params.set("expires", Some(&expires.to_string()));
            contact.to_string()
        };
        self.cseq = self.cseq.saturating_add(1);
        let mut r = Request::new(Method::REGISTER, self.config.registrar.as_request_uri().into());
        let mut from = NameAddr::new(self.config.aor.clone());
        from.params.set("tag", Some(&self.from_tag));
        let branch = format!("{MAGIC_COOKIE}{}", self.seed.token(20));
        r.headers.push(HeaderName::Via, end.via(&branch).to_string());
        r.headers.push(HeaderName::MaxForwards, "70");
        r.headers.push(HeaderName::From, from.to_string());
        r.headers.push(HeaderName::To, NameAddr::new(self.config.aor.clone()).to_string());
        r.headers.push(HeaderName::CallId, self.call_id.clone());
        let cseq = CSeq { number: self.cseq, method: Method::REGISTER };
        r.headers.push(HeaderName::CSeq, cseq.to_string());
        self.routes.iter().for_each(|route| r.headers.push(HeaderName::Route, route.to_string()));
        r.headers.push(HeaderName::Contact, bind(&contact, expires));
        self.former.iter().for_each(|uri| r.headers.push(HeaderName::Contact, bind(uri, 0)));
        r.headers.push(HeaderName::Expires, expires.to_string());
        r.headers.push(HeaderName::Allow, super::answer::ALLOW);
        // a registrar refuses by 420 what a proxy's Path came with otherwise (RFC 3327 §5.1, §5.3)
        r.headers.push(HeaderName::Supported, "path");
        r.headers.push(HeaderName::UserAgent, end.agent);
        self.answered = std::mem::take(&mut self.answers);
        self.answered.iter().for_each(|h| r.headers.push_header(h.clone()));
        r
    }

    /// The final response to the request; provisional ones are ignored.
    pub fn handle_response(&mut self, now: Instant, response: &Response) {
        if !self.is_asking() || response.status.is_provisional() {
            return;
        }
        match response.status {
            s if s.is_success() => self.handle_success(now, response),
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                match self.answer(response) {
                    Ok(()) => self.outputs.push_back(Output::Send),
                    Err(why) => self.fail(now, why, None),
                }
            }
            StatusCode::INTERVAL_TOO_BRIEF if self.obey(response) => self.outputs.push_back(Output::Send),
            other => {
                let after = response.headers.retry_after().map(|after| after.min(MAX_RETRY_AFTER));
                let why = match other {
                    StatusCode::FORBIDDEN if !self.answered.is_empty() => RegisterFailure::Forbidden,
                    other => RegisterFailure::Status(other),
                };
                self.fail(now, why, after);
            }
        }
    }

    /// The request got no final response, or could not be sent.
    pub fn handle_failure(&mut self, now: Instant, why: RegisterFailure) {
        if self.is_asking() {
            self.fail(now, why, None);
        }
    }

    /// Refreshes now: the registrar may have forgotten us, or our address may have changed. Harmless while a
    /// request is out.
    pub fn refresh(&mut self) {
        if matches!(self.phase, Phase::Resting | Phase::Waiting) {
            self.ask(Phase::Asking);
        }
    }

    /// Takes the binding away; [`Output::Done`] follows, at the latest with the end of the request. It is
    /// tried once: what stays, times out.
    pub fn close(&mut self) {
        self.is_closing = true;
        match self.phase {
            Phase::Resting | Phase::Waiting if self.contact.is_some() => self.ask(Phase::Removing),
            Phase::Resting | Phase::Waiting => self.end(),
            // the answer of the request that is out comes first
            Phase::Asking | Phase::Removing | Phase::Closed => {}
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.lapses_at.is_some_and(|at| at <= now) {
            self.follow(Vec::new(), None);
        }
        if self.deadline.is_some_and(|(at, _)| at <= now) {
            self.ask(Phase::Asking);
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next wake-up and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, RegisterTimer)> {
        let lapse = self.lapses_at.map(|at| (at, RegisterTimer::Lapse));
        self.deadline.into_iter().chain(lapse).min()
    }

    /// The way of our requests is this one, until then.
    fn follow(&mut self, way: Vec<NameAddr>, until: Option<Instant>) {
        self.lapses_at = until.filter(|_| !way.is_empty());
        if self.service_route != way {
            self.service_route.clone_from(&way);
            self.outputs.push_back(Output::ServiceRoute(way));
        }
    }

    const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking | Phase::Removing)
    }

    /// A new attempt.
    fn ask(&mut self, phase: Phase) {
        self.phase = phase;
        self.deadline = None;
        self.has_obeyed = false;
        self.answers.clear();
        if let Some(digest) = &mut self.digest {
            digest.begin();
        }
        self.outputs.push_back(Output::Send);
    }

    /// Credentials for the next request of this attempt.
    fn answer(&mut self, challenged: &Response) -> Result<(), RegisterFailure> {
        let cnonce = self.seed.token(16);
        let uri = Uri::from(self.config.registrar.as_request_uri()).to_string();
        let digest = self.digest.as_mut().ok_or(RegisterFailure::NoCredentials)?;
        let lines = digest.answer(challenged, &self.answered, &Method::REGISTER, &uri, &cnonce);
        self.answers = lines.map_err(RegisterFailure::Credentials)?;
        Ok(())
    }

    /// Takes a longer lifetime over, once an attempt (RFC 3261 §10.2.8).
    fn obey(&mut self, response: &Response) -> bool {
        let least = response.headers.get(&HeaderName::MinExpires).and_then(|t| t.trim().parse::<u32>().ok());
        let least = least.filter(|l| (self.expires.saturating_add(1)..=MAX_EXPIRES).contains(l));
        match least {
            Some(least) if !self.has_obeyed && self.phase == Phase::Asking => {
                self.has_obeyed = true;
                self.expires = least;
                // a new try: it may be challenged again
                if let Some(digest) = &mut self.digest {
                    digest.begin();
                }
                true
            }
            _ => false,
        }
    }

    fn handle_success(&mut self, now: Instant, response: &Response) {
        if self.phase == Phase::Removing {
            return self.end();
        }
        let Some(expires) = self.granted(response) else {
            return self.fail(now, RegisterFailure::NotBound, None);
        };
        self.former.clear();
        self.failures = 0;
        self.phase = Phase::Resting;
        let expires = Duration::from_secs(u64::from(expires));
        let share = u32::try_from(800 + self.seed.below(101)).unwrap_or(800);
        let rest = (expires.saturating_mul(share) / 1_000).max(MIN_REFRESH);
        self.deadline = Some((now + rest, RegisterTimer::Refresh));
        // one that cannot be read, or is longer than any, is none
        let way = response.headers.routes(&HeaderName::ServiceRoute).unwrap_or_default();
        let way = if way.len() > MAX_SERVICE_ROUTES { Vec::new() } else { way };
        self.follow(way, Some(now + expires));
        self.tell(RegisterState::Registered { expires });
        if self.is_closing {
            self.close();
        }
    }

    /// The lifetime of our contact, in seconds (RFC 3261 §10.2.4): its own, else that of the response, else what
    /// we asked for. A registrar behind NAT may list the address it saw instead of ours, so the user part will
    /// do; one that lists nothing of the kind is believed its 200. None when it says zero.
    fn granted(&self, response: &Response) -> Option<u32> {
        let listed = response.headers.contacts().unwrap_or_default();
        let is_user = |c: &&NameAddr| {
            let uri = c.uri.sip().zip(self.contact.as_ref());
            uri.is_some_and(|(a, b)| a.user_text() == b.user_text())
        };
        let is_ours = |c: &&NameAddr| {
            let uri = c.uri.sip().zip(self.contact.as_ref());
            is_user(c) && uri.is_some_and(|(a, b)| a.host.is_same(&b.host) && a.port == b.port)
        };
        let ours = listed.iter().find(is_ours).or_else(|| listed.iter().find(is_user));
        let own = ours.and_then(|c| c.params.value("expires")).and_then(|e| e.parse().ok());
        let granted = own.or_else(|| response.headers.expires()).unwrap_or(self.expires);
        (granted > 0).then_some(granted.min(MAX_EXPIRES))
    }

    /// `after`: so long it wants to be left alone.
    fn fail(&mut self, now: Instant, why: RegisterFailure, after: Option<Duration>) {
        if self.phase == Phase::Removing {
            return self.end();
        }
        let is_refused = why.is_refusal();
        if is_refused != matches!(&self.state, RegisterState::Failed(before) if before.is_refusal()) {
            self.failures = 0;
        }
        let (first, longest) =
            if is_refused { (FIRST_REFUSED_WAIT, MAX_REFUSED_WAIT) } else { (FIRST_WAIT, MAX_WAIT) };
        let most = first.saturating_mul(1 << self.failures.min(8)).min(longest);
        self.failures = self.failures.saturating_add(1);
        // half of it is random: trunks that lost their PBX together do not come back together
        let half = most / 2;
        let more = self.seed.below(u64::try_from(half.as_millis()).unwrap_or_default() + 1);
        self.phase = Phase::Waiting;
        let wait = half + Duration::from_millis(more);
        self.deadline =
            Some((now + after.map_or(wait, |after| after + wait.min(MAX_WAIT)), RegisterTimer::Retry));
        self.tell(RegisterState::Failed(why.clone()));
        match why {
            _ if !self.is_closing => {}
            RegisterFailure::Timeout | RegisterFailure::Unreachable | RegisterFailure::Unlocated { .. } => {
                self.end();
            }
            _ => self.close(),
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Closed;
        self.deadline = None;
        self.follow(Vec::new(), None);
        self.tell(RegisterState::Closed);
        self.outputs.push_back(Output::Done);
    }

    /// Tells a state that is not the last one told.
    fn tell(&mut self, state: RegisterState) {
        if self.state != state {
            self.state = state.clone();
            self.outputs.push_back(Output::State(state));
        }
    }
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
