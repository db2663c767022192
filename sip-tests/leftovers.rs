//! Nothing is left after calls that ended in many ways: the whole program in one process, driven over its HTTP
//! API on loopback, with a scripted PBX, its telephones, and browsers of another stack.
//!
//! sipedge has a runtime of its own, so that its tasks can be counted apart from the test's. Every wait is for
//! a condition, with a deadline. A round is a thousand calls: 660 of accounts, at most 40 at once, eight of each account,
//! and beside them 264 that the PBX makes to us, at most 16 at once, and 78 to extensions of sipedge's own. SIP's T1 is
//! 50 ms, so that transactions are forgotten after 3.2 s; media times out after 2 s (6 s before the first packet).
//!
//! Memory: the first two rounds fill what is bounded and kept on purpose (ended calls of the API, open STUN
//! requests, SIP sockets of targets) and the allocator's arenas; an equal one is held against it. Resident
//! memory, without what the allocator keeps free, may grow by 5 % of what the first round took at its peak, allocated
//! bytes by 1 KiB a call, which is both sipedge's and the test's (it notes each call: about 150 bytes).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "leftovers_browser.rs"]
mod browser;
#[path = "leftovers_pbx.rs"]
mod pbx;
#[path = "leftovers_phones.rs"]
mod phones;

use browser::{Browser, Progress};
use pbx::{LOCAL, Pbx};
use phones::Manner;
use serde_json::{Value, json};
use sipedge::app::{self, Counts, Running};
use sipedge::base::Seed;
use sipedge::config::Config;
use sipedge::sip::transaction::Timings;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::SubscriberExt;

const ACCOUNTS: usize = 5;
const CALLS: usize = 660;
const AT_ONCE: usize = 40;
/// Rounds that only warm up: by then each account that calls has ended more calls than are kept for it.
const WARM_UP: usize = 2;
/// Ended calls that the API keeps for an account.
const KEPT: usize = 100;
/// Targets of the trunks: each has a connected SIP socket, of which there are 256 at most.
const SIP_TARGETS: usize = 2;
/// Bytes that a call of the last round may leave allocated, in sipedge and in the test.
const KEPT_OF_A_CALL: isize = 1_024;
/// Calls of the PBX in a round, and how many of them at once.
const INCOMING: usize = 264;
const INCOMING_AT_ONCE: usize = 16;
/// Calls to our own extensions in a round, and how many of them at once.
const OWN: usize = 78;
const OWN_AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(40);

/// Bytes allocated and not yet released, by sipedge and the test together.
static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

struct Counting;

