//! The NAS against a server made of a few lines: what it sends, obeys, refuses and repeats.

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;

const SECRET: &[u8] = b"a secret of twenty-odd octets";
const PATIENCE: Duration = Duration::from_secs(10);

struct Lab {
    nas: SimulatedNas,
    seen: mpsc::UnboundedReceiver<Seen>,
    server: Arc<UdpSocket>,
    das: UdpSocket,
}

impl Lab {
    /// Patient enough for a slow machine: a repeat nobody reckons with would confuse the server of a few lines.
    async fn new() -> Self {
        Self::with_retry_after(PATIENCE).await
    }

    async fn with_retry_after(retry_after: Duration) -> Self {
        let server = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = server.local_addr().unwrap();
        let settings = Settings {
            auth: address,
            accounting: address,
            dynauth: std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
            secret: SECRET.to_vec(),
            identifier: "lab".to_owned(),
            retry_after,
            access_tries: 3,
        };
        let (nas, seen) = SimulatedNas::start(settings).unwrap();
        let das = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        das.connect(nas.dynauth()).await.unwrap();
        Self { nas, seen, server, das }
    }

    /// The next datagram the server gets, answered with this code and these attributes.
    async fn serve(server: &UdpSocket, code: Code, attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let (request, source) = Self::hear(server).await;
        let mut reply = PacketBuilder::reply(&Packet::parse(&request).unwrap(), code);
        for (kind, value) in attributes {
            reply.attribute(*kind, value).unwrap();
        }
        server.send_to(reply.sign_reply(SECRET).unwrap(), source).await.unwrap();
        request
    }

    async fn hear(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; MAX_PACKET];
        let (length, source) = timeout(PATIENCE, server.recv_from(&mut buffer)).await.unwrap().unwrap();
        (buffer[..length].to_vec(), source)
    }

    /// A session of alice with the filter `sandbox`, Class `cookie` and whatever else.
    async fn log_in(&self, more: &[(u8, &[u8])]) -> u32 {
        let accept = [&[(attribute::FILTER_ID, &b"sandbox"[..]), (attribute::CLASS, b"cookie")], more].concat();
        let credentials = Credentials::Pap("hunter2".to_owned());
        let (login, _) = tokio::join!(
            self.nas.login("alice", "192.0.2.1", &credentials),
            Self::serve(&self.server, Code::AccessAccept, &accept),
        );
        let Login::Accepted { port } = login.unwrap() else { panic!("accepted") };
        port
    }

    /// The proven answer to a CoA-Request or Disconnect-Request.
    async fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.das.send(request).await.unwrap();
        let mut buffer = [0; MAX_PACKET];
        let length = timeout(PATIENCE, self.das.recv(&mut buffer)).await.unwrap().unwrap();
        let reply = Packet::parse(&buffer[..length]).unwrap();
        let asked = Packet::parse(request).unwrap();
        assert_eq!(reply.identifier(), asked.identifier());
        assert!(reply.verify_reply(SECRET, asked.authenticator()).is_ok());
        buffer[..length].to_vec()
    }

    /// Sends a request that the NAS must drop, and waits until it has.
    async fn ask_in_vain(&mut self, request: &[u8]) {
        self.das.send(request).await.unwrap();
        let dropped = async { while !matches!(self.seen.recv().await.unwrap().what, What::Dropped { .. }) {} };
        timeout(PATIENCE, dropped).await.unwrap();
        assert!(self.das.try_recv(&mut [0; MAX_PACKET]).is_err());
    }
}

fn dynauth_request(code: Code, identifier: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut request = PacketBuilder::request(code, identifier, [0; 16]);
    let now = u32::try_from(clock::now().as_secs()).unwrap();
    request.integer(attribute::EVENT_TIMESTAMP, now).unwrap();
    for (kind, value) in attributes {
        request.attribute(*kind, value).unwrap();
    }
    request.sign_request(SECRET).unwrap().to_vec()
}

const ALICE: (u8, &[u8]) = (attribute::USER_NAME, b"alice");
const PERMIT: (u8, &[u8]) = (attribute::FILTER_ID, b"permit");

