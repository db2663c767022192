//! The demo: what runs when nobody wrote a configuration. A browser on this machine (with `--lan`: in its network) calls
//! the extensions of sipedge's own, by a token that is new each time; a second account, with a link of its own, is there to call and to be called.
//!
//! It listens on 127.0.0.1 alone, but media is bound to every address: a browser sends from the address of its network
//! even to 127.0.0.1 unless it is told otherwise. Ports of SIP and media that are taken are replaced by the next; the
//! page's port is not, for its address is what one remembers.

use crate::base::Seed;
use crate::http::page::Suggestion;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The accounts that pages call as, each with its number and the name that others see: two, for who calls itself is busy.
pub(super) const ACCOUNTS: [(&str, &str, &str); 2] = [("demo", "100", "Demo"), ("guest", "101", "Guest")];
/// Where the page is.
const HTTP: u16 = 1337;
const SIP: u16 = 5080;
const MEDIA: u16 = 7000;
/// Ports tried beside the usual one.
const TRIES: u16 = 50;

/// What can be dialled, by name and by number.
pub(super) const SUGGESTIONS: [Suggestion; 5] = [
    Suggestion { number: "600", name: "Echo", hint: "You hear yourself, as the server hears you" },
    Suggestion { number: "602", name: "Tone", hint: "A steady tone of 1004 Hz" },
    Suggestion { number: "603", name: "Keys", hint: "Every key you press is played back" },
    Suggestion { number: "604", name: "Music", hint: "A quiet tune that goes on and on" },
    Suggestion { number: "601", name: "Callback", hint: "Hangs up, and calls you a second later" },
];
/// Numbers beside those, and the extension behind each.
const ROUTES: [(&str, &str); 11] = [
    ("600", "local.echo"),
    ("echo", "local.echo"),
    ("601", "local.callback"),
    ("callback", "local.callback"),
    ("602", "local.tone"),
    ("tone", "local.tone"),
    ("603", "local.dtmf"),
    ("keys", "local.dtmf"),
    ("dtmf", "local.dtmf"),
    ("604", "local.music"),
    ("music", "local.music"),
];

/// A demo that is about to start.
#[derive(Debug)]
pub(super) struct Demo {
    /// In the order of the accounts.
    tokens: [String; ACCOUNTS.len()],
    /// What is otherwise than usual, and what to do about it.
    notes: Vec<String>,
    sip_port: u16,
    media_port: u16,
}

impl Demo {
    /// A demo with fresh tokens. `is_free` says whether a UDP port can be had.
    pub(super) fn new(seed: &mut Seed, is_free: impl Fn(u16) -> bool) -> Self {
        let mut notes = Vec::new();
        let mut port = |usual: u16, what: &str, program: &str| {
            let found = (usual..usual.saturating_add(TRIES)).find(|port| is_free(*port)).unwrap_or(usual);
            if found != usual {
                notes.push(format!(
                    "UDP {usual} is taken{program}: {what} is at {found} for now. Stop the other program to have it back."
                ));
            }
            found
        };
        let sip_port = port(SIP, "SIP", " (by another sipedge, or FreeSWITCH)");
        let media_port = port(MEDIA, "media", "");
        Self { tokens: ACCOUNTS.map(|_| seed.token(32)), notes, sip_port, media_port }
    }

    /// Its configuration.
    pub(super) fn configuration(&self) -> Map<String, Value> {
        let routes: Vec<Value> =
            ROUTES.iter().map(|(number, to)| json!({ "number": number, "to": to })).collect();
        let account = |((name, number, shown), token): ((&str, &str, &str), &String)| {
            let account =
                json!({ "token": token, "caller_id": number, "display_name": shown, "numbers": [number] });
            (name.to_owned(), account)
        };
        let accounts: Map<String, Value> = ACCOUNTS.into_iter().zip(&self.tokens).map(account).collect();
        let value = json!({
            "log": { "level": "warn" },
            "http": { "listen": format!("127.0.0.1:{HTTP}") },
            "sip": { "listen": [format!("127.0.0.1:{}", self.sip_port)] },
            "media": { "webrtc_port": self.media_port, "workers": 1 },
            "ice": { "loopback": true },
            "local": { "enabled": true },
            // a receiver on this machine is what one tries a webhook with
            "webhook": { "allow_private": true },
            "account": accounts,
            "route": routes,
        });
        match value {
            Value::Object(root) => root,
            _ => Map::new(),
        }
    }