fn note(more: usize, less: usize) {
    ALLOCATED.fetch_add(more.cast_signed().wrapping_sub(less.cast_signed()), Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator that counts and hands on to the system's")]
// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the test does with a call; who else ends it is the PBX, by the number dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Wait for its end.
    Wait,
    /// Hang up as soon as it is made.
    HangUpAtOnce,
    /// Hang up when it rings.
    HangUpRinging,
    /// Hang up when it is answered.
    HangUpAnswered,
    /// A browser attaches, is connected, closes; a second one attaches; hang up.
    TwoBrowsers,
    /// A second browser takes the place of the first; hang up.
    Replace,
    /// An offer is answered and nothing comes of it; hang up.
    HangUpDuringIce,
    /// A browser does ICE alone; hang up.
    NoDtls,
    /// A connected browser vanishes; media fails, the call goes on until the PBX leaves.
    Vanish,
    /// An offer while it rings; hang up.
    OfferWhileRinging,
    /// An offer without a common codec is refused; hang up.
    NoCommonCodec,
    /// The HTTP client vanishes after half an offer, and another one before it reads the answer.
    HalfOffer,
    /// Hold, resume, hang up.
    HoldResume,
    /// Keys are pressed; hang up.
    Keys,
}

/// Way to end → the reason the API must give.
const WAYS: [(&str, Act, &str); 33] = [
    ("echo", Act::HangUpAnswered, "user_ended"),
    ("leaves", Act::Wait, "remote_ended"),
    ("busy", Act::Wait, "busy"),
    ("full", Act::Wait, "failed"),
    ("nobody", Act::Wait, "unavailable"),
    ("declines", Act::Wait, "declined"),
    ("moved", Act::Wait, "unavailable"),
    ("codec", Act::Wait, "failed"),
    ("secret", Act::Wait, "failed"),
    ("rings", Act::Wait, "timeout"),
    ("rings", Act::HangUpRinging, "cancelled"),
    ("crosses", Act::HangUpRinging, "cancelled"),
    ("crosses", Act::Wait, "timeout"),
    ("nocancel", Act::HangUpRinging, "cancelled"),
    ("early", Act::Wait, "unavailable"),
    ("twice", Act::HangUpAnswered, "user_ended"),
    ("forks", Act::HangUpAnswered, "user_ended"),
    ("silent", Act::Wait, "failed"),
    ("silent", Act::HangUpAtOnce, "cancelled"),
    ("gone", Act::Wait, "failed"),
    ("garbage", Act::Wait, "failed"),
    ("empty", Act::Wait, "failed"),
    ("opus", Act::Wait, "failed"),
    ("mute", Act::Wait, "failed"),
    ("deaf", Act::HangUpAnswered, "user_ended"),
    ("echo", Act::TwoBrowsers, "user_ended"),
    ("echo", Act::Replace, "user_ended"),
    ("echo", Act::HangUpDuringIce, "user_ended"),
    ("echo", Act::NoDtls, "user_ended"),
    ("late", Act::Vanish, "remote_ended"),
    ("rings", Act::OfferWhileRinging, "cancelled"),
    ("later", Act::HalfOffer, "remote_ended"),
    ("echo", Act::NoCommonCodec, "user_ended"),
];

/// Accounts that the PBX calls, and what they do with it.
const LISTENERS: [(&str, Manner); 5] = [
    ("silent", Manner::Silent),
    ("busy", Manner::Busy),
    ("declines", Manner::Declines),
    ("leaves", Manner::Leaves),
    ("talks", Manner::Talks),
];

/// As [`WAYS`], to extensions of sipedge's own.
const OWN_WAYS: [(&str, Act, &str); 6] = [
    ("local-echo", Act::HoldResume, "user_ended"),
    ("local-dtmf", Act::Keys, "user_ended"),
    ("local-tone", Act::TwoBrowsers, "user_ended"),
    ("local-callback", Act::Wait, "remote_ended"),
    ("local-music", Act::HangUpAnswered, "user_ended"),
    ("local-echo", Act::HangUpDuringIce, "user_ended"),
];

/// Each call's `call ended` lines in the log, by id.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<BTreeMap<String, usize>>>);

#[derive(Default)]
struct EndLine {
    is_end: bool,
    call: String,
}

impl Visit for EndLine {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.is_end = format!("{value:?}") == "call ended",
            "call" => self.call = format!("{value:?}"),
            _ => {}
        }
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Ends {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut line = EndLine::default();
        event.record(&mut line);
        if line.is_end {
            *self.0.lock().unwrap().entry(line.call).or_default() += 1;
        }
    }
}

/// The API as one account.
#[derive(Clone)]
struct Api {
    at: SocketAddr,
    token: String,
}

