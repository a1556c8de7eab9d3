//! Debian's hostapd as oracle: its Dynamic Authorization Server, with a station that logged in to it by 802.1X over a wire, and our
//! agent, with a session of the same Calling-Station-Id, get the same requests. Where both implement a thing they answer alike;
//! where they differ, both answers are written down, with the reason for ours.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use radhold::app::clock;

use super::bench::{Bench, PATIENCE, SECRET, ip};

/// The station, as hostapd and as pppd's environment name it.
const STATION: &str = "02:1a:2b:33:44:50";
/// Nobody answers any more.
const SILENCE: Duration = Duration::from_secs(2);

/// hostapd in namespace `c1` and its station in `c0`.
struct Hostapd(Vec<Child>);

impl Hostapd {
    fn start(bench: &Bench) -> Self {
        let [server, station] = ["c1", "c0"].map(|which| bench.namespace(which));
        ip(&format!("-n {server} link set lo up"));
        ip(&format!("-n {server} link add h0 type veth peer name h1 address {STATION} netns {station}"));
        ip(&format!("-n {server} link set h0 up"));
        ip(&format!("-n {station} link set h1 up"));
        let users = bench.path("hostapd.users");
        fs::write(&users, "\"alice\"\tMD5\t\"s3cret-pass\"\n").unwrap();
        let control = bench.path("hostapd");
        let settings = format!(
            "interface=h0\ndriver=wired\nieee8021x=1\neap_server=1\neap_user_file={}\neap_reauth_period=0\n\
             ctrl_interface={}\nnas_identifier=nas-1\nown_ip_addr=192.0.2.10\nradius_das_port=3799\n\
             radius_das_client=127.0.0.1 {SECRET}\nradius_das_time_window=300\nradius_das_require_event_timestamp=1\n\
             radius_das_require_message_authenticator=1\n",
            users.display(),
            control.display()
        );
        fs::write(bench.path("hostapd.conf"), settings).unwrap();
        let network = "network={\nkey_mgmt=IEEE8021X\neap=MD5\nidentity=\"alice\"\npassword=\"s3cret-pass\"\n}\n";
        fs::write(bench.path("station.conf"), format!("ap_scan=0\n{network}")).unwrap();
        let start = |which: &str, program: &str, arguments: &[&str]| {
            let mut command = bench.within(which, program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("ip netns exec")
        };
        let path = |name: &str| bench.path(name).display().to_string();
        let mut all = Self(vec![start("c1", "hostapd", &[&path("hostapd.conf")])]);
        bench.until(|| control.join("h0").exists().then_some(()));
        all.0.push(start("c0", "wpa_supplicant", &["-D", "wired", "-i", "h1", "-c", &path("station.conf")]));
        let logged_in = || {
            let listed =
                bench.within("c1", "hostapd_cli").arg("-p").arg(&control).args(["-i", "h0", "all_sta"]).output();
            let listed = String::from_utf8(listed.expect("hostapd_cli; ./tests/run installs hostapd").stdout).unwrap();
            (listed.contains(STATION) && listed.contains("[AUTHORIZED]")).then_some(())
        };
        bench.until(logged_in);
        all
    }
}

impl Drop for Hostapd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // On the way out of a test, which may have ended it already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a request gets: code, and Error-Cause.
fn answers(bench: &Bench, kind: &str, attributes: &str, wait: Duration) -> [String; 2] {
    ["c1", "nas"].map(|which| {
        let (code, cause) = bench.radclient_in(which, kind, SECRET, attributes, wait);
        cause.map_or(code.clone(), |cause| format!("{code} {cause}"))
    })
}

/// The agent listens to the front, so it knows what an Acct-Session-Id of its own looks like, as hostapd does.
const FRONT: &str = "nas_addresses = [\"192.0.2.10\"]\n[agent.front]\nsecret = \"0123456789abcdef\"\n\
                     [agent.front.server.1]\naddress = \"127.0.0.1\"\nauth_port = 9\naccounting_port = 9\n\
                     secret = \"0123456789abcdef\"\n";

#[test]
fn hostapd_and_we_answer_alike() {
    let mut bench = Bench::start(FRONT);
    let _hostapd = Hostapd::start(&bench);
    let pid = bench.pppd("ppp0", "Filter-Id sandbox\n");
    bench.hook(
        "ip-pre-up",
        "ppp0",
        pid,
        &[("IPREMOTE", "10.93.0.50"), ("PEERNAME", "alice"), ("PPP_IPPARAM", STATION)],
    );
    let station = format!("Calling-Station-Id=\"{STATION}\"");
    let proof = || format!("Event-Timestamp={},Message-Authenticator=0x00", clock::now().as_secs());

    for (kind, attributes, answer) in [
        ("disconnect", "User-Name=nobody".to_owned(), "Disconnect-NAK Session-Context-Not-Found"),
        ("disconnect", "Calling-Station-Id=\"02:00:00:00:00:01\"".into(), "Disconnect-NAK Session-Context-Not-Found"),
        ("disconnect", format!("{station},User-Name=nobody"), "Disconnect-NAK Session-Context-Not-Found"),
        ("disconnect", format!("{station},Acct-Session-Id=FFFF"), "Disconnect-NAK Session-Context-Not-Found"),
        ("disconnect", format!("{station},NAS-Identifier=nas-2"), "Disconnect-NAK NAS-Identification-Mismatch"),
        ("disconnect", format!("{station},NAS-IP-Address=192.0.2.11"), "Disconnect-NAK NAS-Identification-Mismatch"),
        ("disconnect", "NAS-Identifier=nas-2".into(), "Disconnect-NAK NAS-Identification-Mismatch"),
        ("disconnect", format!("{station},Filter-Id=x"), "Disconnect-NAK Unsupported-Attribute"),
        ("disconnect", format!("{station},Session-Timeout=1"), "Disconnect-NAK Unsupported-Attribute"),
        ("disconnect", format!("{station},Framed-Pool=x"), "Disconnect-NAK Unsupported-Attribute"),
        ("disconnect", format!("{station},Reply-Message=x"), "Disconnect-NAK Unsupported-Attribute"),
        ("disconnect", format!("{station},NAS-Identifier=nas-2,Framed-Pool=x"), "Disconnect-NAK Unsupported-Attribute"),
        ("coa", station.clone(), "CoA-NAK Missing-Attribute"),
        ("coa", format!("{station},Framed-Pool=x"), "CoA-NAK Unsupported-Attribute"),
    ] {
        let said = answers(&bench, kind, &format!("{attributes},{}", proof()), PATIENCE);
        assert_eq!(said, [answer, answer], "{kind} {attributes}: hostapd's, and ours");
    }

    // Where they differ: hostapd's, and ours.
    for (kind, attributes, theirs, ours) in [
        // RFC 5176 §3.5: 402 is for what is missing, such as all that would name a session.
        (
            "disconnect",
            "NAS-Identifier=nas-1".to_owned(),
            "Disconnect-NAK Session-Context-Not-Found",
            "Disconnect-NAK Missing-Attribute",
        ),
        // RFC 5176 §3.2: Service-Type asks for a service, which we do not have.
        (
            "disconnect",
            format!("{station},Service-Type=Framed-User"),
            "Disconnect-NAK Unsupported-Attribute",
            "Disconnect-NAK Unsupported-Service",
        ),
        // Behind pppd Calling-Station-Id is what the tunnel says, and need not be a MAC address.
        (
            "disconnect",
            "Calling-Station-Id=junk".into(),
            "Disconnect-NAK Invalid-Attribute-Value",
            "Disconnect-NAK Session-Context-Not-Found",
        ),
        // RFC 5176 §3: NAS-Port and Framed-IP-Address name sessions; hostapd's have none.
        (
            "disconnect",
            format!("{station},NAS-Port=7"),
            "Disconnect-NAK Unsupported-Attribute",
            "Disconnect-NAK Session-Context-Not-Found",
        ),
        (
            "disconnect",
            format!("{station},Framed-IP-Address=192.0.2.99"),
            "Disconnect-NAK Unsupported-Attribute",
            "Disconnect-NAK Session-Context-Not-Found",
        ),
        // hostapd has no filters.
        ("coa", format!("{station},Filter-Id=permit"), "CoA-NAK Unsupported-Attribute", "CoA-ACK"),
        // RFC 5176 §3.1: a Proxy-State goes back as it came.
        ("coa", format!("{station},Filter-Id=permit,Proxy-State=0x01"), "CoA-NAK Unsupported-Attribute", "CoA-ACK"),
    ] {
        let said = answers(&bench, kind, &format!("{attributes},{}", proof()), PATIENCE);
        assert_eq!(said, [theirs, ours], "{kind} {attributes}");
    }

    // Silence, where nothing proves the request or its time.
    let at = |seconds: i64| clock::now().as_secs() + seconds;
    for attributes in [
        format!("{station},Event-Timestamp={}", at(0)),
        format!("{station},Message-Authenticator=0x00"),
        format!("{station},Event-Timestamp={},Message-Authenticator=0x00", at(-330)),
        format!("{station},Event-Timestamp={},Message-Authenticator=0x00", at(330)),
    ] {
        assert_eq!(answers(&bench, "disconnect", &attributes, SILENCE), ["", ""], "{attributes}");
    }
    for which in ["c1", "nas"] {
        let attributes = format!("{station},{}", proof());
        let said = bench.radclient_in(which, "disconnect", "another secret altogether", &attributes, SILENCE);
        assert_eq!(said.0, "", "{which}: another secret");
    }

    // The end itself, and what is said of it afterwards.
    let said = answers(&bench, "disconnect", &format!("{station},NAS-Identifier=nas-1,{}", proof()), PATIENCE);
    assert_eq!(said, ["Disconnect-ACK", "Disconnect-ACK"]);
    while bench.runs(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
}
