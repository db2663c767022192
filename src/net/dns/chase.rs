//! Follows aliases (CNAME, RFC 1034 §3.6.2) from a question to its records, within a reply and from reply to reply.

use super::{Kind, Naptr, Outcome, Question, Record, Srv, plain_name};
use std::net::IpAddr;
use std::time::Duration;

/// Most aliases from a question to its records: more go round.
const MAX_ALIASES: usize = 8;
/// Most records of a reply that are looked at, and most that an answer has.
const MAX_RECORDS: usize = 64;

/// A record of a reply.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) ttl: Duration,
    pub(super) data: Data,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    Alias(String),
    Record(Record),
}

/// What a server said.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub(super) entries: Vec<Entry>,
    /// How long it holds that there is nothing (RFC 2308 §5).
    pub(super) negative_ttl: Option<Duration>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask this.
    Ask(Question),
    /// This came of it.
    Done(Outcome),
}

/// The way from a question to its records.
#[derive(Debug)]
pub(super) struct Chase {
    at: Question,
    /// What holds the shortest on the way.
    ttl: Duration,
    aliases: usize,
}

impl Chase {
    pub(super) const fn start(question: Question) -> Self {
        Self { at: question, ttl: Duration::MAX, aliases: 0 }
    }

    /// A reply to the question that was last asked.
    pub(super) fn handle(&mut self, reply: &Reply) -> Step {
        let entries = || reply.entries.iter().take(MAX_RECORDS);
        let before = self.aliases;
        loop {
            let own = || entries().filter(|e| e.name == self.at.name);
            let found: Vec<(&Record, Duration)> = own()
                .filter_map(|e| match &e.data {
                    Data::Record(record) if is_of(record, self.at.kind) => Some((record, e.ttl)),
                    _ => None,
                })
                .collect();
            if !found.is_empty() {
                let ttl = found.iter().map(|(_, ttl)| *ttl).fold(self.ttl, Duration::min);
                return Step::Done(Outcome::Found {
                    records: found.into_iter().map(|(record, _)| record.clone()).collect(),
                    ttl,
                });
            }
            let alias = own().find_map(|e| match &e.data {
                Data::Alias(name) => Some((name.clone(), e.ttl)),
                Data::Record(_) => None,
            });
            match alias {
                Some(_) if self.aliases >= MAX_ALIASES => return Step::Done(Outcome::Failed),
                Some((name, ttl)) => {
                    self.aliases += 1;
                    self.ttl = self.ttl.min(ttl);
                    self.at.name = plain_name(&name);
                }
                // the alias leads out of this reply
                None if self.aliases > before => return Step::Ask(self.at.clone()),
                None => return Step::Done(Outcome::Absent { ttl: reply.negative_ttl }),
            }
        }
    }
}

const fn is_of(record: &Record, kind: Kind) -> bool {
    matches!(
        (record, kind),
        (Record::Naptr(Naptr { .. }), Kind::Naptr)
            | (Record::Srv(Srv { .. }), Kind::Srv)
            | (Record::Address(IpAddr::V4(_)), Kind::A)
            | (Record::Address(IpAddr::V6(_)), Kind::Aaaa)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(name: &str, ttl: u64, to: &str) -> Entry {
        Entry { name: name.into(), ttl: Duration::from_secs(ttl), data: Data::Alias(to.into()) }
    }

    fn address(name: &str, ttl: u64, ip: &str) -> Entry {
        let data = Data::Record(Record::Address(ip.parse().unwrap()));
        Entry { name: name.into(), ttl: Duration::from_secs(ttl), data }
    }

    fn reply(entries: Vec<Entry>) -> Reply {
        Reply { entries, negative_ttl: Some(Duration::from_secs(30)) }
    }

    fn found(step: Step) -> (usize, u64) {
        match step {
            Step::Done(Outcome::Found { records, ttl }) => (records.len(), ttl.as_secs()),
            other => panic!("{other:?}"),
        }
    }

    fn chase(name: &str) -> Chase {
        Chase::start(Question::new(name, Kind::A))
    }

    #[test]
    fn records_of_the_name_and_kind_count_and_the_shortest_time() {
        let all = vec![
            address("a.example", 60, "192.0.2.1"),
            address("a.example", 50, "192.0.2.2"),
            address("a.example", 5, "2001:db8::1"),
            address("other.example", 5, "192.0.2.3"),
        ];
        assert_eq!(found(chase("A.example.").handle(&reply(all))), (2, 50));
        let absent = Outcome::Absent { ttl: Some(Duration::from_secs(30)) };
        assert_eq!(chase("a.example").handle(&reply(vec![])), Step::Done(absent));
    }

    #[test]
    fn aliases_are_followed_within_a_reply_and_into_the_next_rfc_1034_3_6_2() {
        let within = vec![
            address("c.example", 60, "192.0.2.1"),
            alias("b.example", 10, "C.example."),
            alias("a.example", 20, "b.example"),
        ];
        assert_eq!(found(chase("a.example").handle(&reply(within))), (1, 10));
        let mut c = chase("a.example");
        let step = c.handle(&reply(vec![alias("a.example", 7, "b.example")]));
        assert_eq!(step, Step::Ask(Question::new("b.example", Kind::A)));
        assert_eq!(found(c.handle(&reply(vec![address("b.example", 60, "192.0.2.1")]))), (1, 7));
    }

    #[test]
    fn aliases_that_go_round_or_on_and_on_come_to_an_end() {
        let round = vec![alias("a.example", 60, "b.example"), alias("b.example", 60, "a.example")];
        assert_eq!(chase("a.example").handle(&reply(round)), Step::Done(Outcome::Failed));
        let mut c = chase("0.example");
        for n in 0..MAX_ALIASES {
            let step =
                c.handle(&reply(vec![alias(&format!("{n}.example"), 60, &format!("{}.example", n + 1))]));
            assert_eq!(step, Step::Ask(Question::new(&format!("{}.example", n + 1), Kind::A)));
        }
        let step = c.handle(&reply(vec![alias("8.example", 60, "9.example")]));
        assert_eq!(step, Step::Done(Outcome::Failed));
    }

    #[test]
    fn of_a_huge_reply_a_part_is_taken() {
        let many = (0..10_000).map(|n| address("a.example", 60, &format!("10.0.{}.{}", n / 250, n % 250)));
        assert_eq!(found(chase("a.example").handle(&reply(many.collect()))), (MAX_RECORDS, 60));
    }
}
