//! Dials and is dialled: finds the trunk's address, starts a SIP session or takes one, and carries words between it
//! and the call.

mod admission;
mod finder;
mod kept;
mod legs;
mod notes;
mod registrations;
mod upkeep;
#[cfg(test)]
mod way_tests;

use super::branches::Ring;
use super::config::{Place, Trunk};
use super::inbound::{Bindings, Inbound};
use super::logins::FailedLogins;
use super::occupancy::Occupied;
use super::targets::Target as Found;
use super::unregistered::Unregistered;
use crate::base::{CallId, Cause, Excerpt, LegId, Path, Pii, Seed, Services, StateDirectory};
use crate::call::io::{Dialer, LEG_COMMANDS, LegRef, OpenedLeg};
use crate::call::leg::{LegCommand, LegProfile};
use crate::call::port::{Codec, MediaProfile, OwnAddress};
use crate::call::route::{Group, Source, Target};
use crate::edge::contract::EdgeContext;
use crate::registry::{Account, Registry};
use crate::sip::digest::Credentials;
use crate::sip::endpoint::{Replaced, RequestHandler, Verdict};
use crate::sip::io::{Dial, IncomingSession, SessionHandle, SipStack};
use crate::sip::registrar::Binding;
use crate::sip::session::{CallFailure, SessionCommand, SessionEvent};
use crate::sip::{Answer, Flow, Hop, Host, Method, NameAddr, Refer, Replaces, Request, StatusCode};
use crate::ua::{
    Action, Destination, Identity, IncomingLeg, Login, Logins, Others, OutgoingLeg, Terms, cause,
};
use admission::{Held, no_place};
use async_trait::async_trait;
use finder::{Finder, Lost};
use kept::Kept;
pub(super) use legs::Legs;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

/// Most places that one call tries.
const MAX_TRIES: usize = 8;

/// Places calls by the configured trunks.
pub(super) struct TrunkDialer {
    trunks: BTreeMap<String, Arc<Trunk>>,
    bindings: Bindings,
    legs: Legs,
    /// Of each trunk, the accounts that have an extension of its PBX.
    lines: BTreeMap<String, Arc<BTreeMap<String, Login>>>,
    sip: Arc<SipStack>,
    finder: Finder,
}

impl TrunkDialer {
    pub(super) fn new(
        trunks: Vec<Arc<Trunk>>,
        bindings: Bindings,
        legs: Legs,
        services: &Services,
    ) -> Result<Self, String> {
        let finder = Finder::new(services).ok_or("trunks need the SIP stack, which was not started")?;
        let sip = finder.sip.clone();
        // its keep-alives and calls shall not wait behind strangers
        let places = trunks.iter().flat_map(|t| t.places.iter().chain(&t.proxy));
        places.filter_map(Place::ip).for_each(|ip| sip.trust(ip));
        trunks.iter().flat_map(|t| t.access.networks()).for_each(|network| sip.trust_network(*network));
        trunks.iter().try_for_each(|t| t.start_tls(&sip, services))?;
        let registry = services.get::<Registry>();
        let lines = trunks.iter().map(|t| (t.name.clone(), Arc::new(t.lines(registry.as_deref())))).collect();
        let trunks = trunks.into_iter().map(|t| (t.name.clone(), t)).collect();
        Ok(Self { trunks, bindings, legs, lines, sip, finder })
    }