fn code_and_cause(reply: &[u8]) -> (Code, Option<u32>) {
    let packet = Packet::parse(reply).unwrap();
    (packet.code(), packet.integer(attribute::ERROR_CAUSE))
}

#[tokio::test]
async fn a_login_says_what_pppd_says_and_signs_it() {
    let lab = Lab::new().await;
    let credentials = Credentials::Chap("hunter2".to_owned());
    let (login, request) = tokio::join!(
        lab.nas.login("alice", "192.0.2.1", &credentials),
        Lab::serve(&lab.server, Code::AccessReject, &[(attribute::REPLY_MESSAGE, b"no")]),
    );
    assert_eq!(login.unwrap(), Login::Rejected { message: "no".to_owned() });
    let request = Packet::parse(&request).unwrap();
    assert!(request.verify_message_authenticator(SECRET).is_ok());
    assert_eq!(request.text(attribute::USER_NAME), Some("alice"));
    assert_eq!(request.text(attribute::CALLING_STATION_ID), Some("192.0.2.1"));
    assert_eq!(request.integer(attribute::NAS_PORT), Some(1));
    assert!(!request.has(attribute::ACCT_SESSION_ID));
    assert_eq!(lab.nas.session(1), None);
}

#[tokio::test]
async fn a_login_nobody_answers_fails_after_its_tries() {
    let mut lab = Lab::with_retry_after(Duration::from_millis(200)).await;
    let failed = lab.nas.login("alice", "192.0.2.1", &Credentials::Pap("x".to_owned())).await;
    assert!(matches!(failed, Err(NasError::NoAnswer)));
    let first = Lab::hear(&lab.server).await;
    for _ in 1..3 {
        assert_eq!(Lab::hear(&lab.server).await, first, "a repeat is the same packet from the same port");
    }
    for repeat in 0..3 {
        assert!(matches!(lab.seen.recv().await.unwrap().what, What::Sent { repeat: seen, .. } if seen == repeat));
    }
    assert_eq!(lab.seen.recv().await.unwrap().what, What::Unanswered);
}

#[tokio::test]
async fn accounting_is_repeated_until_it_is_answered_and_echoes_class() {
    let lab = Lab::with_retry_after(Duration::from_millis(200)).await;
    let port = lab.log_in(&[]).await;
    lab.nas.carry(port, 5, (7 << 32) + 9);
    let served = async {
        let mut heard = 0;
        while heard < 5 {
            // A slow machine may have made the NAS repeat its Access-Request.
            let (request, _) = Lab::hear(&lab.server).await;
            heard += u32::from(Packet::parse(&request).unwrap().code() == Code::AccountingRequest);
        }
        Lab::serve(&lab.server, Code::AccountingResponse, &[]).await
    };
    let (done, request) = tokio::join!(lab.nas.interim(port), served);
    done.unwrap();
    let request = Packet::parse(&request).unwrap();
    assert!(request.verify_request_authenticator(SECRET).is_ok());
    assert_eq!(request.first(attribute::CLASS), Some(&b"cookie"[..]));
    assert_eq!(request.text(attribute::FILTER_ID), Some("sandbox"));
    assert_eq!(request.integer(attribute::ACCT_OUTPUT_OCTETS), Some(9));
    assert_eq!(request.integer(attribute::ACCT_OUTPUT_GIGAWORDS), Some(7));
}

#[tokio::test]
async fn a_coa_changes_the_filter_once_however_often_it_comes() {
    let lab = Lab::new().await;
    let port = lab.log_in(&[]).await;
    let coa = dynauth_request(Code::CoaRequest, 1, &[ALICE, PERMIT]);
    let first = lab.ask(&coa).await;
    assert_eq!(code_and_cause(&first), (Code::CoaAck, None));
    assert_eq!(lab.nas.filter_of(port).as_deref(), Some("permit"));
    let back = dynauth_request(Code::CoaRequest, 2, &[ALICE, (attribute::FILTER_ID, b"sandbox")]);
    lab.ask(&back).await;
    assert_eq!(lab.ask(&coa).await, first, "a repeat gets the same answer");
    assert_eq!(lab.nas.filter_of(port).as_deref(), Some("sandbox"), "and nothing is done twice");
}

