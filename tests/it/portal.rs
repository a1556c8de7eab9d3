//! The portal, end to end: the real server, radclient as the NAS, and browsers that are a few lines of HTTP from addresses of their own.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::task::block_in_place;

use crate::bot_api::{BotApi, TOKEN};
use crate::das::{Das, SECRET};
use crate::postgres::Database;
use crate::radhold::{PATIENCE, Radhold, Ran, message, radclient, received};
use crate::totp::App;

const PASSWORD: &str = "s3cret-pass";
const ALICE: i64 = 1001;
/// Where alice's machine is, in the sandbox.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 21);
/// Where somebody else's is.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 22);

/// A server with a portal, and a browser for it.
struct Scene {
    radhold: Radhold,
    portal: SocketAddr,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What is said in the first headline.
    fn headline(&self) -> &str {
        let (_, rest) = self.body.split_once("<h1>").unwrap_or_else(|| panic!("{self:?}"));
        rest.split_once("</h1>").unwrap().0
    }

    fn number(&self) -> Option<&str> {
        Some(self.body.split_once("<p class=\"number\">")?.1.split_once('<')?.0)
    }

    /// What a code is to be sent with.
    fn form(&self) -> Option<&str> {
        Some(self.body.split_once("name=\"form\" value=\"")?.1.split_once('"')?.0)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// A connection from that address.
fn connect(from: impl Into<IpAddr>, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.into(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request as it is written here, with `Connection: close`.
fn ask(
    from: impl Into<IpAddr>,
    to: SocketAddr,
    method: &str,
    path: &str,
    lines: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = connect(from, to);
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in lines {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Answer { status, headers: lines.map(header).collect(), body: body.to_owned() }
}

impl Scene {
    /// A server where alice logs in on `lab`, whose CoA-Requests go to that port.
    fn new(coa_port: u16, more: &str) -> Self {
        Self::on("", coa_port, "", more)
    }

    fn on(head: &str, coa_port: u16, portal: &str, more: &str) -> Self {
        let listen = if portal.contains("listen") { "" } else { "listen = [\"127.0.0.1:0\"]" };
        let radhold = Radhold::start_with(
            head,
            &format!(
                r#"
                [server]
                reject_delay = "0s"
                [totp]
                window = 5
                tries_per_minute = 100
                [lockout]
                free = 0
                [guards]
                prompts_per_hour = 0
                cool_down = "0s"
                number_matching = true
                [dynauth]
                initial_timeout = "200ms"
                [portal]
                {listen}
                {portal}
                [nas.lab]
                address = "127.0.0.1"
                secret = "{SECRET}"
                coa_port = {coa_port}
                {more}
                "#
            ),
        );
        let ready = radhold.wait_for_log(0, |line| message(line) == "radhold is ready");
        let portal = ready["portal"].as_str().unwrap();
        // A list of one, in brackets.
        let portal = portal[1..portal.len() - 1].parse().unwrap();
        Self { radhold, portal }
    }

    fn add_alice(&self, approvers: &[&str]) {
        let approvers: Vec<&str> = approvers.iter().flat_map(|approver| ["--approver", approver]).collect();
        self.radhold.add_user("alice", PASSWORD, &[&["--store-as", "clear"][..], &approvers].concat());
    }

    /// Logs alice in at an address, on a device; the Access-Accept.
    fn login(&self, number: u32, address: Ipv4Addr, device: &str) -> Ran {
        let caller = format!("NAS-Port = {number}, NAS-Identifier = {device}, Calling-Station-Id = \"203.0.113.7\"");
        let attributes =
            format!("User-Name = alice, User-Password = {PASSWORD}, {caller}, Message-Authenticator = 0x00");
        let accept = radclient(self.radhold.auth, "auth", SECRET, &attributes);
        assert_eq!(accept.code, 0, "{accept:?}");
        self.account("Start", &accept, number, address, device);
        accept
    }

    fn account(&self, status: &str, accept: &Ran, number: u32, address: Ipv4Addr, device: &str) {
        let attributes = format!(
            "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = a{number}, NAS-Port = {number}, \
             NAS-Identifier = {device}, Calling-Station-Id = \"203.0.113.7\", Framed-IP-Address = {address}, Class = {}",
            received(accept, "Class").unwrap()
        );
        let ran = radclient(self.radhold.accounting, "acct", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// The name the portal has for browsers.
    fn host(&self) -> String {
        self.portal.to_string()
    }

    fn get(&self, from: Ipv4Addr, path: &str, more: &[(&str, &str)]) -> Answer {
        let host = self.host();
        ask(from, self.portal, "GET", path, &[&[("Host", host.as_str())], more].concat(), "")
    }

    /// The page, once its headline begins so.
    fn until(&self, from: Ipv4Addr, headline: &str) -> Answer {
        let begun = Instant::now();
        loop {
            let answer = self.get(from, "/", &[]);
            if answer.headline().starts_with(headline) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "never {headline:?}: {answer:?} {:#?}", self.radhold.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Sends a code as the page's form does.
    fn post(&self, from: Ipv4Addr, form: &str, code: &str, more: &[(&str, &str)]) -> Answer {
        let (host, body) = (self.host(), format!("code={code}&form={form}"));
        let lines = [("Host", host.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        ask(from, self.portal, "POST", "/", &[&lines, more].concat(), &body)
    }

    fn state(&self) -> String {
        self.radhold.sessions()[0]["state"].as_str().unwrap().to_owned()
    }

    fn audited(&self, act: &str) -> Vec<Value> {
        let ran = self.radhold.cli(&["audit", "--act", act, "--json"], "");
        assert_eq!(ran.code, 0, "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_is_shown_to_its_own_address_until_somebody_says_yes() {
    let (api, mut das) = (BotApi::start().await, Das::start(&["ack"]).await);
    api.add_user(ALICE, "Alice");
    let telegram = format!("[telegram]\ntoken = \"{TOKEN}\"\napi_url = \"{}\"\n", api.url());
    let (scene, page, number) = block_in_place(|| {
        let scene = Scene::new(das.address.port(), &telegram);
        scene.add_alice(&["telegram"]);
        let bound = scene.radhold.cli(&["user", "bind", "alice", "--telegram", &ALICE.to_string()], "");
        assert_eq!(bound.code, 0, "{bound:?}");
        assert!(scene.get(HERE, "/", &[]).headline().starts_with("No login waits"));
        let accept = scene.login(1, HERE, "a");
        let said = received(&accept, "Reply-Message").unwrap();
        let number: String = said.chars().filter(char::is_ascii_digit).collect();
        let page = scene.until(HERE, "Choose this number");
        (scene, page, number)
    });
    assert_eq!(page.number(), Some(number.as_str()), "as in the Reply-Message");
    assert_eq!((page.form(), page.header("cache-control")), (None, Some("no-store")), "no code is asked for");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && page.header("x-content-type-options") == Some("nosniff"));
    assert_eq!(page.header("access-control-allow-origin"), None);
    block_in_place(|| {
        let other = scene.get(ELSEWHERE, "/", &[]);
        assert!(other.headline().starts_with("No login waits") && other.number().is_none(), "{other:?}");
        let russian = scene.get(HERE, "/", &[("Accept-Language", "de, ru-RU;q=0.9, en;q=0.8")]);
        assert_eq!(russian.headline(), "Выберите это число в телефоне");
        assert!(russian.body.contains("<html lang=\"ru\">") && russian.number() == Some(number.as_str()));
        assert!(scene.get(HERE, "/", &[("Accept-Language", "de")]).body.contains("<html lang=\"en\">"));
        let state = scene.get(HERE, "/state", &[]).json();
        assert!((1..=120).contains(&state["left"].as_u64().unwrap()) && state["again"] == 2, "{state}");
        let api = scene.get(HERE, "/captive-portal/api", &[]);
        assert_eq!(api.header("content-type"), Some("application/captive+json"));
        let url = format!("http://{}/", scene.host());
        assert_eq!(api.json(), serde_json::json!({"captive": true, "user-portal-url": url}));
        for path in ["/portal.css", "/portal.js"] {
            assert_eq!(scene.get(ELSEWHERE, path, &[]).status, 200, "{path}");
        }
    });
    let prompt = api.until_sent(ALICE, 0).await;
    assert!(prompt.buttons().contains(&number.as_str()), "{prompt:?}");
    api.press(ALICE, prompt.id, ALICE, &number);
    assert_eq!(das.next().await["code"], 43);
    block_in_place(|| {
        let page = scene.until(HERE, "You are through");
        assert_eq!(page.number(), None);
        assert_eq!(scene.get(HERE, "/captive-portal/api", &[]).json()["captive"], false);
        assert_eq!(scene.get(HERE, "/state", &[]).json()["again"], Value::Null);
        assert!(scene.get(ELSEWHERE, "/", &[]).headline().starts_with("No login waits"));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_lifts_the_session_of_its_page_and_counts_once() {
    let mut das = Das::start(&["ack"]).await;
    let (scene, app) = block_in_place(|| {
        let scene = Scene::new(das.address.port(), "");
        scene.add_alice(&["totp", "operator"]);
        let app = App::enrol(&scene.radhold, "alice", &[]);
        scene.login(1, HERE, "a");
        let page = scene.until(HERE, "Enter your code");
        let form = page.form().unwrap().to_owned();
        let answer = scene.post(HERE, &form, &app.wrong(), &[]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/?said=wrong")));
        let page = scene.get(HERE, "/?said=wrong", &[]);
        assert!(page.body.contains("That code is wrong, or was used before."), "{page:?}");
        assert_eq!(scene.post(HERE, &form, "hello", &[]).header("location"), Some("/?said=wrong"));
        assert_eq!(scene.state(), "held");
        let answer = scene.post(HERE, &form, &app.code(0), &[]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{:#?}", scene.radhold.log());
        (scene, app)
    });
    assert_eq!(das.next().await["code"], 43);
    block_in_place(|| {
        scene.until(HERE, "You are through");
        let session = scene.radhold.until_state("permitted");
        assert_eq!(session["decision"]["verdict"], "approved");
        let used = scene.audited("totp.used");
        assert_eq!(
            (used.len(), &used[0]["origin"], &used[0]["who"]),
            (1, &"portal 127.0.0.21".into(), &"alice".into())
        );
        // What was said of a code is said while it waits for one, and not by anybody's link.
        assert!(!scene.get(HERE, "/?said=wrong", &[]).body.contains("That code is wrong"));

        // Of the next login that code is none; one of the list on paper is.
        scene.login(2, ELSEWHERE, "a");
        let form = scene.until(ELSEWHERE, "Enter your code").form().unwrap().to_owned();
        let said = |code: &str| scene.post(ELSEWHERE, &form, code, &[]).header("location").unwrap().to_owned();
        assert_eq!(said(&app.code(0)), "/?said=wrong", "used before");
        assert_eq!(said(&app.recovery[3].to_lowercase()), "/");
        scene.until(ELSEWHERE, "You are through");
        assert_eq!(scene.audited("totp.recovery-used")[0]["origin"], "portal 127.0.0.22");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_another_site_nor_another_address_reads_the_page_or_sends_a_code() {
    let das = Das::start(&["ack"]).await;
    block_in_place(|| {
        let scene = Scene::new(das.address.port(), "");
        scene.add_alice(&["totp", "operator"]);
        let app = App::enrol(&scene.radhold, "alice", &[]);
        scene.login(1, HERE, "a");
        let form = scene.until(HERE, "Enter your code").form().unwrap().to_owned();
        let home = format!("http://{}/", scene.host());
        for (host, path) in [
            ("connectivitycheck.gstatic.com", "/generate_204"),
            ("captive.apple.com", "/hotspot-detect.html"),
            ("www.msftconnecttest.com", "/connecttest.txt"),
            ("evil.example", "/"),
            ("evil.example", "/state"),
            ("evil.example", "/captive-portal/api"),
            ("127.0.0.1", "/"),
            (scene.host().as_str(), "/generate_204"),
        ] {
            let answer = ask(HERE, scene.portal, "GET", path, &[("Host", host)], "");
            assert_eq!((answer.status, answer.header("location")), (302, Some(home.as_str())), "{host} {path}");
            assert_eq!(answer.body, "", "{host} {path}");
        }
        let code = app.code(0);
        let refused = |lines: &[(&str, &str)]| {
            let answer = scene.post(HERE, &form, &code, lines);
            assert_eq!((answer.status, answer.body.as_str()), (403, ""), "{lines:?}");
        };
        refused(&[("Origin", "http://evil.example")]);
        refused(&[("Origin", "null")]);
        refused(&[("Sec-Fetch-Site", "cross-site")]);
        refused(&[("Sec-Fetch-Site", "same-site"), ("Origin", home.trim_end_matches('/'))]);
        let body = format!("code={code}&form={form}");
        assert_eq!(ask(HERE, scene.portal, "POST", "/", &[("Host", "evil.example")], &body).status, 403);
        assert_eq!(scene.get(HERE, "/", &[("X-Forwarded-For", "127.0.0.99")]).form(), Some(form.as_str()));
        let pretender = scene.get(ELSEWHERE, "/", &[("X-Forwarded-For", "127.0.0.21")]);
        assert!(pretender.headline().starts_with("No login waits"), "nobody's word counts: {pretender:?}");
        for (from, form) in [(ELSEWHERE, form.as_str()), (HERE, "y"), (HERE, "")] {
            let answer = scene.post(from, form, &code, &[]);
            assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{form:?}");
        }
        assert_eq!(ask(HERE, scene.portal, "PUT", "/", &[("Host", scene.host().as_str())], "").status, 405);
        assert_eq!(scene.state(), "held", "nothing of that did anything");
        let origin = [("Origin", home.trim_end_matches('/')), ("Sec-Fetch-Site", "same-origin")];
        let answer = scene.post(HERE, &form, &code, &origin);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "and the code was not spent");
        scene.until(HERE, "You are through");
        let counters = scene.radhold.counters();
        assert_eq!((counters["portal.foreign-post"], counters["portal.code-right"]), (4, 1), "{counters:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_the_address_is_the_one_it_tells_and_the_name_its_own() {
    let das = Das::start(&["ack"]).await;
    block_in_place(|| {
        let proxied = "url = \"https://portal.example\"\ntrusted_proxies = [\"127.0.0.1\"]\n";
        let scene = Scene::on("", das.address.port(), proxied, "");
        scene.add_alice(&["totp", "operator"]);
        let app = App::enrol(&scene.radhold, "alice", &[]);
        scene.login(1, HERE, "a");
        let proxy = Ipv4Addr::LOCALHOST;
        let get = |host: &str, forwarded: &str| {
            ask(proxy, scene.portal, "GET", "/", &[("Host", host), ("X-Forwarded-For", forwarded)], "")
        };
        let begun = Instant::now();
        let page = loop {
            let page = get("portal.example", "198.51.100.9, 127.0.0.21");
            if page.headline().starts_with("Enter your code") {
                break page;
            }
            assert!(begun.elapsed() < PATIENCE, "{page:?}");
            std::thread::sleep(Duration::from_millis(100));
        };
        assert!(get("portal.example", "127.0.0.21, 198.51.100.9").headline().starts_with("No login waits"));
        for host in ["neverssl.com", &scene.host()] {
            let answer = get(host, "127.0.0.21");
            assert_eq!((answer.status, answer.header("location")), (302, Some("https://portal.example/")), "{host}");
        }
        // Whoever comes past the proxy has their own address, and the portal's two names.
        assert_eq!(scene.get(HERE, "/", &[]).form(), page.form());
        let body = format!("code={}&form={}", app.code(0), page.form().unwrap());
        let post = |origin: &str| {
            let lines = [("Host", "portal.example"), ("X-Forwarded-For", "127.0.0.21"), ("Origin", origin)];
            ask(proxy, scene.portal, "POST", "/", &lines, &body).status
        };
        assert_eq!(post("http://portal.example"), 403, "that is another origin");
        assert_eq!(post("https://portal.example"), 303);
        scene.until(HERE, "You are through");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_two_sessions_have_shows_neither() {
    let das = Das::start(&["ack"]).await;
    block_in_place(|| {
        let scene = Scene::new(das.address.port(), "[hold]\nwindow = \"10m\"\n");
        scene.add_alice(&["totp", "operator"]);
        let app = App::enrol(&scene.radhold, "alice", &[]);
        let first = scene.login(1, HERE, "a");
        let form = scene.until(HERE, "Enter your code").form().unwrap().to_owned();
        // The same device gives the address out anew: what was there before is over.
        scene.login(2, HERE, "a");
        let begun = Instant::now();
        let newer = loop {
            let page = scene.get(HERE, "/", &[]);
            match page.form() {
                Some(newer) if newer != form => break newer.to_owned(),
                _ => assert!(begun.elapsed() < PATIENCE, "{page:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        assert_eq!(scene.post(HERE, &form, &app.code(0), &[]).header("location"), Some("/"), "for another page");
        // Another device has the same pool.
        let third = scene.login(3, HERE, "b");
        let page = scene.until(HERE, "It is not clear whose login this is");
        assert!(page.form().is_none() && page.number().is_none());
        assert_eq!(scene.post(HERE, &newer, &app.code(0), &[]).header("location"), Some("/"));
        assert!(scene.radhold.sessions().iter().all(|session| session["state"] == "held"), "neither is let through");
        let told = scene.radhold.wait_for_log(0, |line| message(line).starts_with("several open sessions have this"));
        assert_eq!((&told["level"], &told["address"]), (&"WARN".into(), &"127.0.0.21".into()), "{told}");
        assert!(scene.radhold.counters()["portal.address-shared"] >= 1);
        scene.account("Stop", &third, 3, HERE, "b");
        scene.until(HERE, "Enter your code");
        scene.account("Stop", &first, 1, HERE, "a");
        assert_eq!(scene.get(HERE, "/", &[]).form(), Some(newer.as_str()));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_how_it_ended() {
    let das = Das::start(&["ack"]).await;
    block_in_place(|| {
        let scene = Scene::new(das.address.port(), "[hold]\nwindow = \"8s\"\n");
        scene.add_alice(&["operator"]);
        scene.login(1, HERE, "a");
        scene.until(HERE, "An operator must let you in");
        let id = scene.radhold.sessions()[0]["id"].as_str().unwrap().to_owned();
        let denied = scene.radhold.cli(&["session", "deny", &id], "");
        assert_eq!(denied.code, 0, "{denied:?}");
        scene.until(HERE, "This login was denied");
        let accept = scene.login(2, ELSEWHERE, "a");
        scene.until(ELSEWHERE, "Time is up");
        scene.account("Stop", &accept, 2, ELSEWHERE, "a");
        scene.until(ELSEWHERE, "No login waits");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hammers_is_slowed_down_and_who_is_slow_is_cut() {
    let das = Das::start(&["ack"]).await;
    block_in_place(|| {
        let scene = Scene::new(das.address.port(), "");
        scene.add_alice(&["totp", "operator"]);
        let app = App::enrol(&scene.radhold, "alice", &[]);
        scene.login(1, HERE, "a");
        let form = scene.until(HERE, "Enter your code").form().unwrap().to_owned();
        // Some come back while this goes on.
        let statuses: Vec<u16> = (0..40).map(|_| scene.post(HERE, &form, &app.wrong(), &[]).status).collect();
        assert!(statuses[..5].iter().all(|status| *status == 303), "{statuses:?}");
        let slowed = statuses.iter().filter(|status| **status == 429).count();
        assert!(slowed >= 20, "{statuses:?}");
        let told = scene.post(HERE, &form, &app.code(0), &[]);
        assert!(told.status == 303 || told.body.contains("Too many codes"), "{told:?}");
        assert_eq!(scene.post(ELSEWHERE, &form, &app.wrong(), &[]).status, 303, "nobody pays for a neighbour");
        let long = "1".repeat(5000);
        assert_eq!(scene.post(ELSEWHERE, &form, &long, &[]).status, 413);

        // So many connections of one address, and no more; each is cut that brings nothing.
        let slow: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut stream = connect(Ipv4Addr::new(127, 0, 0, 66), scene.portal);
                // Who has too many may be cut off before that is written.
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n");
                stream
            })
            .collect();
        assert_eq!(scene.get(ELSEWHERE, "/", &[]).status, 200, "others are served");
        let begun = Instant::now();
        for mut stream in slow {
            let mut rest = Vec::new();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let ended = stream.read_to_end(&mut rest);
            let late = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!late && begun.elapsed() < PATIENCE, "{ended:?} after {:?}", begun.elapsed());
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_ipv6_the_prefix_of_a_session_is_its_address() {
    let das = Das::start(&["ack"]).await;
    block_in_place(|| {
        let scene = Scene::on("", das.address.port(), "listen = [\"[::1]:0\"]", "");
        scene.add_alice(&["operator"]);
        let port = scene.portal.port();
        assert_eq!(scene.portal, SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
        let who = "User-Name = alice, NAS-Port = 1, Calling-Station-Id = \"203.0.113.7\"";
        let login = format!("{who}, User-Password = {PASSWORD}, Message-Authenticator = 0x00");
        let accept = radclient(scene.radhold.auth, "auth", SECRET, &login);
        let class = received(&accept, "Class").unwrap();
        let start = format!(
            "{who}, Acct-Status-Type = Start, Acct-Session-Id = a1, Framed-IPv6-Prefix = ::/64, Class = {class}"
        );
        assert_eq!(radclient(scene.radhold.accounting, "acct", SECRET, &start).code, 0);
        scene.radhold.until_state("held");
        let get = |host: &str| ask(Ipv6Addr::LOCALHOST, scene.portal, "GET", "/", &[("Host", host)], "");
        let page = get(&format!("[::1]:{port}"));
        assert!(page.headline().starts_with("An operator must"), "{page:?}");
        let sent = get("neverssl.com");
        assert_eq!((sent.status, sent.header("location")), (302, Some(format!("http://[::1]:{port}/").as_str())));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_shows_and_takes_what_another_began() {
    let (database, mut das) = (Database::create().await, Das::start(&["ack"]).await);
    let keys = tempfile::tempdir().unwrap();
    let node = |name: &str, port: u16| {
        let sealing = keys.path().join("sealing.key");
        let head = format!(
            "node = \"{name}\"\nstore.url = \"{}\"\nkeys.sealing_file = \"{}\"\n",
            database.url(),
            sealing.display()
        );
        Scene::on(&head, port, "", "")
    };
    let port = das.address.port();
    let scenes = block_in_place(|| {
        let (one, two) = (node("one", port), node("two", port));
        one.add_alice(&["totp", "operator"]);
        let app = App::enrol(&one.radhold, "alice", &[]);
        one.login(1, HERE, "a");
        let form = one.until(HERE, "Enter your code").form().unwrap().to_owned();
        assert_eq!(two.until(HERE, "Enter your code").form(), Some(form.as_str()), "both have one key");
        assert_eq!(two.post(HERE, &form, &app.code(0), &[]).header("location"), Some("/"));
        (one, two)
    });
    assert_eq!(das.next().await["code"], 43);
    block_in_place(|| {
        scenes.0.until(HERE, "You are through");
        scenes.1.until(HERE, "You are through");
    });
}
