//! The edge behind a real listener, with a switch whose media does nothing.

use super::*;
use crate::base::{Cause, Digit, Secret, Section, Seed, Services};
use crate::call::io::{Switch, SwitchParts};
use crate::call::leg::{EarlyOffer, LegCommand, LegProfile};
use crate::call::port::{MediaCommand, MediaEngine, MediaEvent, MediaPort, MediaProfile};
use crate::call::route::{Place, Router as RouteTable, Step};
use crate::edge::wago::config;
use crate::http::HttpConfig;
use crate::http::io::HttpServer;
use crate::net::client::ClientConfig;
use crate::registry::{Registry, read_accounts, read_routes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};

const ANNA: &str = "anna-token-0123456789";
const BERT: &str = "bert-token-0123456789";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every number is the name of an account.
struct Everybody;

impl RouteTable for Everybody {
    fn route(&self, query: &RouteQuery) -> RouteDecision {
        let place = Place::Account { name: query.to.clone(), number: "100".into() };
        RouteDecision::To(vec![Step { places: vec![place], ..Step::default() }])
    }
}

/// Notes what it is asked for.
struct Media(Sender<String>);

struct Port(Sender<String>, Sender<MediaEvent>);

impl MediaEngine for Media {
    fn open(&self, _: CallId, events: Sender<MediaEvent>) -> Result<Box<dyn MediaPort>, Cause> {
        Ok(Box::new(Port(self.0.clone(), events)))
    }
}

impl MediaPort for Port {
    fn command(&mut self, command: MediaCommand) {
        if let MediaCommand::CheckOffer { leg, .. } = command {
            self.1.try_send(MediaEvent::OfferGood { leg }).unwrap();
        }
        let _ = self.0.try_send(format!("{command:?}"));
    }
}

struct World {
    server: HttpServer,
    switch: Switch,
    media: Receiver<String>,
}

async fn world() -> World {
    let account = |name: &str, value| Section::new(format!("account.{name}"), "t", value);
    let accounts = read_accounts(&[
        account("anna", json!({ "token": ANNA, "max_calls": 2, "webhook_secret": "a secret" })),
        account("bert", json!({ "token": BERT })),
    ]);
    let to_anna = Section::new("route[1]", "t", json!({ "number": "anna", "to": "account.anna" }));
    let routes = read_routes(&[to_anna], &BTreeMap::from([("account", vec!["anna".to_owned()])])).unwrap();
    let registry = Arc::new(Registry::new(accounts.unwrap(), routes, &mut Seed::from_number(1)));
    let local = Section::new("webhook", "t", json!({ "allow_private": true }));
    let client = HttpClient::new(ClientConfig::read(&local).unwrap()).unwrap();
    let services = Services::default().with(Arc::new(client));
    let mut edge = config::prepare(&[]).unwrap();
    let dialer = edge.dialer(&services).unwrap().unwrap();
    let (commands, media) = channel(1_024);
    let parts = SwitchParts {
        router: Arc::new(Everybody),
        media: Arc::new(Media(commands)),
        dialers: BTreeMap::from([("wago", dialer)]),
    };
    let switch = Switch::new(parts, Seed::from_number(2));
    let context = EdgeContext { switch: switch.clone(), registry, services };
    let router = edge.start(context).unwrap();
    let here = Section::new("http", "t", json!({ "listen": "127.0.0.1:0" }));
    let server = HttpServer::start(&HttpConfig::read(&here).unwrap(), router).await.unwrap();
    World { server, switch, media }
}

