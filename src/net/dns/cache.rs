//! Remembers answers: as long as they hold, and longer while DNS fails (RFC 8767), also that there is nothing: a host that has
//! an address has mostly no NAPTR and no SRV records, and each call would wait for DNS to say so.
//!
//! Drive it: [`Cache::ask`] says what is known, or that the question is to be asked, by one for all; the outcome goes to
//! [`Cache::tell`]. A question that failed is not asked again at once (RFC 9520 §3.2).

use super::{Answer, Missing, Outcome, Question};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most questions that are remembered.
const MAX_ENTRIES: usize = 1_024;
/// Most questions that are out.
const MAX_ASKED: usize = 64;
/// An answer that may not be kept at all serves the calls of a burst.
const MIN_TTL: Duration = Duration::from_secs(1);
/// The PBX may move within a day, whatever its records promised.
const MAX_TTL: Duration = Duration::from_secs(86_400);
/// How long a good answer is used after its time while DNS fails (RFC 8767 §5 speaks of one to three days).
const STALE: Duration = Duration::from_secs(86_400);
/// How long it holds that there is nothing, where DNS does not say; and the longest: a record that an admin has just
/// added shall be seen soon.
const NEGATIVE_TTL: Duration = Duration::from_secs(10);
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60);
/// How long a question that failed is not asked again: with an answer to go on with (RFC 8767 §5), and without.
const QUIET_STALE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(5);

/// What to do about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// This is the answer.
    Answer(Answer),
    /// Ask; should that take long, this answer may be used, whose time is over.
    Ask(Option<Answer>),
    /// It is being asked; likewise.
    Wait(Option<Answer>),
}

#[derive(Debug)]
struct Known {
    answer: Answer,
    until: Instant,
}

#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    is_asked: bool,
    /// It failed: not asked before this.
    quiet_until: Option<Instant>,
    /// It failed when it was asked last, and is answered with what was known before.
    is_failing: bool,
    used: Instant,
}

impl Entry {
    fn stale(&self, now: Instant) -> Option<Answer> {
        self.known.as_ref().filter(|known| known.until + STALE > now).map(|known| known.answer.clone())
    }
}

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: BTreeMap<Question, Entry>,
    asked: usize,
    /// How many of the entries fail.
    failing: usize,
}

impl Cache {
    /// What is known, or what is to be done.
    pub(super) fn ask(&mut self, now: Instant, question: &Question) -> Step {
        let may_ask = self.asked < MAX_ASKED;
        if !self.entries.contains_key(question) {
            self.make_room();
        }
        let entry = self.entries.entry(question.clone()).or_insert_with(|| Entry {
            known: None,
            is_asked: false,
            quiet_until: None,
            is_failing: false,
            used: now,
        });
        entry.used = now;
        if let Some(known) = entry.known.as_ref().filter(|known| known.until > now) {
            return Step::Answer(known.answer.clone());
        }
        let stale = entry.stale(now);
        if entry.is_asked {
            return Step::Wait(stale);
        }
        if entry.quiet_until.is_some_and(|until| until > now) || !may_ask {
            return Step::Answer(stale.unwrap_or(Err(Missing::Failed)));
        }
        entry.is_asked = true;
        self.asked += 1;
        Step::Ask(stale)
    }

    /// The answer, where it is known and holds.
    pub(super) fn peek(&self, now: Instant, question: &Question) -> Option<Answer> {
        let known = self.entries.get(question)?.known.as_ref()?;
        (known.until > now).then(|| known.answer.clone())
    }

