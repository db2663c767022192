//! The switch: starts calls, one task each with a mailbox and a timer, and drains them at shutdown. `join` ties two of
//! them together; `steps` makes attempts of a route.

mod join;
mod steps;

use super::core::{Attempt, Call, LEGS_PER_CALL, Note, Output};
use super::leg::{Incoming, LegCommand, LegEvent, LegProfile, MediaState};
use super::port::{MediaCommand, MediaEngine, MediaEvent, MediaPort};
use super::route::{Group, JOIN, RouteDecision, Router, Target};
use crate::base::{CallId, Cause, Excerpt, LegId, Pii, Seed};
use async_trait::async_trait;
use join::Joiner;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use steps::step_attempts;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Events a call takes before its legs wait.
const MAILBOX: usize = 64;
/// Legs that may wait to join a call; more than one is a rarity.
const JOINS: usize = 4;
/// Commands a leg may leave unread before it counts as stuck.
pub const LEG_COMMANDS: usize = 32;

/// A leg's way to its call.
#[derive(Debug, Clone)]
pub struct LegRef {
    /// The call.
    pub call: CallId,
    /// The leg.
    pub leg: LegId,
    mail: mpsc::Sender<(LegId, LegEvent)>,
}

impl LegRef {
    /// Tells the call; waits when its mailbox is full. False when the call is over.
    pub async fn send(&self, event: LegEvent) -> bool {
        self.mail.send((self.leg, event)).await.is_ok()
    }

    /// Tells the call without waiting. False when its mailbox is full or the call is over.
    #[must_use]
    pub fn try_send(&self, event: LegEvent) -> bool {
        self.mail.try_send((self.leg, event)).is_ok()
    }

    /// Waits for room in the call's mailbox; none when the call is over. For an event that must go together
    /// with something else: a future that is dropped while it waits has done neither.
    pub async fn room(&self) -> Option<Room<'_>> {
        self.mail.reserve().await.ok().map(|place| Room { leg: self.leg, place })
    }

    /// Whether the call is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.mail.is_closed()
    }

    /// Returns when the call is over.
    pub async fn closed(&self) {
        self.mail.closed().await;
    }
}

/// Room for one event in a call's mailbox.
pub struct Room<'a> {
    leg: LegId,
    place: mpsc::Permit<'a, (LegId, LegEvent)>,
}

impl Room<'_> {
    /// Tells the call.
    pub fn send(self, event: LegEvent) {
        self.place.send((self.leg, event));
    }
}

/// A leg that an edge opened for a call.
pub struct OpenedLeg {
    /// What it can do.
    pub profile: LegProfile,
    /// Where its commands go; its capacity should be [`LEG_COMMANDS`].
    pub commands: mpsc::Sender<LegCommand>,
}

/// An edge that can place calls.
#[async_trait]
pub trait Dialer: Send + Sync {
    /// Makes a leg ready for a target; [`LegCommand::Dial`] follows. It may look up a name, within a deadline of
    /// its own; the call goes on meanwhile, and may give the leg up (its commands then end).
    ///
    /// # Errors
    /// Why there can be none: no such target, it is down, it is full.
    async fn open(&self, leg: LegRef, target: &Target) -> Result<OpenedLeg, Cause>;

    /// The places that a target stands for, in the order in which they are to be tried; never none. A place may be
    /// gone by the time it is opened.
    fn groups(&self, target: &Target) -> Vec<Group> {
        vec![Group { targets: vec![target.clone()], ring_timeout: None }]
    }

    /// Whether accounts can be rung here: a target of this edge may then name an account, and opening one that
    /// has nothing here to ring fails with [`Cause::Unavailable`].
    fn rings_accounts(&self) -> bool {
        false
    }
}

/// What a limit keeps for a call; dropped when the call is over.
pub type Permit = Box<dyn Send>;