impl World {
    /// A request on a connection of its own; the stream after its head.
    async fn open(&self, method: &str, path: &str, head: &str, body: &str) -> (u16, TcpStream) {
        let mut stream = TcpStream::connect(self.server.addresses()[0]).await.unwrap();
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let status = String::from_utf8(head).unwrap()[9..12].parse().unwrap();
        (status, stream)
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("token: {token}\r\nconnection: close\r\n");
        let (status, mut stream) = self.open(method, path, &head, &body).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        (status, serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("POST", path, ANNA, body).await
    }

    async fn listen(&self, token: &str) -> Listener {
        let (status, stream) = self.open("GET", "/call/events", &format!("token: {token}\r\n"), "").await;
        assert_eq!(status, 200);
        Listener { stream, text: String::new() }
    }

    /// A call from outside to an account.
    fn call(&self, account: &str) -> (crate::call::io::LegRef, Receiver<LegCommand>) {
        let (commands, inbox) = channel(LEG_COMMANDS);
        let incoming = Incoming {
            particulars: Particulars::default(),
            source: Source::Trunk("pbx".into()),
            from: Party { user: "600".into(), display: Some("Front desk".into()) },
            to: account.to_owned(),
            offer: None,
            profile: LegProfile {
                media: MediaProfile::WebRtc,
                takes_offer: false,
                takes_reoffer: false,
                may_detach: true,
                takes_keys: false,
                account: None,
            },
            early_offer: EarlyOffer::No,
            ring_timeout: None,
            hops: crate::call::leg::HOPS,
        };
        let leg = self.switch.incoming(incoming, commands, Box::new(())).unwrap();
        (leg, inbox)
    }

    /// The next command to media whose text begins so.
    async fn media(&mut self, begins: &str) -> String {
        let search = async {
            loop {
                let command = self.media.recv().await.unwrap();
                if command.starts_with(begins) {
                    return command;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("media was not told {begins}"))
    }
}

struct Listener {
    stream: TcpStream,
    text: String,
}

impl Listener {
    /// The next event of that name.
    async fn event(&mut self, name: &str) -> Value {
        let search = async {
            loop {
                while let Some((line, rest)) = self.text.split_once('\n') {
                    let event = line.strip_prefix("data: ").map(|data| serde_json::from_str(data).unwrap());
                    self.text = rest.to_owned();
                    if let Some(event) = event.filter(|e: &Value| e["event"] == name) {
                        return event;
                    }
                }
                let mut bytes = Vec::new();
                assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "the stream ended");
                self.text.push_str(&String::from_utf8(bytes).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("no event {name}"))
    }
}

async fn hangup(inbox: &mut Receiver<LegCommand>) -> Cause {
    loop {
        if let LegCommand::Hangup(end) = inbox.recv().await.unwrap() {
            return end.cause;
        }
    }
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_served() {
    let world = world().await;
    let description = crate::http::openapi::document(crate::edge::wago::EDGE.openapi);
    let described = |path: &str, method: &str| description["paths"][path].get(method).is_some();
    for (path, _) in routes() {
        for method in ["get", "post", "put", "patch", "delete"] {
            // without a token no route does anything, and says so
            let (status, _) = world.ask(&method.to_uppercase(), path, "", Value::Null).await;
            assert_eq!(status != 405, described(path, method), "{method} {path} answers {status}");
        }
    }
    for (path, _) in routes().into_iter().filter(|(path, _)| described(path, "post")) {
        // RFC 9110 §15.5.16: where there is a body to read, it is not read compressed
        let head = format!("token: {ANNA}\r\nconnection: close\r\ncontent-encoding: gzip\r\n");
        let (status, _) = world.open("POST", path, &head, "{}").await;
        let is_described = description["paths"][path]["post"]["responses"].get("415").is_some();
        assert_eq!(status == 415, is_described, "POST {path} answers {status}");
    }
    let served = routes().map(|(path, _)| path);
    let paths = description["paths"].as_object().unwrap();
    let unserved: Vec<_> =
        paths.keys().filter(|p| *p != "/openapi.json" && !served.contains(&p.as_str())).collect();
    assert!(unserved.is_empty(), "described and not served: {unserved:?}");
    let text = description.to_string();
    for reference in text.split("\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(description.pointer(&format!("/{reference}")).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn a_call_that_rings_is_announced_answered_once_held_resumed_and_given_digits() {
    let mut world = world().await;
    let mut listener = world.listen(ANNA).await;
    let (caller, mut to_caller) = world.call("anna");
    let event = listener.event("call.incoming").await;
    assert_eq!((&event["call"]["from"], &event["call"]["to"]), (&json!("600"), &json!("100")));
    assert_eq!((&event["displayName"], &event["token_name"]), (&json!("Front desk"), &json!("anna")));
    assert!(matches!(to_caller.recv().await, Some(LegCommand::Ring)));
    let id = event["call"]["callID"].clone();
    assert_eq!(id, caller.call.to_string());
    let (_, list) = world.ask("GET", "/call/list", ANNA, Value::Null).await;
    assert_eq!((&list["calls"][0]["callID"], &list["calls"][0]["state"]), (&id, &json!("incoming")));
    let (_, others) = world.ask("GET", "/call/list", BERT, Value::Null).await;
    assert_eq!(others["calls"], json!([]));

    let body = json!({ "callID": id });
    let early = world.post("/call/hold", body.clone()).await;
    assert_eq!((early.0, &early.1["error"]), (400, &json!("the call is not answered yet")));
    let stranger = world.ask("POST", "/call/answer", BERT, body.clone()).await;
    assert_eq!((stranger.0, &stranger.1["error"]), (404, &json!("call not found")));
    let (status, answered) = world.post("/call/accept", body.clone()).await;
    assert_eq!((status, &answered["details"]), (200, &json!("Call answered")));
    assert_eq!(answered["call"]["state"], "active");
    assert!(matches!(to_caller.recv().await, Some(LegCommand::Answer { answer: None })));
    let second = world.post("/call/answer", body.clone()).await;
    assert_eq!((second.0, &second.1["error"]), (400, &json!("the call does not ring here")));

    assert_eq!(world.post("/call/hold", body.clone()).await.1["call"]["state"], "on_hold");
    assert!(world.media("Hold").await.ends_with("true)"));
    let keys = json!({ "callID": id, "digits": "1#" });
    assert_eq!(world.post("/call/dtmf", keys.clone()).await.0, 400);
    assert_eq!(world.post("/call/resume", body.clone()).await.1["call"]["state"], "active");
    assert!(world.media("Hold").await.ends_with("false)"));
    assert_eq!(world.post("/call/dtmf", keys).await.1["details"], "DTMF sent");
    let sent = world.media("SendDtmf").await;
    assert!(sent.contains(&format!("{:?}", Digit::from_char('#').unwrap())), "{sent}");

    assert_eq!(world.post("/call/hangup", body.clone()).await.1["call"]["endReason"], "user_ended");
    assert_eq!(hangup(&mut to_caller).await, Cause::Normal);
    assert_eq!(listener.event("call.ended").await["call"]["endReason"], "user_ended");
    assert_eq!(world.post("/call/answer", body).await.0, 404);
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_with_its_reason() {
    let world = world().await;
    let mut listener = world.listen(ANNA).await;
    for (body, cause, reason) in [
        (json!({"reason": "busy"}), Cause::Busy, "busy"),
        (json!({"call_from": "600"}), Cause::Declined, "declined"),
    ] {
        let (_caller, mut to_caller) = world.call("anna");
        let mut body = body;
        body["callID"] = listener.event("call.incoming").await["call"]["callID"].clone();
        let (status, answer) = world.post("/call/reject", body).await;
        assert_eq!((status, &answer["call"]["endReason"]), (200, &json!(reason)));
        assert_eq!(hangup(&mut to_caller).await, cause);
        assert_eq!(listener.event("call.ended").await["call"]["endReason"], reason);
    }
}

#[tokio::test]
async fn who_has_nobody_listening_is_unavailable_and_who_has_calls_enough_is_busy() {
    let world = world().await;
    let (_caller, mut to_caller) = world.call("anna");
    assert_eq!(hangup(&mut to_caller).await, Cause::Unavailable);
    let mut listener = world.listen(ANNA).await;
    let _calls = [world.call("anna"), world.call("anna")];
    listener.event("call.incoming").await;
    listener.event("call.incoming").await;
    let (_caller, mut to_caller) = world.call("anna");
    assert_eq!(hangup(&mut to_caller).await, Cause::Busy);
    let (_caller, mut to_caller) = world.call("nobody");
    assert_eq!(hangup(&mut to_caller).await, Cause::NotFound);
}

#[tokio::test]
async fn who_listens_is_told_of_a_stop_before_calls_end_and_so_is_who_comes_later() {
    for drain in [Duration::ZERO, Duration::from_millis(300)] {
        let world = world().await;
        let mut listener = world.listen(ANNA).await;
        let (_caller, _to_caller) = world.call("anna");
        listener.event("call.incoming").await;
        let switch = world.switch.clone();
        tokio::spawn(async move { switch.shutdown(drain).await });
        // the order is the test: what comes before the event that is waited for is passed over
        let told = listener.event("server.draining").await;
        assert_eq!(told, json!({ "type": "Server", "event": "server.draining" }));
        if !drain.is_zero() {
            assert_eq!(world.post("/call/make", json!({ "Phone": "anna" })).await.0, 503);
        }
        assert_eq!(listener.event("call.ended").await["call"]["endReason"], "failed");
        world.listen(BERT).await.event("server.draining").await;
    }
}

#[tokio::test]
async fn an_account_that_calls_itself_is_busy() {
    let world = world().await;
    let mut listener = world.listen(ANNA).await;
    for _ in 0..20 {
        assert_eq!(world.post("/call/make", json!({ "Phone": "anna" })).await.0, 200);
        let ended = listener.event("call.ended").await["call"].clone();
        assert_eq!((&ended["direction"], &ended["endReason"]), (&json!("outbound"), &json!("busy")));
    }
}

#[tokio::test]
async fn events_take_their_token_from_the_url_too_and_their_number_is_limited() {
    let world = world().await;
    let (status, _stream) = world.open("GET", &format!("/call/events?token={BERT}"), "", "").await;
    assert_eq!(status, 200);
    assert_eq!(world.open("GET", "/call/events?token=wrong", "", "").await.0, 401);
    assert_eq!(world.open("GET", &format!("/call/list?token={BERT}"), "", "").await.0, 401);
    let mut streams = Vec::new();
    loop {
        let (status, stream) = world.open("GET", "/call/events", &format!("token: {ANNA}\r\n"), "").await;
        streams.push(stream);
        if status != 200 {
            assert_eq!((status, streams.len()), (429, 17));
            break;
        }
    }
    // the program ends at once, whoever listens
    let begun = Instant::now();
    world.server.stop(PATIENCE).await;
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn a_webhook_rings_an_account_and_gets_signed_events_again_when_it_fails() {
    let world = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let set = world.post("/webhook", json!({ "WebhookURL": url, "Subscribe": ["Call"] })).await;
    assert_eq!((set.0, &set.1["webhook"]), (200, &json!(url)));
    let (_caller, _to_caller) = world.call("anna");
    let mut ids = Vec::new();
    for status in ["500 No", "204 Yes"] {
        let (mut stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut request = Vec::new();
        let body = loop {
            stream.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((_, body)) =
                text.split_once("\r\n\r\n").filter(|(_, body)| serde_json::from_str::<Value>(body).is_ok())
            {
                break body.to_owned();
            }
        };
        let signed = crate::edge::wago::webhook::signature(Secret::new("a secret").expose(), body.as_bytes());
        assert!(String::from_utf8_lossy(&request).contains(&format!("x-signature-256: {signed}\r\n")));
        let event: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(event["event"], "call.incoming");
        ids.push(event["id"].clone());
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    assert_eq!(ids[0], ids[1]);
    let removed = world.post("/webhook", json!({ "WebhookURL": "" })).await;
    assert_eq!((removed.0, &removed.1["details"]), (200, &json!("Webhook removed")));
    let metadata = world.post("/webhook", json!({ "WebhookURL": "http://169.254.169.254/" })).await;
    assert_eq!(metadata.0, 400);
}
