//! A scripted PBX: one SIP socket, one RTP socket, and a behaviour for each number that can be dialled.
//!
//! It keeps a dialog until its end is known on its side too (ACK of a refusal, BYE and its answer), so that
//! what is left in [`Pbx::open`] was ended by sipedge without a word.

use sipedge::sip::{
    CSeq, HeaderName, Limits, Message, Method, NameAddr, Request, Response, StatusCode, Uri, parse,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A request or 2xx of the PBX is repeated until it is answered.
const REPEAT: Duration = Duration::from_millis(100);

pub(crate) struct Pbx {
    pub(crate) address: SocketAddr,
    dialogs: Arc<Mutex<BTreeMap<String, Dialog>>>,
    faults: Arc<Mutex<Vec<String>>>,
}

/// One INVITE, or one fork of it.
#[derive(Clone)]
struct Dialog {
    number: String,
    invite: Request,
    from: SocketAddr,
    tag: String,
    /// Final response sent, repeated until its ACK.
    is_final: bool,
    is_answered: bool,
    is_acked: bool,
    /// Where we send RTP to.
    media: Option<SocketAddr>,
    packets_left: u32,
    sequence: u16,
    /// What comes next of itself, and when.
    next: Option<(Instant, Step)>,
    bye: Option<Request>,
    repeat: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Step {
    Answer,
    Refuse(u16),
    Leave,
}

impl Pbx {
    pub(crate) async fn start() -> Self {
        let sip = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        let rtp = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        let address = sip.local_addr().unwrap();
        let dialogs = Arc::<Mutex<BTreeMap<String, Dialog>>>::default();
        let faults = Arc::<Mutex<Vec<String>>>::default();
        let task = Task { sip, rtp, dialogs: dialogs.clone(), faults: faults.clone(), next_tag: 0 };
        tokio::spawn(task.run());
        Self { address, dialogs, faults }
    }

    /// Numbers of the dialogs whose end the PBX has not heard of.
    pub(crate) fn open(&self) -> Vec<String> {
        let dialogs = self.dialogs.lock().unwrap();
        dialogs
            .values()
            .map(|d| format!("{} (answered: {}, ACK: {})", d.number, d.is_answered, d.is_acked))
            .collect()
    }

    /// What sipedge did that it must not.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }
}

struct Task {
    sip: UdpSocket,
    rtp: UdpSocket,
    dialogs: Arc<Mutex<BTreeMap<String, Dialog>>>,
    faults: Arc<Mutex<Vec<String>>>,
    next_tag: u64,
}

fn key(call_id: &str, tag: &str) -> String {
    format!("{call_id} {tag}")
}

impl Task {
    async fn run(mut self) {
        let mut buffer = vec![0; 65_536];
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                got = self.sip.recv_from(&mut buffer) => {
                    let Ok((n, from)) = got else { continue };
                    match parse(&buffer[..n], &Limits::UDP).unwrap() {
                        Message::Request(request) => self.handle_request(&request, from),
                        Message::Response(response) => self.handle_response(&response),
                    }
                }
                _ = tick.tick() => self.handle_time(Instant::now()),
            }
        }
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        // a full socket drops; what matters is repeated
        let _ = self.sip.try_send_to(bytes, to);
    }

    fn handle_request(&mut self, request: &Request, from: SocketAddr) {
        let call_id = request.headers.call_id().unwrap().to_owned();
        let tag = request.headers.to().unwrap().tag().map(str::to_owned);
        match request.method {
            Method::INVITE => self.invite(request, from, &call_id),
            Method::ACK => self.ack(&key(&call_id, &tag.unwrap_or_default())),
            Method::CANCEL => self.cancel(request, from, &call_id),
            Method::BYE => {
                let key = key(&call_id, &tag.unwrap_or_default());
                let mut dialogs = self.dialogs.lock().unwrap();
                let status = match dialogs.get(&key) {
                    Some(dialog) if dialog.number == "deaf" => {
                        dialogs.remove(&key);
                        return;
                    }
                    Some(dialog) if !dialog.is_answered => {
                        let fault = format!("BYE of {} before it was answered", dialog.number);
                        self.faults.lock().unwrap().push(fault);
                        StatusCode::NO_SUCH_CALL
                    }
                    Some(_) => StatusCode::OK,
                    None => StatusCode::NO_SUCH_CALL,
                };
                dialogs.remove(&key);
                drop(dialogs);
                self.send(from, &request.response(status, None).to_bytes());
            }
            _ => self.send(from, &request.response(StatusCode::OK, Some("x")).to_bytes()),
        }
    }

    fn invite(&mut self, request: &Request, from: SocketAddr, call_id: &str) {
        let cseq = request.headers.cseq().unwrap().number;
        let is_repeated = self.dialogs.lock().unwrap().values().any(|d| {
            d.invite.headers.call_id().unwrap() == call_id && d.invite.headers.cseq().unwrap().number == cseq
        });
        let number = request.uri.user_text().unwrap();
        if is_repeated || number == "silent" {
            return;
        }
        let soon = |step| Some((Instant::now() + Duration::from_millis(60), step));
        let media = std::str::from_utf8(&request.body).unwrap();
        let port = media.split("m=audio ").nth(1).and_then(|m| m.split(' ').next()).unwrap();
        let mut dialog = Dialog {
            number: number.clone(),
            invite: request.clone(),
            from,
            tag: self.tag(),
            is_final: false,
            is_answered: false,
            is_acked: false,
            media: Some((LOCAL, port.parse().unwrap()).into()),
            packets_left: 0,
            sequence: 0,
            next: None,
            bye: None,
            repeat: None,
        };
        match number.as_str() {
            "busy" => dialog.next = soon(Step::Refuse(486)),
            "full" => dialog.next = soon(Step::Refuse(503)),
            "nobody" => dialog.next = soon(Step::Refuse(404)),
            "declines" => dialog.next = soon(Step::Refuse(603)),
            "moved" => dialog.next = soon(Step::Refuse(302)),
            "codec" => dialog.next = soon(Step::Refuse(488)),
            "secret" => dialog.next = soon(Step::Refuse(401)),
            "early" => {
                self.respond(&dialog, 183, Some(self.sdp()));
                dialog.next = Some((Instant::now() + Duration::from_millis(300), Step::Refuse(480)));
            }
            "rings" | "crosses" | "nocancel" => self.respond(&dialog, 180, None),
            "forks" => {
                dialog.next = soon(Step::Answer);
                let fork = Dialog { tag: self.tag(), media: None, ..dialog.clone() };
                self.dialogs.lock().unwrap().insert(key(call_id, &fork.tag), fork);
            }
            _ => {
                self.respond(&dialog, 180, None);
                dialog.next = soon(Step::Answer);
            }
        }
        self.dialogs.lock().unwrap().insert(key(call_id, &dialog.tag), dialog);
    }

    fn ack(&self, key: &str) {
        let mut dialogs = self.dialogs.lock().unwrap();
        let Some(dialog) = dialogs.get_mut(key) else { return };
        dialog.is_acked = true;
        dialog.repeat = None;
        if !dialog.is_answered {
            dialogs.remove(key);
            return;
        }
        let after = match dialog.number.as_str() {
            "leaves" => Duration::from_millis(200),
            "later" => Duration::from_millis(1_000),
            "late" => Duration::from_secs(8),
            _ => return,
        };
        if dialog.next.is_none() && dialog.bye.is_none() {
            dialog.next = Some((Instant::now() + after, Step::Leave));
        }
    }

    fn cancel(&mut self, request: &Request, from: SocketAddr, call_id: &str) {
        let of_call = |d: &Dialog| d.invite.headers.call_id().unwrap() == call_id && !d.is_final;
        let found = {
            let dialogs = self.dialogs.lock().unwrap();
            dialogs.iter().find(|(_, d)| of_call(d)).map(|(key, d)| (key.clone(), d.number.clone()))
        };
        let Some((key, number)) = found else {
            return self.send(from, &request.response(StatusCode::OK, Some("c")).to_bytes());
        };
        if number == "nocancel" {
            self.dialogs.lock().unwrap().remove(&key);
            return;
        }
        self.send(from, &request.response(StatusCode::OK, Some("c")).to_bytes());
        self.take_step(&key, if number == "crosses" { Step::Answer } else { Step::Refuse(487) });
    }

    fn handle_response(&self, response: &Response) {
        // only BYEs are asked by the PBX
        let headers = &response.headers;
        let key = key(headers.call_id().unwrap(), headers.from().unwrap().tag().unwrap());
        if response.status.code() != 200 {
            self.faults.lock().unwrap().push(format!("a BYE of the PBX was answered {}", response.status));
        }
        self.dialogs.lock().unwrap().remove(&key);
    }

    fn handle_time(&mut self, now: Instant) {
        let (mut due, mut again) = (Vec::new(), Vec::new());
        for (key, dialog) in self.dialogs.lock().unwrap().iter_mut() {
            if let Some((_, step)) = dialog.next.take_if(|(at, _)| *at <= now) {
                due.push((key.clone(), step));
            }
            if dialog.repeat.is_some_and(|at| at <= now) {
                again.push(key.clone());
            }
            if dialog.is_answered && dialog.packets_left > 0 {
                dialog.packets_left -= 1;
                dialog.sequence = dialog.sequence.wrapping_add(1);
                let mut packet = vec![0x80, 0];
                packet.extend(dialog.sequence.to_be_bytes());
                packet.extend((u32::from(dialog.sequence) * 160).to_be_bytes());
                packet.extend([0, 0, 18, 103]);
                packet.extend([0xd5; 160]);
                let _ = self.rtp.try_send_to(&packet, dialog.media.unwrap());
            }
        }
        for (key, step) in due {
            self.take_step(&key, step);
        }
        for key in again {
            let mut dialogs = self.dialogs.lock().unwrap();
            let dialog = dialogs.get_mut(&key).unwrap();
            dialog.repeat = Some(now + REPEAT);
            let (bytes, to) = match &dialog.bye {
                Some(bye) => (bye.to_bytes(), dialog.from),
                None => (self.answer_of(dialog).to_bytes(), dialog.from),
            };
            drop(dialogs);
            self.send(to, &bytes);
        }
    }

    fn take_step(&self, key: &str, step: Step) {
        let mut dialogs = self.dialogs.lock().unwrap();
        let Some(dialog) = dialogs.get_mut(key) else { return };
        let now = Instant::now();
        match step {
            Step::Answer => {
                dialog.is_final = true;
                dialog.is_answered = true;
                // three seconds of a second, or for as long as the call
                dialog.packets_left = match dialog.number.as_str() {
                    "mute" => 10,
                    _ if dialog.media.is_some() => u32::MAX,
                    _ => 0,
                };
                dialog.repeat = Some(now + REPEAT);
                let bytes = self.answer_of(dialog).to_bytes();
                self.send(dialog.from, &bytes);
                if dialog.number == "twice" {
                    self.send(dialog.from, &bytes);
                }
            }
            Step::Refuse(status) => {
                dialog.is_final = true;
                let mut response =
                    dialog.invite.response(StatusCode::new(status).unwrap(), Some(&dialog.tag));
                if status == 401 {
                    let challenge = format!("Digest realm=\"pbx\", nonce=\"{}\", algorithm=MD5", dialog.tag);
                    response.headers.push(HeaderName::WwwAuthenticate, challenge);
                }
                self.send(dialog.from, &response.to_bytes());
            }
            Step::Leave => {
                let invite = &dialog.invite.headers;
                let contact = NameAddr::parse(invite.get(&HeaderName::Contact).unwrap()).unwrap();
                let mut bye = Request::new(Method::BYE, contact.uri);
                let via =
                    format!("SIP/2.0/UDP {};branch=z9hG4bK{}bye", self.sip.local_addr().unwrap(), dialog.tag);
                bye.headers.push(HeaderName::Via, via);
                bye.headers.push(HeaderName::MaxForwards, "70");
                bye.headers.push(
                    HeaderName::From,
                    format!("{};tag={}", invite.get(&HeaderName::To).unwrap(), dialog.tag),
                );
                bye.headers.push(HeaderName::To, invite.get(&HeaderName::From).unwrap());
                bye.headers.push(HeaderName::CallId, invite.call_id().unwrap());
                bye.headers.push(HeaderName::CSeq, CSeq { number: 1, method: Method::BYE }.to_string());
                self.send(dialog.from, &bye.to_bytes());
                dialog.bye = Some(bye);
                dialog.repeat = Some(now + REPEAT);
            }
        }
    }

    fn respond(&self, dialog: &Dialog, status: u16, sdp: Option<String>) {
        let response = self.response(dialog, status, sdp);
        self.send(dialog.from, &response.to_bytes());
    }

    fn answer_of(&self, dialog: &Dialog) -> Response {
        let sdp = match dialog.number.as_str() {
            "empty" => None,
            "garbage" => Some("hello".to_owned()),
            "opus" => Some(self.sdp().replace("RTP/AVP 0", "RTP/AVP 96")),
            _ => Some(self.sdp()),
        };
        self.response(dialog, 200, sdp)
    }

    fn response(&self, dialog: &Dialog, status: u16, sdp: Option<String>) -> Response {
        let mut response = dialog.invite.response(StatusCode::new(status).unwrap(), Some(&dialog.tag));
        let contact: Uri = Uri::parse(&format!("sip:pbx@{}", self.sip.local_addr().unwrap())).unwrap();
        response.headers.push(HeaderName::Contact, NameAddr::new(contact).to_string());
        if let Some(sdp) = sdp {
            response.headers.push(HeaderName::ContentType, "application/sdp");
            response.body = sdp.into();
        }
        response
    }

    fn sdp(&self) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na=ptime:20\r\n"
        )
    }

    fn tag(&mut self) -> String {
        self.next_tag += 1;
        format!("t{}", self.next_tag)
    }
}
