//! Lanes from socket to socket: what a login takes of the heap there, and who gets no answer when there is too much to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeWriter;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;

use tokio::sync::Semaphore;

use super::super::Behind;
use super::*;
use crate::app::access::scene::{PASSWORD, SECRET, Scene, clear, slow};
use crate::app::ledger::{Asker, Job, Jobs};
use crate::model::{SecondFactor, User};
use crate::radius::{Packet, attribute, hiding};

const PATIENCE: Duration = Duration::from_secs(30);
/// The Identifier of Status-Server.
const STATUS: u8 = 255;

/// A NAS's port.
struct NasPort(UdpSocket);

impl NasPort {
    fn open(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn send(&self, request: &[u8]) {
        self.0.send(request).unwrap();
    }

    /// What the next reply is, and to which Identifier.
    fn next(&self) -> (Code, u8) {
        let mut octets = [0; 4096];
        let length = self.0.recv(&mut octets).unwrap();
        let packet = Packet::parse(&octets[..length]).unwrap();
        (packet.code(), packet.identifier())
    }

    /// What is answered until all that was sent so far has been read.
    fn until_read(&self) -> Vec<(Code, u8)> {
        let mut status = PacketBuilder::request(Code::StatusServer, STATUS, crate::app::chance::octets());
        self.send(status.sign_request(SECRET).unwrap());
        std::iter::from_fn(|| Some(self.next()).filter(|(_, identifier)| *identifier != STATUS)).collect()
    }
}

fn identifier(request: &[u8]) -> u8 {
    request[1]
}

/// Ports that are served.
struct Server {
    access: SocketAddr,
    accounting: SocketAddr,
    places: [Arc<Semaphore>; 2],
    _stop: [PipeWriter; 2],
}

impl Server {
    /// With so many places for logins, and for accounting.
    fn start(scene: &Scene, places: [usize; 2]) -> Self {
        let places = places.map(|number| Arc::new(Semaphore::new(number)));
        let serve = |port: Port, quick: Option<Quick>| {
            let (socket, stop) = (net::bind("127.0.0.1:0".parse().unwrap()).unwrap(), io::pipe().unwrap());
            let address = socket.local_addr().unwrap();
            drop(lane(scene, port, quick, &places).serve(format!("{port:?}"), socket, stop.0).unwrap());
            (address, stop.1)
        };
        let quick = Quick::new(Arc::clone(&scene.access), Arc::clone(&scene.recorder.cores()[0]), 1);
        let (access, accounting) = (serve(Port::Access, Some(quick)), serve(Port::Accounting, None));
        Self { access: access.0, accounting: accounting.0, places, _stop: [access.1, accounting.1] }
    }

