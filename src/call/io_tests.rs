//! Calls with their tasks, between edges and media that a test plays.

use super::super::port::{MediaCommand, MediaProfile};
use super::super::route::{Place, RouteQuery, Source, Step};
use super::*;
use crate::base::End;
use crate::call::leg::{Answered, EarlyOffer, Particulars, Party, Transfer, TransferState, TransferTo};
use crate::sdp::SessionDescription;

/// Sends every call to one target; a number that says so ends in a fault.
struct Everywhere;

impl Router for Everywhere {
    fn route(&self, query: &RouteQuery) -> RouteDecision {
        assert_ne!(query.to, "fault in routing");
        let to =
            Place::Target(Target { edge: "test", name: "x".into(), number: query.to.clone(), place: None });
        RouteDecision::To(vec![Step { places: vec![to], ..Step::default() }])
    }
}

/// Makes the same offer always.
struct Media;

struct Port(mpsc::Sender<MediaEvent>);

impl MediaEngine for Media {
    fn open(&self, _: CallId, events: mpsc::Sender<MediaEvent>) -> Result<Box<dyn MediaPort>, Cause> {
        Ok(Box::new(Port(events)))
    }
}

impl MediaPort for Port {
    fn command(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::CreateOffer { leg, .. } => {
                self.0.try_send(MediaEvent::Offer { leg, sdp: sdp() }).unwrap();
            }
            MediaCommand::CheckOffer { leg, .. } => self.0.try_send(MediaEvent::OfferGood { leg }).unwrap(),
            MediaCommand::AcceptOffer { leg, .. } => {
                self.0.try_send(MediaEvent::Answer { leg, sdp: sdp() }).unwrap();
            }
            MediaCommand::Detach(_) => panic!("a fault in the call's task"),
            _ => {}
        }
    }
}

fn sdp() -> Box<SessionDescription> {
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 9 RTP/AVP 0\r\n";
    Box::new(SessionDescription::parse(sdp).unwrap())
}

/// Hands out what it opened.
struct Edge(mpsc::Sender<(LegRef, mpsc::Receiver<LegCommand>)>);

#[async_trait]
impl Dialer for Edge {
    async fn open(&self, leg: LegRef, _: &Target) -> Result<OpenedLeg, Cause> {
        let (commands, inbox) = mpsc::channel(LEG_COMMANDS);
        self.0.send((leg, inbox)).await.unwrap();
        Ok(OpenedLeg { profile: profile(), commands })
    }
}

fn profile() -> LegProfile {
    LegProfile {
        media: MediaProfile::WebRtc,
        takes_offer: true,
        takes_reoffer: false,
        may_detach: true,
        takes_keys: false,
        account: None,
    }
}

struct World {
    switch: Switch,
    caller: LegRef,
    to_caller: mpsc::Receiver<LegCommand>,
    opened: mpsc::Receiver<(LegRef, mpsc::Receiver<LegCommand>)>,
    permit: Arc<()>,
}

fn call(to: &str) -> World {
    let (sender, opened) = mpsc::channel(1);
    let edge: Arc<dyn Dialer> = Arc::new(Edge(sender));
    let dialers = BTreeMap::from([("test", edge)]);
    let parts = SwitchParts { router: Arc::new(Everywhere), media: Arc::new(Media), dialers };
    World::begin(Switch::new(parts, Seed::from_number(1)), opened, to)
}

impl World {
    fn begin(switch: Switch, opened: mpsc::Receiver<(LegRef, mpsc::Receiver<LegCommand>)>, to: &str) -> Self {
        let (commands, to_caller) = mpsc::channel(LEG_COMMANDS);
        let incoming = Incoming {
            particulars: Particulars::default(),
            source: Source::Account("anna".into()),
            from: Party::default(),
            to: to.to_owned(),
            offer: None,
            profile: profile(),
            early_offer: EarlyOffer::No,
            ring_timeout: None,
            hops: crate::call::leg::HOPS,
        };
        let permit = Arc::new(());
        let caller = switch.incoming(incoming, commands, Box::new(permit.clone())).unwrap();
        World { switch, caller, to_caller, opened, permit }
    }

    /// The callee answers.
    async fn answered(&mut self) -> (LegRef, mpsc::Receiver<LegCommand>) {
        let (callee, mut to_callee) = self.opened.recv().await.unwrap();
        assert!(matches!(to_callee.recv().await, Some(LegCommand::Dial(_))));
        let answer = Answered::Sdp(sdp());
        assert!(callee.send(LegEvent::Answered { answer }).await);
        assert!(matches!(self.to_caller.recv().await, Some(LegCommand::Answer { .. })));
        (callee, to_callee)
    }
}

fn transfer(to: TransferTo) -> LegEvent {
    LegEvent::Transfer(Box::new(Transfer { source: Source::Trunk("pbx".into()), by: None, to }))
}

