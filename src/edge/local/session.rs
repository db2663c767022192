//! One call to an extension. Sans-IO: give it commands and the time, drain [`LocalLeg::poll_output`], wake it at
//! [`LocalLeg::poll_timeout`].

use crate::base::Cause;
use crate::call::leg::{Answered, Dial, LegCommand, LegEvent};
use crate::call::port::Application;
use crate::call::route::Source;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the callback's tone is heard.
const UNDERSTOOD: Duration = Duration::from_millis(400);
/// Between its end and the call back: time to put the telephone down.
const CALL_BACK_AFTER: Duration = Duration::from_secs(1);

/// What can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    Echo,
    Tone,
    Dtmf,
    Music,
    Callback,
}

impl Extension {
    pub(super) const ALL: [Self; 5] = [Self::Echo, Self::Tone, Self::Dtmf, Self::Music, Self::Callback];

    /// Its name in routes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Tone => "tone",
            Self::Dtmf => "dtmf",
            Self::Music => "music",
            Self::Callback => "callback",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// What is heard there.
    pub(super) const fn application(self) -> Application {
        match self {
            Self::Echo => Application::Echo,
            Self::Tone | Self::Callback => Application::Tone,
            Self::Dtmf => Application::DtmfEcho,
            Self::Music => Application::Music,
        }
    }
}

/// What the leg asks of the world. Exhaustive on purpose.
#[derive(Debug)]
pub(super) enum Output {
    /// Tell the call.
    Tell(LegEvent),
    /// Call this account.
    CallBack(String),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not dialled yet.
    New,
    Talking,
    /// Understood: hangs up then, and calls the account.
    HangsUp(Instant, String),
    CallsBack(Instant, String),
    Over,
}

/// One side of such a call.
#[derive(Debug)]
pub(super) struct LocalLeg {
    extension: Extension,
    state: State,
    outputs: VecDeque<Output>,
}

impl LocalLeg {
    pub(super) const fn new(extension: Extension) -> Self {
        Self { extension, state: State::New, outputs: VecDeque::new() }
    }

    /// What the call core says.
    pub(super) fn handle_command(&mut self, command: LegCommand, now: Instant) {
        match command {
            LegCommand::Dial(dial) => self.handle_dial(*dial, now),
            LegCommand::Hangup(_) => self.handle_gone(now),
            // nothing else concerns a party that only talks
            _ => {}
        }
    }

    /// The call is over, or has no more to say.
    pub(super) fn handle_gone(&mut self, now: Instant) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::HangsUp(_, account) => State::CallsBack(now + CALL_BACK_AFTER, account),
            calls_back @ State::CallsBack(..) => calls_back,
            State::New | State::Talking | State::Over => State::Over,
        };
    }

    fn handle_dial(&mut self, dial: Dial, now: Instant) {
        if self.state != State::New {
            return;
        }
        self.state = match (self.extension, dial.source) {
            (Extension::Callback, Source::Account(account)) => State::HangsUp(now + UNDERSTOOD, account),
            // there is nobody to call back: a trunk's number may be anybody's
            (Extension::Callback, Source::Trunk(_) | Source::Local(_)) => {
                self.state = State::Over;
                return self.outputs.push_back(Output::Tell(LegEvent::Ended(Cause::NotFound.into())));
            }
            _ => State::Talking,
        };
        self.outputs.push_back(Output::Tell(LegEvent::Ringing));
        let answer = Answered::Application(self.extension.application());
        self.outputs.push_back(Output::Tell(LegEvent::Answered { answer }));
    }

    /// The clock. Early calls are harmless.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::HangsUp(_, account) => {
                self.state = State::CallsBack(now + CALL_BACK_AFTER, account);
                self.outputs.push_back(Output::Tell(LegEvent::Ended(Cause::Normal.into())));
            }
            State::CallsBack(_, account) => self.outputs.push_back(Output::CallBack(account)),
            other @ (State::New | State::Talking | State::Over) => self.state = other,
        }
    }

    /// What to do next; until none.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::HangsUp(at, _) | State::CallsBack(at, _) => Some(*at),
            State::New | State::Talking | State::Over => None,
        }
    }

    /// Whether nothing follows but what is still to be polled.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::leg::{Particulars, Party};
    use crate::call::route::Target;

    fn dial(source: Source) -> LegCommand {
        let target = Target { edge: "local", name: "x".into(), number: "x".into(), place: None };
        LegCommand::Dial(Box::new(Dial {
            particulars: Particulars::default(),
            target,
            source,
            from: Party::default(),
            hops: 70,
            offer: None,
            transferred_by: None,
            takes_over: None,
            account: None,
        }))
    }

    fn said(leg: &mut LocalLeg) -> Vec<String> {
        std::iter::from_fn(|| leg.poll_output()).map(|o| format!("{o:?}")).collect()
    }

    #[test]
    fn an_extension_rings_answers_with_its_application_and_stays_until_the_end() {
        let t0 = Instant::now();
        for extension in [Extension::Echo, Extension::Tone, Extension::Dtmf, Extension::Music] {
            let mut leg = LocalLeg::new(Extension::from_name(extension.name()).unwrap());
            leg.handle_command(dial(Source::Trunk("pbx".into())), t0);
            let said = said(&mut leg);
            let application = format!("Application({:?})", extension.application());
            assert!(said[0].contains("Ringing") && said[1].contains(&application), "{said:?}");
            assert_eq!((leg.poll_timeout(), leg.is_over()), (None, false));
            leg.handle_command(LegCommand::Hangup(Cause::Normal.into()), t0);
            assert!(leg.is_over());
        }
        assert_eq!(Extension::from_name("nothing"), None);
    }

    #[test]
    fn a_callback_says_it_understood_hangs_up_and_calls_the_account_a_second_later() {
        let t0 = Instant::now();
        let mut leg = LocalLeg::new(Extension::Callback);
        leg.handle_command(dial(Source::Account("anna".into())), t0);
        assert!(said(&mut leg)[1].contains("Application(Tone)"));
        leg.handle_timeout(t0);
        assert!(said(&mut leg).is_empty(), "early calls are harmless");
        let at = leg.poll_timeout().unwrap();
        assert_eq!(at, t0 + UNDERSTOOD);
        leg.handle_timeout(at);
        assert_eq!(said(&mut leg), ["Tell(Ended(Normal))"]);
        leg.handle_gone(at);
        let then = leg.poll_timeout().unwrap();
        assert_eq!(then, at + CALL_BACK_AFTER);
        leg.handle_timeout(then);
        assert_eq!(said(&mut leg), ["CallBack(\"anna\")"]);
        assert!(leg.is_over() && leg.poll_timeout().is_none());
    }

    #[test]
    fn who_hangs_up_first_is_called_back_all_the_same() {
        let t0 = Instant::now();
        let mut leg = LocalLeg::new(Extension::Callback);
        leg.handle_command(dial(Source::Account("anna".into())), t0);
        leg.handle_command(LegCommand::Hangup(Cause::Normal.into()), t0);
        assert_eq!(leg.poll_timeout(), Some(t0 + CALL_BACK_AFTER));
    }

    #[test]
    fn a_callback_knows_nobody_behind_a_trunk() {
        let mut leg = LocalLeg::new(Extension::Callback);
        leg.handle_command(dial(Source::Trunk("pbx".into())), Instant::now());
        assert_eq!(said(&mut leg), ["Tell(Ended(NotFound))"]);
        assert!(leg.is_over());
    }
}
