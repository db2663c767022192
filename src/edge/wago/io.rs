//! The routes.

mod lines;
mod stream;
mod webhooks;

pub(super) use lines::{Lines, WagoDialer};

use super::session::WagoCall;
use super::wire::{self, ApiError};
use crate::base::{CallId, Cause};
use crate::call::io::LEG_COMMANDS;
use crate::call::leg::{Answered, EarlyOffer, Incoming, LegEvent, Particulars, Party};
use crate::call::route::{RouteDecision, RouteQuery, Router as _, Source};
use crate::edge::contract::EdgeContext;
use crate::http::{Visitor, json_answer, problem, problem_for_now, read_body};
use crate::net::client::io::HttpClient;
use crate::registry::Account;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use lines::Entry;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Longest body.
const MAX_BODY: usize = 256 * 1024;
/// Media answers at once; a client that waits longer would give up.
const OFFER_TIMEOUT: Duration = Duration::from_secs(10);

/// The edge at work.
pub(super) struct Wago {
    lines: Arc<Lines>,
    context: EdgeContext,
}

/// What a client can ask for with a body.
#[derive(Debug, Clone, Copy)]
enum Action {
    Make,
    Answer,
    Reject,
    Hangup,
    Hold,
    Resume,
    Dtmf,
    Offer,
    Close,
    Webhook,
}

type Answer = Result<Map<String, Value>, ApiError>;

