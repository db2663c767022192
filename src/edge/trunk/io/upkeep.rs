//! Keeps a trunk registered and knows whether its PBX is there.

use super::super::config::DEFAULT_EXPIRES;
use super::Trunk;
use crate::sip::io::{Locate, SipStack};
use crate::sip::qualify::Reachability;
use crate::sip::register::{RegisterConfig, RegisterState};
use crate::sip::{Hop, NameAddr, SipUri};
use crate::ua::Login;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// Finds the trunk's host, and lets what it finds pass without the budget of strangers.
struct Place {
    trunk: Arc<Trunk>,
    sip: Arc<SipStack>,
    trusted: Mutex<Option<IpAddr>>,
}

#[async_trait]
impl Locate for Place {
    async fn locate(&self) -> Option<Hop> {
        // a failure shows in the state, once; a log line for each attempt would be thousands a day
        let address = self.trunk.look_up(self.trunk.listening(&self.sip)).await.ok()?;
        let hop = Hop { transport: self.trunk.way(), address };
        let is_new = self.trusted.lock().unwrap_or_else(PoisonError::into_inner).replace(address.ip())
            != Some(address.ip());
        if is_new {
            self.sip.trust(address.ip());
            self.sip.meet(hop).await;
        }
        Some(hop)
    }
}