/// Parts of the switch, fixed at start.
pub struct SwitchParts {
    /// Answers route queries.
    pub router: Arc<dyn Router>,
    /// Makes media.
    pub media: Arc<dyn MediaEngine>,
    /// Edges that place calls, by name.
    pub dialers: BTreeMap<&'static str, Arc<dyn Dialer>>,
}

/// A leg that wants the place of another one.
struct Join {
    old: LegId,
    incoming: Box<Incoming>,
    commands: mpsc::Sender<LegCommand>,
    reply: oneshot::Sender<Option<LegRef>>,
}

/// Starts calls. Cloning shares it.
#[derive(Clone)]
pub struct Switch(Arc<Inner>);

struct Inner {
    parts: SwitchParts,
    seed: Mutex<Seed>,
    next_leg: AtomicU64,
    /// The ways to live calls for legs that join them.
    calls: Mutex<HashMap<CallId, mpsc::Sender<Join>>>,
    live: watch::Sender<usize>,
    is_closing: watch::Sender<bool>,
    stop: watch::Sender<Option<Cause>>,
}

impl Switch {
    /// A switch without calls.
    #[must_use]
    pub fn new(parts: SwitchParts, seed: Seed) -> Self {
        Self(Arc::new(Inner {
            parts,
            seed: Mutex::new(seed),
            next_leg: AtomicU64::new(1),
            calls: Mutex::default(),
            live: watch::Sender::new(0),
            is_closing: watch::Sender::new(false),
            stop: watch::Sender::new(None),
        }))
    }

    /// Calls that live now.
    #[must_use]
    pub fn live(&self) -> usize {
        *self.0.live.borrow()
    }

    /// Starts a call for a leg that called us; its commands go to `commands`, `permit` is kept until the end.
    ///
    /// # Errors
    /// [`Cause::Shutdown`] while draining, [`Cause::Congestion`] when media has no place.
    pub fn incoming(
        &self,
        incoming: Incoming,
        commands: mpsc::Sender<LegCommand>,
        permit: Permit,
    ) -> Result<LegRef, Cause> {
        if *self.0.is_closing.borrow() {
            return Err(Cause::Shutdown);
        }
        let id = {
            let mut seed = self.0.seed.lock().unwrap_or_else(PoisonError::into_inner);
            CallId::from_bits(seed.next_u128())
        };
        let caller = LegId(self.0.next_leg.fetch_add(LEGS_PER_CALL, Ordering::Relaxed));
        let (mail, mailbox) = mpsc::channel(MAILBOX);
        let (media_events, media_inbox) = mpsc::channel(MAILBOX);
        let media = self.0.parts.media.open(id, media_events)?;
        let reference = LegRef { call: id, leg: caller, mail: mail.clone() };
        info!(call = %id, from = %Pii(&incoming.from.user), to = %Pii(&incoming.to), source = %incoming.source, "call started");
        self.0.live.send_modify(|n| *n += 1);
        let (joins, joining) = mpsc::channel(JOINS);
        self.0.calls().insert(id, joins);
        let task = CallTask {
            id,
            started: Instant::now(),
            answered: None,
            caller: (caller, incoming.source.to_string()),
            call: Box::new(Call::new(caller, incoming)),
            legs: BTreeMap::from([(caller, commands)]),
            parties: BTreeMap::new(),
            openings: JoinSet::new(),
            mail,
            media,
            switch: self.0.clone(),
            stop: self.0.stop.subscribe(),
            _live: Live(self.0.clone(), id),
            _permit: permit,
        };
        tokio::spawn(task.run(mailbox, media_inbox, joining));
        Ok(reference)
    }

    /// Gives a leg that called us the place of a leg in a call that lives; its commands go to `commands`.
    ///
    /// # Errors
    /// [`Cause::NotFound`] when the call is over or has no such leg, or is not in a state for it.
    pub async fn replace(
        &self,
        call: CallId,
        old: LegId,
        incoming: Incoming,
        commands: mpsc::Sender<LegCommand>,
    ) -> Result<LegRef, Cause> {
        self.0.replace(call, old, incoming, commands).await
    }