    /// Where a call to a trunk goes, from which address of ours, and where else when nobody is there; see [`Self::registered`]
    /// for `place`.
    async fn destinations(
        &self,
        call: CallId,
        trunk: &Trunk,
        place: Option<u64>,
    ) -> Result<(Destination, IpAddr, Others), Cause> {
        if trunk.takes_registration {
            let registered = self.registered(trunk, place)?;
            let Some(source) = self.sip.source(registered.hop).await else {
                warn!(%call, trunk = trunk.name, address = %registered.hop.address, "there is no route to where the PBX registered");
                return Err(Cause::Unreachable);
            };
            return Ok((registered, source, Others::default()));
        }
        // nobody has answered lately: the next target of the route shall not wait for nobody to answer again
        if trunk.is_down() {
            return Err(Cause::Unreachable);
        }
        let found = self.finder.find(trunk, self.finder.fork_seed()).await.map_err(|Lost { host, why }| {
            info!(%call, trunk = trunk.name, host, why, "the call has nowhere to go: the trunk's host cannot be looked up");
            Cause::Unreachable
        })?;
        let mut found = found.iter().map(|target| trunk.destination(target));
        let (first, source) = loop {
            let Some(next) = found.next() else {
                warn!(%call, trunk = trunk.name, "the call has nowhere to go: there is no route to the trunk");
                return Err(Cause::Unreachable);
            };
            match self.sip.source(next.hop).await {
                Some(source) => break (next, source),
                None => {
                    info!(%call, trunk = trunk.name, address = %next.hop.address, "there is no route to a place of the trunk, which is passed over");
                }
            }
        };
        // our offer names an address that the first place reaches, as others of its kind do
        let kind =
            |d: &Destination| (d.hop.address.is_ipv4(), d.hop.address.ip().to_canonical().is_loopback());
        let others = found.filter(|other| kind(other) == kind(&first)).take(MAX_TRIES - 1).collect();
        Ok((first, source, Others { destinations: others, silence_limit: trunk.failover_after }))
    }

    /// Where a PBX registered, and how it is addressed there; `place` is one of its bindings, by default the best at
    /// which somebody answers.
    fn registered(&self, trunk: &Trunk, place: Option<u64>) -> Result<Destination, Cause> {
        let bindings = self.bindings.lock();
        let ranked = bindings.ranked(Instant::now(), &trunk.name);
        let is_meant = |b: &&&Binding| place.is_none_or(|id| b.id() == id) && !trunk.is_away(b.id());
        let binding = ranked.iter().find(is_meant).ok_or(Cause::Unreachable)?;
        let hop = registrations::hop(trunk, binding, &self.sip).ok_or_else(|| {
            info!(
                trunk = trunk.name,
                "the connection that the PBX registered by has closed, and its contact is out of reach"
            );
            Cause::Unreachable
        })?;
        Ok(Destination { hop, identity: trunk.identity_at(binding) })
    }
}

#[async_trait]
impl Dialer for TrunkDialer {
    async fn open(&self, leg: LegRef, target: &Target) -> Result<OpenedLeg, Cause> {
        let trunk = self.trunks.get(&target.name).ok_or(Cause::Unavailable)?.clone();
        let occupied = trunk.admit_dialled(leg.call).ok_or(Cause::Congestion)?;
        let (destination, source, others) = self.destinations(leg.call, &trunk, target.place).await?;
        let Destination { hop, identity } = &destination;
        if let (Some(_), Some(contact)) = (target.place, &identity.contact) {
            let contact = contact.to_string();
            info!(call = %leg.call, leg = %leg.leg, trunk = trunk.name, contact = %Excerpt(&contact), "one of its places");
        }
        let profile = trunk
            .profile(trunk.media.codecs.clone(), Path { local: (source, 0).into(), remote: hop.address });
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        let terms = trunk.terms(hop.address, &identity.host);
        let of_accounts = self.lines.get(&trunk.name).cloned().unwrap_or_default();
        let service_routes = trunk.service_routes().clone();
        let logins = Logins { own: trunk.credentials(), of_accounts, service_routes };
        let outgoing = OutgoingLeg::new(destination, others, logins, trunk.is_symmetric, trunk.timers, terms);
        let outgoing = Box::new(outgoing);
        let here = Here { trunk: trunk.name.clone(), sip: self.sip.clone(), legs: self.legs.clone() };
        tokio::spawn(run(here, trunk, outgoing, leg, inbox, occupied));
        Ok(OpenedLeg { profile, commands })
    }

    fn groups(&self, target: &Target) -> Vec<Group> {
        let Some(trunk) = self.trunks.get(&target.name) else {
            return Ring::First.groups(target, &[]);
        };
        let bindings = self.bindings.lock();
        let ranked = bindings.ranked(Instant::now(), &trunk.name);
        let known: Vec<(u64, u16)> = ranked.iter().map(|b| (b.id(), b.q)).collect();
        trunk.ring.groups(target, &known)
    }
}