impl Api {
    async fn send(&self, method: &str, path: &str, body: &str, length: usize) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.at).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: sipedge\r\ntoken: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.token
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(stream)
    }

    /// Asks, again while the account asks too often.
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = body.to_string();
        let until = Instant::now() + PATIENCE;
        loop {
            let mut stream = self.send(method, path, &body, body.len()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
            let json = answer.split_once("\r\n\r\n").unwrap().1;
            let json = serde_json::from_str(json).unwrap();
            if status != 429 {
                return (status, json);
            }
            assert!(Instant::now() < until, "still refused: {json}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn make(&self, number: &str, act: Act) -> String {
        // the shortest time to ring where that ends the call; others get longer, however slow the machine
        let is_in_vain = act == Act::Wait && matches!(number, "rings" | "crosses");
        let timeout = if is_in_vain { 1 } else { 10 };
        let made = self.ask("POST", "/call/make", json!({"Phone": number, "timeout": timeout})).await;
        let (status, made) = made;
        assert_eq!(status, 200, "{made}");
        made["callID"].as_str().unwrap().to_owned()
    }

    /// The call as the API shows it; none once it is forgotten.
    async fn status(&self, id: &str) -> Option<Value> {
        let (status, shown) = self.ask("GET", &format!("/call/status?callID={id}"), Value::Null).await;
        (status == 200).then(|| shown["call"].clone())
    }

    /// Waits until the call looks as wanted.
    async fn until(&self, id: &str, what: &str, looks: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let shown = self.status(id).await.unwrap();
            if looks(&shown) {
                return shown;
            }
            assert!(Instant::now() < until && shown["state"] != "ended", "never {what}: {shown}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn until_state(&self, id: &str, state: &str) -> Value {
        self.until(id, state, |call| call["state"] == state).await
    }

    async fn until_webrtc(&self, id: &str, state: &str) {
        self.until(id, state, |call| call["media"]["webrtc"] == state).await;
    }

    async fn offer(&self, id: &str, sdp: &str) -> (u16, Value) {
        self.ask("POST", "/call/webrtc/offer", json!({"callID": id, "type": "offer", "sdp": sdp})).await
    }

    async fn attach(&self, id: &str, browser: &mut Browser) {
        let (status, answer) = self.offer(id, &browser.offer).await;
        assert_eq!(status, 200, "{answer}");
        browser.accept(answer["sdp"].as_str().unwrap());
    }

    async fn hang_up(&self, id: &str) {
        let (status, answer) = self.ask("POST", "/call/hangup", json!({"callID": id})).await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// One call, from its making to its end; its id.
async fn call(api: Api, number: &str, act: Act) -> (String, String) {
    let id = api.make(number, act).await;
    match act {
        Act::Wait => {}
        Act::HangUpAtOnce => api.hang_up(&id).await,
        Act::HangUpRinging => {
            api.until_state(&id, "ringing").await;
            api.hang_up(&id).await;
        }
        Act::HangUpAnswered => {
            api.until_state(&id, "active").await;
            api.hang_up(&id).await;
        }
        Act::TwoBrowsers => {
            let mut first = Browser::new().await;
            api.until_state(&id, "active").await;
            api.attach(&id, &mut first).await;
            first.reach(Progress::Connected).await;
            api.until_webrtc(&id, "connected").await;
            let (status, closed) = api.ask("POST", "/call/webrtc/close", json!({"callID": id})).await;
            assert_eq!((status, &closed["closed"]), (200, &json!(true)));
            drop(first);
            let mut second = Browser::new().await;
            api.attach(&id, &mut second).await;
            second.reach(Progress::Connected).await;
            api.until_webrtc(&id, "connected").await;
            api.hang_up(&id).await;
        }
        Act::Replace => {
            let (mut first, mut second) = (Browser::new().await, Browser::new().await);
            api.attach(&id, &mut first).await;
            first.reach(Progress::Connected).await;
            api.attach(&id, &mut second).await;
            second.reach(Progress::Connected).await;
            api.until_state(&id, "active").await;
            api.hang_up(&id).await;
        }
        Act::HangUpDuringIce => {
            let browser = Browser::new().await;
            api.until_state(&id, "active").await;
            let (status, answer) = api.offer(&id, &browser.offer).await;
            assert_eq!(status, 200, "{answer}");
            api.hang_up(&id).await;
        }
        Act::NoDtls => {
            let mut browser = Browser::without_dtls().await;
            api.until_state(&id, "active").await;
            api.attach(&id, &mut browser).await;
            browser.reach(Progress::Ice).await;
            api.hang_up(&id).await;
        }
        Act::Vanish => {
            let mut browser = Browser::new().await;
            api.until_state(&id, "active").await;
            api.attach(&id, &mut browser).await;
            browser.reach(Progress::Talking).await;
            drop(browser);
            api.until_webrtc(&id, "failed").await;
        }
        Act::OfferWhileRinging => {
            let mut browser = Browser::new().await;
            api.until_state(&id, "ringing").await;
            api.attach(&id, &mut browser).await;
            api.hang_up(&id).await;
        }
        Act::NoCommonCodec => {
            let browser = Browser::with_opus_alone().await;
            api.until_state(&id, "active").await;
            assert_eq!(api.offer(&id, &browser.offer).await.0, 400);
            api.hang_up(&id).await;
        }
        Act::HalfOffer => {
            let browser = Browser::new().await;
            let body = json!({"callID": id, "type": "offer", "sdp": browser.offer}).to_string();
            let half = body.split_at(body.len() / 2).0;
            drop(api.send("POST", "/call/webrtc/offer", half, body.len()).await.unwrap());
            drop(api.send("POST", "/call/webrtc/offer", &body, body.len()).await.unwrap());
        }
        Act::HoldResume => {
            let mut browser = Browser::new().await;
            api.until_state(&id, "active").await;
            api.attach(&id, &mut browser).await;
            browser.hear_echo().await;
            for (path, state) in [("/call/hold", "on_hold"), ("/call/resume", "active")] {
                let (status, answer) = api.ask("POST", path, json!({"callID": id})).await;
                assert_eq!(status, 200, "{path}: {answer}");
                api.until_state(&id, state).await;
            }
            browser.hear_echo().await;
            api.hang_up(&id).await;
        }
        Act::Keys => {
            api.until_state(&id, "active").await;
            let keys = json!({"callID": id, "digits": "12", "duration": 100});
            let (status, answer) = api.ask("POST", "/call/dtmf", keys).await;
            assert_eq!(status, 200, "{answer}");
            api.hang_up(&id).await;
        }
    }
    let ended = match act {
        Act::Wait | Act::Vanish | Act::HalfOffer => {
            let until = Instant::now() + PATIENCE;
            loop {
                let shown = api.status(&id).await.unwrap();
                if shown["state"] == "ended" {
                    break shown;
                }
                assert!(Instant::now() < until, "{number}, {act:?}: no end: {shown}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        _ => api.status(&id).await.unwrap(),
    };
    assert!(ended["state"] == "ended" && ended["endedAt"].is_string(), "{number}, {act:?}: {ended}");
    (id, ended["endReason"].as_str().unwrap().to_owned())
}

fn bytes_resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// Gives back what the allocator keeps free: how much that is depends on which threads happened to run, and jumps by
/// megabytes from round to round.
#[expect(unsafe_code, reason = "a call of the C library without pointers")]
fn trim() {
    // SAFETY: no pointers, and any thread may call it at any time.
    unsafe { libc::malloc_trim(0) };
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

struct House {
    runtime: Runtime,
    running: Running,
    /// Of the accounts that call.
    apis: Vec<Api>,
    /// Of the account that calls our own extensions, and is called back.
    own: Api,
    /// Calls that a listener's account could not deal with as it must.
    faults: Arc<AtomicUsize>,
    sip: SocketAddr,
}

/// What is there when nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Idle {
    tasks: usize,
    descriptors: usize,
}

impl House {
    fn idle(&self) -> Idle {
        Idle { tasks: self.runtime.metrics().num_alive_tasks(), descriptors: descriptors() }
    }

    async fn counts(&self) -> Counts {
        self.running.counts().await
    }
}

/// A UDP port that was free a moment ago.
fn free_port() -> u16 {
    std::net::UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port()
}

fn start(pbx: SocketAddr) -> House {
    let gone = std::net::UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap();
    let account = |n: usize| {
        // one more than are used, so that a place given back late is no failure and one kept is
        (
            format!("a{n}"),
            json!({"token": format!("token-of-account-{n}"), "max_calls": AT_ONCE / ACCOUNTS + 1}),
        )
    };
    let mut accounts: serde_json::Map<String, Value> = (0..ACCOUNTS).map(account).collect();
    let listeners = LISTENERS.iter().map(|(name, _)| *name).chain(["not", "own"]);
    accounts.extend(listeners.map(|name| {
        let token = format!("token-of-account-{name}");
        let value =
            json!({"token": token, "numbers": [format!("listens-{name}")], "max_calls": INCOMING_AT_ONCE});
        (name.to_owned(), value)
    }));
    let sip: SocketAddr = (LOCAL, free_port()).into();
    let mut routes = vec![
        json!({"number": "gone", "to": "trunk.gone", "last": true}),
        json!({"number": "secret", "to": "trunk.secret", "last": true}),
        // no longer than an account lets it ring
        json!({"number": "listens-silent", "to": "account.silent", "timeout": "1s", "last": true}),
    ];
    let own = ["echo", "tone", "dtmf", "music", "callback"];
    routes.extend(own.map(|name| json!({"number": format!("local-{name}"), "to": format!("local.{name}")})));
    // what the PBX calls does not go back to it
    let to_pbx = |n| json!({"from": format!("account.a{n}"), "to": "trunk.pbx"});
    routes.extend((0..ACCOUNTS).map(to_pbx));
    let root = json!({
        "http": {"listen": ["127.0.0.1:0"]},
        "sip": {"listen": [sip.to_string()]},
        "media": {
            "webrtc_port": free_port(), "workers": 1, "addresses": ["127.0.0.1"],
            "rtp_ports": "20000-20999", "timeout": "2s"
        },
        "ice": {"loopback": true},
        "trunk": {
            // looking whether they are there leaves transactions behind at any moment
            "pbx": {"host": pbx.to_string(), "qualify": "off"},
            "secret": {"host": pbx.to_string(), "user": "us", "password": "wrong", "qualify": "off"},
            "gone": {"host": gone.to_string(), "qualify": "off"},
        },
        "account": accounts,
        "local": {"enabled": true},
        "route": routes,
    });
    let Value::Object(root) = root else { unreachable!() };
    let mut configured = app::judge(&Config::from_value("test", root), Seed::from_number(7)).unwrap();
    configured.set_sip_timings(Timings {
        // short, so that the test is; not so short that a starved machine seems a dead peer
        t1: Duration::from_millis(50),
        t2: Duration::from_millis(160),
        t4: Duration::from_millis(200),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let running = runtime.block_on(Running::start(configured)).unwrap();
    let at = running.http_addresses()[0];
    let apis = (0..ACCOUNTS).map(|n| Api { at, token: format!("token-of-account-{n}") }).collect();
    let api = |name: &str| Api { at, token: format!("token-of-account-{name}") };
    let faults = Arc::<AtomicUsize>::default();
    House { runtime, running, apis, own: api("own"), faults, sip }
}

/// Has the accounts listen that the PBX calls.
async fn start_listeners(house: &House) {
    let at = house.own.at;
    for (name, manner) in LISTENERS {
        let api = Api { at, token: format!("token-of-account-{name}") };
        phones::listen(api, manner, house.faults.clone()).await;
    }
    // who is called back is busy
    phones::listen(house.own.clone(), Manner::Busy, house.faults.clone()).await;
}

/// The calls of a round that no account of [`round`] makes.
fn others(house: &House) -> Vec<tokio::task::JoinHandle<()>> {
    let (sip, own) = (house.sip, house.own.clone());
    let places = Arc::new(Semaphore::new(INCOMING_AT_ONCE));
    let own_places = Arc::new(Semaphore::new(OWN_AT_ONCE));
    let incoming = phones::WAYS.iter().copied().cycle().take(INCOMING).map(|(number, way)| {
        let places = places.clone();
        tokio::spawn(async move {
            let _place = places.acquire().await.unwrap();
            phones::call(sip, number, way).await;
        })
    });
    let to_ourselves = OWN_WAYS.iter().copied().cycle().take(OWN).map(|(number, act, expected)| {
        let (api, places) = (own.clone(), own_places.clone());
        tokio::spawn(async move {
            let _place = places.acquire().await.unwrap();
            let (_, reason) = Box::pin(call(api, number, act)).await;
            assert_eq!(reason, expected, "{number}, {act:?}");
        })
    });
    incoming.chain(to_ourselves).collect()
}

/// Makes the calls of a round; their ids with the account that made them.
async fn round(house: &House) -> Vec<(usize, String)> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let account_places: Vec<_> =
        (0..ACCOUNTS).map(|_| Arc::new(Semaphore::new(AT_ONCE / ACCOUNTS))).collect();
    let mut calls = Vec::new();
    for (n, (number, act, expected)) in WAYS.iter().copied().cycle().take(CALLS).enumerate() {
        let account = n % ACCOUNTS;
        let (api, of_all, of_account) =
            (house.apis[account].clone(), places.clone(), account_places[account].clone());
        calls.push(tokio::spawn(async move {
            let _places = (of_all.acquire().await.unwrap(), of_account.acquire().await.unwrap());
            let (id, reason) = Box::pin(call(api, number, act)).await;
            assert_eq!(reason, expected, "{number}, {act:?}, {id}");
            (account, id)
        }));
    }
    let others = others(house);
    let (mut ended, mut failed) = (Vec::new(), 0);
    for call in calls {
        match call.await {
            Ok(call) => ended.push(call),
            Err(_) => failed += 1,
        }
    }
    for call in others {
        failed += usize::from(call.await.is_err());
    }
    failed += house.faults.load(Ordering::Relaxed);
    assert_eq!(failed, 0, "calls that ended in another way; see above");
    ended
}

/// What the idle program holds, once all that it starts with has come up: unchanged for half a second.
async fn settled(house: &House) -> Idle {
    let mut idle = house.idle();
    let mut unchanged = 0;
    while unchanged < 10 {
        assert_eq!(house.counts().await, Counts::default());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = house.idle();
        unchanged =
            if (now.tasks, now.descriptors) == (idle.tasks, idle.descriptors) { unchanged + 1 } else { 0 };
        idle = now;
    }
    idle
}

/// Waits until nothing is left, or says what is.
async fn until_nothing_is_left(house: &House, pbx: &Pbx, before: Idle) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (counts, idle, open) = (house.counts().await, house.idle(), pbx.open());
        let is_over = counts == Counts::default()
            && idle.tasks <= before.tasks + SIP_TARGETS
            && idle.descriptors <= before.descriptors + SIP_TARGETS
            && open.is_empty();
        if is_over {
            return;
        }
        assert!(
            Instant::now() < until,
            "left over: {counts:?}; {idle:?}, before {before:?}; dialogs of the PBX without an end: {open:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_after_calls_that_ended_in_many_ways() {
    let ends = Ends::default();
    let filter = tracing_subscriber::EnvFilter::new("info");
    let printed = std::env::var_os("LEFTOVERS_LOG").map(|_| tracing_subscriber::fmt::layer());
    let log = tracing_subscriber::registry().with(filter).with(printed).with(ends.clone());
    tracing::subscriber::set_global_default(log).unwrap();
    let pbx = Pbx::start().await;
    let address = pbx.address;
    let house = tokio::task::spawn_blocking(move || start(address)).await.unwrap();
    start_listeners(&house).await;
    let before = settled(&house).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let peak = Arc::new(AtomicUsize::new(0));
    let sampler = {
        let (is_done, peak) = (is_done.clone(), peak.clone());
        std::thread::spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                peak.fetch_max(bytes_resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let at_start = bytes_resident();
    let (mut resident, mut allocated) = (Vec::new(), Vec::new());
    let mut calls: Vec<(usize, String)> = Vec::new();
    let mut first_peak = 0;
    for n in 0..=WARM_UP {
        let start = Instant::now();
        calls.extend(round(&house).await);
        let calls_took = start.elapsed();
        until_nothing_is_left(&house, &pbx, before).await;
        if n == 0 {
            first_peak = peak.load(Ordering::Relaxed) - at_start;
        }
        let untrimmed = bytes_resident();
        trim();
        resident.push(bytes_resident());
        allocated.push(ALLOCATED.load(Ordering::Relaxed));
        println!(
            "round {n}: calls {calls_took:?}, with draining {:?}; resident {} KiB, trimmed {} KiB, allocated {} KiB; {:?}",
            start.elapsed(),
            untrimmed / 1024,
            bytes_resident() / 1024,
            allocated.last().unwrap() / 1024,
            house.idle()
        );
    }
    is_done.store(true, Ordering::Relaxed);
    sampler.join().unwrap();
    assert_eq!(pbx.faults(), Vec::<String>::new());

    // each call ended once
    let counted = ends.0.lock().unwrap().clone();
    for (_, id) in &calls {
        assert_eq!(counted.get(id), Some(&1), "ends of {id}");
    }
    assert!(counted.values().all(|ends| *ends == 1), "{counted:?}");
    // each round has the same others, and the calls back of one of them
    let called_back =
        OWN_WAYS.iter().cycle().take(OWN).filter(|(number, ..)| *number == "local-callback").count();
    let others = (WARM_UP + 1) * (INCOMING + OWN + called_back);
    assert_eq!(counted.len(), calls.len() + others, "calls that nobody knows of");

    // of each account's calls at most the last hundred can still be read, and all of them have ended
    for (account, api) in house.apis.iter().enumerate() {
        let ids: Vec<&String> = calls.iter().filter(|(a, _)| *a == account).map(|(_, id)| id).collect();
        let mut kept = Vec::new();
        for id in &ids {
            if let Some(shown) = api.status(id).await {
                assert_eq!(shown["state"], "ended", "{shown}");
                kept.push(*id);
            }
        }
        assert!(ids.len() > KEPT && kept.len() <= KEPT, "{} of {} calls are kept", kept.len(), ids.len());
        assert!(kept.last() == ids.last() && kept.first() != ids.first(), "the newest are kept");
    }

    println!("resident at start {} KiB, growth to the first peak {} KiB", at_start / 1024, first_peak / 1024);
    let [.., first, second] = resident[..] else { panic!("two rounds at least") };
    let grown = second.saturating_sub(first);
    assert!(
        grown * 20 <= first_peak,
        "the last round kept {grown} bytes, more than 5 % of {first_peak}; after each round: {resident:?}"
    );

    let [.., first, second] = allocated[..] else { panic!("two rounds at least") };
    assert!(
        second - first <= KEPT_OF_A_CALL * (CALLS + INCOMING + OWN).cast_signed(),
        "the last round left {} bytes allocated; after each round: {allocated:?}",
        second - first
    );

    let House { runtime, running, .. } = house;
    running.stop(Duration::ZERO).await;
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
}