    /// Comes when no new calls are taken any more; false when the switch went away before that.
    pub fn closing(&self) -> impl Future<Output = bool> + Send + 'static {
        let mut is_closing = self.0.is_closing.subscribe();
        async move { is_closing.wait_for(|is_closing| *is_closing).await.is_ok() }
    }

    /// Takes no new calls, lets the running ones end for `drain`, ends the rest with [`Cause::Shutdown`],
    /// and returns when all are gone.
    pub async fn shutdown(&self, drain: Duration) {
        self.0.is_closing.send_replace(true);
        let mut live = self.0.live.subscribe();
        if !drain.is_zero() {
            let _ = tokio::time::timeout(drain, live.wait_for(|n| *n == 0)).await;
        }
        self.0.stop.send_replace(Some(Cause::Shutdown));
        let _ = live.wait_for(|n| *n == 0).await;
    }
}

impl Inner {
    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, mpsc::Sender<Join>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn replace(
        &self,
        call: CallId,
        old: LegId,
        incoming: Incoming,
        commands: mpsc::Sender<LegCommand>,
    ) -> Result<LegRef, Cause> {
        let joins = self.calls().get(&call).cloned().ok_or(Cause::NotFound)?;
        let (reply, answer) = oneshot::channel();
        let join = Join { old, incoming: Box::new(incoming), commands, reply };
        joins.try_send(join).map_err(|_| Cause::NotFound)?;
        answer.await.ok().flatten().ok_or(Cause::NotFound)
    }
}

/// Counts a call as live while its task exists, however that ends.
struct Live(Arc<Inner>, CallId);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.calls().remove(&self.1);
        self.0.live.send_modify(|n| *n -= 1);
    }
}

struct CallTask {
    id: CallId,
    started: Instant,
    answered: Option<Instant>,
    /// The caller's leg, and what it belongs to.
    caller: (LegId, String),
    /// In a box, as the task would move all of it about.
    call: Box<Call>,
    /// Where the commands of each living leg go.
    legs: BTreeMap<LegId, mpsc::Sender<LegCommand>>,
    /// What each leg belongs to, as a route writes it.
    parties: BTreeMap<LegId, String>,
    /// Legs that edges are making ready.
    openings: JoinSet<(LegId, Result<OpenedLeg, Cause>)>,
    mail: mpsc::Sender<(LegId, LegEvent)>,
    media: Box<dyn MediaPort>,
    switch: Arc<Inner>,
    stop: watch::Receiver<Option<Cause>>,
    _live: Live,
    _permit: Permit,
}

