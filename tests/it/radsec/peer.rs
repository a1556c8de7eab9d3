//! A NAS that speaks RADIUS over TLS, made of rustls and our codec: it does what a test tells it, right or wrong.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use radhold::radius::{Code, Packet, PacketBuilder, attribute, hiding};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion, version,
};

use super::pki::{Identity, Pki};
use crate::radhold::PATIENCE;

pub(super) const SECRET: &[u8] = b"radsec";
pub(super) const PASSWORD: &str = "s3cret-pass";

/// One end of a connection.
pub(super) enum Wire {
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    /// Connects, and shows a certificate if there is one. That the server refuses shows at the first read.
    pub(super) fn connect(pki: &Pki, server: SocketAddr, identity: Option<&Identity>) -> Self {
        Self::connect_by(pki, server, identity, &[&version::TLS12, &version::TLS13], &[])
    }

    pub(super) fn connect_by(
        pki: &Pki,
        server: SocketAddr,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots(pki));
        let mut config = match identity {
            Some(identity) => {
                let (chain, key) = material(identity);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::IpAddress(server.ip().into());
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        Self::Client(Box::new(StreamOwned::new(connection, tcp(TcpStream::connect(server).unwrap()))))
    }

    /// Waits for a connection, as a NAS that listens for CoA does.
    pub(super) fn accept(pki: &Pki, listener: &TcpListener, identity: &Identity) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pki)), Arc::clone(&provider));
        let (chain, key) = material(identity);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        Self::Server(Box::new(StreamOwned::new(connection, tcp(listener.accept().unwrap().0))))
    }

    pub(super) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Client(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Self::Server(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
        }
    }

    pub(super) fn read(&mut self, octets: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Client(stream) => stream.read_exact(octets),
            Self::Server(stream) => stream.read_exact(octets),
        }
    }

    /// The next packet.
    pub(super) fn packet(&mut self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; 4];
        self.read(&mut packet)?;
        packet.resize(usize::from(u16::from_be_bytes([packet[2], packet[3]])), 0);
        self.read(&mut packet[4..])?;
        Ok(packet)
    }

    /// Sends a request, and gives its answer, which must be the next packet and genuine.
    pub(super) fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request).unwrap();
        let reply = self.packet().unwrap();
        assert_genuine(&reply, request);
        reply
    }

    /// Whether the other side has ended it: nothing more comes.
    pub(super) fn has_ended(&mut self) -> bool {
        match self.packet() {
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            Ok(packet) => panic!("a packet came: {packet:?}"),
        }
    }
}

pub(super) fn assert_genuine(reply: &[u8], request: &[u8]) {
    let (reply, request) = (Packet::parse(reply).unwrap(), Packet::parse(request).unwrap());
    assert_eq!(reply.identifier(), request.identifier());
    let _ = reply.verify_reply(SECRET, request.authenticator()).unwrap();
}

fn tcp(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn roots(pki: &Pki) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.ca()).unwrap()).unwrap();
    roots
}

fn material(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = PrivateKeyDer::try_from(identity.key_der.clone()).unwrap();
    (vec![CertificateDer::from(identity.der.clone())], key)
}

/// An Access-Request without Message-Authenticator, which over TLS is nothing special.
pub(super) fn login(identifier: u8, user: &str, password: &str) -> Vec<u8> {
    let authenticator = [identifier ^ 0x5a; 16];
    let mut request = PacketBuilder::request(Code::AccessRequest, identifier, authenticator);
    request.with_message_authenticator(false);
    let hidden = hiding::hide_user_password(password.as_bytes(), SECRET, &authenticator).unwrap();
    request.text(attribute::USER_NAME, user).unwrap();
    request.attribute(attribute::USER_PASSWORD, &hidden).unwrap();
    request.integer(attribute::NAS_PORT, 7).unwrap();
    request.text(attribute::CALLING_STATION_ID, "10.90.0.2").unwrap();
    request.attribute(attribute::PROXY_STATE, b"proxied").unwrap();
    request.sign_request(SECRET).unwrap().to_vec()
}

pub(super) fn status_server(identifier: u8) -> Vec<u8> {
    PacketBuilder::request(Code::StatusServer, identifier, [identifier; 16]).sign_request(SECRET).unwrap().to_vec()
}

/// An Accounting-Request of alice's.
pub(super) fn accounting(identifier: u8, status: u32, class: &[u8]) -> Vec<u8> {
    let mut request = PacketBuilder::request(Code::AccountingRequest, identifier, [0; 16]);
    request.integer(attribute::ACCT_STATUS_TYPE, status).unwrap();
    request.text(attribute::ACCT_SESSION_ID, "a1").unwrap();
    request.text(attribute::USER_NAME, "alice").unwrap();
    request.integer(attribute::NAS_PORT, 7).unwrap();
    request.attribute(attribute::CLASS, class).unwrap();
    request.sign_request(SECRET).unwrap().to_vec()
}

/// The answer to a CoA-Request or Disconnect-Request.
pub(super) fn ack(request: &[u8]) -> Vec<u8> {
    let request = Packet::parse(request).unwrap();
    let _ = request.verify_request_authenticator(SECRET).unwrap();
    let code = match request.code() {
        Code::CoaRequest => Code::CoaAck,
        Code::DisconnectRequest => Code::DisconnectAck,
        other => panic!("{other}"),
    };
    PacketBuilder::reply(&request, code).sign_reply(SECRET).unwrap().to_vec()
}
