//! Two calls of ours become one conversation: a party of the first and a party of the second talk to each other, and the
//! legs between them leave.
//!
//! A leg in each call takes the place of the one that leaves. The two are tied back to back: what one is commanded the
//! other one reports, and their media goes over loopback. So neither party that stays is offered anything, whatever it
//! can do, and it does not matter which media thread a call lives on.

use super::{Dialer, Inner, LEG_COMMANDS, LegRef, OpenedLeg};
use crate::base::Cause;
use crate::call::leg::{Answered, EarlyOffer, Incoming, LegCommand, LegEvent, LegProfile};
use crate::call::port::{Codec, Encryption, HoldMusic, MediaProfile};
use crate::call::route::Target;
use async_trait::async_trait;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Opens the leg of the first call.
pub(super) struct Joiner(pub(super) Arc<Inner>);

#[async_trait]
impl Dialer for Joiner {
    async fn open(&self, leg: LegRef, target: &Target) -> Result<OpenedLeg, Cause> {
        let (call, old) = target.as_partner_of().ok_or(Cause::NotFound)?;
        // a call has no two parties to join with each other
        if call == leg.call {
            return Err(Cause::NotFound);
        }
        let switch = self.0.clone();
        let (commands, mut inbox) = mpsc::channel(LEG_COMMANDS);
        tokio::spawn(async move {
            let Some(LegCommand::Dial(dial)) = inbox.recv().await else { return };
            let incoming = Incoming {
                particulars: dial.particulars,
                source: dial.source,
                from: dial.from,
                to: String::new(),
                offer: dial.offer,
                profile: profile(),
                early_offer: EarlyOffer::No,
                ring_timeout: None,
                hops: dial.hops,
            };
            let (commands, back) = mpsc::channel(LEG_COMMANDS);
            match switch.replace(call, old, incoming, commands).await {
                Ok(far) => tie(leg, inbox, far, back).await,
                Err(cause) => drop(leg.send(LegEvent::Ended(cause.into())).await),
            }
        });
        Ok(OpenedLeg { profile: profile(), commands })
    }
}

fn profile() -> LegProfile {
    LegProfile {
        media: MediaProfile::Rtp {
            // it does not leave this machine
            encryption: Encryption::Off,
            is_avpf: false,
            codecs: Codec::ALL.to_vec(),
            towards: IpAddr::V4(Ipv4Addr::LOCALHOST),
            external: Default::default(),
            own_address: Default::default(),
            is_symmetric: false,
            hold_music: HoldMusic::Silence,
        },
        takes_offer: true,
        takes_reoffer: true,
        may_detach: false,
        takes_keys: false,
        account: None,
    }
}

/// Carries words between the two until one is hung up.
async fn tie(
    near: LegRef,
    mut from_near: mpsc::Receiver<LegCommand>,
    far: LegRef,
    mut from_far: mpsc::Receiver<LegCommand>,
) {
    loop {
        let (to, command) = tokio::select! {
            command = from_near.recv() => (&far, command),
            command = from_far.recv() => (&near, command),
        };
        // a call that is gone without a word
        let command = command.unwrap_or(LegCommand::Hangup(Cause::Internal.into()));
        let is_last = matches!(command, LegCommand::Hangup(_));
        if let Some(word) = word(command)
            && !to.send(word).await
        {
            return;
        }
        if is_last {
            return;
        }
    }
}

/// What a command to one of the two is to the other's call.
fn word(command: LegCommand) -> Option<LegEvent> {
    Some(match command {
        LegCommand::Answer { answer } => {
            LegEvent::Answered { answer: answer.map_or(Answered::Nothing, Answered::Sdp) }
        }
        LegCommand::Offer(sdp) => LegEvent::Offer(sdp),
        LegCommand::AnswerOffer(sdp) => LegEvent::OfferAnswered(sdp),
        LegCommand::RefuseOffer(refusal) => LegEvent::OfferRefused(refusal.cause()),
        LegCommand::Hangup(end) => LegEvent::Ended(end),
        LegCommand::Party(who) => LegEvent::Party(who),
        // of a call that nobody has answered yet
        LegCommand::Ring => LegEvent::Ringing,
        LegCommand::Delayed(why) => LegEvent::Delayed(why),
        LegCommand::Progress { answer, delay } => LegEvent::Progress { answer, delay },
        // keys go with the media, and its state is that of a loop
        LegCommand::Dial(_)
        | LegCommand::EarlyMedia(_)
        | LegCommand::MediaState(_)
        | LegCommand::Dtmf(_)
        | LegCommand::Notify(_) => return None,
    })
}
