//! The routes, and a task per call that reads what the call core says.

use super::config::WagoConfig;
use super::session::{OfferOutcome, WagoCall};
use super::table::CallTable;
use super::wire::{self, ApiError};
use crate::base::{CallId, Cause};
use crate::call::io::{LEG_COMMANDS, LegRef};
use crate::call::leg::{Incoming, LegCommand, LegEvent, LegProfile, Party};
use crate::call::port::MediaProfile;
use crate::call::route::{RouteDecision, RouteQuery, Router as _, Source};
use crate::edge::contract::EdgeContext;
use crate::http::{Visitor, json_answer, read_body};
use crate::registry::Account;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// Longest body.
const MAX_BODY: usize = 256 * 1024;
/// Media answers at once; a client that waits longer would give up.
const OFFER_TIMEOUT: Duration = Duration::from_secs(10);
/// Offers of one call waiting for their answers.
const MAX_WAITING_OFFERS: usize = 8;

/// The edge at work.
pub(super) struct Wago {
    config: WagoConfig,
    context: EdgeContext,
    calls: Mutex<CallTable<Arc<Entry>>>,
}

struct Entry {
    leg: LegRef,
    state: Mutex<EntryState>,
}

struct EntryState {
    call: WagoCall,
    /// Clients that wait for the answers to their offers, in the order of the offers.
    waiting: VecDeque<oneshot::Sender<OfferOutcome>>,
}

type Answer = Result<Map<String, Value>, ApiError>;

impl Wago {
    /// The routes.
    pub(super) fn router(config: WagoConfig, context: EdgeContext) -> Router {
        let wago = Arc::new(Self { config, context, calls: Mutex::default() });
        Router::new()
            .route("/call/webrtc/config", get(config_route))
            .route("/call/webrtc/offer", post(offer_route))
            .route("/call/webrtc/close", post(close_route))
            .route("/call/make", post(make_route))
            .route("/call/hangup", post(hangup_route))
            .route("/call/status", get(status_route))
            .with_state(wago)
    }

    fn authenticate(&self, visitor: &Visitor, headers: &HeaderMap) -> Result<Arc<Account>, ApiError> {
        let unauthorized = || ApiError::new(401, "Unauthorized");
        let token = headers.get("token").and_then(|t| t.to_str().ok()).ok_or_else(unauthorized)?;
        let Some(account) = self.context.registry.account_by_token(token) else {
            return Err(if visitor.may_fail() {
                unauthorized()
            } else {
                ApiError::new(429, "too many wrong tokens from this address; wait a minute")
            });
        };
        visitor.good_login();
        if self.context.registry.may_ask(&account, Instant::now()) {
            Ok(account)
        } else {
            Err(ApiError::new(429, "too many requests; slow down"))
        }
    }

    /// A live call of this account.
    fn find(&self, id: Option<CallId>, account: &Account) -> Result<Arc<Entry>, ApiError> {
        let find = |id| self.calls().get(id, account.name(), Instant::now());
        id.and_then(find).ok_or_else(ApiError::call_not_found)
    }

    fn calls(&self) -> MutexGuard<'_, CallTable<Arc<Entry>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: Answer) -> Response {
        match answer {
            Ok(members) => json_answer(200, &self.config.envelope.success(members)),
            Err(error) => crate::http::problem(error.status, &error.text),
        }
    }

    fn make(self: &Arc<Self>, account: &Account, body: &[u8]) -> Answer {
        let request = wire::read_make(body)?;
        let source = Source::Account(account.name().to_owned());
        let query = RouteQuery { source: source.clone(), to: request.number.clone() };
        if !matches!(self.context.registry.route(&query), RouteDecision::To(_)) {
            return Err(ApiError::new(
                403,
                "destination not permitted: no route of this account leads there",
            ));
        }
        let permit =
            self.context.registry.admit(account).map_err(|_| ApiError::new(429, "too many calls at once"))?;
        let display = request.display_name.or_else(|| account.display_name().map(str::to_owned));
        let incoming = Incoming {
            source,
            from: Party { user: account.caller_id().to_owned(), display },
            to: request.number.clone(),
            offer: None,
            profile: LegProfile {
                media: MediaProfile::WebRtc,
                takes_offer: false,
                takes_reoffer: false,
                may_detach: !self.config.hangup_on_media_loss,
            },
            ring_timeout: request.timeout,
        };
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        let leg =
            self.context.switch.incoming(incoming, commands, Box::new(permit)).map_err(
                |cause| match cause {
                    Cause::Shutdown => ApiError::new(503, "shutting down"),
                    _ => ApiError::new(500, "no media resources left; try again later"),
                },
            )?;
        let id = leg.call;
        let call = WagoCall::outbound(id, account.caller_id().to_owned(), request.number, SystemTime::now());
        let shown = call.to_json();
        let entry = Arc::new(Entry { leg, state: Mutex::new(EntryState { call, waiting: VecDeque::new() }) });
        self.calls().insert(id, account.name(), entry.clone());
        tokio::spawn(follow(self.clone(), entry, inbox));
        Ok(members([("callID", json!(id.to_string())), ("details", json!("Call started")), ("call", shown)]))
    }

    async fn offer(&self, account: &Account, body: &[u8]) -> Answer {
        let request = wire::read_offer(body)?;
        let entry = self.find(request.call, account)?;
        let answer = entry.offer(request.sdp)?;
        let sdp = match tokio::time::timeout(OFFER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_)) => return Err(ApiError::call_not_found()), // it ended meanwhile
            Err(_) => return Err(ApiError::new(500, "media did not answer in time")),
        };
        let id = entry.leg.call.to_string();
        Ok(members([("callID", json!(id)), ("type", json!("answer")), ("sdp", json!(sdp)), ("turn", turn())]))
    }

    async fn close(&self, account: &Account, body: &[u8]) -> Answer {
        let entry = self.find(wire::read_call(body)?, account)?;
        // the client may vanish while this waits; from here on all is done in one go
        let room = entry.leg.room().await.ok_or_else(ApiError::call_not_found)?;
        let closed = {
            let mut state = entry.state();
            if !state.call.is_live() {
                return Err(ApiError::call_not_found());
            }
            state.call.close()
        };
        if closed {
            room.send(LegEvent::Detached);
        }
        Ok(members([("callID", json!(entry.leg.call.to_string())), ("closed", json!(closed))]))
    }

    async fn hangup(&self, account: &Account, body: &[u8]) -> Answer {
        let entry = self.find(wire::read_call(body)?, account)?;
        let room = entry.leg.room().await.ok_or_else(ApiError::call_not_found)?; // as in `close`
        let shown = {
            let mut state = entry.state();
            if !state.call.hangup(SystemTime::now()) {
                return Err(ApiError::call_not_found());
            }
            state.call.to_json()
        };
        room.send(LegEvent::Ended(Cause::Normal));
        let id = entry.leg.call.to_string();
        Ok(members([("callID", json!(id)), ("details", json!("Call ended")), ("call", shown)]))
    }
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, EntryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an offer to the call; the answer comes by the receiver.
    fn offer(
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
            return Err(ApiError::new(429, "too many offers at once for this call"));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Ok(receiver)
    }
}

