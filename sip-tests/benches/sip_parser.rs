//! How many messages a second one core parses and prints.

use sipedge::sip::{Limits, Message, parse};
use std::hint::black_box;
use std::time::{Duration, Instant};

const INVITE: &str = "INVITE sip:100@192.0.2.4:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bK776asdhds;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Anna Example\" <sip:anna@192.0.2.1:5080>;tag=1928301774\r\n\
    To: <sip:100@192.0.2.4>\r\n\
    Call-ID: a84b4c76e66710@pc33.example.com\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:anna@192.0.2.1:5080>\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n\
    Supported: replaces, timer\r\n\
    User-Agent: sipedge\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 142\r\n\r\n\
    v=0\r\no=- 2890844526 2890844526 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 49172 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv";

/// Runs a thing for a second, three times, and prints the best.
fn measure(name: &str, mut thing: impl FnMut()) {
    let best = (0..3).map(|_| {
        let (start, mut n) = (Instant::now(), 0_u64);
        while start.elapsed() < Duration::from_secs(1) {
            (0..100).for_each(|_| thing());
            n += 100;
        }
        n as f64 / start.elapsed().as_secs_f64()
    });
    println!("{name:<32} {:>10.0} messages/s", best.fold(0.0, f64::max));
}

fn main() {
    let text = INVITE.replace("Content-Length: 142", &{
        let body = INVITE.split("\r\n\r\n").nth(1).map_or(0, str::len);
        format!("Content-Length: {body}")
    });
    println!("INVITE of {} bytes", text.len());
    let parsed = parse(text.as_bytes(), &Limits::UDP);
    let Ok(Message::Request(request)) = parsed else { return println!("the INVITE does not parse") };
    measure("parse", || {
        let _ = black_box(parse(black_box(text.as_bytes()), &Limits::UDP));
    });
    measure("parse and read what matters", || {
        if let Ok(Message::Request(r)) = parse(black_box(text.as_bytes()), &Limits::UDP) {
            let _ = black_box(r.essentials());
        }
    });
    measure("print", || {
        let _ = black_box(request.to_bytes());
    });
    measure("parse, read and print", || {
        if let Ok(Message::Request(r)) = parse(black_box(text.as_bytes()), &Limits::UDP) {
            let _ = black_box(r.essentials());
            let _ = black_box(r.to_bytes());
        }
    });
}
