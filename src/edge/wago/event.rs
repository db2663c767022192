//! Events of calls: made from a call's changes, numbered, kept for a while, and handed to those who listen.
//! Told the time; every queue is bounded.
//!
//! A listener whose queue is full is dropped: its stream ends, the client comes back with the id of the last event
//! that it saw and gets what it missed, as far as that is still kept.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Events kept for those who come back.
const MAX_KEPT: usize = 64;
/// Events that a listener may leave unread.
const MAX_UNREAD: usize = 64;
/// Listeners of one account: windows and devices of a person, or a few programs.
pub(super) const MAX_LISTENERS: usize = 16;

/// What happened to a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CallEvent {
    /// Its name, as `call.state`.
    pub(super) name: &'static str,
    /// The call, as it stands then.
    pub(super) call: Value,
    /// What belongs to this event alone: the digit, the caller's name.
    pub(super) more: Option<(&'static str, Value)>,
}

/// An event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// Sorts as events do.
    pub(super) id: String,
    /// JSON, on one line.
    pub(super) body: Bytes,
}

impl Sent {
    /// As a server-sent event (HTML standard, "server-sent events").
    pub(super) fn to_stream(&self) -> Bytes {
        let head = format!("id: {}\ndata: ", self.id);
        [head.as_bytes(), &self.body, b"\n\n"].concat().into()
    }
}

/// Numbers events: a ULID whose random part counts, so that ids sort, and none comes twice in a process.
#[derive(Debug, Default)]
struct Ids {
    count: u64,
    millis: u64,
}

impl Ids {
    fn next(&mut self, now: SystemTime) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"; // Crockford's
        let millis = now.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
        self.millis = self.millis.max(millis); // a clock that was set back does not unsort them
        self.count += 1;
        let bits = (u128::from(self.millis) << 80) | u128::from(self.count);
        let digit = |n: u32| ALPHABET.get(usize::try_from((bits >> (n * 5)) & 31).unwrap_or(0));
        (0..26).rev().filter_map(digit).copied().map(char::from).collect()
    }
}

/// Everybody's events.
#[derive(Debug, Default)]
pub(super) struct Events {
    ids: Ids,
    accounts: BTreeMap<String, Listeners>,
    /// The program is about to end.
    is_draining: bool,
}

/// What a stream says once when the program is about to end. It has a name, so that no client takes it for a call's: an
/// `EventSource` hands it to `addEventListener`, never to `onmessage`.
const DRAINING: &[u8] =
    b"event: server.draining\ndata: {\"type\":\"Server\",\"event\":\"server.draining\"}\n\n";

#[derive(Debug, Default)]
struct Listeners {
    kept: VecDeque<Sent>,
    listening: Vec<mpsc::Sender<Bytes>>,
}

impl Events {
    /// Numbers an event of an account, keeps it, and tells who listens.
    pub(super) fn publish(&mut self, account: &str, event: CallEvent, now: SystemTime) -> Sent {
        let id = self.ids.next(now);
        let mut all = Map::new();
        all.insert("type".into(), json!("Call"));
        all.insert("event".into(), json!(event.name));
        all.insert("id".into(), json!(id));
        all.insert("time".into(), json!(humantime::format_rfc3339_seconds(now).to_string()));
        all.insert("token_name".into(), json!(account));
        all.insert("call".into(), event.call);
        all.extend(event.more.map(|(name, value)| (name.to_owned(), value)));
        let sent = Sent { id, body: Value::Object(all).to_string().into() };
        let own = self.accounts.entry(account.to_owned()).or_default();
        if own.kept.len() >= MAX_KEPT {
            own.kept.pop_front();
        }
        own.kept.push_back(sent.clone());
        let bytes = sent.to_stream();
        own.listening.retain(|listener| listener.try_send(bytes.clone()).is_ok());
        sent
    }

    /// Listens to an account's events; first come those that are kept and came after `last_seen`. None when the
    /// account has listeners enough.
    pub(super) fn listen(&mut self, account: &str, last_seen: Option<&str>) -> Option<mpsc::Receiver<Bytes>> {
        let own = self.accounts.entry(account.to_owned()).or_default();
        own.listening.retain(|listener| !listener.is_closed());
        if own.listening.len() >= MAX_LISTENERS {
            return None;
        }
        let (sender, receiver) = mpsc::channel(MAX_UNREAD + MAX_KEPT);
        let missed = own.kept.iter().filter(|sent| last_seen.is_some_and(|seen| sent.id.as_str() > seen));
        for sent in missed {
            let _ = sender.try_send(sent.to_stream()); // there is room for all that is kept
        }
        if self.is_draining {
            let _ = sender.try_send(Bytes::from_static(DRAINING)); // and for this word
        }
        own.listening.push(sender);
        Some(receiver)
    }

