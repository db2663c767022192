//! Failed logins: how many a source may have, and what the log hears of them. Pure.
//!
//! Failures that answer a challenge of ours prove where they come from. A source with too many is **shut**: its
//! logins get 403 unread until some are forgiven. Not so the users that logged in from there within the last
//! hour: a PBX is not shut out by its neighbour's failures behind the same address. Each of them has a budget of its own
//! there, which guesses at its password use up, so that who has logged in well may guess at nobody else for ever; and
//! another one for the address and port that it logged in from last, which no neighbour can send from, so that those
//! guesses do not shut it out. From other sources it is let in whatever happens here.
//!
//! Failures with a nonce that is not ours may be anybody's who writes the address on datagrams, so they shut nobody
//! out. They count apart: with too many, such credentials are challenged anew unread, and a guess tells nothing.
//!
//! The log hears of the first failure of a source, of its being shut, and once a minute of how many there were
//! since; of all sources together a few lines a second at most.

use crate::net::guard::{Failures, Guard, GuardConfig, network};
use crate::sip::digest_server::Named;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A PBX with a wrong password fails once a call: 30 at once are a busy minute of it, and one in ten seconds
/// is 8,640 guesses a day, which finds no password that is worth the name.
const BUDGET: GuardConfig = GuardConfig {
    places: 0,
    reserved: 0,
    per_stranger: 0,
    per_known: 0,
    failures: 30,
    failure_interval: Duration::from_secs(10),
    sources: 4_096,
};
/// How long a user is let in from its source whatever its neighbours do; as long as [`Guard`] knows a source.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);
/// Users remembered with their sources. Only a good login makes an entry.
const MOST_KNOWN: usize = 4_096;
/// A source that goes on failing is a line once in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(60);
/// Sources remembered for the log.
const MOST_NOTED: usize = 4_096;
/// Lines of all sources in a second: a flood from ever new addresses fills no disk.
const LINES_A_SECOND: u32 = 10;

/// Refused logins of a source, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailedLogins {
    /// Where they came from.
    pub(super) source: IpAddr,
    /// The user that the last one named, fit to be printed.
    pub(super) user: String,
    /// How many, since the line before.
    pub(super) attempts: u64,
    /// Further ones are refused unread.
    pub(super) is_shut: bool,
}

/// What becomes of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// They are checked.
    Check,
    /// They are not looked at, and challenged anew.
    Challenge,
    /// They are not looked at, and refused.
    Refuse,
}

/// A user that has logged in from a source.
struct Known {
    /// When it last did.
    at: Instant,
    /// From where exactly.
    from: SocketAddr,
    /// Its failures from there.
    own: Failures,
    /// Those from elsewhere at the source.
    others: Failures,
}

impl Known {
    fn is_known(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < KNOWN_FOR
    }

    /// The failures that count for who sends from there.
    fn failures(&self, remote: SocketAddr) -> &Failures {
        if remote == self.from { &self.own } else { &self.others }
    }

    fn failures_mut(&mut self, remote: SocketAddr) -> &mut Failures {
        if remote == self.from { &mut self.own } else { &mut self.others }
    }
}

struct Noted {
    told_at: Option<Instant>,
    attempts: u64,
    was_shut: bool,
}

/// The tables.
pub(super) struct Logins {
    proved: Guard,
    unproved: Guard,
    /// The users that logged in from a source.
    known: BTreeMap<(IpAddr, String), Known>,
    noted: BTreeMap<IpAddr, Noted>,
    /// The second that began then, and its lines.
    second: Option<(Instant, u32)>,
}

impl Logins {
    /// Nobody has failed.
    pub(super) const fn new() -> Self {
        Self {
            proved: Guard::new(BUDGET),
            unproved: Guard::new(BUDGET),
            known: BTreeMap::new(),
            noted: BTreeMap::new(),
            second: None,
        }
    }

    /// Whether anything but [`Look::Check`] can become of credentials from a source.
    pub(super) fn is_suspect(&self, now: Instant, source: IpAddr) -> bool {
        self.proved.must_wait(now, source) || self.unproved.must_wait(now, source)
    }

    /// What becomes of credentials from there.
    pub(super) fn look(&self, now: Instant, remote: SocketAddr, named: &Named) -> Look {
        let source = remote.ip();
        if !named.is_source_proved {
            return if self.is_suspect(now, source) { Look::Challenge } else { Look::Check };
        }
        let known = self.known.get(&(network(source), named.user.clone()));
        let must_wait = match known.filter(|known| known.is_known(now)) {
            Some(known) => known.failures(remote).are_too_many(now, &BUDGET),
            None => self.proved.must_wait(now, source),
        };
        if must_wait { Look::Refuse } else { Look::Check }
    }

