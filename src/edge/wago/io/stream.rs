//! The body of an answer that goes on: server-sent events, a comment now and then, until the listener is dropped
//! or the program ends.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A comment that often tells a proxy, and a client whose network is gone, that the stream lives.
const PING: Duration = Duration::from_secs(20);

struct EventBody {
    /// Told first: a client that lost the stream comes back after so many milliseconds.
    greeting: Option<Bytes>,
    events: mpsc::Receiver<Bytes>,
    ping: Interval,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// An answer that carries events until `closing`.
pub(super) fn answer(events: mpsc::Receiver<Bytes>, closing: CancellationToken) -> Response<Body> {
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let greeting = Some(Bytes::from_static(b"retry: 2000\n\n"));
    let body = EventBody { greeting, events, ping, closing: Box::pin(closing.cancelled_owned()) };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no")); // nginx would keep events back
    response
}

impl HttpBody for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        if let Some(greeting) = self.greeting.take() {
            return frame(greeting);
        }
        if let Poll::Ready(event) = self.events.poll_recv(cx) {
            return event.map_or(Poll::Ready(None), frame);
        }
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if self.ping.poll_tick(cx).is_ready() {
            return frame(Bytes::from_static(b": ping\n\n"));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn next(body: &mut Body) -> Option<String> {
        let frame = body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_at_once_a_ping_every_twenty_seconds_and_the_end_with_the_program() {
        let (sender, receiver) = mpsc::channel(4);
        let closing = CancellationToken::new();
        let mut body = answer(receiver, closing.clone()).into_body();
        assert_eq!(next(&mut body).await.unwrap(), "retry: 2000\n\n");
        sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "data: 1\n\n");
        let quiet_since = Instant::now();
        assert_eq!(next(&mut body).await.unwrap(), ": ping\n\n");
        assert_eq!(quiet_since.elapsed().as_secs(), 20);
        closing.cancel();
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_was_dropped_gets_what_it_has_not_read_and_then_the_end() {
        let (sender, receiver) = mpsc::channel(4);
        let mut body = answer(receiver, CancellationToken::new()).into_body();
        sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
        drop(sender);
        next(&mut body).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "data: 1\n\n");
        assert_eq!(next(&mut body).await, None);
    }
}