/// Lets the trunks' calls in, and takes them.
pub(super) fn serve(trunks: Vec<Arc<Trunk>>, bindings: Bindings, legs: &Legs, context: &EdgeContext) {
    let Some(finder) = Finder::new(&context.services).map(Arc::new) else { return };
    let sip = finder.sip.clone();
    let mut entropy = [0; 32];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut entropy);
    let inbound =
        Inbound::new(&trunks, Instant::now(), Seed::from_bytes(entropy)).registering(bindings.clone());
    let registered = Arc::new(Notify::new());
    if inbound.is_registrar() {
        let is_known = |name: &str| trunks.iter().any(|t| t.takes_registration && t.name == name);
        let state = context.services.get::<StateDirectory>();
        let kept = state.map(|directory| Kept::restored(&directory, &bindings, is_known));
        let (registered, sip) = (registered.clone(), sip.clone());
        tokio::spawn(registrations::look_after(trunks.clone(), bindings, registered, sip, kept));
    }
    sip.set_handler(Arc::new(Gate { inbound: Mutex::new(inbound), registered }));
    for trunk in trunks {
        let mut sessions = sip.serve(&trunk.name);
        if !trunk.takes_registration {
            let lines = trunk.lines(Some(&context.registry));
            if trunk.shuts_out_unasked() && (trunk.register.is_some() || !lines.is_empty()) {
                warn!(
                    trunk = trunk.name,
                    "we register there, and its calls will be refused, as its host is a name: write \
                     inbound = \"address\", inbound_networks or inbound_user, or inbound = \"off\" if that is meant"
                );
            }
            tokio::spawn(upkeep::look_after(trunk.clone(), lines, finder.clone()));
        }
        let context = context.clone();
        let here = Here { trunk: trunk.name.clone(), sip: sip.clone(), legs: legs.clone() };
        tokio::spawn(async move {
            while let Some(session) = sessions.recv().await {
                take(&trunk, &here, session, &context).await;
            }
        });
    }
}

/// Asks [`Inbound`], and logs who was refused.
struct Gate {
    inbound: Mutex<Inbound>,
    /// Told of every REGISTER.
    registered: Arc<Notify>,
}

impl RequestHandler for Gate {
    fn handle(&self, now: Instant, request: &Request, flow: &Flow) -> Verdict {
        let ((verdict, failed), unregistered) = {
            let mut inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
            (inbound.handle(now, request, flow), inbound.take_unregistered())
        };
        if request.method == Method::REGISTER {
            self.registered.notify_one();
        }
        if let Some(Unregistered { trunk, status, phrase, remedy, count }) = unregistered {
            let (source, status) = (flow.path.remote.ip().to_canonical(), status.code());
            let remedy = remedy.map(tracing::field::display);
            warn!(trunk, %source, status, phrase, remedy, count, "the PBX may not register here");
        }
        if let Some(failed) = failed {
            let FailedLogins { source, user, attempts, is_shut } = failed;
            let (transport, method) = (flow.transport.as_str(), &request.method);
            if is_shut {
                warn!(%source, user, transport, %method, attempts, "login refused; too many: from an address that has not logged in, further ones get 403 for a while");
            } else {
                warn!(%source, user, transport, %method, attempts, "login refused");
            }
        }
        verdict
    }

    fn serves(&self) -> &'static [Method] {
        &[Method::REGISTER, Method::NOTIFY]
    }
}

/// What a leg of a trunk works with.
#[derive(Clone)]
struct Here {
    trunk: String,
    sip: Arc<SipStack>,
    legs: Legs,
}

impl Here {
    /// The leg of this trunk that an INVITE with Replaces takes the place of.
    ///
    /// # Errors
    /// What the INVITE hears (RFC 3891 §3): of the calls that nobody has answered, those that we have placed can be picked
    /// up. A call of another trunk is none that this one may know of.
    async fn find(&self, replaces: &Replaces) -> Result<(CallId, LegId), StatusCode> {
        let token = match self.sip.find(replaces.clone()).await {
            Replaced::Unknown | Replaced::Ringing { is_ours: false, .. } => Err(StatusCode::NO_SUCH_CALL),
            Replaced::Over => Err(StatusCode::DECLINE),
            Replaced::Talking(_) if replaces.is_early_only => Err(StatusCode::BUSY_HERE),
            Replaced::Talking(token) | Replaced::Ringing { call: token, .. } => Ok(token),
        }?;
        self.legs.get(token, &self.trunk).ok_or(StatusCode::NO_SUCH_CALL)
    }

