//! What all calls of this edge share: where they are found, who is told of them, and a task per call that reads
//! what the call core says. Calls that ring an account come in here.

use super::super::config::WagoConfig;
use super::super::event::{CallEvent, Events};
use super::super::session::{OfferOutcome, WagoCall};
use super::super::table::CallTable;
use super::super::wire::ApiError;
use super::webhooks::Webhooks;
use crate::base::{CallId, Cause};
use crate::call::io::{Dialer, LEG_COMMANDS, LegRef, OpenedLeg};
use crate::call::leg::{LegCommand, LegEvent, LegProfile};
use crate::call::port::MediaProfile;
use crate::call::route::Target;
use crate::registry::{Account, Registry};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// Offers of one call waiting for their answers.
const MAX_WAITING_OFFERS: usize = 8;

/// Calls, listeners and webhooks.
pub(in super::super) struct Lines {
    config: WagoConfig,
    /// Known from the start of the edge on; before that nobody can be rung.
    registry: OnceLock<Arc<Registry>>,
    calls: Mutex<CallTable<Arc<Entry>>>,
    events: Mutex<Events>,
    webhooks: Arc<Webhooks>,
}

/// One call of the table.
pub(super) struct Entry {
    pub(super) leg: LegRef,
    account: String,
    state: Mutex<EntryState>,
}

pub(super) struct EntryState {
    pub(super) call: WagoCall,
    /// Clients that wait for the answers to their offers, in the order of the offers.
    waiting: VecDeque<oneshot::Sender<OfferOutcome>>,
}

impl Lines {
    /// Nobody calls and nobody listens.
    pub(in super::super) fn new(config: WagoConfig) -> Self {
        Self {
            config,
            registry: OnceLock::new(),
            calls: Mutex::default(),
            events: Mutex::default(),
            webhooks: Arc::default(),
        }
    }

    /// From now on accounts can be rung, at the webhooks of their configuration too.
    pub(super) fn open(&self, registry: Arc<Registry>) {
        for account in registry.accounts() {
            self.webhooks.configure(account);
        }
        let _ = self.registry.set(registry); // an edge is started once
    }

    pub(super) const fn config(&self) -> WagoConfig {
        self.config
    }

    pub(super) const fn webhooks(&self) -> &Arc<Webhooks> {
        &self.webhooks
    }

    /// What an account's client can do.
    pub(super) fn profile(&self, account: &str) -> LegProfile {
        LegProfile {
            media: MediaProfile::WebRtc,
            takes_offer: false, // it offers when its browser comes
            takes_reoffer: false,
            may_detach: !self.config.hangup_on_media_loss,
            takes_keys: false,
            account: Some(account.to_owned()),
        }
    }

    /// A call, if it is this account's.
    pub(super) fn find(&self, id: Option<CallId>, account: &Account) -> Result<Arc<Entry>, ApiError> {
        let find = |id| self.calls().get(id, account.name(), Instant::now());
        id.and_then(find).ok_or_else(ApiError::call_not_found)
    }

    /// An account's calls that have not ended, as JSON.
    pub(super) fn list(&self, account: &Account) -> Vec<Value> {
        let live = self.calls().live(account.name());
        live.iter().map(|entry| entry.state().call.to_json()).collect()
    }

    /// Whether an account has no place for another call.
    pub(super) fn is_full(&self, account: &Account) -> bool {
        self.calls().live(account.name()).len() >= account.max_calls()
    }

    /// A stream of an account's events; none when it has enough of them.
    pub(super) fn listen(&self, account: &Account, last_seen: Option<&str>) -> Option<mpsc::Receiver<Bytes>> {
        self.events().listen(account.name(), last_seen)
    }

    /// Tells all who listen that the program is about to end.
    pub(super) fn drain(&self) {
        self.events().drain();
    }

    /// Begins a call, takes it into the table and follows it to its end. False when the account is in that call
    /// already: it calls itself.
    ///
    /// # Errors
    /// As `begin`.
    pub(super) fn follow<E>(
        self: &Arc<Self>,
        account: &str,
        inbox: mpsc::Receiver<LegCommand>,
        begin: impl FnOnce() -> Result<(LegRef, WagoCall), E>,
    ) -> Result<bool, E> {
        let entry = {
            // begun under the lock: a call that at once comes back to its own account shall find it there
            let mut calls = self.calls();
            let (leg, call) = begin()?;
            let id = leg.call;
            let state = Mutex::new(EntryState { call, waiting: VecDeque::new() });
            let entry = Arc::new(Entry { leg, account: account.to_owned(), state });
            if !calls.insert(id, account, entry.clone()) {
                return Ok(false);
            }
            entry
        };
        self.tell(&entry, &mut entry.state());
        tokio::spawn(follow(Following { lines: self.clone(), entry }, inbox));
        Ok(true)
    }

