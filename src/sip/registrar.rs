//! Where others register: the bindings of addresses-of-record (RFC 3261 §10.3), server side.
//!
//! Drive it: hand a REGISTER whose sender has proved whose address-of-record it speaks for to
//! [`Registrar::handle_register`] and send the answer back; drain [`Registrar::poll_output`]; wake it at
//! [`Registrar::poll_timeout`]. Calls go to [`Registrar::best`], or to several of [`Registrar::ranked`]. The caller decides which addresses-of-record
//! there are, so their number is bounded; each has [`RegistrarConfig::max_bindings`] at most, of bounded size.
//!
//! A REGISTER does all it asks or nothing. A further contact beyond the cap pushes the oldest out: a PBX that
//! starts anew with another contact each time must not shut itself out. Path (RFC 3327) is kept with the
//! binding. Of RFC 5626 a binding of the same instance and reg-id is replaced (§6); that flows are kept alive is
//! not promised, so `outbound` is not required back. RFC 3261 §10.3 step 8 not followed: the answer has no Date,
//! as no clock of day comes in here. Left out: GRUU, Service-Route, contacts that are no `sip:` URI, and `sips:` ones that
//! do not come by TLS.

mod saved;

use super::answer::Answer;
use super::dialog::numeric_hop;
use super::{Flow, HeaderName, Headers, Hop, NameAddr, Params, Request, SipUri, StatusCode, Uri};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

pub use saved::SavedBinding;

/// What stands for a lifetime that cannot be read (RFC 3261 §20.10, §20.19).
const MALFORMED_EXPIRES: u32 = 3_600;
/// Longest contact with its parameters, in bytes; Asterisk's with `line` has 70.
const MAX_CONTACT: usize = 512;
/// Longest Call-ID, in bytes.
const MAX_CALL_ID: usize = 256;
/// Most Path elements, and the longest, in bytes.
const MAX_PATH: (usize, usize) = (8, 256);

/// Bounds of the bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// Shortest lifetime; who asks for less hears 423.
    pub least: Duration,
    /// Lifetime of who asks for none.
    pub usual: Duration,
    /// Longest lifetime; who asks for more gets this.
    pub most: Duration,
    /// Most bindings of an address-of-record.
    pub max_bindings: usize,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            least: Duration::from_secs(60), // a refresh a minute is enough for the keepers of any NAT
            usual: Duration::from_secs(3_600), // RFC 3261 §10.2 suggests an hour
            most: Duration::from_secs(3_600), // one that is gone for good is forgotten within the hour
            max_bindings: 10,
        }
    }
}

/// Where an address-of-record can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The contact, as it was registered.
    pub contact: SipUri,
    /// Proxies on the way there, the nearest to us first (RFC 3327 §5.3).
    pub path: Vec<NameAddr>,
    /// How the REGISTER came.
    pub flow: Flow,
    /// When it ends.
    pub until: Instant,
    /// Preference, in thousandths (RFC 3261 §10.2.1.2); 1000 when nothing was said.
    pub q: u16,
    /// Parameters of the contact but for the lifetime; they are told back.
    params: Params,
    /// `+sip.instance` and `reg-id` (RFC 5626 §4.2).
    instance: Option<(String, String)>,
    call_id: String,
    cseq: u32,
    /// Higher for one that came to be later.
    serial: u64,
}