#[tokio::test(start_paused = true)]
async fn the_parties_that_two_calls_leave_behind_talk_to_each_other() {
    let mut first = call("600");
    let (desk, mut to_desk) = first.answered().await;
    let mut second = World::begin(first.switch.clone(), mpsc::channel(1).1, "601");
    // the first call's edge opens the legs of both
    let (other, mut to_other) = first.opened.recv().await.unwrap();
    assert!(matches!(to_other.recv().await, Some(LegCommand::Dial(_))));
    assert!(other.send(LegEvent::Answered { answer: Answered::Sdp(sdp()) }).await);
    assert!(matches!(second.to_caller.recv().await, Some(LegCommand::Answer { .. })));

    assert!(desk.send(transfer(TransferTo::Partner(other.call, other.leg))).await);
    let news = |command| match command {
        Some(LegCommand::Notify(state)) => state,
        other => panic!("{other:?}"),
    };
    assert_eq!(news(to_desk.recv().await), TransferState::Trying);
    assert_eq!(news(to_desk.recv().await), TransferState::Done);
    for to_leg in [&mut to_desk, &mut to_other] {
        assert!(matches!(
            to_leg.recv().await,
            Some(LegCommand::Hangup(End { cause: Cause::Transferred, .. }))
        ));
        assert!(to_leg.recv().await.is_none());
    }
    assert!(first.to_caller.try_recv().is_err() && second.to_caller.try_recv().is_err(), "no word of it");
    // who is left hangs up, and the other one hears of it
    assert!(first.caller.send(LegEvent::Ended(Cause::Normal.into())).await);
    assert!(matches!(
        second.to_caller.recv().await,
        Some(LegCommand::Hangup(End { cause: Cause::Normal, .. }))
    ));
    is_forgotten(&first).await;
    is_forgotten(&second).await;
    assert!(first.switch.0.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_gone_or_the_own_one_has_no_party_to_join() {
    let mut world = call("600");
    let (desk, mut to_desk) = world.answered().await;
    for call in [CallId::from_bits(99), desk.call] {
        assert!(desk.send(transfer(TransferTo::Partner(call, desk.leg))).await);
        for state in [TransferState::Trying, TransferState::Failed(Cause::NotFound)] {
            let told = to_desk.recv().await;
            assert!(matches!(told, Some(LegCommand::Notify(s)) if s == state), "{told:?}");
        }
    }
    assert!(world.caller.send(LegEvent::Ended(Cause::Normal.into())).await);
    is_forgotten(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_leg_takes_anothers_place_and_leaves_when_there_is_none() {
    let mut world = call("600");
    let (desk, mut to_desk) = world.answered().await;
    let incoming = || Incoming {
        particulars: Particulars::default(),
        source: Source::Trunk("pbx".into()),
        from: Party::default(),
        to: String::new(),
        offer: Some(sdp()),
        profile: profile(),
        early_offer: EarlyOffer::No,
        ring_timeout: None,
        hops: crate::call::leg::HOPS,
    };
    let (commands, mut to_new) = mpsc::channel(LEG_COMMANDS);
    let new = world.switch.replace(desk.call, desk.leg, incoming(), commands).await.unwrap();
    assert!(matches!(to_new.recv().await, Some(LegCommand::Answer { answer: Some(_) })));
    assert!(matches!(to_desk.recv().await, Some(LegCommand::Hangup(End { cause: Cause::Transferred, .. }))));
    let (commands, _rest) = mpsc::channel(LEG_COMMANDS);
    let gone = world.switch.replace(desk.call, desk.leg, incoming(), commands.clone()).await;
    assert!(matches!(gone, Err(Cause::NotFound)));
    assert!(new.send(LegEvent::Ended(Cause::Normal.into())).await);
    assert!(matches!(
        world.to_caller.recv().await,
        Some(LegCommand::Hangup(End { cause: Cause::Normal, .. }))
    ));
    is_forgotten(&world).await;
    assert!(world.switch.replace(desk.call, new.leg, incoming(), commands).await.is_err());
}

/// Waits until the call is forgotten.
async fn is_forgotten(world: &World) {
    world.caller.closed().await;
    let _ = world.switch.0.live.subscribe().wait_for(|n| *n == 0).await;
    assert_eq!(Arc::strong_count(&world.permit), 1, "the permit is given back");
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_a_calls_task_ends_both_legs_and_gives_its_place_back() {
    let mut world = call("600");
    let (callee, mut to_callee) = world.opened.recv().await.unwrap();
    assert!(matches!(to_callee.recv().await, Some(LegCommand::Dial(_))));
    assert!(callee.send(LegEvent::Answered { answer: Answered::Nothing }).await);
    assert!(matches!(world.to_caller.recv().await, Some(LegCommand::Answer { .. })));
    assert_eq!(world.switch.live(), 1);
    assert!(world.caller.send(LegEvent::Detached).await);
    assert!(world.to_caller.recv().await.is_none() && to_callee.recv().await.is_none());
    is_forgotten(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_before_the_second_leg_ends_the_first() {
    let mut world = call("fault in routing");
    assert!(world.to_caller.recv().await.is_none());
    is_forgotten(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_leg_whose_task_is_gone_without_a_word_ends_the_other() {
    let mut world = call("600");
    let (_callee, mut to_callee) = world.opened.recv().await.unwrap();
    assert!(matches!(to_callee.recv().await, Some(LegCommand::Dial(_))));
    drop(to_callee);
    let hangup = world.to_caller.recv().await;
    assert!(matches!(hangup, Some(LegCommand::Hangup(End { cause: Cause::Internal, .. }))), "{hangup:?}");
    is_forgotten(&world).await;

    let mut world = call("600");
    let (_callee, mut to_callee) = world.opened.recv().await.unwrap();
    drop(std::mem::replace(&mut world.to_caller, mpsc::channel(1).1));
    assert!(matches!(to_callee.recv().await, Some(LegCommand::Dial(_))));
    assert!(matches!(to_callee.recv().await, Some(LegCommand::Hangup(End { cause: Cause::Internal, .. }))));
    is_forgotten(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_word_of_a_leg_counts_though_its_task_is_gone() {
    let mut world = call("600");
    let (callee, to_callee) = world.opened.recv().await.unwrap();
    assert!(callee.send(LegEvent::Ended(Cause::Busy.into())).await);
    drop(to_callee);
    let hangup = world.to_caller.recv().await;
    assert!(matches!(hangup, Some(LegCommand::Hangup(End { cause: Cause::Busy, .. }))), "{hangup:?}");
}
