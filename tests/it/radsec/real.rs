//! RADIUS over TLS with peers that are not ours: Debian's radsecproxy in front of the server, FreeRADIUS 3.2 as a proxy with
//! Proxy-State, and as a NAS that listens for CoA.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::pki::{Pki, text};
use super::radsec_of;
use crate::das::{self, Das};
use crate::port::own_address;
use crate::radhold::{PATIENCE, Radhold, radclient, received};

const PASSWORD: &str = "s3cret-pass";
const SECRET: &str = "between-nas-and-proxy-32-octets!";

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program, and waits until it says so.
fn start(mut command: Command, ready: &str) -> Running {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
        panic!("{}: {error}; ./tests/run installs it", command.get_program().to_string_lossy())
    });
    let (lines, said) = std::sync::mpsc::channel();
    let outputs: [Box<dyn std::io::Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for output in outputs {
        let lines = lines.clone();
        // Read on, or it would stop at a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
    }
    drop(lines);
    let running = Running(child);
    let mut all = Vec::new();
    while let Ok(line) = said.recv_timeout(PATIENCE) {
        let is_ready = line.contains(ready);
        all.push(line);
        if is_ready {
            std::thread::spawn(move || said.iter().for_each(drop));
            return running;
        }
    }
    panic!("never said {ready:?}:\n{}", all.join("\n"));
}

/// radsecproxy between UDP and the server's TLS port.
fn radsecproxy(pki: &Pki, server: SocketAddr, status: &str) -> (Running, SocketAddr) {
    let identity = pki.sign("proxy", &["proxy.example.org"]);
    let at = own_address();
    let [ca, certificate, key] = [&pki.ca(), &identity.certificate, &identity.key].map(|path| text(path));
    let configuration = format!(
        "ListenUDP {at}\nLogLevel 2\n\
         tls default {{\n CACertificateFile {ca}\n CertificateFile {certificate}\n CertificateKeyFile {key}\n}}\n\
         client nas {{\n host 127.0.0.1\n type udp\n secret {SECRET}\n}}\n\
         server radhold {{\n host {}\n port {}\n type tls\n secret radsec\n StatusServer {status}\n}}\n\
         realm * {{\n server radhold\n accountingServer radhold\n}}\n",
        server.ip(),
        server.port()
    );
    let file = pki.path("radsecproxy.conf");
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new("/usr/sbin/radsecproxy");
    command.arg("-f").arg("-c").arg(&file).args(["-d", "2"]);
    (start(command, "listening for udp"), at)
}

fn serve(pki: &Pki, more: &str) -> Radhold {
    let server = pki.sign("server", &["127.0.0.1", "localhost"]);
    let hold = "[server]\nreject_delay = \"0s\"\n[hold]\nretry_first = \"300ms\"\n";
    let radhold = Radhold::start(&format!("{hold}{}{more}", pki.section(&server, "")));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    radhold
}

/// Through a proxy: logs alice in by every method, starts her session, and gives its id.
fn held_through(proxy: SocketAddr, accounting: SocketAddr, radhold: &Radhold) -> String {
    for (method, credentials, code) in [
        ("PAP", format!("User-Password = {PASSWORD}"), 0),
        ("CHAP", format!("CHAP-Password = {PASSWORD}"), 0),
        ("a wrong password", "User-Password = wrong".to_owned(), 1),
    ] {
        let attributes = format!("User-Name = alice, {credentials}, NAS-Port = 7, Message-Authenticator = 0x00");
        let begun = Instant::now();
        // The proxy's connection may still be on its way.
        let ran = loop {
            let ran = radclient(proxy, "auth", SECRET, &attributes);
            if ran.stdout.contains("Received Access-") || begun.elapsed() > PATIENCE {
                break ran;
            }
        };
        assert_eq!(ran.code, code, "{method}: {ran:?} {:#?}", radhold.log());
        let filter = if code == 0 { Some("sandbox") } else { None };
        assert_eq!(received(&ran, "Filter-Id"), filter, "{method}");
    }
    let attributes = format!(
        "User-Name = alice, User-Password = {PASSWORD}, NAS-Port = 7, Calling-Station-Id = \"10.90.0.2\", \
         Message-Authenticator = 0x00, Proxy-State = 0x6e6173"
    );
    let ran = radclient(proxy, "auth", SECRET, &attributes);
    assert_eq!(received(&ran, "Proxy-State"), Some("0x6e6173"), "each gets its own back: {ran:?}");
    let class = received(&ran, "Class").unwrap();
    let attributes = format!(
        "User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a1, NAS-Port = 7, \
         Calling-Station-Id = \"10.90.0.2\", Framed-IP-Address = 10.93.0.50, Class = {class}"
    );
    let ran = radclient(accounting, "acct", SECRET, &attributes);
    assert_eq!(ran.code, 0, "{ran:?}");
    radhold.until_state("held")["id"].as_str().unwrap().to_owned()
}