impl Binding {
    /// Tells it from every other binding, also from one that takes its place and leads elsewhere.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.serial
    }

    /// Where a call goes first: to the first proxy of the path, else to the contact; back the way the REGISTER
    /// came where that is a connection (RFC 5626 §5.3: the only one that a NAT lets through), where the place is
    /// named and not numbered, or speaks another transport, or for a peer behind NAT (`is_symmetric`).
    ///
    /// A connection that is open no more leads nowhere: then it is the place itself by the transport that it names,
    /// where it has an address that can be reached from here, and nowhere else. `is_open` says whether one is.
    #[must_use]
    pub fn hop(&self, is_symmetric: bool, is_open: impl FnOnce(Hop) -> bool) -> Option<Hop> {
        let place = self.path.first().and_then(|p| p.uri.sip()).unwrap_or(&self.contact);
        let back = self.flow.hop();
        if back.transport.is_reliable() {
            return if is_open(back) { Some(back) } else { self.anew(place) };
        }
        let transport = place.param("transport").flatten();
        let is_udp = transport.is_none_or(|t| t.eq_ignore_ascii_case("udp"));
        Some(match place.host.ip() {
            Some(ip) if is_udp && !is_symmetric => SocketAddr::new(ip, place.port.unwrap_or(5060)).into(),
            _ => back,
        })
    }

    /// Where a new connection to a place leads, none to one that is behind NAT.
    fn anew(&self, place: &SipUri) -> Option<Hop> {
        let remote = self.flow.path.remote.ip();
        let is_hidden = |ip: IpAddr| ip != remote && is_private(ip) && !is_private(remote);
        numeric_hop(place, &self.flow).filter(|hop| !is_hidden(hop.address.ip()))
    }

    /// The higher the better: q, then how new it is.
    const fn rank(&self) -> (u16, u64) {
        (self.q, self.serial)
    }

    /// Whether a binding takes the place of this one.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.instance, &other.instance) {
            // RFC 5626 §6: whatever the contacts are
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.contact.is_equivalent(&other.contact),
        }
    }

    /// Whether a call would go another way than by the other.
    fn leads_elsewhere(&self, other: &Self) -> bool {
        self.contact != other.contact || self.path != other.path || self.flow.hop() != other.flow.hop()
    }

    /// As it stands in an answer (RFC 3261 §10.3 step 8): with what is left of it, in seconds.
    fn line(&self, now: Instant) -> String {
        let left = self.until.saturating_duration_since(now);
        let left = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
        let mut line = NameAddr::new(self.contact.clone());
        line.params = self.params.clone();
        line.params.set("expires", Some(&left.to_string()));
        line.to_string()
    }
}

/// What became of an address-of-record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It can be reached now.
    Registered(Box<Binding>),
    /// Calls to it go elsewhere now.
    Moved(Box<Binding>),
    /// It cannot be reached any more: its binding was taken away.
    Removed,
    /// Likewise: its binding was not refreshed in time.
    Expired,
}

/// The bindings of all addresses-of-record.
#[derive(Debug, Default)]
pub struct Registrar {
    config: RegistrarConfig,
    bindings: BTreeMap<String, Vec<Binding>>,
    serial: u64,
    outputs: VecDeque<(String, Change)>,
}

/// What all contacts of a REGISTER have in common.
struct Sent<'a> {
    now: Instant,
    headers: &'a Headers,
    path: &'a [NameAddr],
    flow: &'a Flow,
    call_id: &'a str,
    cseq: u32,
}

/// What a REGISTER asks of one contact.
struct Asked {
    binding: Binding,
    /// None takes it away.
    lifetime: Option<Duration>,
}

impl Registrar {
    /// Nobody is registered.
    #[must_use]
    pub fn new(config: RegistrarConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The answer to a REGISTER for this address-of-record, whose sender may speak for it.
    pub fn handle_register(&mut self, now: Instant, aor: &str, request: &Request, flow: &Flow) -> Answer {
        self.handle_timeout(now);
        let before = self.bindings.get(aor).cloned().unwrap_or_default();
        let after = match self.updated(now, &before, request, flow) {
            Ok(after) => after,
            Err(refusal) => return refusal,
        };
        let mut answer = Answer::new(StatusCode::OK);
        for binding in &after {
            answer = answer.with(HeaderName::Contact, binding.line(now));
        }
        for path in request.headers.all(&HeaderName::Path) {
            answer = answer.with(HeaderName::Path, path); // RFC 3327 §5.3
        }
        self.put(aor, after, Change::Removed);
        answer
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |list: &&Vec<Binding>| list.iter().any(|b| b.until <= now);
        let due: Vec<String> =
            self.bindings.iter().filter(|(_, list)| is_due(list)).map(|(aor, _)| aor.clone()).collect();
        for aor in due {
            let mut list = self.bindings.get(&aor).cloned().unwrap_or_default();
            list.retain(|b| b.until > now);
            self.put(&aor, list, Change::Expired);
        }
    }

    /// The next change.
    pub fn poll_output(&mut self) -> Option<(String, Change)> {
        self.outputs.pop_front()
    }

    /// When the next binding ends.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bindings.values().flatten().map(|b| b.until).min()
    }

