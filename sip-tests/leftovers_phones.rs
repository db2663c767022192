//! Telephones of the scripted PBX that call sipedge by its trunk: each has sockets of its own and one way to behave,
//! written down in order. Every wait has a deadline.

use crate::browser::Browser;
use crate::pbx::LOCAL;
use crate::{Api, PATIENCE};
use serde_json::{Value, json};
use sipedge::sip::{HeaderName, Limits, Message, Method, Request, Response, StatusCode, Uri, parse};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// What a telephone does. Who else ends the call is the party that it dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Is refused with this.
    Refused(u16),
    /// Gives up when it rings.
    Cancels,
    /// Is refused with this, and does not acknowledge it.
    Gone(u16),
    /// Talks, and hangs up.
    Leaves,
    /// Talks, and waits for the BYE.
    Waits,
    /// Offers nothing, and answers in its ACK; hangs up.
    LateOffer,
    /// Never acknowledges; waits for the BYE.
    NoAck,
    /// Holds, and hangs up.
    Holds,
    /// Presses keys and hangs up.
    Keys,
    /// Is gone in the midst of talk: neither RTP nor an answer comes any more.
    Vanishes,
}

/// Number and what becomes of the call.
pub(crate) const WAYS: [(&str, Way); 16] = [
    ("local-echo", Way::Leaves),
    ("local-tone", Way::Leaves),
    ("listens-silent", Way::Cancels),
    ("listens-busy", Way::Refused(486)),
    ("listens-declines", Way::Refused(603)),
    ("listens-silent", Way::Refused(480)),
    ("listens-not", Way::Refused(480)),
    ("listens-silent", Way::Gone(480)),
    ("nowhere", Way::Refused(404)),
    ("local-echo", Way::LateOffer),
    ("local-echo", Way::NoAck),
    ("listens-leaves", Way::Waits),
    ("listens-talks", Way::Leaves),
    ("local-echo", Way::Holds),
    ("local-echo", Way::Vanishes),
    ("local-dtmf", Way::Keys),
];

/// Packets heard that make a talk.
const TALK: usize = 5;
/// The payload type of keys (RFC 4733).
const KEYS: u8 = 101;

struct Phone {
    sip: UdpSocket,
    rtp: UdpSocket,
    number: String,
    tag: String,
    to: SocketAddr,
    /// To, with its tag once there is one.
    callee: String,
    target: String,
    cseq: u32,
    branches: u32,
    media: Option<SocketAddr>,
    sequence: u16,
    is_over: bool,
}

/// One call, from its begin to its end.
pub(crate) async fn call(to: SocketAddr, number: &str, way: Way) {
    let mut phone = Phone::new(to, number).await;
    phone.act(way).await;
}