    /// What came of asking; the answer for all who wait.
    pub(super) fn tell(&mut self, now: Instant, question: &Question, outcome: Outcome) -> Answer {
        let Some(entry) = self.entries.get_mut(question) else { return Err(Missing::Failed) };
        if std::mem::take(&mut entry.is_asked) {
            self.asked = self.asked.saturating_sub(1);
        }
        let (answer, ttl) = match outcome {
            Outcome::Found { records, ttl } => (Ok(records), ttl.clamp(MIN_TTL, MAX_TTL)),
            Outcome::Absent { ttl } => {
                (Err(Missing::Absent), ttl.unwrap_or(NEGATIVE_TTL).clamp(MIN_TTL, MAX_NEGATIVE_TTL))
            }
            Outcome::Failed => {
                let stale = entry.stale(now);
                let quiet = if stale.is_some() { QUIET_STALE } else { QUIET };
                entry.quiet_until = Some(now + quiet);
                self.failing += usize::from(!entry.is_failing && stale.is_some());
                self.failing -= usize::from(entry.is_failing && stale.is_none());
                entry.is_failing = stale.is_some();
                return stale.unwrap_or(Err(Missing::Failed));
            }
        };
        self.failing -= usize::from(std::mem::take(&mut entry.is_failing));
        entry.quiet_until = None;
        entry.known = Some(Known { answer: answer.clone(), until: now + ttl });
        answer
    }

    /// Forgets what was asked for the longest time ago.
    fn make_room(&mut self) {
        if self.entries.len() < MAX_ENTRIES {
            return;
        }
        let idle = self.entries.iter().filter(|(_, e)| !e.is_asked);
        let oldest = idle.min_by_key(|(_, e)| e.used).map(|(question, _)| question.clone());
        let gone = oldest.and_then(|question| self.entries.remove(&question));
        self.failing -= usize::from(gone.is_some_and(|entry| entry.is_failing));
    }