    /// The leg of this trunk that a REFER wants replaced. It may be one of a call that rings here, for no INVITE is made of
    /// it: who is transferred waits in the stead of who called.
    async fn named(&self, refer: &Refer) -> Option<(CallId, LegId)> {
        let replaces = refer.replaces.as_ref()?;
        match self.sip.find(replaces.clone()).await {
            Replaced::Ringing { call, .. } => self.legs.get(call, &self.trunk),
            _ => self.find(replaces).await.ok(),
        }
    }
}

/// Makes a call of a session, has it take the place of another one's leg, or refuses it.
async fn take(trunk: &Arc<Trunk>, here: &Here, incoming: IncomingSession, context: &EdgeContext) {
    let IncomingSession { invite, handle, events } = incoming;
    let refuse = |answer: Answer| handle.command(SessionCommand::Refuse(answer));
    let answer_to = |cause| match StatusCode::new(cause::to_status(cause)) {
        None | Some(StatusCode::SERVICE_UNAVAILABLE) => no_place(),
        Some(status) => Answer::new(status),
    };
    let profile = trunk.profile(trunk.media.codecs_in.clone(), invite.flow.path);
    let terms = trunk.terms(invite.flow.path.remote, &trunk.sip_host());
    let (leg, told) = match IncomingLeg::start(&invite, terms, profile) {
        Ok((leg, told)) => (Box::new(leg), told),
        Err(answer) => {
            notes::note_unstarted(trunk, &invite, handle.call_id(), answer.status);
            return refuse(answer).await;
        }
    };
    let old = match Replaces::of(&invite.headers) {
        Ok(None) => None,
        // it is a transfer by another word (RFC 3891 §3)
        Ok(Some(_)) if !trunk.may_transfer => return refuse(Answer::new(StatusCode::FORBIDDEN)).await,
        Ok(Some(replaces)) => match here.find(&replaces).await {
            Ok(old) => Some(old),
            Err(status) => return refuse(Answer::new(status)).await,
        },
        Err(answer) => return refuse(answer).await,
    };
    let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
    let from = invite.flow.hop();
    let run = |held, call| {
        let session = (handle.clone(), events);
        drop(tokio::spawn(run_incoming(here.clone(), leg, from, session, call, inbox, held)));
    };
    if let Some((call, old)) = old {
        let held = trunk.admit_replacing();
        return match context.switch.replace(call, old, told, commands).await {
            Ok(call) => run(held, call),
            Err(_) => refuse(Answer::new(StatusCode::NO_SUCH_CALL)).await,
        };
    }
    let Some((held, permit)) = trunk.admit(&context.registry) else { return refuse(no_place()).await };
    match context.switch.incoming(told, commands, Box::new(permit)) {
        Ok(call) => run(held, call),
        Err(cause) => refuse(answer_to(cause.into())).await,
    }
}

/// Says which SIP call a leg is, so that the PBX's log and a trace can be laid beside ours.
fn name_leg(call: &LegRef, trunk: &str, at: Hop, session: &SessionHandle) {
    let (address, transport, id) = (at.address, at.transport.as_str(), session.call_id());
    info!(call = %call.call, leg = %call.leg, trunk, %address, transport, sip_call_id = %Excerpt(id), "SIP call of the leg");
}

/// One leg that called us, until its call or its session is over; whichever goes first, the other is told.
async fn run_incoming(
    here: Here,
    mut leg: Box<IncomingLeg>,
    from: Hop,
    (session, mut events): (SessionHandle, mpsc::Receiver<SessionEvent>),
    call: LegRef,
    mut commands: mpsc::Receiver<LegCommand>,
    mut held: Held,
) {
    let _known = here.legs.add(session.token(), &here.trunk, &call);
    name_leg(&call, &here.trunk, from, &session);
    while !leg.is_over() {
        let mut action = tokio::select! {
            command = commands.recv() => {
                leg.handle_command(command.unwrap_or(LegCommand::Hangup(Cause::Internal.into())))
            }
            event = events.recv() => match event {
                Some(event) => {
                    held.hear(&event);
                    notes::note_trouble(&here.trunk, &call, &event);
                    let unusable = notes::unusable(&event);
                    let action = leg.handle_session(event);
                    notes::note_unusable(&here.trunk, &call, leg.parting().as_ref(), unusable);
                    action
                }
                None => leg.fail(Cause::Internal).map_or(Action::None, Action::Tell),
            }
        };
        if let Action::Find(refer) = &action {
            let found = here.named(refer).await;
            action = leg.handle_found(refer, found);
        }
        match action {
            Action::Session(command) => session.command(command).await,
            Action::Tell(word) => {
                if !call.send(word).await {
                    break;
                }
            }
            Action::Dial(_) | Action::Find(_) | Action::None => {}
        }
    }
    // also after an end that the session knows nothing of, as with a leg that we called
    session.hangup(leg.parting()).await;
}