#[tokio::test]
async fn a_disconnect_ends_the_session_and_its_stop_says_admin_reset() {
    let lab = Lab::new().await;
    let port = lab.log_in(&[]).await;
    let answer = lab.ask(&dynauth_request(Code::DisconnectRequest, 1, &[ALICE])).await;
    assert_eq!(code_and_cause(&answer), (Code::DisconnectAck, None));
    let stop = Lab::serve(&lab.server, Code::AccountingResponse, &[]).await;
    let stop = Packet::parse(&stop).unwrap();
    assert_eq!(stop.integer(attribute::ACCT_STATUS_TYPE), Some(2));
    assert_eq!(stop.integer(attribute::ACCT_TERMINATE_CAUSE), Some(terminate_cause::ADMIN_RESET));
    timeout(PATIENCE, lab.nas.until(port, |session| session.stop_answered)).await.unwrap();
    let again = lab.ask(&dynauth_request(Code::DisconnectRequest, 2, &[ALICE])).await;
    assert_eq!(code_and_cause(&again), (Code::DisconnectNak, Some(503)));
}

#[tokio::test]
async fn a_forged_request_gets_no_answer_and_does_nothing() {
    let mut lab = Lab::new().await;
    let port = lab.log_in(&[]).await;
    let mut coa = dynauth_request(Code::CoaRequest, 1, &[ALICE, PERMIT]);
    coa[4] ^= 1;
    lab.ask_in_vain(&coa).await;
    assert_eq!(lab.nas.filter_of(port).as_deref(), Some("sandbox"));
}

#[tokio::test]
async fn faults_strike_and_can_be_mended() {
    let mut lab = Lab::new().await;
    let port = lab.log_in(&[]).await;
    let coa = |identifier| dynauth_request(Code::CoaRequest, identifier, &[ALICE, PERMIT]);

    lab.nas.set_fault(Code::CoaRequest, Some(Fault::Nak(506)));
    assert_eq!(code_and_cause(&lab.ask(&coa(1)).await), (Code::CoaNak, Some(506)));
    lab.nas.set_fault(Code::CoaRequest, Some(Fault::AckWithoutDoing));
    assert_eq!(code_and_cause(&lab.ask(&coa(2)).await), (Code::CoaAck, None));
    assert_eq!(lab.nas.filter_of(port).as_deref(), Some("sandbox"));
    lab.nas.set_fault(Code::CoaRequest, Some(Fault::Ignore(2)));
    lab.ask_in_vain(&coa(3)).await;
    lab.ask_in_vain(&coa(3)).await;
    assert_eq!(code_and_cause(&lab.ask(&coa(3)).await), (Code::CoaAck, None));
    assert_eq!(lab.nas.filter_of(port).as_deref(), Some("permit"));
    lab.nas.set_fault(Code::CoaRequest, Some(Fault::Nak(506)));
    lab.nas.set_fault(Code::CoaRequest, None);
    assert_eq!(code_and_cause(&lab.ask(&coa(4)).await), (Code::CoaAck, None));
}

#[tokio::test]
async fn session_timeout_ends_a_session_unless_a_coa_raises_it() {
    let lab = Lab::new().await;
    let raised = lab.log_in(&[(attribute::SESSION_TIMEOUT, &[0, 0, 0, 3])]).await;
    let coa = dynauth_request(Code::CoaRequest, 1, &[ALICE, (attribute::SESSION_TIMEOUT, &[0, 0, 1, 0])]);
    assert_eq!(code_and_cause(&lab.ask(&coa).await), (Code::CoaAck, None));
    let left = lab.log_in(&[(attribute::SESSION_TIMEOUT, &[0, 0, 0, 3])]).await;
    let stop = Lab::serve(&lab.server, Code::AccountingResponse, &[]).await;
    let stop = Packet::parse(&stop).unwrap();
    assert_eq!(stop.integer(attribute::NAS_PORT), Some(left));
    assert_eq!(stop.integer(attribute::ACCT_TERMINATE_CAUSE), Some(terminate_cause::SESSION_TIMEOUT));
    assert!(lab.nas.session(raised).unwrap().is_up());
}
