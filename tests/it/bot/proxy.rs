//! Telegram through a proxy: Debian's microsocks (SOCKS5) and tinyproxy (HTTP), each with user and password.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::port::own_address;

const PROXY_PASSWORD: &str = "pr0xy-secret";

/// A proxy process. Ends when dropped.
struct Proxy {
    child: Child,
    at: SocketAddr,
    _files: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    fn start(make: impl Fn(SocketAddr, &std::path::Path) -> Command) -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = own_address();
        let mut command = make(at, files.path());
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{program}: {error}; ./tests/run installs it"));
        let begun = Instant::now();
        while TcpStream::connect(at).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, at, _files: files }
    }

    fn socks() -> Self {
        Self::start(|at, files| {
            let log = fs::File::create(files.join("log")).unwrap();
            let mut command = Command::new("microsocks");
            command.args([
                "-i",
                &at.ip().to_string(),
                "-p",
                &at.port().to_string(),
                "-u",
                "radhold",
                "-P",
                PROXY_PASSWORD,
            ]);
            command.stderr(log);
            command
        })
    }

    fn http() -> Self {
        Self::start(|at, files| {
            let file = files.join("tinyproxy.conf");
            let log = files.join("log");
            fs::write(
                &file,
                format!(
                    "Port {}\nListen {}\nTimeout 60\nMaxClients 50\nLogFile \"{}\"\nLogLevel Connect\n\
                     BasicAuth radhold {PROXY_PASSWORD}\n",
                    at.port(),
                    at.ip(),
                    log.display()
                ),
            )
            .unwrap();
            let mut command = Command::new("tinyproxy");
            command.args(["-d", "-c"]).arg(file);
            command
        })
    }

    fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self._files.path().join("log")) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }
}

async fn asked_and_answered(proxy: &str) -> Scene {
    let mut scene = Scene::new(&format!("proxy = \"{proxy}\""), "").await;
    scene.bind("alice", ALICE);
    scene.held("alice", 7, "203.0.113.7");
    let prompt = scene.api.until_sent(ALICE, 0).await;
    scene.api.press(ALICE, prompt.id, ALICE, prompt.buttons()[0]);
    assert_eq!(scene.das.next().await["code"], 43);
    let token = scene.link("alice", &[]);
    assert_eq!(token.len(), 27, "the command line goes through it too");
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telegram_is_reached_through_a_socks5_proxy() {
    let proxy = Proxy::socks();
    let scene = asked_and_answered(&format!("socks5://radhold:{PROXY_PASSWORD}@{}", proxy.at)).await;
    let log = format!("{:?}", scene.radhold.log());
    assert!(!log.contains(PROXY_PASSWORD), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telegram_is_reached_through_an_http_proxy() {
    let proxy = Proxy::http();
    let url = format!("http://radhold:{PROXY_PASSWORD}@{}", proxy.at);
    drop(asked_and_answered(&url).await);
    assert!(proxy.log().contains("POST"), "{}", proxy.log());
}

/// What is https goes by CONNECT: the proxy sees a name and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_goes_through_an_http_proxy_by_connect() {
    use radhold::approver::Approver as _;
    use radhold::approver::telegram::{Telegram, TelegramOptions};
    use radhold::model::Secret;
    use radhold::session::ButtonKey;

    let proxy = Proxy::http();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = nobody.local_addr().unwrap();
    let options = TelegramOptions {
        api_url: Some(format!("https://127.0.0.1:{}", at.port()).parse().unwrap()),
        proxy: Some(Secret::new(format!("http://radhold:{PROXY_PASSWORD}@{}", proxy.at))),
        request_timeout: Duration::from_secs(2),
        ..TelegramOptions::new(Secret::new(TOKEN))
    };
    let telegram = Telegram::new(options, ButtonKey::new(&Secret::new("k"))).unwrap();
    let error = telegram.name().await.unwrap_err().to_string();
    assert!(!error.contains(PROXY_PASSWORD), "{error}");
    assert!(proxy.log().contains("CONNECT"), "{}", proxy.log());
    assert!(!proxy.log().contains("AAF-test_token"), "the proxy learns no token: {}", proxy.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_refuses_is_waited_out_and_its_password_stays_unsaid() {
    let proxy = Proxy::socks();
    let scene = Scene::new(&format!("proxy = \"socks5://radhold:wrong-{PROXY_PASSWORD}@{}\"", proxy.at), "").await;
    scene.radhold.wait_for_log(0, |line| crate::radhold::message(line) == "Telegram cannot be polled");
    let log = format!("{:?}", scene.radhold.log());
    assert!(!log.contains(PROXY_PASSWORD) && !log.contains("AAF-test_token"), "{log}");
    assert!(scene.api.look(|world| world.calls.is_empty()), "nothing goes past it");
}