impl CallTask {
    async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<(LegId, LegEvent)>,
        mut media: mpsc::Receiver<MediaEvent>,
        mut joining: mpsc::Receiver<Join>,
    ) {
        let (caller, party) = (self.caller.0, std::mem::take(&mut self.caller.1));
        self.name(caller, party);
        self.call.start();
        if self.obey() {
            return;
        }
        loop {
            let deadline = self.call.poll_timeout().map(|(at, _)| at);
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // in this order: what a leg said before it went counts
                biased;
                Some((leg, event)) = mailbox.recv() => self.call.handle_leg(Instant::now(), leg, event),
                Some(join) = joining.recv() => {
                    let way = |leg| LegRef { call: self.id, leg, mail: self.mail.clone() };
                    let party = join.incoming.source.to_string();
                    if let Some(leg) = handle_join(&mut self.call, &mut self.legs, way, join) {
                        self.parties.insert(leg, party.clone());
                        self.media.command(MediaCommand::Name(leg, party));
                    }
                }
                Some(opened) = self.openings.join_next() => match opened {
                    Ok((leg, opened)) => handle_opened(&mut self.call, &mut self.legs, leg, opened),
                    // a fault in an edge
                    Err(_) => self.call.hangup(Cause::Internal),
                },
                leg = deserted(&self.legs) => {
                    self.legs.remove(&leg);
                    self.call.handle_leg(Instant::now(), leg, LegEvent::Ended(Cause::Internal.into()));
                }
                event = media.recv() => match event {
                    Some(event) => self.call.handle_media(Instant::now(), event),
                    None => self.call.hangup(Cause::Internal),
                },
                () = timer => self.call.handle_timeout(Instant::now()),
                stop = self.stop.wait_for(Option::is_some) => {
                    let cause = stop.ok().and_then(|s| *s).unwrap_or(Cause::Shutdown);
                    self.call.hangup(cause);
                }
            }
            if self.obey() {
                return;
            }
        }
    }

    /// Does what the call asks; true when it is over.
    fn obey(&mut self) -> bool {
        while let Some(output) = self.call.poll_output() {
            match output {
                Output::Route(query) => {
                    let decision = self.switch.parts.router.route(&query);
                    let attempts = self.attempts(decision);
                    self.call.handle_route(Instant::now(), attempts);
                }
                Output::Open { leg, target } => self.open(leg, target),
                Output::Leg(leg, command) => self.command(leg, command),
                Output::Media(command) => self.media.command(command),
                Output::Note(note) => self.note(&note),
                Output::Ended(cause) => {
                    let lasted = self.answered.map_or(Duration::ZERO, |at| at.elapsed());
                    info!(call = %self.id, %cause, setup_ms = self.setup_ms(), talked_s = lasted.as_secs(), "call ended");
                    return true;
                }
            }
        }
        false
    }

    /// A route as the call wants it.
    fn attempts(&self, decision: RouteDecision) -> Result<Vec<Attempt>, Cause> {
        match decision {
            RouteDecision::To(steps) => {
                let dialers = &self.switch.parts.dialers;
                Ok(steps.into_iter().flat_map(|step| step_attempts(step, dialers)).collect())
            }
            RouteDecision::NoRoute => Err(Cause::NotFound),
            RouteDecision::Forbidden => Err(Cause::Forbidden),
        }
    }

    fn open(&mut self, leg: LegId, target: Target) {
        if target.edge == JOIN {
            let reference = LegRef { call: self.id, leg, mail: self.mail.clone() };
            let switch = self.switch.clone();
            self.openings.spawn(async move { (leg, Joiner(switch).open(reference, &target).await) });
            return;
        }
        let Some(dialer) = self.switch.parts.dialers.get(target.edge).cloned() else {
            return self.call.handle_opened(Instant::now(), leg, Err(Cause::Unavailable));
        };
        self.name(leg, format!("{}.{}", target.edge, target.name));
        let reference = LegRef { call: self.id, leg, mail: self.mail.clone() };
        self.openings.spawn(async move { (leg, dialer.open(reference, &target).await) });
    }

    /// Says what a leg belongs to, for the log.
    fn name(&mut self, leg: LegId, party: String) {
        self.parties.insert(leg, party.clone());
        self.media.command(MediaCommand::Name(leg, party));
    }

    fn command(&mut self, leg: LegId, command: LegCommand) {
        let is_last = matches!(command, LegCommand::Hangup(_));
        let Some(sender) = self.legs.get(&leg) else { return };
        match sender.try_send(command) {
            // a leg whose task is gone said Ended first, else `run` notices
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                warn!(call = %self.id, %leg, "leg does not take its commands; ending the call");
                self.call.hangup(Cause::Congestion);
            }
        }
        if is_last {
            self.legs.remove(&leg);
        }
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Dialing(leg, target) => {
                info!(call = %self.id, %leg, edge = target.edge, name = target.name, number = %Pii(&target.number), "dialing");
            }
            Note::Ringing(leg) => info!(call = %self.id, %leg, "ringing"),
            Note::Failed(leg, cause) => info!(call = %self.id, %leg, %cause, "not reached"),
            Note::Hold(leg, true) => info!(call = %self.id, %leg, "holds the call"),
            Note::Hold(leg, false) => info!(call = %self.id, %leg, "resumes the call"),
            Note::OfferRefused(leg, cause) => {
                info!(call = %self.id, %leg, %cause, "offer refused; media stays")
            }
            Note::MediaRefused(leg, refusal) => {
                let why = refusal.to_string();
                let party = self.parties.get(leg);
                match refusal.is_of_description() {
                    true => {
                        warn!(call = %self.id, %leg, party, why = %Excerpt(&why), "the session description cannot be served");
                    }
                    false => warn!(call = %self.id, %leg, party, %why, "there is no media for the leg"),
                }
            }
            Note::Answered(leg) => {
                self.answered = Some(Instant::now());
                info!(call = %self.id, %leg, setup_ms = self.setup_ms(), "call answered");
            }
            Note::Transferring(leg, to) => {
                info!(call = %self.id, %leg, to = %Pii(&to.user), "transfer asked for")
            }
            Note::Transferred(leg) => info!(call = %self.id, %leg, "call transferred"),
            Note::TransferFailed(cause) => info!(call = %self.id, %cause, "transfer failed"),
            Note::Replaced(leg, old) => info!(call = %self.id, %leg, %old, "another leg takes the place"),
            Note::Media(leg, MediaState::Connected { codec }) => {
                info!(call = %self.id, %leg, codec, "media connected")
            }
            Note::Media(leg, MediaState::Failed(cause)) => {
                info!(call = %self.id, %leg, %cause, "media failed")
            }
            Note::Media(leg, MediaState::Lost(cause)) => warn!(call = %self.id, %leg, %cause, "media lost"),
            Note::Media(leg, MediaState::Closed) => info!(call = %self.id, %leg, "media closed"),
        }
    }

    /// Milliseconds from start to answer, or to now while unanswered.
    fn setup_ms(&self) -> u128 {
        self.answered.map_or_else(|| self.started.elapsed(), |at| at.duration_since(self.started)).as_millis()
    }
}