impl Trunk {
    /// What a leg of this trunk can do, whose signalling goes that way.
    fn profile(&self, codecs: Vec<Codec>, way: Path) -> LegProfile {
        let own_address = match self.media.address {
            Some(address) => OwnAddress::Fixed(address),
            // bound to the wildcard: the system says which it is
            None if way.local.ip().is_unspecified() => OwnAddress::Towards,
            None => OwnAddress::Signalling(way.local.ip().to_canonical()),
        };
        LegProfile {
            media: MediaProfile::Rtp {
                codecs,
                towards: way.remote.ip(),
                own_address,
                external: self.external,
                is_symmetric: self.is_symmetric,
                encryption: self.media.encryption,
                is_avpf: self.media.is_avpf,
                hold_music: self.hold_music.clone(),
            },
            takes_offer: true,
            takes_reoffer: true,
            may_detach: false,
            takes_keys: self.keys_by_info,
            account: None,
        }
    }

    /// What its calls may do; `address` and `host` mean the PBX itself, as all its places do.
    fn terms(&self, address: SocketAddr, host: &Host) -> Terms {
        let usual = |port: Option<u16>| port.unwrap_or_else(|| self.transport.default_port());
        let port = self.places.first().map_or_else(|| usual(None), |place| usual(place.port));
        let ip = |address: SocketAddr| Host::from(address.ip().to_canonical());
        let here = [host.clone(), ip(address)];
        let mut places: Vec<(Host, u16)> =
            here.into_iter().flat_map(|h| [(h.clone(), port), (h, address.port())]).collect();
        places.extend(self.places.iter().map(|place| (place.sip_host(), usual(place.port))));
        if self.proxy.is_none() {
            places.extend(self.targets().located().iter().map(|hop| (ip(hop.address), hop.address.port())));
        }
        places.sort();
        places.dedup();
        Terms {
            source: Source::Trunk(self.name.clone()),
            target: Target { edge: "trunk", name: self.name.clone(), number: String::new(), place: None },
            // one that registers may have no host of its own
            host: Some(host)
                .filter(|host| **host != Host::Name(String::new()))
                .cloned()
                .unwrap_or_else(|| ip(address)),
            places,
            policy: self.policy.clone(),
            is_secure: self.transport.is_secure(),
            keys_by_info: self.keys_by_info,
            may_transfer: self.may_transfer,
            follows_redirects: self.follows_redirects,
        }
    }

    /// Our addresses that it can be reached from.
    fn listening<'a>(&self, sip: &'a SipStack) -> &'a [SocketAddr] {
        if self.transport.is_secure() { sip.tls_addresses() } else { sip.addresses() }
    }

    /// Its host as SIP writes it.
    fn sip_host(&self) -> Host {
        self.places.first().map_or_else(|| Host::Name(String::new()), Place::sip_host)
    }

    fn identity(&self) -> Identity {
        self.identity_of(self.places.first())
    }

    /// How it is addressed at one of its hosts.
    fn identity_of(&self, place: Option<&Place>) -> Identity {
        Identity {
            host: place.map_or_else(|| self.sip_host(), Place::sip_host),
            contact: None,
            routes: self.routes(),
            port: place.and_then(|place| place.uri_port(self.transport)),
            transport: self.transport,
            is_sips: self.tls.as_ref().is_some_and(|tls| tls.is_sips),
            user: self.user.clone(),
            external: self.external,
        }
    }

    /// The proxy on the way to it.
    fn routes(&self) -> Vec<NameAddr> {
        self.proxy.iter().map(|proxy| proxy.route(self.transport)).collect()
    }

    /// A place of its, and how it is addressed there.
    fn destination(&self, found: &Found) -> Destination {
        Destination { hop: found.hop, identity: self.identity_of(self.places.get(found.place)) }
    }

    /// How it is addressed where it registered.
    fn identity_at(&self, binding: &Binding) -> Identity {
        Identity {
            host: binding.contact.host.clone(),
            contact: Some(binding.contact.clone()),
            routes: binding.path.clone(),
            ..self.identity()
        }
    }

    /// The accounts that have an extension of its PBX.
    fn lines(&self, registry: Option<&Registry>) -> BTreeMap<String, Login> {
        let accounts = registry.into_iter().flat_map(Registry::accounts);
        let login = |account: &Arc<Account>| {
            let line = account.line().filter(|line| line.trunk == self.name)?;
            let credentials = line.password.clone().map(|password| {
                let mut credentials = Credentials::new(&line.user, password);
                credentials.realm.clone_from(&self.realm);
                credentials
            });
            Some((account.name().to_owned(), Login { user: line.user.clone(), credentials }))
        };
        accounts.filter_map(login).collect()
    }

    /// Ours, for its challenges.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        let (user, password) = (self.user.as_ref()?, self.password.as_ref()?);
        let mut credentials = Credentials::new(user, password.clone());
        credentials.realm.clone_from(&self.realm);
        Some(credentials)
    }
}