    /// What is told when it runs, and where. The environment may have said other tokens.
    pub(super) fn greeting(
        &self,
        tokens: [&str; ACCOUNTS.len()],
        http: &[SocketAddr],
        https: &[SocketAddr],
        machine: &[IpAddr],
    ) -> String {
        let mut text = String::from("\n  sipedge is ready: a demo, without a configuration.\n\n");
        let [(_, first, _), (_, second, _)] = ACCOUNTS;
        let [token, of_second] = tokens;
        let here: Vec<String> = http.iter().map(|address| format!("http://{}/", local(*address))).collect();
        let port = https.first().map(SocketAddr::port);
        // people type the shorter one; one of a link alone has no place in a browser's address (RFC 4007 §11.7)
        let is_wanted = |ip: &&IpAddr, is_ipv4: bool| {
            !ip.is_loopback()
                && ip.is_ipv4() == is_ipv4
                && !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
        };
        let of_version =
            |is_ipv4| machine.iter().filter(move |ip| is_wanted(ip, is_ipv4)).collect::<Vec<_>>();
        let reachable =
            Some(of_version(true)).filter(|found| !found.is_empty()).unwrap_or_else(|| of_version(false));
        let there: Vec<String> = reachable
            .iter()
            .zip(port.into_iter().cycle())
            .map(|(ip, port)| format!("https://{}/", SocketAddr::new(**ip, port)))
            .collect();
        for url in &here {
            let _ = writeln!(text, "  On this machine    {url}#token={token}");
        }
        for url in &there {
            let _ = writeln!(text, "  In your network    {url}#token={token}");
        }
        text.push_str(match port {
            Some(_) if reachable.is_empty() => {
                "  In your network    nowhere: this machine has no address there. Start it again when it has one.\n"
            }
            Some(_) => {
                "                     (the browser warns of the certificate, which this machine made for itself)\n"
            }
            None => "",
        });
        text.push_str("\n  Dial               ");
        for (n, Suggestion { number, name, .. }) in SUGGESTIONS.iter().enumerate() {
            let _ = write!(text, "{}{number} {}", if n > 0 { " · " } else { "" }, name.to_lowercase());
        }
        text.push_str("\n\n");
        for (n, url) in here.iter().chain(&there).enumerate() {
            let what = if n == 0 { "A second phone" } else { "" };
            let _ = writeln!(text, "  {what:<18} {url}#token={of_second}");
        }
        let _ = writeln!(
            text,
            "                     It is number {second}, the first is {first}: open both, and call one from the other."
        );
        text.push_str("\n  Press Ctrl-C to end it.");
        text.push_str(if tokens == self.tokens.each_ref().map(String::as_str) {
            " The tokens are new at each start."
        } else {
            ""
        });
        text.push_str(if port.is_none() {
            " To let a phone in your network join, start it with --lan."
        } else {
            ""
        });
        text.push_str("\n  With a PBX: --config config/sipedge.toml; README.md shows how.\n");
        for note in &self.notes {
            let _ = write!(text, "\n  {note}\n");
        }
        text
    }

    /// What to do when the page's port is taken.
    pub(super) fn remedy() -> String {
        format!(
            "another sipedge, or WaGo itself? Stop it, or put the demo elsewhere: SIPEDGE_HTTP__LISTEN={}:{} sipedge",
            Ipv4Addr::LOCALHOST,
            HTTP + 3
        )
    }
}

/// An address that a browser here can open: one that means every address is none.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo(is_free: impl Fn(u16) -> bool) -> Demo {
        Demo::new(&mut Seed::from_number(1), is_free)
    }

    #[test]
    fn a_port_that_is_taken_is_replaced_and_the_greeting_says_so() {
        let usual = demo(|_| true);
        assert_eq!((usual.sip_port, usual.media_port, usual.notes.len()), (5080, 7000, 0));
        let other = demo(|port| port != 5080 && port != 5081);
        assert_eq!((other.sip_port, other.media_port), (5082, 7000));
        let greeting = other.greeting(["the-token", "b"], &["127.0.0.1:1337".parse().unwrap()], &[], &[]);
        assert!(greeting.contains("UDP 5080 is taken"), "{greeting}");
        assert!(greeting.contains("http://127.0.0.1:1337/#token=the-token\n"), "{greeting}");
        assert!(!greeting.contains("new at each start"), "the environment said it: {greeting}");
        let own = usual.tokens.each_ref().map(String::as_str);
        assert!(usual.greeting(own, &[], &[], &[]).contains("The tokens are new at each start."));
    }

    #[test]
    fn an_address_that_means_every_one_is_told_as_one_that_a_browser_can_open() {
        let every = ["0.0.0.0:1340".parse().unwrap(), "[::]:1341".parse().unwrap()];
        let greeting = demo(|_| true).greeting(["x", "y"], &every, &[], &[]);
        assert!(greeting.contains("http://127.0.0.1:1340/#token=x\n"), "{greeting}");
        assert!(greeting.contains("http://[::1]:1341/#token=x\n"), "{greeting}");
        assert!(!greeting.contains("0.0.0.0") && !greeting.contains("[::]"), "{greeting}");
    }

    #[test]
    fn what_the_page_and_the_greeting_call_a_number_can_be_dialled() {
        let to = |dialled: &str| ROUTES.iter().find(|(number, _)| *number == dialled).map(|(_, to)| *to);
        for Suggestion { number, name, .. } in &SUGGESTIONS {
            assert!(to(number).is_some(), "{number}");
            assert_eq!(to(&name.to_lowercase()), to(number), "{name}");
        }
    }

    #[test]
    fn the_network_is_told_its_own_address_only_with_tls() {
        let machine = ["127.0.0.1".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        let here = ["127.0.0.1:1337".parse().unwrap()];
        let alone = demo(|_| true).greeting(["x", "y"], &here, &[], &machine);
        assert!(!alone.contains("192.0.2.7") && alone.contains("--lan"), "{alone}");
        let lan = demo(|_| true).greeting(["x", "y"], &here, &["0.0.0.0:1338".parse().unwrap()], &machine);
        assert!(lan.contains("https://192.0.2.7:1338/#token=x") && !lan.contains("--lan"), "{lan}");
        for second in ["http://127.0.0.1:1337/#token=y\n", "https://192.0.2.7:1338/#token=y\n"] {
            assert!(lan.contains(second), "{lan}");
        }
        let greeted = |machine: &[&str]| {
            let machine: Vec<IpAddr> = machine.iter().map(|ip| ip.parse().unwrap()).collect();
            demo(|_| true).greeting(["x", "y"], &here, &["0.0.0.0:1338".parse().unwrap()], &machine)
        };
        let v6 = greeted(&["127.0.0.1", "::1", "fe80::1", "2001:db8::7"]);
        assert!(v6.contains("https://[2001:db8::7]:1338/#token=x") && !v6.contains("fe80"), "{v6}");
        let none = greeted(&["127.0.0.1", "::1", "fe80::1"]);
        assert!(
            none.contains("this machine has no address there") && !none.contains("the browser warns"),
            "{none}"
        );
    }
}
