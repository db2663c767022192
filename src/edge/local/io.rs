//! A task per call to an extension, and the calls that `callback` makes.

use super::session::{Extension, LocalLeg, Output};
use crate::base::Cause;
use crate::call::io::{Dialer, LEG_COMMANDS, LegRef, OpenedLeg};
use crate::call::leg::{EarlyOffer, Incoming, LegCommand, LegProfile, Particulars, Party};
use crate::call::port::{Application, MediaProfile};
use crate::call::route::{Source, Target};
use crate::edge::contract::EdgeContext;
use async_trait::async_trait;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing::{debug, info};

/// How long a call back rings.
const RING: Duration = Duration::from_secs(30);

/// What calls back.
#[derive(Default)]
pub(super) struct Desk(OnceLock<EdgeContext>);

impl Desk {
    pub(super) fn open(&self, context: EdgeContext) {
        let _ = self.0.set(context); // an edge is started once
    }

    /// Calls an account by the first of its numbers, as whoever dials that.
    fn call_back(&self, account: &str) {
        let Some(EdgeContext { switch, registry, .. }) = self.0.get() else { return };
        let Some(account) = registry.account(account) else { return };
        let Some(number) = account.numbers().first() else {
            info!(account = account.name(), "an account without numbers cannot be called back");
            return;
        };
        let name = Extension::Callback.name().to_owned();
        let incoming = Incoming {
            particulars: Particulars::default(),
            source: Source::Local(name.clone()),
            from: Party { user: name, display: Some("Callback".to_owned()) },
            to: number.clone(),
            offer: None,
            profile: profile(Application::Echo),
            early_offer: EarlyOffer::No,
            ring_timeout: Some(RING),
            hops: crate::call::leg::HOPS,
        };
        let Ok(permit) = registry.admit(&account) else {
            debug!(account = account.name(), "too many calls to call back");
            return;
        };
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        match switch.incoming(incoming, commands, Box::new(permit)) {
            Ok(_) => drop(tokio::spawn(listen(inbox))),
            Err(cause) => debug!(account = account.name(), %cause, "cannot call back"),
        }
    }
}

/// A party that is a media application.
const fn profile(application: Application) -> LegProfile {
    LegProfile {
        media: MediaProfile::Application(application),
        takes_offer: false,
        takes_reoffer: false,
        may_detach: false,
        takes_keys: false,
        account: None,
    }
}

/// Answers at the extensions.
pub(super) struct LocalDialer(pub(super) Arc<Desk>);

#[async_trait]
impl Dialer for LocalDialer {
    async fn open(&self, leg: LegRef, target: &Target) -> Result<OpenedLeg, Cause> {
        let extension = Extension::from_name(&target.name).ok_or(Cause::NotFound)?;
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        tokio::spawn(run(self.0.clone(), LocalLeg::new(extension), leg, inbox));
        Ok(OpenedLeg { profile: profile(extension.application()), commands })
    }
}

/// One call to an extension, and what it does after it.
async fn run(desk: Arc<Desk>, mut leg: LocalLeg, call: LegRef, mut commands: mpsc::Receiver<LegCommand>) {
    let mut is_gone = false;
    loop {
        while let Some(output) = leg.poll_output() {
            match output {
                Output::Tell(word) => drop(call.send(word).await), // a call that is over needs no word
                Output::CallBack(account) => desk.call_back(&account),
            }
        }
        if leg.is_over() {
            return;
        }
        let deadline = leg.poll_timeout();
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv(), if !is_gone => match command {
                Some(command) => leg.handle_command(command, Instant::now()),
                None => {
                    is_gone = true;
                    leg.handle_gone(Instant::now());
                }
            },
            () = timer => leg.handle_timeout(Instant::now()),
        }
    }
}

/// The caller of a call back does as it is told, which is to say nothing.
async fn listen(mut commands: mpsc::Receiver<LegCommand>) {
    while commands.recv().await.is_some() {}
}