/// One leg, until its call or its session is over; whichever goes first, the other is told.
async fn run(
    here: Here,
    trunk: Arc<Trunk>,
    mut leg: Box<OutgoingLeg>,
    call: LegRef,
    mut commands: mpsc::Receiver<LegCommand>,
    _occupied: Occupied,
) {
    let mut session: Option<(SessionHandle, mpsc::Receiver<SessionEvent>)> = None;
    let mut _known = None;
    let mut user: Option<String> = None;
    let mut offer = bytes::Bytes::new();
    while !leg.is_over() {
        let mut action = tokio::select! {
            command = commands.recv() => {
                leg.handle_command(command.unwrap_or(LegCommand::Hangup(Cause::Internal.into())))
            }
            event = next_event(&mut session) => match event {
                Some(event) => {
                    notes::note_failure(&trunk, &call, &event);
                    notes::note(&trunk, leg.hop(), &event);
                    notes::note_trouble(&trunk.name, &call, &event);
                    notes::note_login(&trunk, &call, user.as_deref(), &event);
                    notes::note_offer(&trunk, &call, &offer, &event);
                    let unusable = notes::unusable(&event);
                    let action = leg.handle_session(event);
                    notes::note_unusable(&trunk.name, &call, leg.parting().as_ref(), unusable);
                    action
                }
                None => leg.fail(Cause::Internal).map_or(Action::None, Action::Tell),
            }
        };
        if let Action::Find(refer) = &action {
            let found = here.named(refer).await;
            action = leg.handle_found(refer, found);
        }
        match action {
            Action::Dial(outgoing) => {
                let contact_user = outgoing.from.uri.user_text();
                user = outgoing.credentials.as_ref().map(|credentials| credentials.user.clone());
                offer = outgoing.body.as_ref().map(|body| body.bytes.clone()).unwrap_or_default();
                let target = leg.hop();
                if session.is_some() {
                    let (address, transport) = (target.address, target.transport.as_str());
                    info!(call = %call.call, leg = %call.leg, %address, transport, "dialing again");
                }
                let dialled = here.sip.dial(Dial { target, contact_user, call: *outgoing }).await;
                name_leg(&call, &trunk.name, target, &dialled.0);
                _known = Some(here.legs.add(dialled.0.token(), &here.trunk, &call));
                session = Some(dialled);
            }
            Action::Session(command) => {
                if let Some((session, _)) = &session {
                    session.command(command).await;
                }
            }
            Action::Tell(word) => {
                if !call.send(word).await {
                    break;
                }
            }
            Action::Find(_) | Action::None => {}
        }
    }
    // also after an end that the session knows nothing of: its answer was of no use, or the call is gone
    if let Some((session, _)) = &session {
        session.hangup(leg.parting()).await;
    }
}

/// The next word of the session; never, before there is one.
async fn next_event(
    session: &mut Option<(SessionHandle, mpsc::Receiver<SessionEvent>)>,
) -> Option<SessionEvent> {
    match session {
        Some((_, events)) => events.recv().await,
        None => std::future::pending().await,
    }
}