/// radsecproxy 1.9 knows no CoA in either direction, so that goes past it, by UDP.
#[tokio::test(flavor = "multi_thread")]
async fn radsecproxy_in_front_carries_logins_accounting_and_status() {
    let das = Das::start(&["ack"]).await;
    let pki = Pki::new();
    let nas = format!(
        "[nas.proxy]\naddress = \"127.0.0.1\"\nsecret = \"{}\"\nradsec = [\"dns:proxy.example.org\"]\ndynauth = \"udp\"\n\
         coa_port = {}\n",
        das::SECRET,
        das.address.port()
    );
    tokio::task::block_in_place(|| {
        let radhold = serve(&pki, &nas);
        let (_proxy, address) = radsecproxy(&pki, radsec_of(&radhold), "on");
        let session = held_through(address, address, &radhold);
        let ran = radhold.cli(&["session", "approve", &session, "--as", "night-shift"], "");
        assert_eq!(ran.code, 0, "{ran:?}");
        let permitted = radhold.until_state("permitted");
        assert_eq!(permitted["nas"], "proxy");
        // Its watchdog: a Status-Server after each silence of 25 seconds, answered on the same connection.
        let begun = Instant::now();
        let before = radhold.counters()["sent.access-accept"];
        while radhold.counters()["sent.access-accept"] == before {
            assert!(
                begun.elapsed() < Duration::from_secs(90),
                "radsecproxy sent no Status-Server: {:?}",
                radhold.counters()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
        let counters = radhold.counters();
        assert_eq!((counters["radsec.connected"], counters.get("radsec.ended")), (1, None), "{counters:?}");
    });
}

/// FreeRADIUS with a configuration of its own.
fn freeradius(dir: &Path, configuration: &str) -> Running {
    fs::create_dir_all(dir.join("mods-enabled")).unwrap();
    fs::write(dir.join("radiusd.conf"), configuration).unwrap();
    let program = ["/usr/sbin/freeradius", "/usr/sbin/radiusd"].into_iter().find(|path| fs::exists(path).unwrap());
    let mut command = Command::new(program.expect("FreeRADIUS is needed: install Debian's package freeradius"));
    command.args(["-f", "-l", "stdout", "-n", "radiusd", "-d"]).arg(dir);
    start(command, "Ready to process requests")
}

#[test]
fn freeradius_proxies_over_tls_with_its_own_proxy_state() {
    let pki = Pki::new();
    let radhold = serve(&pki, "[nas.free]\nradsec = [\"dns:free.example.org\"]\nradsec_only = true\n");
    let identity = pki.sign("free", &["free.example.org"]);
    let server = radsec_of(&radhold);
    let (auth, acct) = (own_address(), own_address());
    let (host, auth_port, acct_port) = (auth.ip(), auth.port(), acct.port());
    let dir = pki.path("freeradius");
    fs::create_dir(&dir).unwrap();
    let [ca, certificate, key] = [&pki.ca(), &identity.certificate, &identity.key].map(|path| text(path));
    let home = dir.display();
    let configuration = format!(
        r#"
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {home}
logdir = {home}
run_dir = {home}
name = proxy
pidfile = {home}/proxy.pid
max_request_time = 30
proxy_requests = yes
security {{
    allow_core_dumps = no
    max_attributes = 200
    status_server = yes
}}
thread pool {{
    start_servers = 2
    max_servers = 4
    min_spare_servers = 1
    max_spare_servers = 2
}}
client nas {{
    ipaddr = 127.0.0.1
    secret = {SECRET}
}}
home_server radhold {{
    ipaddr = {}
    port = {}
    type = auth+acct
    secret = radsec
    proto = tcp
    status_check = status-server
    tls {{
        private_key_file = {key}
        certificate_file = {certificate}
        ca_file = {ca}
        fragment_size = 8192
        tls_min_version = "1.2"
        tls_max_version = "1.3"
    }}
}}
home_server_pool radhold {{
    type = fail-over
    home_server = radhold
}}
realm radhold {{
    auth_pool = radhold
    acct_pool = radhold
    nostrip
}}
listen {{
    type = auth
    virtual_server = default
    ipaddr = {host}
    port = {auth_port}
}}
listen {{
    type = acct
    virtual_server = default
    ipaddr = {host}
    port = {acct_port}
}}
modules {{
    always ok {{
        rcode = ok
    }}
}}
server default {{
    authorize {{
        update control {{
            Proxy-To-Realm := radhold
        }}
    }}
    preacct {{
        update control {{
            Proxy-To-Realm := radhold
        }}
    }}
    accounting {{
        ok
    }}
}}
"#,
        server.ip(),
        server.port()
    );
    let _freeradius = freeradius(&dir, &configuration);
    held_through(auth, acct, &radhold);
    let counters = radhold.counters();
    assert_eq!(counters.get("packet.message-authenticator-absent"), None, "{counters:?}");
}

/// FreeRADIUS as the Dynamic Authorization Server of a NAS: it listens for CoA over TLS.
#[test]
fn freeradius_obeys_a_coa_over_tls() {
    let pki = Pki::new();
    let at = own_address();
    let (host, port) = (at.ip(), at.port());
    let identity = pki.sign("free", &[&host.to_string()]);
    let dir = pki.path("freeradius");
    fs::create_dir(&dir).unwrap();
    let [ca, certificate, key] = [&pki.ca(), &identity.certificate, &identity.key].map(|path| text(path));
    let home = dir.display();
    let configuration = format!(
        r#"
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {home}
logdir = {home}
run_dir = {home}
name = das
pidfile = {home}/das.pid
proxy_requests = no
security {{
    allow_core_dumps = no
    max_attributes = 200
    status_server = yes
}}
thread pool {{
    start_servers = 2
    max_servers = 4
    min_spare_servers = 1
    max_spare_servers = 2
}}
clients radsec {{
    client radhold {{
        ipaddr = 127.0.0.1
        proto = tls
        secret = radsec
    }}
}}
listen {{
    type = coa
    ipaddr = {host}
    port = {port}
    proto = tcp
    virtual_server = coa
    clients = radsec
    tls {{
        private_key_file = {key}
        certificate_file = {certificate}
        ca_file = {ca}
        fragment_size = 8192
        tls_min_version = "1.2"
        tls_max_version = "1.3"
        require_client_cert = yes
        cache {{
            enable = no
        }}
    }}
}}
modules {{
    always ok {{
        rcode = ok
    }}
}}
server coa {{
    recv-coa {{
        ok
    }}
}}
"#
    );
    let _freeradius = freeradius(&dir, &configuration);
    let nas = format!(
        "[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\ndynauth = \"tls\"\ncoa_address = \"{host}\"\ncoa_port = {port}\n"
    );
    let radhold = serve(&pki, &nas);
    let session = held_through(radhold.auth, radhold.accounting, &radhold);
    let ran = radhold.cli(&["session", "approve", &session, "--as", "night-shift"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    radhold.until_state("permitted");
}