    /// Tells all who listen, and who comes later, that the program is about to end.
    pub(super) fn drain(&mut self) {
        if std::mem::replace(&mut self.is_draining, true) {
            return;
        }
        for own in self.accounts.values_mut() {
            own.listening.retain(|listener| listener.try_send(Bytes::from_static(DRAINING)).is_ok());
        }
    }

    /// Whether somebody listens to an account's events now.
    pub(super) fn has_listener(&self, account: &str) -> bool {
        self.accounts.get(account).is_some_and(|own| own.listening.iter().any(|l| !l.is_closed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_768_478_400 + seconds) // 2026-01-15T12:00:00Z
    }

    fn event(n: u64) -> CallEvent {
        CallEvent { name: "call.state", call: json!({ "callID": n }), more: None }
    }

    fn next(receiver: &mut mpsc::Receiver<Bytes>) -> Option<String> {
        receiver.try_recv().ok().map(|b| String::from_utf8(b.to_vec()).unwrap())
    }

    #[test]
    fn an_event_has_the_members_of_the_contract_and_an_id_that_sorts() {
        let mut events = Events::default();
        let more = Some(("digit", json!("5")));
        let first = events.publish("anna", CallEvent { name: "call.dtmf", call: json!({}), more }, at(7));
        let second = events.publish("anna", event(1), at(7));
        let earlier = events.publish("anna", event(2), at(3));
        assert!(first.id < second.id && second.id < earlier.id, "a clock set back does not unsort them");
        assert_eq!((first.id.len(), &first.id[..3]), (26, "01K"));
        let body: Value = serde_json::from_slice(&first.body).unwrap();
        let wanted = json!({"type": "Call", "event": "call.dtmf", "id": first.id, "token_name": "anna",
            "time": "2026-01-15T12:00:07Z", "call": {}, "digit": "5"});
        assert_eq!(body, wanted);
        let stream = String::from_utf8(first.to_stream().to_vec()).unwrap();
        assert_eq!(stream.lines().count(), 3, "{stream}");
        assert!(stream.starts_with(&format!("id: {}\ndata: {{", first.id)) && stream.ends_with("}\n\n"));
    }

    #[test]
    fn who_comes_back_gets_what_it_missed_and_nobody_gets_another_accounts_events() {
        let mut events = Events::default();
        let seen = events.publish("anna", event(1), at(0));
        events.publish("anna", event(2), at(1));
        events.publish("bert", event(3), at(2));
        let mut again = events.listen("anna", Some(&seen.id)).unwrap();
        let mut fresh = events.listen("anna", None).unwrap();
        events.publish("anna", event(4), at(3));
        let missed = next(&mut again).unwrap();
        assert!(missed.contains(r#""callID":2"#), "{missed}");
        assert!(next(&mut again).unwrap().contains(r#""callID":4"#));
        assert!(next(&mut fresh).unwrap().contains(r#""callID":4"#));
        assert_eq!((next(&mut again), next(&mut fresh)), (None, None));
        for n in 0..1_000 {
            events.publish("anna", event(n), at(4));
        }
        let mut late = events.listen("anna", Some(&seen.id)).unwrap();
        assert_eq!(std::iter::from_fn(|| next(&mut late)).count(), MAX_KEPT);
    }

    #[test]
    fn a_listener_that_does_not_read_is_dropped_and_the_others_go_on() {
        let mut events = Events::default();
        let mut slow = events.listen("anna", None).unwrap();
        let mut fast = events.listen("anna", None).unwrap();
        for n in 0..200 {
            events.publish("anna", event(n), at(n));
            assert!(next(&mut fast).is_some());
        }
        assert_eq!(std::iter::from_fn(|| next(&mut slow)).count(), MAX_UNREAD + MAX_KEPT);
        assert!(slow.is_closed() && !fast.is_closed());
    }

    #[test]
    fn an_account_has_a_limited_number_of_listeners_and_those_that_left_do_not_count() {
        let mut events = Events::default();
        assert!(!events.has_listener("anna"));
        let mut all: Vec<_> = (0..MAX_LISTENERS).map(|_| events.listen("anna", None).unwrap()).collect();
        assert!(events.listen("anna", None).is_none() && events.listen("bert", None).is_some());
        all.clear();
        assert!(!events.has_listener("anna") && events.listen("anna", None).is_some());
    }
}
