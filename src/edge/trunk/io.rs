//! Dials: finds the trunk's address, starts a SIP session, and carries words between it and the call.

use super::config::{CallerId, Trunk};
use crate::base::{Cause, Services};
use crate::call::io::{Dialer, LEG_COMMANDS, LegRef, OpenedLeg};
use crate::call::leg::{LegCommand, LegProfile};
use crate::call::port::MediaProfile;
use crate::call::route::Target;
use crate::sip::Host;
use crate::sip::digest::Credentials;
use crate::sip::io::{Dial, SessionHandle, SipStack};
use crate::sip::session::SessionEvent;
use crate::ua::{Action, Identity, OutgoingLeg};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// A name that takes longer to look up is as good as none.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

/// Places calls by the configured trunks.
pub(super) struct TrunkDialer {
    trunks: BTreeMap<String, Arc<Trunk>>,
    sip: Arc<SipStack>,
}

impl TrunkDialer {
    pub(super) fn new(trunks: Vec<Trunk>, services: &Services) -> Result<Self, String> {
        let sip = services.get::<SipStack>().ok_or("trunks need the SIP stack, which was not started")?;
        // its keep-alives and calls shall not wait behind strangers
        trunks.iter().filter_map(|t| t.host.parse().ok()).for_each(|ip| sip.trust(ip));
        let trunks = trunks.into_iter().map(|t| (t.name.clone(), Arc::new(t))).collect();
        Ok(Self { trunks, sip })
    }
}

#[async_trait]
impl Dialer for TrunkDialer {
    async fn open(&self, leg: LegRef, target: &Target) -> Result<OpenedLeg, Cause> {
        let trunk = self.trunks.get(&target.name).ok_or(Cause::Unavailable)?.clone();
        let remote = trunk.address().await?;
        let profile = LegProfile {
            media: MediaProfile::Rtp {
                codecs: vec![trunk.codec],
                towards: remote.ip(),
                is_symmetric: trunk.is_symmetric,
                hold_music: crate::call::port::HoldMusic::default(),
            },
            takes_offer: true,
            takes_reoffer: true,
            may_detach: false,
        };
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        let outgoing = OutgoingLeg::new(trunk.identity(), trunk.credentials(), trunk.is_symmetric);
        tokio::spawn(run(self.sip.clone(), outgoing, remote, leg, inbox));
        Ok(OpenedLeg { profile, commands })
    }
}

impl Trunk {
    async fn address(&self) -> Result<SocketAddr, Cause> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, self.port));
        }
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(mut found)) => found.next().ok_or(Cause::Unreachable),
            Ok(Err(error)) => {
                warn!(trunk = self.name, host = self.host, %error, "cannot look up the trunk's host");
                Err(Cause::Unreachable)
            }
            Err(_) => {
                warn!(trunk = self.name, host = self.host, "looking up the trunk's host took too long");
                Err(Cause::Unreachable)
            }
        }
    }

    fn identity(&self) -> Identity {
        let host = match self.host.parse::<IpAddr>() {
            Ok(ip) => Host::from(ip),
            Err(_) => Host::Name(self.host.clone()),
        };
        Identity {
            host,
            port: Some(self.port),
            user: self.user.clone(),
            is_caller_in_from: self.caller_id == CallerId::From,
            is_trusted: true, // a PBX; carriers get a profile of their own
        }
    }

    fn credentials(&self) -> Option<Credentials> {
        let (user, password) = (self.user.as_ref()?, self.password.as_ref()?);
        let mut credentials = Credentials::new(user, password.clone());
        credentials.realm.clone_from(&self.realm);
        Some(credentials)
    }
}

/// One leg, until its call or its session is over; whichever goes first, the other is told.
async fn run(
    sip: Arc<SipStack>,
    mut leg: OutgoingLeg,
    remote: SocketAddr,
    call: LegRef,
    mut commands: mpsc::Receiver<LegCommand>,
) {
    let mut session: Option<(SessionHandle, mpsc::Receiver<SessionEvent>)> = None;
    while !leg.is_over() {
        let action = tokio::select! {
            command = commands.recv() => {
                leg.handle_command(command.unwrap_or(LegCommand::Hangup(Cause::Internal)))
            }
            event = next_event(&mut session) => match event {
                Some(event) => {
                    if let SessionEvent::Failed(failure) = &event {
                        info!(call = %call.call, leg = %call.leg, %failure, "the trunk did not take the call");
                    }
                    leg.handle_session(event)
                }
                None => leg.fail(Cause::Internal).map_or(Action::None, Action::Tell),
            }
        };
        match action {
            Action::Dial(outgoing) => {
                let contact_user = outgoing.from.uri.user_text();
                session = Some(sip.dial(Dial { target: remote, contact_user, call: *outgoing }).await);
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
            Action::None => {}
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