    /// Tells who listens what happened to a call; its lock, which the caller holds, keeps events in order.
    pub(super) fn tell(&self, entry: &Entry, state: &mut EntryState) {
        while let Some(event) = state.call.poll_event() {
            self.publish(&entry.account, event);
        }
    }

    fn publish(&self, account: &str, event: CallEvent) {
        let sent = self.events().publish(account, event, SystemTime::now());
        self.webhooks.push(account, sent);
    }

    fn calls(&self) -> MutexGuard<'_, CallTable<Arc<Entry>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(super) fn state(&self) -> MutexGuard<'_, EntryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an offer to the call; the answer comes by the receiver.
    pub(super) fn offer(
        &self,
        sdp: Box<crate::sdp::SessionDescription>,
    ) -> Result<oneshot::Receiver<OfferOutcome>, ApiError> {
        let mut state = self.state();
        if !state.call.is_live() {
            return Err(ApiError::call_not_found());
        }
        if self.leg.is_over() {
            return Err(ApiError::call_not_found());
        }
        // told under the lock, so that answers find their askers in order
        if state.waiting.len() >= MAX_WAITING_OFFERS || !self.leg.try_send(LegEvent::Offer(sdp)) {
            return Err(ApiError::for_now(429, "too many offers at once for this call", 1));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Ok(receiver)
    }
}

/// Reads the call's commands until it is over.
async fn follow(following: Following, mut inbox: mpsc::Receiver<LegCommand>) {
    let Following { lines, entry } = &following;
    while let Some(command) = inbox.recv().await {
        if matches!(&command, LegCommand::Hangup(end) if end.cause == Cause::Shutdown) {
            lines.drain(); // before the end that it explains, whoever is faster
        }
        let mut state = entry.state();
        let outcome = state.call.handle_command(command, SystemTime::now());
        lines.tell(entry, &mut state);
        if let Some(outcome) = outcome
            && let Some(asker) = state.waiting.pop_front()
        {
            let _ = asker.send(outcome); // an asker that went away wants no answer
        }
    }
}

/// Shows the call as ended, and lets the table forget it, however the task that follows it ends.
struct Following {
    lines: Arc<Lines>,
    entry: Arc<Entry>,
}

impl Drop for Following {
    fn drop(&mut self) {
        let entry = &self.entry;
        {
            let mut state = entry.state();
            state.call.handle_lost(SystemTime::now());
            self.lines.tell(entry, &mut state);
            state.waiting = VecDeque::new(); // their calls are gone; dropping tells them
        }
        self.lines.calls().end(entry.leg.call, &entry.account, Instant::now());
    }
}

/// Rings accounts: whoever listens to an account's events, and its webhook.
pub(in super::super) struct WagoDialer(pub(in super::super) Arc<Lines>);

#[async_trait]
impl Dialer for WagoDialer {
    async fn open(&self, leg: LegRef, target: &Target) -> Result<OpenedLeg, Cause> {
        let lines = &self.0;
        let registry = lines.registry.get().ok_or(Cause::Unavailable)?;
        let account = registry.account(&target.name).ok_or(Cause::NotFound)?;
        if !lines.events().has_listener(account.name()) && !lines.webhooks.has(account.name()) {
            return Err(Cause::Unavailable);
        }
        if lines.is_full(&account) {
            return Err(Cause::Busy);
        }
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        let profile = lines.profile(account.name());
        tokio::spawn(ring(lines.clone(), leg, account, inbox));
        Ok(OpenedLeg { profile, commands })
    }

    fn rings_accounts(&self) -> bool {
        true
    }
}

/// Announces a call when it is dialled.
async fn ring(lines: Arc<Lines>, leg: LegRef, account: Arc<Account>, mut inbox: mpsc::Receiver<LegCommand>) {
    // given up before it was dialled, it is nobody's call
    let Some(LegCommand::Dial(dial)) = inbox.recv().await else { return };
    let call = WagoCall::inbound(leg.call, dial.from, dial.target.number, SystemTime::now());
    let word = match lines.follow(account.name(), inbox, || Ok::<_, Infallible>((leg.clone(), call))) {
        Ok(true) => LegEvent::Ringing,
        Ok(false) => LegEvent::Ended(Cause::Busy.into()), // it calls itself
    };
    leg.send(word).await;
}
