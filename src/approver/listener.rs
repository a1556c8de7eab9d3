//! A listener for HTTP that strangers cannot hold open: so many connections at a time, and each is cut when it has brought nothing worth
//! an answer for a while. Knows nothing of what is said on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time; who comes beyond waits in the system's own queue.
const MOST: usize = 256;
/// How long a connection may go without an answer of ours.
const PATIENCE: Duration = Duration::from_secs(30);

/// The listener.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    patience: Duration,
}

impl Bounded {
    /// Around a listener that is bound.
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(MOST)), patience: PATIENCE }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            unreachable!("nobody closes it");
        };
        let (stream, peer) = axum::serve::Listener::accept(&mut self.listener).await;
        let (patience, over) = (self.patience, Box::pin(sleep(self.patience)));
        (Connection { stream, patience, over, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whoever is refused goes: else a stranger who asks for something now and then would keep a place.
pub(super) async fn part_with_the_refused(mut response: Response) -> Response {
    if !response.status().is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A connection in its place.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    patience: Duration,
    over: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        if let Poll::Ready(Ok(1..)) = &written {
            let until = Instant::now() + self.patience;
            self.over.as_mut().reset(until);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_says_nothing_whole_is_cut_and_the_next_is_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounded = Bounded {
            places: Arc::new(Semaphore::new(1)),
            patience: Duration::from_millis(300),
            ..Bounded::new(listener)
        };
        let router = axum::Router::new().fallback(|| async { "here" });
        let serving = tokio::spawn(axum::serve(bounded, router).into_future());

        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        next.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("here"), "{said}");
        let mut rest = Vec::new();
        // Closed or reset: nothing more comes.
        drop(slow.read_to_end(&mut rest).await);
        assert!(!rest.ends_with(b"here"));
        serving.abort();
    }

    #[tokio::test]
    async fn who_is_refused_goes_and_who_is_answered_may_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new()
            .route("/here", axum::routing::get(|| async { "here" }))
            .layer(axum::middleware::map_response(part_with_the_refused));
        let serving = tokio::spawn(axum::serve(Bounded::new(listener), router).into_future());
        let mut peer = TcpStream::connect(address).await.unwrap();
        for path in ["/here", "/here", "/elsewhere"] {
            peer.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        }
        // It ends by itself, long before anybody's patience.
        let mut said = String::new();
        peer.read_to_string(&mut said).await.unwrap();
        assert_eq!((said.matches("200 OK").count(), said.matches("404 Not Found").count()), (2, 1), "{said}");
        serving.abort();
    }
}
