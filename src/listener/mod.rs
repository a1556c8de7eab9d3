//! A listener for HTTP that strangers cannot hold open: so many connections at a time, in all and of one address, and each is cut when
//! it has brought nothing worth an answer for a while. Knows nothing of what is said on it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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
pub struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    patience: Duration,
    each: Option<Each>,
}

/// Whom a bound of connections holds for.
type Strangers = dyn Fn(IpAddr) -> bool + Send + Sync;

/// Connections by address.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// How many connections one address may have.
#[derive(Clone)]
struct Each {
    most: usize,
    strangers: Arc<Strangers>,
    now: Counts,
}

impl Bounded {
    /// Around a listener that is bound.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(MOST)), patience: PATIENCE, each: None }
    }

    /// The same where a connection may go without an answer of ours for so long.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same where one address (of IPv6 one /64) of these has so many connections at a time; further ones are closed at once.
    #[must_use]
    pub fn with_most_of_one(self, most: usize, strangers: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { each: Some(Each { most, strangers: Arc::new(strangers), now: Arc::default() }), ..self }
    }
}

/// What counts as one address: an IPv6 host chooses among those of its /64 as it likes.
pub fn one_host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Each {
    /// A place among those of that address; `None` when it has all it may.
    fn take(&self, address: IpAddr) -> Option<Taken> {
        let host = one_host(address);
        if !(self.strangers)(address.to_canonical()) {
            return Some(Taken { of: None });
        }
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let count = now.entry(host).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Taken { of: Some((host, Arc::clone(&self.now))) })
    }
}

impl fmt::Debug for Each {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Each").field("most", &self.most).finish_non_exhaustive()
    }
}

/// One of an address's connections, given back when it ends.
#[derive(Debug)]
struct Taken {
    of: Option<(IpAddr, Counts)>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some((host, now)) = &self.of else { return };
        let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = now.get_mut(host) {
            *count -= 1;
            if *count == 0 {
                now.remove(host);
            }
        }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            unreachable!("nobody closes it");
        };
        loop {
            let (stream, peer) = axum::serve::Listener::accept(&mut self.listener).await;
            let taken = match &self.each {
                Some(each) => each.take(peer.ip()),
                None => Some(Taken { of: None }),
            };
            // Whoever has too many is not heard: the connection is closed when it is dropped here.
            let Some(taken) = taken else { continue };
            let (patience, over) = (self.patience, Box::pin(sleep(self.patience)));
            return (Connection { stream, patience, over, _place: place, _taken: taken }, peer);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whoever is refused goes: else a stranger who asks for something now and then would keep a place.
pub async fn part_with_the_refused(mut response: Response) -> Response {
    if !response.status().is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A connection in its place.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    patience: Duration,
    over: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
    _taken: Taken,
}

impl Connection {
    /// The address it was made to, on this host.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }
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
    async fn one_address_has_so_many_connections_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let other: IpAddr = [127, 0, 0, 9].into();
        let bounded = Bounded::new(listener).with_most_of_one(2, move |address| address != other);
        let router = axum::Router::new().fallback(|| async { "here" });
        let serving = tokio::spawn(axum::serve(bounded, router).into_future());
        let from = async |source: [u8; 4]| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((source, 0).into()).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            let mut first = [0; 15];
            // Refused is reset or closed, whichever comes first.
            let said = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let heard = said.is_ok() && stream.read_exact(&mut first).await.is_ok() && first.ends_with(b"200 OK");
            heard.then_some(stream)
        };
        let [one, two] = [from([127, 0, 0, 1]).await.unwrap(), from([127, 0, 0, 1]).await.unwrap()];
        assert!(from([127, 0, 0, 1]).await.is_none(), "a third");
        assert!(from([127, 0, 0, 2]).await.is_some(), "somebody else");
        let mut many = Vec::new();
        for _ in 0..4 {
            many.push(from([127, 0, 0, 9]).await.expect("no stranger"));
        }
        drop((one, two));
        let again = async {
            while from([127, 0, 0, 1]).await.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), again).await.expect("what is closed is free again");
        serving.abort();
    }

    #[test]
    fn of_ipv6_a_host_is_a_64() {
        let host = |text: &str| one_host(text.parse().unwrap()).to_string();
        assert_eq!(host("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(host("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(host("192.0.2.1"), "192.0.2.1");
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