/// Takes a leg in that wants the place of another one.
fn handle_join(
    call: &mut Call,
    legs: &mut BTreeMap<LegId, mpsc::Sender<LegCommand>>,
    way: impl Fn(LegId) -> LegRef,
    join: Join,
) -> Option<LegId> {
    let Join { old, incoming, commands, reply } = join;
    let leg = call.replace(old, *incoming);
    if let Some(leg) = leg {
        legs.insert(leg, commands);
    }
    // who asked may have gone: its commands are closed then
    let _ = reply.send(leg.map(way));
    leg
}

/// A leg that was being opened is ready, or cannot be had.
fn handle_opened(
    call: &mut Call,
    legs: &mut BTreeMap<LegId, mpsc::Sender<LegCommand>>,
    leg: LegId,
    opened: Result<OpenedLeg, Cause>,
) {
    // one that was given up meanwhile hears of it: the way of its commands is closed
    if !call.has_leg(leg) {
        return;
    }
    let profile = opened.map(|opened| {
        legs.insert(leg, opened.commands);
        opened.profile
    });
    call.handle_opened(Instant::now(), leg, profile);
}

/// The first leg whose task is gone without a word; never, when there is none.
async fn deserted(legs: &BTreeMap<LegId, mpsc::Sender<LegCommand>>) -> LegId {
    type Closed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    let mut closed: Vec<(LegId, Closed<'_>)> =
        legs.iter().map(|(leg, sender)| (*leg, Box::pin(sender.closed()) as Closed<'_>)).collect();
    poll_fn(|context| {
        let mut gone =
            closed.iter_mut().filter_map(|(leg, c)| c.as_mut().poll(context).is_ready().then_some(*leg));
        gone.next().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