    /// Whether something that DNS did not answer lately is answered with what was known before.
    pub(super) const fn is_failing(&self) -> bool {
        self.failing > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::{Kind, Record};
    use std::sync::Arc;

    fn question(n: usize) -> Question {
        Question::new(&format!("{n}.example"), Kind::A)
    }

    fn records(ip: &str) -> Arc<[Record]> {
        [Record::Address(ip.parse().unwrap())].into()
    }

    fn found(ip: &str, seconds: u64) -> Outcome {
        Outcome::Found { records: records(ip), ttl: Duration::from_secs(seconds) }
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_holds_for_its_time_and_is_asked_for_once() {
        let (mut cache, t0, q) = (Cache::default(), Instant::now(), question(1));
        assert_eq!(cache.ask(t0, &q), Step::Ask(None));
        assert_eq!(cache.ask(t0, &q), Step::Wait(None), "one asks for all");
        assert_eq!(cache.tell(t0, &q, found("192.0.2.1", 10)), Ok(records("192.0.2.1")));
        assert_eq!(cache.ask(t0 + 9 * S, &q), Step::Answer(Ok(records("192.0.2.1"))));
        assert_eq!(cache.peek(t0 + 9 * S, &q), Some(Ok(records("192.0.2.1"))));
        assert_eq!((cache.peek(t0 + 10 * S, &q), cache.peek(t0, &question(2))), (None, None));
        // the old answer is at hand meanwhile
        assert_eq!(cache.ask(t0 + 10 * S, &q), Step::Ask(Some(Ok(records("192.0.2.1")))));
        assert_eq!(cache.ask(t0 + 10 * S, &q), Step::Wait(Some(Ok(records("192.0.2.1")))));
        assert_eq!(cache.tell(t0 + 10 * S, &q, found("192.0.2.2", 0)), Ok(records("192.0.2.2")));
        assert!(matches!(cache.ask(t0 + 10 * S, &q), Step::Answer(Ok(_))), "a TTL of 0 serves a burst");
        assert!(matches!(cache.ask(t0 + 11 * S, &q), Step::Ask(_)));
    }

    #[test]
    fn the_last_good_answer_is_used_while_dns_fails_for_a_day_rfc_8767() {
        let (mut cache, t0, q) = (Cache::default(), Instant::now(), question(1));
        let good = || Ok(records("192.0.2.1"));
        cache.ask(t0, &q);
        cache.tell(t0, &q, found("192.0.2.1", 10)).unwrap();
        let t1 = t0 + 10 * S;
        assert!(matches!(cache.ask(t1, &q), Step::Ask(Some(_))));
        assert_eq!(cache.tell(t1, &q, Outcome::Failed), good());
        assert_eq!(cache.ask(t1 + 29 * S, &q), Step::Answer(good()), "not asked at once again");
        assert!(matches!(cache.ask(t1 + 30 * S, &q), Step::Ask(Some(_))), "and then it is");
        cache.tell(t1 + 30 * S, &q, Outcome::Failed).unwrap();
        let t2 = t1 + STALE;
        assert_eq!(cache.ask(t2, &q), Step::Ask(None));
        assert_eq!(cache.tell(t2, &q, Outcome::Failed), Err(Missing::Failed));
        assert_eq!(cache.ask(t2 + 4 * S, &q), Step::Answer(Err(Missing::Failed)));
        assert_eq!(cache.ask(t2 + 5 * S, &q), Step::Ask(None));
        assert_eq!(cache.tell(t2 + 5 * S, &q, found("192.0.2.9", 10)), Ok(records("192.0.2.9")));
    }

    #[test]
    fn that_there_is_nothing_is_an_answer_holds_briefly_and_ends_an_old_one_rfc_2308() {
        let (mut cache, t0, q) = (Cache::default(), Instant::now(), question(1));
        cache.ask(t0, &q);
        cache.tell(t0, &q, found("192.0.2.1", 1)).unwrap();
        cache.ask(t0 + S, &q);
        let none = Outcome::Absent { ttl: None };
        assert_eq!(cache.tell(t0 + S, &q, none), Err(Missing::Absent));
        assert_eq!(cache.ask(t0 + 10 * S, &q), Step::Answer(Err(Missing::Absent)));
        let nothing = || Err(Missing::Absent);
        assert_eq!(
            cache.ask(t0 + 11 * S, &q),
            Step::Ask(Some(nothing())),
            "and no address that DNS took back"
        );
        assert!(!cache.is_failing());
        let long = Outcome::Absent { ttl: Some(3_600 * S) };
        cache.tell(t0 + 11 * S, &q, long).unwrap_err();
        assert_eq!(cache.ask(t0 + 70 * S, &q), Step::Answer(Err(Missing::Absent)));
        assert_eq!(cache.ask(t0 + 71 * S, &q), Step::Ask(Some(nothing())));
        // nobody waits anew for a host that has no NAPTR
        assert_eq!(cache.tell(t0 + 71 * S, &q, Outcome::Failed), nothing());
        assert!(cache.is_failing());
        assert_eq!(cache.ask(t0 + 100 * S, &q), Step::Answer(nothing()));
        assert!(matches!(cache.ask(t0 + 101 * S, &q), Step::Ask(Some(_))));
        cache.tell(t0 + 101 * S, &q, found("192.0.2.1", 1)).unwrap();
        assert!(!cache.is_failing());
    }

    #[test]
    fn it_is_bounded_in_what_it_keeps_and_in_what_it_asks() {
        let (mut cache, t0) = (Cache::default(), Instant::now());
        for n in 0..MAX_ASKED {
            assert_eq!(cache.ask(t0, &question(n)), Step::Ask(None));
        }
        assert_eq!(cache.ask(t0, &question(MAX_ASKED)), Step::Answer(Err(Missing::Failed)));
        for n in 0..MAX_ASKED {
            cache.tell(t0, &question(n), found("192.0.2.1", 3_600)).unwrap();
        }
        for n in MAX_ASKED..5_000 {
            let now = t0 + Duration::from_millis(n as u64);
            assert_eq!(cache.ask(now, &question(n)), Step::Ask(None), "{n}");
            cache.tell(now, &question(n), found("192.0.2.1", 3_600)).unwrap();
            // used again and again, it stays
            assert!(matches!(cache.ask(now, &question(0)), Step::Answer(Ok(_))), "{n}");
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
    }
}