    /// A user logged in. Failures of its source are not forgiven: they may be its neighbour's; nor are those at its own
    /// password, which may be so, too.
    pub(super) fn succeeded(&mut self, now: Instant, remote: SocketAddr, user: &str) {
        let key = (network(remote.ip()), user.to_owned());
        if let Some(known) = self.known.get_mut(&key) {
            (known.at, known.from) = (now, remote);
            return;
        }
        let (own, others) = (Failures::none(now), Failures::none(now));
        self.known.insert(key, Known { at: now, from: remote, own, others });
        if self.known.len() > MOST_KNOWN {
            self.known.retain(|_, known| known.is_known(now));
            while self.known.len() > MOST_KNOWN {
                self.known.pop_first();
            }
        }
    }

    /// A login was refused.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        user: String,
        is_source_proved: bool,
    ) -> Option<FailedLogins> {
        let source = remote.ip();
        let guard = if is_source_proved { &mut self.proved } else { &mut self.unproved };
        guard.may_fail(now, source);
        if is_source_proved && let Some(known) = self.known.get_mut(&(network(source), user.clone())) {
            known.failures_mut(remote).add(now, &BUDGET);
        }
        let is_shut = self.proved.must_wait(now, source);
        let key = network(source);
        if !self.noted.contains_key(&key) && self.noted.len() >= MOST_NOTED {
            let is_quiet = |at: &Instant| now.saturating_duration_since(*at) >= LINE_INTERVAL;
            self.noted.retain(|_, noted| !noted.told_at.as_ref().is_none_or(is_quiet));
            if self.noted.len() >= MOST_NOTED {
                self.noted.pop_first();
            }
        }
        let noted = self.noted.entry(key).or_insert(Noted { told_at: None, attempts: 0, was_shut: false });
        noted.attempts = noted.attempts.saturating_add(1);
        let is_due = noted.told_at.is_none_or(|at| now.saturating_duration_since(at) >= LINE_INTERVAL);
        // one that is shut, forgiven a little and shut again is no news each time
        if !is_due && (noted.was_shut || !is_shut) {
            return None;
        }
        match &mut self.second {
            Some((began, lines)) if now.saturating_duration_since(*began) < Duration::from_secs(1) => {
                if *lines >= LINES_A_SECOND {
                    return None;
                }
                *lines = lines.saturating_add(1);
            }
            second => *second = Some((now, 1)),
        }
        noted.told_at = Some(now);
        noted.was_shut = is_shut;
        let attempts = std::mem::take(&mut noted.attempts);
        Some(FailedLogins { source, user, attempts, is_shut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> SocketAddr {
        by_port(n, 5060)
    }

    fn by_port(n: u32, port: u16) -> SocketAddr {
        (IpAddr::from((0xC633_0000 + n).to_be_bytes()), port).into()
    }

    fn line(logins: &mut Logins, at: Instant, n: u32) -> Option<(u64, bool)> {
        logins.failed(at, ip(n), "u".to_owned(), true).map(|l| (l.attempts, l.is_shut))
    }

    fn look(logins: &Logins, at: Instant, n: u32, user: &str, is_source_proved: bool) -> Look {
        logins.look(at, ip(n), &Named { user: user.to_owned(), is_source_proved })
    }

    #[test]
    fn a_source_that_fails_thirty_times_is_shut_and_others_are_not() {
        let (t0, mut logins) = (Instant::now(), Logins::new());
        for _ in 0..29 {
            line(&mut logins, t0, 1);
            assert_eq!(look(&logins, t0, 1, "u", true), Look::Check);
        }
        line(&mut logins, t0, 1);
        assert_eq!(look(&logins, t0, 1, "u", true), Look::Refuse);
        assert_eq!(look(&logins, t0, 2, "u", true), Look::Check);
        let later = t0 + Duration::from_secs(10);
        assert_eq!(look(&logins, later, 1, "u", true), Look::Check, "one is forgiven in ten seconds");
    }

    #[test]
    fn who_logged_in_from_there_within_the_hour_is_looked_at_all_the_same() {
        let (t0, mut logins) = (Instant::now(), Logins::new());
        logins.succeeded(t0, ip(1), "pbx");
        for _ in 0..100 {
            let _ = line(&mut logins, t0, 1);
        }
        assert_eq!(look(&logins, t0, 1, "pbx", true), Look::Check);
        assert_eq!(look(&logins, t0, 1, "other", true), Look::Refuse);
        let later = t0 + KNOWN_FOR;
        for _ in 0..100 {
            let _ = line(&mut logins, later, 1);
        }
        assert_eq!(
            look(&logins, later, 1, "pbx", true),
            Look::Refuse,
            "an hour later it is a stranger again"
        );
    }

    #[test]
    fn guesses_at_a_user_who_is_known_there_are_limited_and_shut_out_neither_him_nor_him_elsewhere() {
        let (t0, mut logins) = (Instant::now(), Logins::new());
        let users = ["pbx", "other"];
        users.iter().for_each(|user| logins.succeeded(t0, ip(1), user));
        logins.succeeded(t0, ip(2), "pbx");
        let named = || Named { user: "pbx".to_owned(), is_source_proved: true };
        let neighbour = by_port(1, 6000);
        let guess = |logins: &mut Logins, at| {
            let is_read = logins.look(at, neighbour, &named()) == Look::Check;
            if is_read {
                logins.failed(at, neighbour, "pbx".to_owned(), true);
            }
            is_read
        };
        // a good login in between forgives nothing
        let read = (0..1_000).filter(|_| {
            users.iter().for_each(|user| logins.succeeded(t0, ip(1), user));
            guess(&mut logins, t0)
        });
        assert_eq!(read.count(), 30);
        for (n, user) in [(1, "pbx"), (1, "other"), (2, "pbx")] {
            assert_eq!(look(&logins, t0, n, user, true), Look::Check, "{user} from {n}");
        }
        let in_a_minute = (0..60_000).filter(|ms| guess(&mut logins, t0 + Duration::from_millis(*ms)));
        assert_eq!(in_a_minute.count(), 5);
        // by a proxy all come from one port: those guesses are limited likewise
        let (t0, mut logins) = (t0 + Duration::from_secs(3_000), Logins::new());
        logins.succeeded(t0, ip(1), "pbx");
        (0..30).for_each(|_| drop(logins.failed(t0, ip(1), "pbx".to_owned(), true)));
        assert_eq!(look(&logins, t0, 1, "pbx", true), Look::Refuse);
        assert_eq!(look(&logins, t0 + Duration::from_secs(10), 1, "pbx", true), Look::Check);
    }

    #[test]
    fn a_forged_address_shuts_nobody_out_and_gives_no_guesses_beyond_its_budget() {
        let (t0, mut logins) = (Instant::now(), Logins::new());
        (0..1_000).for_each(|_| drop(logins.failed(t0, ip(1), String::new(), false)));
        assert_eq!(look(&logins, t0, 1, "pbx", true), Look::Check);
        assert_eq!(look(&logins, t0, 1, "pbx", false), Look::Challenge);
        assert_eq!(look(&logins, t0, 2, "pbx", false), Look::Check);
    }

    #[test]
    fn the_log_hears_of_the_first_of_being_shut_and_once_a_minute_of_the_rest() {
        let (t0, mut logins) = (Instant::now(), Logins::new());
        let lines: Vec<_> = (0..1_000).filter_map(|_| line(&mut logins, t0, 1)).collect();
        assert_eq!(lines, [(1, false), (29, true)]);
        // shut, a little forgiven, shut again: for five minutes at ten attempts a second
        let at = |n: u64| t0 + Duration::from_millis(100 * n);
        let lines: Vec<_> = (1..=3_000).filter_map(|n| line(&mut logins, at(n), 1)).collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines.iter().map(|(attempts, _)| attempts).sum::<u64>(), 970 + 3_000);
    }

    #[test]
    fn a_flood_from_ever_new_addresses_is_ten_lines_a_second_and_fills_no_table() {
        let (t0, mut logins) = (Instant::now(), Logins::new());
        let at = |n: u32| t0 + Duration::from_micros(100 * u64::from(n));
        let lines = (0..20_000).filter(|n| line(&mut logins, at(*n), *n).is_some()).count();
        assert_eq!(lines, 20);
        assert!(logins.noted.len() <= MOST_NOTED);
        (0..20_000).for_each(|n| logins.succeeded(t0, ip(n), "u"));
        assert!(logins.known.len() <= MOST_KNOWN);
    }
}