    /// The bindings of an address-of-record.
    #[must_use]
    pub fn bindings(&self, aor: &str) -> &[Binding] {
        self.bindings.get(aor).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where calls to an address-of-record go at this time: the highest q, of those the newest.
    #[must_use]
    pub fn best(&self, now: Instant, aor: &str) -> Option<&Binding> {
        best(self.bindings(aor).iter().filter(|b| b.until > now))
    }

    /// All places of an address-of-record at this time, in that order.
    #[must_use]
    pub fn ranked(&self, now: Instant, aor: &str) -> Vec<&Binding> {
        let mut ranked: Vec<&Binding> = self.bindings(aor).iter().filter(|b| b.until > now).collect();
        ranked.sort_by_key(|b| std::cmp::Reverse(b.rank()));
        ranked
    }

    /// Replaces the bindings and tells what that changes; `gone` says why there are none any more.
    fn put(&mut self, aor: &str, after: Vec<Binding>, gone: Change) {
        let old = best(self.bindings(aor).iter());
        let change = match (old, best(after.iter())) {
            (None, Some(new)) => Some(Change::Registered(Box::new(new.clone()))),
            (Some(old), Some(new)) if new.leads_elsewhere(old) => Some(Change::Moved(Box::new(new.clone()))),
            (Some(_), None) => Some(gone),
            _ => None,
        };
        if after.is_empty() {
            self.bindings.remove(aor);
        } else {
            self.bindings.insert(aor.to_owned(), after);
        }
        self.outputs.extend(change.map(|change| (aor.to_owned(), change)));
    }

    /// The bindings as a REGISTER leaves them (RFC 3261 §10.3 steps 6 and 7).
    fn updated(
        &mut self,
        now: Instant,
        before: &[Binding],
        request: &Request,
        flow: &Flow,
    ) -> Result<Vec<Binding>, Answer> {
        let headers = &request.headers;
        let path = read_path(headers)?;
        let contacts = headers.list(&HeaderName::Contact).map_err(|why| refuse(why.0))?;
        let (call_id, cseq) = match (headers.call_id(), headers.cseq()) {
            (Ok(call_id), Ok(cseq)) if call_id.len() <= MAX_CALL_ID => (call_id, cseq.number),
            (Ok(_), Ok(_)) => return Err(refuse("Call-ID Too Long")),
            (Err(why), _) | (_, Err(why)) => return Err(refuse(why.0)),
        };
        let is_late = |old: &Binding| old.call_id == call_id && old.cseq >= cseq;
        if contacts.contains(&"*") {
            if contacts.len() > 1 || headers.get(&HeaderName::Expires).map(lifetime) != Some(0) {
                return Err(refuse("Bad Use Of Contact *"));
            }
            return if before.iter().any(is_late) { Err(out_of_order()) } else { Ok(Vec::new()) };
        }
        let sent = Sent { now, headers, path: &path, flow, call_id, cseq };
        let asked = contacts
            .into_iter()
            .map(|c| {
                NameAddr::parse(c).map_err(|why| refuse(why.0)).and_then(|c| self.read_contact(c, &sent))
            })
            .collect::<Result<Vec<Asked>, Answer>>()?;
        if asked.iter().filter(|a| a.lifetime.is_some()).count() > self.config.max_bindings {
            return Err(Answer {
                phrase: Some("Too Many Contacts".to_owned()),
                ..Answer::new(StatusCode::FORBIDDEN)
            });
        }
        // what stands twice in one request is not late: the last of them counts
        if asked.iter().any(|a| before.iter().any(|old| old.is_same(&a.binding) && is_late(old))) {
            return Err(out_of_order());
        }
        let mut after = before.to_vec();
        for Asked { mut binding, lifetime } in asked {
            let old = after.iter().position(|old| old.is_same(&binding)).map(|at| after.remove(at));
            let Some(lifetime) = lifetime else { continue };
            binding.until = now + lifetime;
            binding.serial = match old {
                // a refresh makes it no newer; a new start, or another way to it, does
                Some(old) if old.call_id == binding.call_id && !binding.leads_elsewhere(&old) => old.serial,
                _ => {
                    self.serial = self.serial.saturating_add(1);
                    self.serial
                }
            };
            after.push(binding);
        }
        while after.len() > self.config.max_bindings {
            let oldest = after.iter().enumerate().min_by_key(|(_, b)| b.serial).map(|(at, _)| at);
            oldest.into_iter().for_each(|at| drop(after.remove(at)));
        }
        Ok(after)
    }

    /// One contact and how long it is to live.
    fn read_contact(&self, contact: NameAddr, sent: &Sent<'_>) -> Result<Asked, Answer> {
        let NameAddr { uri, mut params, .. } = contact;
        let uri = match uri {
            Uri::Sip(uri) if !uri.is_secure || sent.flow.transport.is_secure() => *uri,
            Uri::Sip(_) => return Err(refuse("sips Contact Needs TLS")),
            Uri::Other { .. } => return Err(refuse("Contact Is No sip: URI")),
        };
        if let Some(refusal) = uncallable(&uri, sent.flow) {
            return Err(refusal);
        }
        if uri.to_string().len() + params.to_string().len() > MAX_CONTACT {
            return Err(refuse("Contact Too Long"));
        }
        let own = params.find("expires").map(|e| lifetime(e.unwrap_or_default()));
        let asked = own.or_else(|| sent.headers.get(&HeaderName::Expires).map(lifetime));
        let asked = asked.map_or(self.config.usual, |s| Duration::from_secs(u64::from(s)));
        // RFC 3261 §10.3 step 7: only of less than an hour may it be said that it is too brief
        if !asked.is_zero() && asked < self.config.least && asked < Duration::from_secs(3_600) {
            let least = self.config.least.as_secs().to_string();
            return Err(Answer::new(StatusCode::INTERVAL_TOO_BRIEF).with(HeaderName::MinExpires, least));
        }
        params.remove("expires");
        let binding = Binding {
            contact: uri,
            path: sent.path.to_vec(),
            flow: *sent.flow,
            until: sent.now,
            q: params.value("q").map_or(1_000, thousandths),
            instance: params.text("+sip.instance").zip(params.value("reg-id").map(str::to_owned)),
            params,
            call_id: sent.call_id.to_owned(),
            cseq: sent.cseq,
            serial: 0,
        };
        let lifetime = (!asked.is_zero()).then(|| asked.min(self.config.most));
        Ok(Asked { binding, lifetime })
    }
}

/// The refusal of a contact that no call could reach: by a transport that is not spoken here, at an address that is
/// nobody's, or ourselves.
fn uncallable(contact: &SipUri, flow: &Flow) -> Option<Answer> {
    if let Some(transport) = contact.param("transport").flatten()
        && !["udp", "tcp", "tls"].iter().any(|known| transport.eq_ignore_ascii_case(known))
    {
        return Some(refuse("Transport Of Contact Is Not Served"));
    }
    let (local, ip) = (flow.path.local, contact.host.ip().map(|ip| ip.to_canonical()));
    let port = contact.port.unwrap_or(if contact.is_secure { 5061 } else { 5060 });
    let is_broadcast = ip == Some(Ipv4Addr::BROADCAST.into());
    if is_broadcast || port == 0 || ip.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Some(refuse("Contact Cannot Be Called"));
    }
    // bound to the wildcard, we are at every loopback address
    let is_wild = local.ip().to_canonical().is_unspecified();
    let is_ours = ip.is_some_and(|ip| ip == local.ip().to_canonical() || is_wild && ip.is_loopback());
    (is_ours && port == local.port()).then(|| refuse("Contact Is Our Own Address"))
}

