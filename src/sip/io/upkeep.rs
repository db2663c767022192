//! The tasks that keep registrations and watch peers: one each, driving [`Registration`] and [`Qualify`].

use super::super::endpoint::Probe;
use super::super::qualify::{self, PROBE_LIMIT, Qualify, Reachability};
use super::super::register::{self, RegisterFailure, RegisterState, Registration};
use super::super::transaction::Failure;
use super::super::{Hop, Host, NameAddr, SipUri, StatusCode};
use super::SipStack;
use crate::base::External;
use async_trait::async_trait;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a peer is reached.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Where requests go.
    pub hop: Hop,
    /// Whom they are for; none: whoever is there, and the registrar of the configuration.
    pub host: Option<(Host, Option<u16>)>,
    /// Proxies on the way.
    pub routes: Vec<NameAddr>,
    /// How long a REGISTER is waited for, where there is another place to try; none: 64·T1.
    pub limit: Option<Duration>,
    /// What a NAT on the way makes of our address.
    pub external: External,
}

impl From<Hop> for Reach {
    fn from(hop: Hop) -> Self {
        Self { hop, host: None, routes: Vec::new(), limit: None, external: External::default() }
    }
}

/// Finds where a peer is, each time anew: its name may lead elsewhere after an outage.
#[async_trait]
pub trait Locate: Send + Sync {
    /// How it is reached now; it answers within seconds.
    ///
    /// # Errors
    /// Why it is not.
    async fn locate(&self) -> Result<Reach, RegisterFailure>;

    /// Nobody is there who could serve: another place may be found next time.
    fn failed(&self, _hop: Hop) {}
}

#[async_trait]
impl Locate for Hop {
    async fn locate(&self) -> Result<Reach, RegisterFailure> {
        Ok(Reach::from(*self))
    }
}

#[async_trait]
impl Locate for Reach {
    async fn locate(&self) -> Result<Reach, RegisterFailure> {
        Ok(self.clone())
    }
}

enum Order {
    Refresh,
    Close,
}

/// A registration. Dropping it stops the refreshes and leaves the binding to its end;
/// [`RegistrationHandle::close`] takes it away.
#[derive(Debug)]
pub struct RegistrationHandle {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<RegisterState>,
    service_route: watch::Receiver<Vec<NameAddr>>,
}

impl RegistrationHandle {
    /// Its state, now and later.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<RegisterState> {
        self.state.clone()
    }

    /// The way that the registrar wants our requests to go, now and later (RFC 3608); empty: no special one.
    #[must_use]
    pub fn service_route(&self) -> watch::Receiver<Vec<NameAddr>> {
        self.service_route.clone()
    }

    /// Registers now: the registrar came back and may have forgotten us.
    pub async fn refresh(&self) {
        // it is over only when it is closed
        let _ = self.orders.send(Order::Refresh).await;
    }

    /// Takes the binding away and waits until that is done: as long as a request may last, 64·T1.
    pub async fn close(mut self) {
        let _ = self.orders.send(Order::Close).await;
        // the task may end without a word when the stack does
        let _ = self.state.wait_for(|state| *state == RegisterState::Closed).await;
    }
}

/// All these tasks of a stack.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Upkeep {
    pub(super) fn register(
        &self,
        stack: SipStack,
        peer: Arc<dyn Locate>,
        machine: Registration,
    ) -> RegistrationHandle {
        let (orders, inbox) = mpsc::channel(4);
        let (state_news, state) = watch::channel(machine.state().clone());
        let (way_news, service_route) = watch::channel(Vec::new());
        let news = RegistrationNews { state: state_news, service_route: way_news };
        self.tasks.spawn(keep_registered(stack, peer, machine, news, inbox, self.closing.clone()));
        RegistrationHandle { orders, state, service_route }
    }

    pub(super) fn qualify(
        &self,
        stack: SipStack,
        peer: Arc<dyn Locate>,
        from: Option<NameAddr>,
        machine: Qualify,
    ) -> watch::Receiver<Reachability> {
        let (news, state) = watch::channel(machine.state());
        self.tasks.spawn(watch_peer(stack, peer, from, machine, news, self.closing.clone()));
        state
    }

    /// Takes bindings away and ends everything, within `limit`.
    pub(super) async fn close(&self, limit: Duration) {
        self.closing.cancel();
        self.tasks.close();
        // who is not through by then is given up
        let _ = tokio::time::timeout(limit, self.tasks.wait()).await;
    }
}

