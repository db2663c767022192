//! Delivers events to the webhooks of accounts. An account has a task while something waits.

use super::super::event::Sent;
use super::super::webhook::{Delivery, Next, WebhookQueue, signature};
use crate::base::{Secret, Seldom};
use crate::net::client::io::HttpClient;
use crate::net::client::{Url, UrlError};
use crate::registry::Account;
use axum::http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

const SIGNATURE: HeaderName = HeaderName::from_static("x-signature-256");

/// Between two lines that tell of dropped events of an account.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Everybody's webhooks.
#[derive(Default)]
pub(in super::super) struct Webhooks {
    client: OnceLock<Arc<HttpClient>>,
    accounts: Mutex<BTreeMap<String, Webhook>>,
}

#[derive(Default)]
struct Webhook {
    url: Option<Url>,
    secret: Option<Secret>,
    queue: WebhookQueue,
    /// The last attempt failed.
    is_failing: bool,
    /// Tells of events that were dropped.
    losses: Option<Seldom>,
    /// Wakes the task that delivers; none runs while nothing waits.
    task: Option<Arc<Notify>>,
}

impl Webhook {
    /// An event was dropped. How many since that was told last, when it is to be told.
    fn lost(&mut self, now: Instant) -> Option<u64> {
        self.losses.get_or_insert_with(|| Seldom::new(LINE_INTERVAL)).happened(now)
    }
}

impl Webhooks {
    /// Who sends.
    pub(in super::super) fn send_with(&self, client: Arc<HttpClient>) {
        let _ = self.client.set(client); // an edge is started once
    }

    /// As the account's configuration says.
    pub(super) fn configure(&self, account: &Account) {
        let Some(client) = self.client.get() else { return };
        // the configuration was judged at start; what cannot be used was refused there, but for
        // this machine's own addresses, which each delivery asks for
        let url = account.webhook().and_then(|text| Url::parse(text, client.config(), &[]).ok());
        let webhook = Webhook { url, secret: account.webhook_secret().cloned(), ..Webhook::default() };
        self.accounts().insert(account.name().to_owned(), webhook);
    }

    /// Another place for an account's events, until the next start; none takes it away.
    ///
    /// # Errors
    /// It is no URL, or one that is not asked.
    pub(super) fn set(&self, account: &str, url: Option<&str>) -> Result<(), UrlError> {
        let Some(client) = self.client.get() else { return Ok(()) };
        let url = url.map(|text| client.read_url(text)).transpose()?;
        self.accounts().entry(account.to_owned()).or_default().url = url;
        Ok(())
    }

    /// Whether an account has one.
    pub(super) fn has(&self, account: &str) -> bool {
        self.accounts().get(account).is_some_and(|webhook| webhook.url.is_some())
    }

    /// An event for an account's webhook, if it has one.
    pub(super) fn push(self: &Arc<Self>, account: &str, event: Sent) {
        let mut accounts = self.accounts();
        let Some(webhook) = accounts.get_mut(account).filter(|w| w.url.is_some()) else { return };
        let now = Instant::now();
        if !webhook.queue.push(event, now)
            && let Some(events) = webhook.lost(now)
        {
            let dropped = webhook.queue.dropped();
            warn!(account, events, dropped, "too many events wait for the webhook, and new ones are dropped");
        }
        match &webhook.task {
            Some(task) => task.notify_one(),
            None => {
                let wake = Arc::new(Notify::new());
                webhook.task = Some(wake.clone());
                tokio::spawn(deliver(self.clone(), account.to_owned(), wake));
            }
        }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<String, Webhook>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to send, where to, and with what signature; none ends the task.
    fn next(&self, account: &str) -> Option<Step> {
        let mut accounts = self.accounts();
        let webhook = accounts.get_mut(account)?;
        let step = match (webhook.queue.next(Instant::now()), &webhook.url) {
            (Next::Send(delivery), Some(url)) => {
                Step::Send { url: url.clone(), secret: webhook.secret.clone(), delivery }
            }
            (Next::Wait(until), Some(_)) => Step::Wait(until),
            (Next::Idle, _) | (_, None) => {
                if webhook.url.is_none() {
                    webhook.queue = WebhookQueue::default(); // it was taken away, with all that waited for it
                }
                webhook.task = None;
                return None;
            }
        };
        Some(step)
    }

    fn taken(&self, account: &str) {
        let mut accounts = self.accounts();
        let Some(webhook) = accounts.get_mut(account) else { return };
        if std::mem::take(&mut webhook.is_failing) {
            info!(account, "the webhook takes events again");
        }
    }

    fn failed(&self, account: &str, delivery: Delivery, why: &str) {
        let mut accounts = self.accounts();
        let Some(webhook) = accounts.get_mut(account) else { return };
        let host = webhook.url.as_ref().map(|url| url.host().to_owned()).unwrap_or_default();
        let event = delivery.event.id.clone();
        let was_failing = std::mem::replace(&mut webhook.is_failing, true);
        if webhook.queue.failed(delivery, Instant::now()) {
            if was_failing {
                debug!(account, host, event, why, "the webhook did not take an event; it will be sent again");
            } else {
                warn!(account, host, event, why, "the webhook does not take events; they are sent again");
            }
        } else if let Some(events) = webhook.lost(Instant::now()) {
            let dropped = webhook.queue.dropped();
            warn!(
                account,
                host, event, why, events, dropped, "the webhook did not take an event; it is given up"
            );
        }
    }
}

/// What the task of an account does next.
enum Step {
    Send { url: Url, secret: Option<Secret>, delivery: Delivery },
    Wait(Instant),
}

/// Sends what waits for one account, one after the other, until nothing waits.
async fn deliver(webhooks: Arc<Webhooks>, account: String, wake: Arc<Notify>) {
    let Some(client) = webhooks.client.get() else { return };
    while let Some(step) = webhooks.next(&account) {
        match step {
            Step::Wait(until) => tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = wake.notified() => {}
            },
            Step::Send { url, secret, delivery } => {
                let body = delivery.event.body.clone();
                let signed = secret.and_then(|s| HeaderValue::try_from(signature(s.expose(), &body)).ok());
                let headers: Vec<_> = signed.map(|value| (SIGNATURE, value)).into_iter().collect();
                let why = match client.post(&url, &headers, body).await {
                    Ok(200..=299) => {
                        webhooks.taken(&account);
                        continue;
                    }
                    Ok(status) => format!("it answered {status}"),
                    Err(error) => error.to_string(),
                };
                webhooks.failed(&account, delivery, &why);
            }
        }
    }
}