impl Phone {
    async fn new(to: SocketAddr, number: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let target = format!("sip:{number}@{to}");
        Self {
            sip: UdpSocket::bind((LOCAL, 0)).await.unwrap(),
            rtp: UdpSocket::bind((LOCAL, 0)).await.unwrap(),
            number: number.to_owned(),
            tag: format!("phone{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            to,
            callee: format!("<{target}>"),
            target,
            cseq: 0,
            branches: 0,
            media: None,
            sequence: 0,
            is_over: false,
        }
    }

    async fn act(&mut self, way: Way) {
        let offer = (way != Way::LateOffer).then(|| self.sdp("sendrecv"));
        let invite = self.request(&Method::INVITE, offer);
        if way == Way::Cancels {
            self.answer(&invite, |status| status == 180).await;
            let mut cancel = Request::new(Method::CANCEL, invite.uri.clone());
            for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId] {
                cancel.headers.push(name.clone(), invite.headers.get(&name).unwrap());
            }
            cancel.headers.push(HeaderName::MaxForwards, "70");
            cancel.headers.push(HeaderName::CSeq, format!("{} CANCEL", self.cseq));
            self.send(&cancel).await;
            let refusal = self.answer(&cancel, |status| status == 487).await;
            return self.ack(&invite, &refusal, None).await;
        }
        let answer = self.answer(&invite, |status| status >= 200).await;
        let status = answer.status.code();
        match way {
            Way::Refused(expected) => {
                let said = String::from_utf8_lossy(&answer.to_bytes()).into_owned();
                assert_eq!(status, expected, "{}, {way:?}: {said}", self.number);
                return self.ack(&invite, &answer, None).await;
            }
            Way::Gone(expected) => return assert_eq!(status, expected, "{}, {way:?}", self.number),
            _ => assert_eq!(status, 200, "{}, {way:?}", self.number),
        }
        let sdp = String::from_utf8(answer.body.to_vec()).unwrap();
        let port = sdp.split("m=audio ").nth(1).and_then(|m| m.split(' ').next()).unwrap();
        self.media = Some((LOCAL, port.parse().unwrap()).into());
        if way == Way::NoAck {
            return self.until_over().await;
        }
        let late = (way == Way::LateOffer).then(|| self.sdp("sendrecv"));
        self.ack(&invite, &answer, late).await;
        match way {
            Way::Waits => return self.until_over().await,
            Way::Vanishes => return self.talk(false).await,
            Way::Holds => {
                self.talk(false).await;
                let offer = self.sdp("sendonly");
                let hold = self.request(&Method::INVITE, Some(offer));
                let answer = self.answer(&hold, |status| status >= 200).await;
                assert_eq!(answer.status, StatusCode::OK);
                assert!(String::from_utf8_lossy(&answer.body).contains("a=recvonly"));
                self.ack(&hold, &answer, None).await;
            }
            Way::Keys => {
                self.talk(true).await;
                for key in [1_u8, 2] {
                    for n in 1..=5_u16 {
                        // the last ones say that it was let go (RFC 4733 §2.3)
                        let end = if n > 3 { 0x80 } else { 0 };
                        let [high, low] = (n * 160).to_be_bytes();
                        self.rtp(KEYS, n == 1, u32::from(key) * 8_000, &[key, end | 10, high, low]).await;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            _ => self.talk(false).await,
        }
        let bye = self.request(&Method::BYE, None);
        assert_eq!(self.answer(&bye, |status| status >= 200).await.status, StatusCode::OK, "BYE");
    }

    /// A new request, sent; the first is of no dialog.
    fn request(&mut self, method: &Method, sdp: Option<String>) -> Request {
        self.cseq += 1;
        self.build(method, self.cseq, sdp)
    }

    fn build(&mut self, method: &Method, cseq: u32, sdp: Option<String>) -> Request {
        self.branches += 1;
        let here = self.sip.local_addr().unwrap();
        let mut r = Request::new(method.clone(), Uri::parse(&self.target).unwrap());
        r.headers.push(
            HeaderName::Via,
            format!("SIP/2.0/UDP {here};branch=z9hG4bK{}x{}", self.tag, self.branches),
        );
        r.headers.push(HeaderName::MaxForwards, "70");
        r.headers.push(HeaderName::From, format!("<sip:phone@{here}>;tag={}", self.tag));
        r.headers.push(HeaderName::To, self.callee.clone());
        r.headers.push(HeaderName::CallId, self.call_id());
        r.headers.push(HeaderName::CSeq, format!("{cseq} {method}"));
        r.headers.push(HeaderName::Contact, format!("<sip:phone@{here}>"));
        if let Some(sdp) = sdp {
            r.headers.push(HeaderName::ContentType, "application/sdp");
            r.body = sdp.into();
        }
        r
    }

    fn call_id(&self) -> String {
        format!("{}@phones", self.tag)
    }

    async fn ack(&mut self, invite: &Request, answer: &Response, sdp: Option<String>) {
        let cseq = invite.headers.cseq().unwrap().number;
        if answer.status.code() >= 300 {
            // of the same transaction (RFC 3261 §17.1.1.3)
            let mut ack = Request::new(Method::ACK, invite.uri.clone());
            for (name, from) in [
                (HeaderName::Via, &invite.headers),
                (HeaderName::From, &invite.headers),
                (HeaderName::To, &answer.headers),
                (HeaderName::CallId, &invite.headers),
            ] {
                ack.headers.push(name.clone(), from.get(&name).unwrap());
            }
            ack.headers.push(HeaderName::MaxForwards, "70");
            ack.headers.push(HeaderName::CSeq, format!("{cseq} ACK"));
            return self.send(&ack).await;
        }
        self.callee = answer.headers.get(&HeaderName::To).unwrap().to_owned();
        self.target = answer.headers.contacts().unwrap().remove(0).uri.to_string();
        let ack = self.build(&Method::ACK, cseq, sdp);
        self.send(&ack).await;
    }

    async fn send(&self, request: &Request) {
        self.sip.send_to(&request.to_bytes(), self.to).await.unwrap();
    }

    /// Sends a request, again until it is heard of, and waits for the response that is wanted.
    async fn answer(&mut self, request: &Request, is_wanted: impl Fn(u16) -> bool) -> Response {
        let cseq = request.headers.cseq().unwrap().number;
        let until = Instant::now() + PATIENCE;
        let mut is_heard = false;
        loop {
            if !is_heard && request.method != Method::CANCEL {
                self.send(request).await;
            }
            // four times T1 and more: what is repeated is what was lost
            let next = timeout(Duration::from_millis(500), self.next()).await;
            if let Ok(Some(response)) = next {
                let is_of_it = response.headers.cseq().unwrap().number == cseq;
                is_heard |= is_of_it;
                if is_of_it && is_wanted(response.status.code()) {
                    return response;
                }
                assert!(
                    response.status.code() < 300,
                    "{}: {} to {}",
                    self.number,
                    response.status,
                    request.method
                );
            }
            assert!(Instant::now() < until, "{}: no answer to {}", self.number, request.method);
        }
    }

    /// The next response; a request of sipedge is answered meanwhile.
    async fn next(&mut self) -> Option<Response> {
        let mut buffer = vec![0; 8_192];
        let (n, from) = self.sip.recv_from(&mut buffer).await.unwrap();
        // this port may have been another telephone's, or is the RTCP port beside one's RTP
        if from != self.to {
            return None;
        }
        match parse(&buffer[..n], &Limits::UDP).unwrap() {
            Message::Response(response) => {
                let is_ours = response.headers.get(&HeaderName::CallId) == Some(self.call_id().as_str());
                is_ours.then_some(response)
            }
            Message::Request(request)
                if request.headers.get(&HeaderName::CallId) != Some(self.call_id().as_str()) =>
            {
                None
            }
            Message::Request(request) => {
                self.is_over |= request.method == Method::BYE;
                self.sip.send_to(&request.response(StatusCode::OK, None).to_bytes(), from).await.unwrap();
                None
            }
        }
    }

    async fn until_over(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.is_over {
            let _ = timeout(Duration::from_millis(500), self.next()).await;
            assert!(Instant::now() < until, "{}: no BYE", self.number);
        }
    }

    async fn rtp(&mut self, payload_type: u8, is_marked: bool, time: u32, payload: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, payload_type | if is_marked { 0x80 } else { 0 }];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(time.to_be_bytes());
        packet.extend([0, 0, 19, 103]);
        packet.extend(payload);
        // a refused port is the ICMP answer to a packet that came too late
        let _ = self.rtp.send_to(&packet, self.media.unwrap()).await;
    }

    /// Sends until it has heard something; silence counts where nothing else comes, for whoever answers may be a moment
    /// behind.
    async fn talk(&mut self, with_silence: bool) {
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 2_000];
        let mut heard = 0;
        while heard < TALK {
            let time = u32::from(self.sequence) * 160;
            self.rtp(0, false, time, &[0x55; 160]).await;
            let next = timeout(Duration::from_millis(20), self.rtp.recv_from(&mut buffer)).await;
            if let Ok(Ok((n, _))) = next {
                heard += usize::from(with_silence || buffer[..n].iter().skip(12).any(|b| *b != 0xff));
            }
            assert!(Instant::now() < until, "{}: silence", self.number);
        }
    }

    fn sdp(&self, direction: &str) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 {} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 {KEYS}\r\na=rtpmap:{KEYS} telephone-event/8000\r\na=ptime:20\r\n\
             a={direction}\r\n",
            self.cseq + 1
        )
    }
}