    /// Places nobody has.
    fn free(&self) -> [usize; 2] {
        [0, 1].map(|number: usize| self.places[number].available_permits())
    }
}

fn lane(scene: &Scene, port: Port, quick: Option<Quick>, places: &[Arc<Semaphore>; 2]) -> Lane {
    let behind = Behind::new(scene.settings(), Arc::clone(&scene.access), scene.ledger.clone(), places.clone());
    Lane::new(Arc::new(Door::new(port, 1, behind)), quick)
}

/// A login that takes a check of its own: nobody else is called that, or calls from there.
async fn slow_login(scene: &mut Scene, number: u8) -> Vec<u8> {
    let name = format!("slow{number}");
    scene.add(&name, slow(), |_| ()).await;
    scene.pap_from(&name, PASSWORD, &format!("198.51.100.{number}"))
}

fn start(identifier: u8) -> Vec<u8> {
    let mut request = PacketBuilder::request(Code::AccountingRequest, identifier, [0; 16]);
    request.integer(attribute::ACCT_STATUS_TYPE, 1).unwrap().text(attribute::USER_NAME, "alice").unwrap();
    request.text(attribute::ACCT_SESSION_ID, &format!("s{identifier}")).unwrap();
    request.integer(attribute::NAS_PORT, identifier.into()).unwrap();
    request.sign_request(SECRET).unwrap().to_vec()
}

/// The next record, and what says that it is kept.
async fn record(jobs: &mut Jobs) -> Box<dyn Asker> {
    loop {
        if let Job::Accounting { asker, .. } = jobs.wait().await {
            return asker;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_logins_go_first_and_accounting_has_a_bound_of_its_own() {
    let mut scene = Scene::with_alice("").await;
    scene.meet("alice").await;
    let held = scene.hold_checks().await;
    let server = Server::start(&scene, [4, 2]);
    let (nas, books) = (NasPort::open(server.access), NasPort::open(server.accounting));

    let mut waiting = Vec::new();
    for number in 0..4 {
        waiting.push(slow_login(&mut scene, number).await);
        // A repeat of what is in work takes no place.
        (0..3).for_each(|_| nas.send(&waiting[usize::from(number)]));
        assert_eq!(nas.until_read(), []);
        assert_eq!(server.free(), [3 - usize::from(number), 2]);
    }
    let mut dropped = Vec::new();
    for number in 4..14 {
        dropped.push(slow_login(&mut scene, number).await);
        (0..2).for_each(|_| nas.send(&dropped[usize::from(number) - 4]));
    }
    assert_eq!((nas.until_read(), server.free()), (vec![], [0, 2]));
    // It waits for nobody.
    let remembered = scene.pap("alice", PASSWORD);
    nas.send(&remembered);
    assert_eq!(nas.next(), (Code::AccessAccept, identifier(&remembered)));

    books.send(&start(1));
    record(&mut scene.jobs).await.kept();
    assert_eq!(books.next(), (Code::AccountingResponse, 1));
    until(|| server.free()[1] == 2).await;
    let mut records = Vec::new();
    for number in [2, 3] {
        books.send(&start(number));
        records.push(record(&mut scene.jobs).await);
    }
    // Nothing is kept now. What finds no place is not acknowledged, and its repeat no sooner.
    for _ in 0..3 {
        books.send(&start(4));
        assert_eq!((books.until_read(), server.free()), (vec![], [0, 0]));
    }
    records.into_iter().for_each(|asker| asker.kept());
    let mut kept = [books.next(), books.next()];
    kept.sort_by_key(|(_, identifier)| *identifier);
    assert_eq!(kept, [2, 3].map(|number| (Code::AccountingResponse, number)));
    until(|| server.free()[1] == 2).await;
    books.send(&start(4));
    record(&mut scene.jobs).await.kept();
    assert_eq!(books.next(), (Code::AccountingResponse, 4), "it is a record as any other");
    // What is given up is taken in anew when it comes again, and what was answered is answered again, by the door.
    books.send(&start(5));
    drop(record(&mut scene.jobs).await);
    books.send(&start(5));
    record(&mut scene.jobs).await.kept();
    assert_eq!(books.next(), (Code::AccountingResponse, 5));
    books.send(&start(5));
    assert_eq!(books.next(), (Code::AccountingResponse, 5));

    // Logins are still dropped, and then all is served.
    assert_eq!((nas.until_read(), server.free()[0]), (vec![], 0));
    drop(held);
    let answered: BTreeSet<u8> = waiting
        .iter()
        .map(|_| {
            let (code, identifier) = nas.next();
            assert_eq!(code, Code::AccessAccept);
            identifier
        })
        .collect();
    assert_eq!(answered, waiting.iter().map(|request| identifier(request)).collect());
    until(|| server.free()[0] == 4).await;
    for request in dropped {
        nas.send(&request);
        assert_eq!(nas.next(), (Code::AccessAccept, identifier(&request)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_many_passwords_to_check_new_logins_are_dropped_and_remembered_ones_go_on() {
    const MORE: usize = 10;
    let mut scene = Scene::new("").await;
    scene.add("known", slow(), |_| ()).await;
    scene.meet("known").await;
    let held = scene.hold_checks().await;
    let server = Server::start(&scene, [1000, 10]);
    let nas = NasPort::open(server.access);
    let mut requests = Vec::new();
    for number in 0..Scene::most_waiting() + MORE {
        requests.push(slow_login(&mut scene, number as u8).await);
    }
    requests.iter().for_each(|request| nas.send(request));
    assert_eq!(nas.until_read(), []);
    until(|| server.free()[0] == 1000 - Scene::most_waiting()).await;

    let late = slow_login(&mut scene, 200).await;
    assert_eq!(scene.slowly(&late).await, None, "no answer, and no refusal");
    let remembered = scene.pap("known", PASSWORD);
    assert!(scene.slowly(&remembered).await.is_some(), "the long way knows it too");
    nas.send(&remembered);
    assert_eq!(nas.next(), (Code::AccessAccept, identifier(&remembered)));
    assert_eq!(nas.until_read(), []);

    drop(held);
    let mut answered = BTreeSet::new();
    while answered.len() < Scene::most_waiting() {
        let (code, identifier) = nas.next();
        assert_eq!(code, Code::AccessAccept);
        answered.insert(identifier);
    }
    until(|| server.free()[0] == 1000).await;
    let dropped: Vec<_> = requests.iter().filter(|request| !answered.contains(&identifier(request))).collect();
    assert_eq!(dropped.len(), MORE);
    for request in dropped {
        nas.send(request);
        assert_eq!(nas.next(), (Code::AccessAccept, identifier(request)));
    }
}

/// Many logins of two NASes wait when the lane begins, so that they are signed together: each gets a reply of its own, by its own secret. A
/// repeat of one that waits to be signed gets none more, and an Identifier that comes again with another authenticator is another request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_at_once_is_answered_one_by_one() {
    const OTHER: &[u8] = b"a secret that is longer than a block of MD5, which is to say 64 octets or more";
    const LOGINS: u8 = 11;
    let other = format!("[nas.other]\naddress = \"127.0.0.2\"\nsecret = \"{}\"\n", String::from_utf8_lossy(OTHER));
    let mut scene = Scene::with_alice(&other).await;
    scene.meet("alice").await;
    let (socket, (stop, _keep)) = (net::bind("127.0.0.1:0".parse().unwrap()).unwrap(), io::pipe().unwrap());
    let [edge, elsewhere] = ports(&socket, ["127.0.0.1", "127.0.0.2"]);
    let nases = [(edge, SECRET), (elsewhere, OTHER)];
    let login = |secret: &[u8], identifier: u8, authenticator: [u8; 16]| {
        let mut request = PacketBuilder::request(Code::AccessRequest, identifier, authenticator);
        let hidden = hiding::hide_user_password(PASSWORD, secret, &authenticator).unwrap();
        request.text(attribute::USER_NAME, "alice").unwrap().attribute(attribute::USER_PASSWORD, &hidden).unwrap();
        request.sign_request(secret).unwrap().to_vec()
    };
    let mut asked = Vec::new();
    for number in 0..LOGINS {
        for (place, (nas, secret)) in nases.iter().enumerate() {
            let authenticators = [[number; 16], [number + 100; 16]];
            for authenticator in &authenticators[..1 + usize::from(number == 5)] {
                let request = login(secret, number, *authenticator);
                nas.send(&request);
                // Neither is the eighth, with which they are signed.
                if number == 2 {
                    nas.send(&request);
                }
                asked.push((place, number, *authenticator));
            }
        }
    }
    let quick = Quick::new(Arc::clone(&scene.access), Arc::clone(&scene.recorder.cores()[0]), 1);
    let places = [0, 1].map(|_| Arc::new(Semaphore::new(0)));
    drop(lane(&scene, Port::Access, Some(quick), &places).serve("lane".into(), socket, stop).unwrap());
    for (place, (nas, secret)) in nases.iter().enumerate() {
        let next = || {
            let mut octets = [0; 4096];
            let length = nas.0.recv(&mut octets).unwrap();
            octets[..length].to_vec()
        };
        for _ in 0..=LOGINS {
            let reply = next();
            let reply = Packet::parse(&reply).unwrap();
            assert_eq!(reply.code(), Code::AccessAccept);
            let answers = |(at, identifier, authenticator): &(usize, u8, [u8; 16])| {
                (*at, *identifier) == (place, reply.identifier())
                    && reply.verify_reply(secret, authenticator).is_ok_and(|it| it.message_authenticator())
            };
            asked.swap_remove(asked.iter().position(answers).expect("it is nobody's, or not the first"));
        }
        // Answered by now, a repeat gets the same reply again, and of the two that had one Identifier the later does.
        for (number, authenticator) in [(2, [2; 16]), (5, [105; 16])] {
            let request = login(secret, number, authenticator);
            let [first, again] = [(); 2].map(|()| {
                nas.send(&request);
                next()
            });
            assert!(first == again && Packet::parse(&first).unwrap().verify_reply(secret, &authenticator).is_ok());
        }
    }
    assert_eq!(asked, []);
    // One offer for each session that was given: repeats made none.
    scene.recorder.finish(PATIENCE).await;
    let offers = std::iter::from_fn(|| scene.jobs.next()).filter(|job| matches!(job, Job::Offer(_))).count();
    assert_eq!(offers, 1 + 2 * (usize::from(LOGINS) + 1));
}

/// Ports of a NAS's host, of a socket that nobody serves yet.
fn ports<const N: usize>(socket: &UdpPort, from: [&str; N]) -> [NasPort; N] {
    from.map(|from| {
        let port = UdpSocket::bind((from, 0)).unwrap();
        port.connect(socket.local_addr().unwrap()).unwrap();
        port.set_read_timeout(Some(PATIENCE)).unwrap();
        NasPort(port)
    })
}

/// Alice's login, her password hidden by one secret and the whole signed by another, or by none.
fn login(identifier: u8, hidden_by: &[u8], signed_by: Option<&[u8]>, more: &[(u8, &[u8])]) -> Vec<u8> {
    let mut request = PacketBuilder::request(Code::AccessRequest, identifier, [identifier; 16]);
    let hidden = hiding::hide_user_password(PASSWORD, hidden_by, &[identifier; 16]).unwrap();
    request.text(attribute::USER_NAME, "alice").unwrap().attribute(attribute::USER_PASSWORD, &hidden).unwrap();
    more.iter().for_each(|(kind, value)| request.attribute(*kind, value).map(drop).unwrap());
    request
        .with_message_authenticator(signed_by.is_some())
        .sign_request(signed_by.unwrap_or(hidden_by))
        .unwrap()
        .to_vec()
}

/// Right and wrong ones of three NASes, one of which changes its secret, wait when the lane begins, so that they are checked together: whom
/// each stands beside makes no difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_at_once_is_judged_one_by_one() {
    const OLD: &[u8] = b"the secret that is changed";
    const NEW: &[u8] = b"the secret that comes after it";
    const BRANCH: &[u8] = b"of one that goes by its name";
    const WRONG: &[u8] = b"nobody's";
    /// Of one that is checked alone.
    const LONG: &[(u8, &[u8])] = &[(attribute::PROXY_STATE, &[7; 250]), (attribute::PROXY_STATE, &[8; 250])];
    const NAME: &[(u8, &[u8])] = &[(attribute::NAS_IDENTIFIER, b"branch")];
    let text = String::from_utf8_lossy;
    let more = format!(
        "[server]\nreject_delay = \"0s\"\n[lockout]\nfree = 0\n\
         [nas.changing]\naddress = \"127.0.0.2\"\nsecret = \"{}\"\nprevious_secret = \"{}\"\n\
         [nas.branch]\naddress = \"127.0.0.1\"\nnas_identifier = \"branch\"\nsecret = \"{}\"\n",
        text(NEW),
        text(OLD),
        text(BRANCH)
    );
    let mut scene = Scene::with_alice(&more).await;
    scene.meet("alice").await;
    let (socket, (stop, _keep)) = (net::bind("127.0.0.1:0".parse().unwrap()).unwrap(), io::pipe().unwrap());
    let ports = ports(&socket, ["127.0.0.1", "127.0.0.2"]);
    // Which port it comes from, by what it is signed, what else it says, and by which secret it is answered. Whoever believed one that is not
    // could read its password.
    type Kind = (usize, Option<&'static [u8]>, &'static [(u8, &'static [u8])], Option<&'static [u8]>);
    let kinds: [Kind; 13] = [
        (0, Some(SECRET), &[], Some(SECRET)),
        (0, Some(WRONG), &[], None),
        (0, Some(BRANCH), NAME, Some(BRANCH)),
        (0, Some(SECRET), NAME, Some(SECRET)),
        (0, Some(BRANCH), &[], None),
        (0, None, &[], None),
        (0, Some(SECRET), LONG, Some(SECRET)),
        (0, Some(WRONG), LONG, None),
        (1, Some(OLD), &[], Some(OLD)),
        (1, Some(NEW), &[], Some(NEW)),
        (1, Some(SECRET), &[], None),
        (1, Some(WRONG), &[], None),
        (1, Some(OLD), LONG, Some(OLD)),
    ];
    let mut due = BTreeMap::new();
    for turn in 0..kinds.len() / 2 {
        for place in 0..kinds.len() {
            // In each turn others stand beside each other: their number is prime.
            let (port, signed_by, more, answered_by) = kinds[place * (turn + 1) % kinds.len()];
            let identifier = (turn * kinds.len() + place) as u8;
            let hidden_by = answered_by.unwrap_or([SECRET, NEW][port]);
            ports[port].send(&login(identifier, hidden_by, signed_by, more));
            if let Some(secret) = answered_by {
                due.insert((port, identifier), secret);
            }
        }
        ports[turn % 2].send([&b"no packet"[..], b""][turn / 2 % 2]);
    }
    let quick = Quick::new(Arc::clone(&scene.access), Arc::clone(&scene.recorder.cores()[0]), 1);
    // The long ones are answered by others.
    let places = [1000, 0].map(|number: usize| Arc::new(Semaphore::new(number)));
    drop(lane(&scene, Port::Access, Some(quick), &places).serve("lane".into(), socket, stop).unwrap());
    while let Some((at, _)) = due.keys().next().copied() {
        let mut octets = [0; 4096];
        let length = ports[at].0.recv(&mut octets).unwrap();
        let reply = Packet::parse(&octets[..length]).unwrap();
        let secret = due.remove(&(at, reply.identifier())).expect("nothing is due for it, or not twice");
        assert_eq!(reply.code(), Code::AccessAccept);
        assert!(reply.verify_reply(secret, &[reply.identifier(); 16]).unwrap().message_authenticator());
    }
    // What else came is read by the first time, and worked on by the second, and gets nothing.
    for number in 0..2 {
        for (port, secret) in ports.iter().zip([SECRET, NEW]) {
            let mut status = PacketBuilder::request(Code::StatusServer, STATUS, [number; 16]);
            port.send(status.sign_request(secret).unwrap());
            assert_eq!(port.next(), (Code::AccessAccept, STATUS));
        }
        until(|| places[0].available_permits() == 1000).await;
    }
}

/// The same port's bad ones and good ones wait together when the lane begins: each is charged in its turn, before the next one is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_at_once_is_charged_one_by_one() {
    /// Bad ones that are read of a port (`net::Bounds`).
    const BURST: u8 = 20;
    const GOOD: u8 = 100;
    let mut scene = Scene::with_alice("").await;
    scene.meet("alice").await;
    let (socket, (stop, _keep)) = (net::bind("127.0.0.1:0".parse().unwrap()).unwrap(), io::pipe().unwrap());
    let [flooding, forged, quiet] = ports(&socket, ["127.0.0.1"; 3]);
    let good = |identifier| login(identifier, SECRET, Some(SECRET), &[]);
    let bad = |identifier| login(identifier, SECRET, Some(b"nobody's"), &[]);
    // Twenty-four, of which the last eight are taken together: four of these are read, the fifth is one too many, and all behind it goes unread.
    (0..BURST + 3).for_each(|number| flooding.send(&bad(number)));
    flooding.send(&good(GOOD));
    // Twenty-four more, and one bad one that is still heard: what comes before it is proof that what comes behind it is heard.
    (0..BURST - 1).for_each(|number| forged.send(&bad(number)));
    (0..5).for_each(|number| quiet.send(&good(number)));
    forged.send(&good(GOOD));
    forged.send(b"no packet");
    forged.send(&good(GOOD + 1));
    let quick = Quick::new(Arc::clone(&scene.access), Arc::clone(&scene.recorder.cores()[0]), 1);
    let places = [0, 0].map(|number: usize| Arc::new(Semaphore::new(number)));
    drop(lane(&scene, Port::Access, Some(quick), &places).serve("lane".into(), socket, stop).unwrap());
    for identifier in 0..5 {
        assert_eq!(quiet.next(), (Code::AccessAccept, identifier));
    }
    assert_eq!([forged.next(), forged.next()], [GOOD, GOOD + 1].map(|number| (Code::AccessAccept, number)));
    flooding.0.set_nonblocking(true).unwrap();
    assert_eq!(
        flooding.0.recv(&mut [0; 4096]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "before those it was read"
    );
}

/// More of them than are asked for at once, and of each kind: whoever is answered together with others gets what they would get alone, and once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_are_not_remembered_each_get_their_own_answer() {
    const CROWD: u8 = 200;
    let mut scene = Scene::new("[server]\nreject_delay = \"0s\"\n").await;
    for number in 0..CROWD {
        let change = |user: &mut User| match number % 10 {
            1 => user.second_factor = SecondFactor::Required,
            2 => user.disabled = true,
            _ => (),
        };
        let credential = if number % 10 == 3 { slow() } else { clear() };
        if number % 10 != 4 {
            scene.add(&format!("user{number}"), credential, change).await;
        }
    }
    let server = Server::start(&scene, [1000, 2]);
    let nas = NasPort::open(server.access);
    let request = |scene: &mut Scene, number: u8| {
        let password = if number % 10 == 5 { b"a guess" } else { PASSWORD };
        scene.pap_from(&format!("user{number}"), password, &format!("198.51.100.{number}"))
    };
    let requests: Vec<_> = (0..CROWD).map(|number| request(&mut scene, number)).collect();
    let due = |number: u8| match number % 10 {
        2 | 4 | 5 => Code::AccessReject,
        _ => Code::AccessAccept,
    };
    // In slices, since the system keeps no more than so many for a socket.
    let mut replies = BTreeMap::new();
    for slice in requests.chunks(100) {
        slice.iter().for_each(|request| nas.send(request));
        for _ in slice {
            let mut octets = [0; 4096];
            let length = nas.0.recv(&mut octets).unwrap();
            assert_eq!(replies.insert(octets[1], octets[..length].to_vec()), None, "once");
        }
    }
    for (number, request) in (0..).zip(&requests) {
        let reply = Packet::parse(&replies[&identifier(request)]).unwrap();
        assert_eq!(reply.code(), due(number), "{number}");
        assert!(reply.verify_reply(SECRET, request[4..].first_chunk().unwrap()).unwrap().message_authenticator());
        // The repeat gets the same.
        nas.send(request);
        let mut octets = [0; 4096];
        let length = nas.0.recv(&mut octets).unwrap();
        assert_eq!(octets[..length], replies[&identifier(request)][..], "{number}");
    }
    until(|| server.free()[0] == 1000).await;
    assert!(nas.until_read().is_empty());
    // Each that was let in, held or not, has an offer; and whoever there is, is remembered.
    scene.recorder.finish(PATIENCE).await;
    let offers = std::iter::from_fn(|| scene.jobs.next()).filter(|job| matches!(job, Job::Offer(_))).count();
    assert_eq!(offers, usize::from(CROWD) * 7 / 10);
    for number in 0..CROWD {
        assert_eq!(scene.is_at_hand(&format!("user{number}")), number % 10 != 4, "{number}");
    }
}

/// There a Status-Server is worked on as a request is: it asks whether the server is up, which it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_logins_alone_are_dropped_for_want_of_their_places() {
    let mut scene = Scene::with_alice("").await;
    let places = [0, 1].map(|number| Arc::new(Semaphore::new(number)));
    let Lane { door, .. } = lane(&scene, Port::Tls, None, &places);
    let port = Arc::new(net::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let nas = NasPort::open(port.local_addr().unwrap());
    nas.send(b"from here");
    let (came, mut comes) = tokio::sync::mpsc::unbounded_channel();
    let receiving = tokio::spawn(net::receive(port, move |_, arrival| came.send(arrival.replier()).unwrap()));
    let replier = comes.recv().await.unwrap();
    receiving.abort();
    let login = scene.pap("alice", PASSWORD);
    let begin = |request: &[u8]| {
        let packet = Packet::parse(request).unwrap();
        let (source, authenticator) = (replier.peer(), *packet.authenticator());
        let key = RequestKey { source, connection: 1, identifier: packet.identifier(), authenticator };
        door.begin(&packet, &scene.nas, key, replier.clone(), (&door.settings.current(), clock::now()))
    };
    let mut status = PacketBuilder::request(Code::StatusServer, STATUS, [7; 16]);
    assert_eq!(begin(status.sign_request(SECRET).unwrap()), Ok(()));
    assert_eq!(nas.next(), (Code::AccessAccept, STATUS));
    until(|| places[1].available_permits() == 1).await;
    assert_eq!(begin(&start(1)), Ok(()));
    assert_eq!(begin(&start(2)), Err("accounting.overload"));
    assert_eq!(begin(&login), Err("packet.overload"));
}

async fn until(so: impl Fn() -> bool) {
    let waited = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap();
}

/// Logins of each kind in bursts, so that several come with a call and leave with one. As the lane's memory grows with what it remembers, up to
/// its bound, the NAS uses few ports: their Identifiers come again, and with them the places of those before.
#[test]
fn a_remembered_login_takes_nothing_of_the_heap_from_socket_to_socket() {
    const PORTS: usize = 3;
    const BURST: usize = 16;
    /// Of each kind: more than the Identifiers of all ports.
    const LOGINS: usize = 960;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut scene = runtime.block_on(async {
        let mut scene = Scene::with_alice("").await;
        scene.add("carol", slow(), |_| ()).await;
        scene.add("dave", clear(), |user| user.permit_filter = Some("gold".into())).await;
        for user in ["alice", "carol", "dave"] {
            scene.meet(user).await;
        }
        scene
    });
    // What is left behind is written down meanwhile, as in a server.
    let writing = runtime.spawn(Arc::clone(&scene.recorder).run());
    let quick = Quick::new(Arc::clone(&scene.access), Arc::clone(&scene.recorder.cores()[0]), 1);
    let mut lane = lane(&scene, Port::Access, Some(quick), &[(); 2].map(|()| Arc::new(Semaphore::new(0))));
    let port = Arc::new(net::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let address = port.local_addr().unwrap();

    let (rounds, serve) = mpsc::channel::<PipeReader>();
    let (taken, was_taken) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        // Counted is what this thread takes.
        for stop in serve {
            let info = allocation_counter::measure(|| lane.run(&port, &stop).unwrap());
            taken.send((info.count_total, info.bytes_total)).unwrap();
        }
    });
    let nases: Vec<NasPort> = (0..PORTS).map(|_| NasPort::open(address)).collect();
    let mut round = |logins: usize, login: &mut dyn FnMut(&mut Scene) -> Vec<u8>| {
        let (stop, keep) = io::pipe().unwrap();
        rounds.send(stop).unwrap();
        for (number, _) in (0..logins).step_by(BURST).enumerate() {
            let nas = &nases[number % PORTS];
            let mut asked: BTreeSet<u8> = (0..BURST)
                .map(|_| {
                    let request = login(&mut scene);
                    nas.send(&request);
                    identifier(&request)
                })
                .collect();
            while !asked.is_empty() {
                let (code, identifier) = nas.next();
                assert_eq!(code, Code::AccessAccept);
                assert!(asked.remove(&identifier));
            }
            while scene.jobs.next().is_some() {}
        }
        drop(keep);
        was_taken.recv_timeout(PATIENCE).unwrap()
    };

    type Login = fn(&mut Scene) -> Vec<u8>;
    let kinds: [(&str, Login); 6] = [
        ("PAP", |scene| scene.pap("alice", PASSWORD)),
        ("PAP, argon2id", |scene| scene.pap("carol", PASSWORD)),
        ("PAP, IPv6", |scene| scene.pap_from("dave", PASSWORD, "2001:db8::7")),
        ("CHAP", Scene::chap),
        ("MS-CHAPv2", |scene| scene.ms_chap(true)),
        ("each in turn", |scene| match scene.made() % 3 {
            0 => scene.pap("dave", PASSWORD),
            1 => scene.chap(),
            _ => scene.ms_chap(true),
        }),
    ];
    for (_, mut login) in kinds {
        round(LOGINS, &mut login);
    }
    // The lane's buffers, which are there before anything comes.
    let buffers = round(0, &mut |scene| scene.chap());
    assert!((1..=2).contains(&buffers.0), "{buffers:?}");
    for (kind, mut login) in kinds {
        assert_eq!(round(LOGINS, &mut login), buffers, "{kind}");
    }
    drop(rounds);
    serving.join().unwrap();
    writing.abort();
}