/// Whether an address means something within one network alone (RFC 1918, RFC 4193, RFC 6598).
const fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

fn best<'a>(bindings: impl Iterator<Item = &'a Binding>) -> Option<&'a Binding> {
    bindings.max_by_key(|b| b.rank())
}

/// The way that Path names (RFC 3327 §5.3). A client that does not know of it must hear that a proxy put one in:
/// it would not look for it in the answer.
fn read_path(headers: &Headers) -> Result<Vec<NameAddr>, Answer> {
    let path = headers.routes(&HeaderName::Path).map_err(|_| refuse("Bad Path"))?;
    let (most, longest) = MAX_PATH;
    if path.len() > most || path.iter().any(|p| p.uri.sip().is_none() || p.to_string().len() > longest) {
        return Err(refuse("Bad Path"));
    }
    let is_known = headers.tokens(&HeaderName::Supported).iter().any(|t| t.eq_ignore_ascii_case("path"));
    if path.is_empty() || is_known {
        return Ok(path);
    }
    Err(Answer::new(StatusCode::BAD_EXTENSION).with(HeaderName::Unsupported, "path"))
}

/// Seconds as they are written; more than can be counted is the most there is.
fn lifetime(text: &str) -> u32 {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return MALFORMED_EXPIRES;
    }
    text.parse().unwrap_or(u32::MAX)
}

/// A q value in thousandths (RFC 3261 §25.1 `qvalue`); what is none says nothing.
fn thousandths(text: &str) -> u16 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_part = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    match (whole, is_part) {
        ("0", true) => format!("{part:0<3}").parse().unwrap_or(1_000),
        _ => 1_000,
    }
}

fn refuse(phrase: &str) -> Answer {
    Answer { phrase: Some(phrase.to_owned()), ..Answer::new(StatusCode::BAD_REQUEST) }
}

/// An older request came later, and changes nothing (RFC 3261 §10.3 step 7: one update that fails has all of them
/// fail, with this status).
fn out_of_order() -> Answer {
    Answer { phrase: Some("CSeq Out Of Order".to_owned()), ..Answer::new(StatusCode::SERVER_ERROR) }
}

#[cfg(test)]
#[path = "registrar_tests.rs"]
mod tests;