/// What an account does with the calls it hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    Silent,
    Busy,
    Declines,
    /// Answers and hangs up.
    Leaves,
    /// Answers, and a browser attaches and talks.
    Talks,
}

/// Listens to an account's events and deals with its calls, for as long as the test; calls that went another way
/// than they must are counted.
pub(crate) async fn listen(api: Api, manner: Manner, faults: Arc<AtomicUsize>) {
    let mut stream = TcpStream::connect(api.at).await.unwrap();
    // of HTTP 1.0, so that lines come as they are
    let request = format!("GET /call/events HTTP/1.0\r\nHost: sipedge\r\ntoken: {}\r\n\r\n", api.token);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next_line().await.unwrap().unwrap();
    assert!(status.contains(" 200 "), "{status}");
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let Some(event) = line.strip_prefix("data:") else { continue };
            let event: Value = serde_json::from_str(event).unwrap();
            if event["event"] == "call.incoming" {
                let id = event["call"]["callID"].as_str().unwrap().to_owned();
                let (api, faults) = (api.clone(), faults.clone());
                tokio::spawn(async move {
                    let dealt = tokio::spawn(deal(api, id, manner)).await;
                    faults.fetch_add(usize::from(dealt.is_err()), Ordering::Relaxed);
                });
            }
        }
    });
}

async fn deal(api: Api, id: String, manner: Manner) {
    let call = json!({"callID": id});
    let ask = async |path: &str, body: Value| {
        let (status, answer) = api.ask("POST", path, body).await;
        assert_eq!(status, 200, "{path}, {manner:?}: {answer}");
    };
    match manner {
        Manner::Silent => {}
        Manner::Busy => ask("/call/reject", json!({"callID": id, "reason": "busy"})).await,
        Manner::Declines => ask("/call/reject", call).await,
        Manner::Leaves => {
            ask("/call/answer", call.clone()).await;
            ask("/call/hangup", call).await;
        }
        Manner::Talks => {
            ask("/call/answer", call).await;
            let mut browser = Browser::new().await;
            api.attach(&id, &mut browser).await;
            // the telephone leaves once it has heard something
            let until = Instant::now() + PATIENCE;
            while api.status(&id).await.is_some_and(|call| call["state"] != "ended") {
                assert!(Instant::now() < until, "{id}: no end");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}