/// Runs until the stack ends.
pub(super) async fn look_after(trunk: Arc<Trunk>, lines: BTreeMap<String, Login>, sip: Arc<SipStack>) {
    let place = Arc::new(Place { trunk: trunk.clone(), sip: sip.clone(), trusted: Mutex::new(None) });
    if trunk.register.is_none() && trunk.qualify.is_none() {
        // nobody else will look, and its calls shall not wait behind strangers
        let _ = place.locate().await;
    }
    let own = trunk.register.and_then(|expires| register_config(&trunk, expires));
    let own = own.map(|config| sip.register(config, place.clone()));
    let mut registered = own.as_ref().map(|r| r.state());
    let lines: Vec<_> = lines
        .iter()
        .map(|(account, login)| {
            let registration = sip.register(line_config(&trunk, login), place.clone());
            tokio::spawn(watch_line(
                trunk.clone(),
                account.clone(),
                login.user.clone(),
                registration.state(),
            ));
            registration
        })
        .collect();
    let mut reached = trunk.qualify.map(|interval| sip.qualify(place, asker(&trunk), interval));
    // a state that came before the first wait is news too
    registered.iter_mut().for_each(watch::Receiver::mark_changed);
    let mut is_registered = false;
    while registered.is_some() || reached.is_some() || !lines.is_empty() {
        // both arms only wait for news
        tokio::select! {
            state = next(&mut registered) => {
                let was_registered = is_registered;
                is_registered = matches!(state, Some(RegisterState::Registered { .. }));
                // registrars grant a second more or less each time
                if !(was_registered && is_registered) {
                    tell(&trunk, &state);
                }
            }
            state = next(&mut reached) => {
                let was_down = trunk.is_down();
                trunk.set_down(state == Some(Reachability::Down));
                match (was_down, trunk.is_down()) {
                    (false, true) => warn!(trunk = trunk.name, "the trunk is down: calls to it fail at once"),
                    (true, false) if state.is_some() => {
                        info!(trunk = trunk.name, "the trunk is up again");
                        // it may have forgotten us
                        for registration in own.iter().chain(&lines) {
                            registration.refresh().await;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Tells of an account's extension, until the stack ends.
async fn watch_line(
    trunk: Arc<Trunk>,
    account: String,
    line: String,
    mut registered: watch::Receiver<RegisterState>,
) {
    registered.mark_changed();
    let mut was_registered = false;
    while registered.changed().await.is_ok() {
        let state = registered.borrow_and_update().clone();
        let is_registered = matches!(state, RegisterState::Registered { .. });
        match &state {
            RegisterState::Registered { .. } if !was_registered => {
                info!(trunk = trunk.name, account, line, "an account's extension is registered at the PBX");
            }
            RegisterState::Failed(why) => {
                warn!(trunk = trunk.name, account, line, %why, "an account's extension is not registered; it is tried again");
            }
            _ => {}
        }
        was_registered = is_registered;
    }
}

/// The next news; none, and no more of it, when its source has ended.
async fn next<T: Clone>(news: &mut Option<watch::Receiver<T>>) -> Option<T> {
    let Some(receiver) = news else { return std::future::pending().await };
    if receiver.changed().await.is_ok() {
        return Some(receiver.borrow_and_update().clone());
    }
    *news = None;
    None
}

/// Who asks: the trunk's user, by which the PBX knows us.
fn asker(trunk: &Trunk) -> Option<NameAddr> {
    trunk.user.as_deref().map(|user| NameAddr::new(SipUri::new(Some(user), trunk.sip_host(), None)))
}

fn tell(trunk: &Trunk, state: &Option<RegisterState>) {
    match state {
        Some(RegisterState::Registered { expires }) => {
            info!(trunk = trunk.name, expires_s = expires.as_secs(), "registered at the trunk's PBX");
        }
        Some(RegisterState::Failed(why)) => {
            warn!(trunk = trunk.name, %why, "not registered at the trunk's PBX; it is tried again");
        }
        Some(RegisterState::Closed) => info!(trunk = trunk.name, "no longer registered at the trunk's PBX"),
        Some(RegisterState::Registering) | None => {}
    }
}

/// What a trunk registers; none without a user, which its configuration does not allow.
fn register_config(trunk: &Trunk, expires: Duration) -> Option<RegisterConfig> {
    let login = Login { user: trunk.user.clone()?, credentials: trunk.credentials() };
    Some(RegisterConfig { expires, ..line_config(trunk, &login) })
}

/// What registers a user of the PBX.
fn line_config(trunk: &Trunk, login: &Login) -> RegisterConfig {
    // the usual port goes without saying, and some registrars compare domains as text
    let port = Some(trunk.port).filter(|p| *p != trunk.transport.default_port());
    RegisterConfig {
        registrar: SipUri::new(None, trunk.sip_host(), port).by(trunk.transport),
        aor: SipUri::new(Some(&login.user), trunk.sip_host(), None),
        contact_user: Some(login.user.clone()),
        credentials: login.credentials.clone(),
        expires: trunk.register.unwrap_or(DEFAULT_EXPIRES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Section, Seed};
    use crate::sip::io::StackConfig;
    use crate::sip::{HeaderName, Limits, Message, Method, Request, StatusCode, parse};
    use serde_json::json;
    use std::net::SocketAddr;
    use tokio::net::UdpSocket;

    async fn next_request(socket: &UdpSocket) -> (Request, SocketAddr) {
        let mut buffer = [0; 4_096];
        let received = tokio::time::timeout(Duration::from_secs(15), socket.recv_from(&mut buffer));
        let (n, from) = received.await.expect("a request comes").unwrap();
        match parse(&buffer[..n], &Limits::UDP).unwrap() {
            Message::Request(r) => (r, from),
            Message::Response(r) => panic!("a request was expected, not {}", r.status),
        }
    }

    /// Answers until a REGISTER came.
    async fn registered(socket: &UdpSocket) -> Request {
        loop {
            let (r, from) = next_request(socket).await;
            socket.send_to(&r.response(StatusCode::OK, Some("t")).to_bytes(), from).await.unwrap();
            if r.method == Method::REGISTER {
                return r;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trunk_is_down_while_its_pbx_is_gone_and_registered_anew_when_it_is_back() {
        let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = pbx.local_addr().unwrap();
        let value = json!({"host": address.to_string(), "user": "edge", "register": true, "qualify": "1s"});
        let trunk =
            Arc::new(super::super::super::config::read(&Section::new("trunk.pbx", "t", value)).unwrap());
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let sip = Arc::new(SipStack::start(StackConfig::new(listen), Seed::from_number(1)).unwrap());
        let task = tokio::spawn(look_after(trunk.clone(), BTreeMap::new(), sip.clone()));
        let r = registered(&pbx).await;
        assert_eq!(r.headers.get(&HeaderName::To), Some("<sip:edge@127.0.0.1>"));
        assert_eq!(r.uri.to_string(), format!("sip:{address}"));
        // up: an OPTIONS was answered
        let (r, from) = next_request(&pbx).await;
        assert_eq!(r.headers.from().unwrap().uri.to_string(), "sip:edge@127.0.0.1", "the PBX knows who asks");
        pbx.send_to(&r.response(StatusCode::OK, Some("t")).to_bytes(), from).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!trunk.is_down());
        drop(pbx);
        while !trunk.is_down() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pbx = UdpSocket::bind(address).await.unwrap();
        registered(&pbx).await;
        assert!(!trunk.is_down());
        let ending = sip.clone();
        let ending = tokio::spawn(async move { ending.shutdown(Duration::from_secs(2), None).await });
        assert_eq!(registered(&pbx).await.headers.get(&HeaderName::Expires), Some("0"));
        ending.await.unwrap();
        task.await.unwrap();
    }
}