/// Reads the call's commands until it is over.
async fn follow(wago: Arc<Wago>, entry: Arc<Entry>, mut inbox: mpsc::Receiver<LegCommand>) {
    let following = Following { wago, entry };
    while let Some(command) = inbox.recv().await {
        let mut state = following.entry.state();
        let outcome = state.call.handle_command(command, SystemTime::now());
        if let Some(outcome) = outcome
            && let Some(asker) = state.waiting.pop_front()
        {
            let _ = asker.send(outcome); // an asker that went away wants no answer
        }
    }
}

/// Shows the call as ended, and lets the table forget it, however the task that follows it ends.
struct Following {
    wago: Arc<Wago>,
    entry: Arc<Entry>,
}

impl Drop for Following {
    fn drop(&mut self) {
        {
            let mut state = self.entry.state();
            state.call.handle_lost(SystemTime::now());
            state.waiting = VecDeque::new(); // their calls are gone; dropping tells them
        }
        self.wago.calls().end(self.entry.leg.call, Instant::now());
    }
}

fn members<const N: usize>(list: [(&str, Value); N]) -> Map<String, Value> {
    list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// TURN is not offered yet; the words are those of the published API.
fn turn() -> Value {
    json!({"enabled": false, "status": "coming_soon"})
}

async fn config_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response {
    let answer =
        wago.authenticate(&visitor, &headers).map(|_| members([("iceServers", json!([])), ("turn", turn())]));
    wago.answer(answer)
}

async fn status_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let answer = wago.authenticate(&visitor, &headers).and_then(|account| {
        let id = ["callID", "CallID", "callId", "call_id"].iter().find_map(|n| query.get(*n));
        let id = id.ok_or_else(|| ApiError::new(400, "missing callID in query"))?;
        let entry = wago.find(id.parse().ok(), &account)?;
        let shown = entry.state().call.to_json();
        Ok(members([("call", shown)]))
    });
    wago.answer(answer)
}

async fn make_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Response {
    let answer = match wago.admit(&visitor, request).await {
        Ok((account, body)) => wago.make(&account, &body),
        Err(error) => Err(error),
    };
    wago.answer(answer)
}

async fn offer_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Response {
    let answer = match wago.admit(&visitor, request).await {
        Ok((account, body)) => wago.offer(&account, &body).await,
        Err(error) => Err(error),
    };
    wago.answer(answer)
}

async fn close_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Response {
    let answer = match wago.admit(&visitor, request).await {
        Ok((account, body)) => wago.close(&account, &body).await,
        Err(error) => Err(error),
    };
    wago.answer(answer)
}

async fn hangup_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    request: Request,
) -> Response {
    let answer = match wago.admit(&visitor, request).await {
        Ok((account, body)) => wago.hangup(&account, &body).await,
        Err(error) => Err(error),
    };
    wago.answer(answer)
}

impl Wago {
    /// Who asks, and the body; a stranger's body is not read.
    async fn admit(&self, visitor: &Visitor, request: Request) -> Result<(Arc<Account>, Vec<u8>), ApiError> {
        let account = self.authenticate(visitor, request.headers())?;
        let body =
            read_body(request, MAX_BODY).await.map_err(|(status, text)| ApiError::new(status, text))?;
        Ok((account, body))
    }
}