/// Every route; what is not here is not served.
fn routes() -> [(&'static str, MethodRouter<Arc<Wago>>); 15] {
    [
        ("/call/make", asks(Action::Make)),
        ("/call/answer", asks(Action::Answer)),
        ("/call/accept", asks(Action::Answer)),
        ("/call/reject", asks(Action::Reject)),
        ("/call/hangup", asks(Action::Hangup)),
        ("/call/hold", asks(Action::Hold)),
        ("/call/resume", asks(Action::Resume)),
        ("/call/dtmf", asks(Action::Dtmf)),
        ("/call/webrtc/offer", asks(Action::Offer)),
        ("/call/webrtc/close", asks(Action::Close)),
        ("/webhook", asks(Action::Webhook)),
        ("/call/webrtc/config", get(config_route)),
        ("/call/status", get(status_route)),
        ("/call/list", get(list_route)),
        ("/call/events", get(events_route)),
    ]
}

impl Wago {
    /// Starts the edge; its routes.
    pub(super) fn start(lines: Arc<Lines>, context: EdgeContext) -> Router {
        if let Some(client) = context.services.get::<HttpClient>() {
            lines.webhooks().send_with(client);
        }
        lines.open(context.registry.clone());
        let (closing, told) = (context.switch.closing(), lines.clone());
        tokio::spawn(async move {
            if closing.await {
                told.drain();
            }
        });
        let router =
            routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
        router.with_state(Arc::new(Self { lines, context }))
    }

    fn authenticate(&self, visitor: &Visitor, token: Option<&str>) -> Result<Arc<Account>, ApiError> {
        let unauthorized = || ApiError::new(401, "Unauthorized");
        let token = token.ok_or_else(unauthorized)?;
        let Some(account) = self.context.registry.account_by_token(token) else {
            return Err(if visitor.may_fail() {
                unauthorized()
            } else {
                ApiError::for_now(429, "too many wrong tokens from this address; wait a minute", 60)
            });
        };
        visitor.good_login();
        if self.context.registry.may_ask(&account, Instant::now()) {
            Ok(account)
        } else {
            Err(ApiError::for_now(429, "too many requests; slow down", 1))
        }
    }

    /// Who asks, and the body; a stranger's body is not read.
    async fn admit(&self, visitor: &Visitor, request: Request) -> Result<(Arc<Account>, Vec<u8>), ApiError> {
        let account = self.authenticate(visitor, token(request.headers()))?;
        let body =
            read_body(request, MAX_BODY).await.map_err(|(status, text)| ApiError::new(status, text))?;
        Ok((account, body))
    }

    fn answer(&self, answer: Answer) -> Response<Body> {
        match answer {
            Ok(members) => json_answer(200, &self.lines.config().envelope.success(members)),
            Err(ApiError { status, text, retry_after: None }) => problem(status, &text),
            Err(ApiError { status, text, retry_after: Some(after) }) => problem_for_now(status, &text, after),
        }
    }

    async fn perform(&self, action: Action, account: &Account, body: &[u8]) -> Answer {
        match action {
            Action::Make => self.make(account, body),
            Action::Offer => self.offer(account, body).await,
            Action::Webhook => self.webhook(account, body),
            Action::Answer => {
                let change = |call: &mut WagoCall| {
                    call.answer(SystemTime::now())?;
                    Ok(((), Some(LegEvent::Answered { answer: Answered::Nothing })))
                };
                let (entry, ()) = self.change(wire::read_call(body)?, account, change).await?;
                Ok(about(&entry, "Call answered"))
            }
            Action::Reject => {
                let (id, refusal) = wire::read_reject(body)?;
                let change = |call: &mut WagoCall| {
                    call.reject(refusal, SystemTime::now())
                        .map(|cause| ((), Some(LegEvent::Ended(cause.into()))))
                };
                let (entry, ()) = self.change(id, account, change).await?;
                Ok(about(&entry, "Call rejected"))
            }
            Action::Hangup => {
                let change = |call: &mut WagoCall| {
                    call.hangup(SystemTime::now()).map(|cause| ((), Some(LegEvent::Ended(cause.into()))))
                };
                let (entry, ()) = self.change(wire::read_call(body)?, account, change).await?;
                Ok(about(&entry, "Call ended"))
            }
            Action::Hold | Action::Resume => {
                let is_held = matches!(action, Action::Hold);
                let change = |call: &mut WagoCall| {
                    call.hold(is_held).map(|is_news| ((), is_news.then_some(LegEvent::Hold(is_held))))
                };
                let (entry, ()) = self.change(wire::read_call(body)?, account, change).await?;
                Ok(about(&entry, if is_held { "Call on hold" } else { "Call resumed" }))
            }
            Action::Dtmf => {
                let wire::DtmfRequest { call, digits } = wire::read_dtmf(body)?;
                let change =
                    |call: &mut WagoCall| call.may_send_digits().map(|()| ((), Some(LegEvent::Dtmf(digits))));
                let (entry, ()) = self.change(call, account, change).await?;
                Ok(about(&entry, "DTMF sent"))
            }
            Action::Close => {
                let change = |call: &mut WagoCall| {
                    if !call.is_live() {
                        return Err(ApiError::call_not_found());
                    }
                    let closed = call.close();
                    Ok((closed, closed.then_some(LegEvent::Detached)))
                };
                let (entry, closed) = self.change(wire::read_call(body)?, account, change).await?;
                Ok(members([("callID", json!(entry.leg.call.to_string())), ("closed", json!(closed))]))
            }
        }
    }

    /// Changes a call as its client wishes, and tells the call core: both, or neither.
    async fn change<T>(
        &self,
        id: Option<CallId>,
        account: &Account,
        change: impl FnOnce(&mut WagoCall) -> Result<(T, Option<LegEvent>), ApiError> + Send,
    ) -> Result<(Arc<Entry>, T), ApiError> {
        let entry = self.lines.find(id, account)?;
        // the client may vanish while this waits; from here on all is done in one go
        let room = entry.leg.room().await.ok_or_else(ApiError::call_not_found)?;
        let mut state = entry.state();
        let (outcome, word) = change(&mut state.call)?;
        if let Some(word) = word {
            room.send(word);
        }
        self.lines.tell(&entry, &mut state);
        drop(state);
        Ok((entry.clone(), outcome))
    }

    fn make(&self, account: &Account, body: &[u8]) -> Answer {
        let request = wire::read_make(body)?;
        let source = Source::Account(account.name().to_owned());
        let query = RouteQuery { source: source.clone(), to: request.number.clone() };
        if !matches!(self.context.registry.route(&query), RouteDecision::To(_)) {
            return Err(ApiError::new(
                403,
                "destination not permitted: no route of this account leads there",
            ));
        }
        let too_many = || ApiError::for_now(429, "too many calls at once", 5);
        if self.lines.is_full(account) {
            return Err(too_many());
        }
        let permit = self.context.registry.admit(account).map_err(|_| too_many())?;
        let display = request.display_name.or_else(|| account.display_name().map(str::to_owned));
        let incoming = Incoming {
            particulars: Particulars::default(),
            source,
            from: Party { user: account.caller_id().to_owned(), display },
            to: request.number.clone(),
            offer: None,
            profile: self.lines.profile(account.name()),
            early_offer: EarlyOffer::No,
            ring_timeout: request.timeout,
            hops: crate::call::leg::HOPS,
        };
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        let mut shown = None;
        self.lines.follow(account.name(), inbox, || {
            let leg =
                self.context.switch.incoming(incoming, commands, Box::new(permit)).map_err(|cause| {
                    match cause {
                        Cause::Shutdown => ApiError::for_now(503, "shutting down", 10),
                        _ => ApiError::for_now(500, "no media resources left; try again later", 5),
                    }
                })?;
            let from = account.caller_id().to_owned();
            let call = WagoCall::outbound(leg.call, from, request.number, SystemTime::now());
            shown = Some((leg.call, call.to_json()));
            Ok((leg, call))
        })?;
        let (id, shown) = shown.ok_or_else(ApiError::call_not_found)?;
        Ok(members([("callID", json!(id.to_string())), ("details", json!("Call started")), ("call", shown)]))
    }

    async fn offer(&self, account: &Account, body: &[u8]) -> Answer {
        let request = wire::read_offer(body)?;
        let entry = self.lines.find(request.call, account)?;
        let answer = entry.offer(request.sdp)?;
        let sdp = match tokio::time::timeout(OFFER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_)) => return Err(ApiError::call_not_found()), // it ended meanwhile
            Err(_) => return Err(ApiError::new(500, "media did not answer in time")),
        };
        let id = entry.leg.call.to_string();
        Ok(members([("callID", json!(id)), ("type", json!("answer")), ("sdp", json!(sdp)), ("turn", turn())]))
    }

    fn webhook(&self, account: &Account, body: &[u8]) -> Answer {
        let request = wire::read_webhook(body)?;
        let url = request.url.as_deref().filter(|_| request.is_subscribed);
        self.lines.webhooks().set(account.name(), url).map_err(|e| ApiError::bad(e.to_string()))?;
        let kinds: &[&str] = if url.is_some() { &["Call"] } else { &[] };
        Ok(members([
            ("details", json!(if url.is_some() { "Webhook set" } else { "Webhook removed" })),
            ("webhook", json!(url.unwrap_or_default())),
            ("subscribe", json!(kinds)),
        ]))
    }

    fn events(&self, visitor: &Visitor, account: &Account, last_seen: Option<&str>) -> Response<Body> {
        match self.lines.listen(account, last_seen) {
            Some(events) => stream::answer(events, visitor.closing()),
            None => problem_for_now(429, "too many event streams of this account; close one", 5),
        }
    }
}