/// Where a registration tells its news.
struct RegistrationNews {
    state: watch::Sender<RegisterState>,
    service_route: watch::Sender<Vec<NameAddr>>,
}

async fn keep_registered(
    stack: SipStack,
    peer: Arc<dyn Locate>,
    mut machine: Registration,
    news: RegistrationNews,
    mut orders: mpsc::Receiver<Order>,
    closing: CancellationToken,
) {
    let mut is_closing = false;
    loop {
        while let Some(output) = machine.poll_output() {
            match output {
                register::Output::State(state) => drop(news.state.send_replace(state)),
                register::Output::ServiceRoute(way) => drop(news.service_route.send_replace(way)),
                register::Output::Done => return,
                register::Output::Send => {
                    let reach = match peer.locate().await {
                        Ok(reach) => reach,
                        Err(why) => {
                            machine.handle_failure(Instant::now(), why);
                            continue;
                        }
                    };
                    let Some(mut end) = stack.end_towards(reach.hop).await else {
                        machine.handle_failure(Instant::now(), RegisterFailure::Unreachable);
                        continue;
                    };
                    if let Some((host, port)) = &reach.host {
                        machine.set_registrar(host, *port, reach.routes);
                    }
                    end.external = reach.external;
                    let request = machine.request(&end);
                    let mut answer = pin!(stack.request(end.flow, request, reach.limit));
                    let result = loop {
                        tokio::select! {
                            result = &mut answer => break result,
                            order = next_order(&mut orders, &closing, &mut is_closing) => match order {
                                Some(order) => obey(&mut machine, &order),
                                None => return,
                            },
                        }
                    };
                    let is_absent = match &result {
                        Ok(response) => response.status == StatusCode::SERVICE_UNAVAILABLE,
                        Err(_) => true,
                    };
                    if is_absent {
                        peer.failed(reach.hop);
                    }
                    match result {
                        Ok(response) => machine.handle_response(Instant::now(), &response),
                        Err(why) => machine.handle_failure(Instant::now(), why.into()),
                    }
                }
            }
        }
        let wake = machine.poll_timeout().map(|(at, _)| at);
        tokio::select! {
            order = next_order(&mut orders, &closing, &mut is_closing) => match order {
                Some(order) => obey(&mut machine, &order),
                None => return,
            },
            () = sleep_until(wake) => machine.handle_timeout(Instant::now()),
        }
    }
}

fn obey(machine: &mut Registration, order: &Order) {
    match order {
        Order::Refresh => machine.refresh(),
        Order::Close => machine.close(),
    }
}

/// The next order; the end of the stack is one, once. None when the handle is gone. Cancel-safe.
async fn next_order(
    orders: &mut mpsc::Receiver<Order>,
    closing: &CancellationToken,
    is_closing: &mut bool,
) -> Option<Order> {
    tokio::select! {
        () = closing.cancelled(), if !*is_closing => {
            *is_closing = true;
            Some(Order::Close)
        }
        order = orders.recv(), if !*is_closing => {
            *is_closing = matches!(order, Some(Order::Close));
            order
        }
        else => std::future::pending().await,
    }
}

async fn watch_peer(
    stack: SipStack,
    peer: Arc<dyn Locate>,
    from: Option<NameAddr>,
    mut machine: Qualify,
    news: watch::Sender<Reachability>,
    closing: CancellationToken,
) {
    loop {
        while let Some(output) = machine.poll_output() {
            match output {
                qualify::Output::State(state) => drop(news.send_replace(state)),
                qualify::Output::Probe => {
                    let probe = async {
                        let Ok(Reach { hop, host, routes, external, .. }) = peer.locate().await else {
                            return Err(Failure::Transport);
                        };
                        let to = host.map(|(host, port)| SipUri::new(None, host, port).by(hop.transport));
                        let probe =
                            Probe { from: from.clone(), limit: Some(PROBE_LIMIT), to, routes, external };
                        stack.options(hop, probe).await
                    };
                    let Some(result) = unless_over(probe, &news, &closing).await else { return };
                    machine.handle_result(Instant::now(), result);
                }
            }
        }
        if unless_over(sleep_until(machine.poll_timeout()), &news, &closing).await.is_none() {
            return;
        }
        machine.handle_timeout(Instant::now());
    }
}

/// None when nobody wants to know any more.
async fn unless_over<T>(
    work: impl Future<Output = T>,
    news: &watch::Sender<Reachability>,
    closing: &CancellationToken,
) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = news.closed() => None,
        () = closing.cancelled() => None,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