/// A route that takes a body.
fn asks(action: Action) -> MethodRouter<Arc<Wago>> {
    post(
        move |State(wago): State<Arc<Wago>>, Extension(visitor): Extension<Visitor>, request: Request| async move {
            let answer = match wago.admit(&visitor, request).await {
                Ok((account, body)) => wago.perform(action, &account, &body).await,
                Err(error) => Err(error),
            };
            wago.answer(answer)
        },
    )
}

async fn config_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = wago.authenticate(&visitor, token(&headers));
    wago.answer(answer.map(|_| members([("iceServers", json!([])), ("turn", turn())])))
}

async fn status_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = wago.authenticate(&visitor, token(&headers)).and_then(|account| {
        let id = wire::CALL_ID.iter().find_map(|n| query.get(*n));
        let id = id.ok_or_else(|| ApiError::new(400, "missing callID in query"))?;
        let entry = wago.lines.find(id.parse().ok(), &account)?;
        let shown = entry.state().call.to_json();
        Ok(members([("call", shown)]))
    });
    wago.answer(answer)
}

async fn list_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = wago.authenticate(&visitor, token(&headers));
    wago.answer(answer.map(|account| members([("calls", json!(wago.lines.list(&account)))])))
}

/// The one route that takes its token from the URL too: an `EventSource` cannot set headers. No URL is ever logged.
async fn events_route(
    State(wago): State<Arc<Wago>>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let token = token(&headers).or_else(|| query.get("token").map(String::as_str));
    match wago.authenticate(&visitor, token) {
        Ok(account) => {
            let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
            wago.events(&visitor, &account, last_seen)
        }
        Err(error) => wago.answer(Err(error)),
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get("token").and_then(|t| t.to_str().ok())
}

/// The answer to a wish: the call as it stands now.
fn about(entry: &Entry, details: &str) -> Map<String, Value> {
    let (id, shown) = (entry.leg.call.to_string(), entry.state().call.to_json());
    members([("callID", json!(id)), ("details", json!(details)), ("call", shown)])
}

fn members<const N: usize>(list: [(&str, Value); N]) -> Map<String, Value> {
    list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// TURN is not offered yet; the words are those of the published API.
fn turn() -> Value {
    json!({"enabled": false, "status": "coming_soon"})
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
