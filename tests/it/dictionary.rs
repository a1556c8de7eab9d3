//! Our dictionaries beside Debian's `freeradius-common`, which must load whole.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use radhold::radius::dictionary::{AttributePath, Dictionary, Encryption, VendorFormat};
use radhold::radius::value::DataType;

const FOLDER: &str = "/usr/share/freeradius";

fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

fn debian_file(name: &str) -> PathBuf {
    let path = Path::new(FOLDER).join(name);
    assert!(path.exists(), "{} is missing: install the Debian package freeradius-common", path.display());
    path
}

fn debian() -> &'static Dictionary {
    static SET: OnceLock<Dictionary> = OnceLock::new();
    SET.get_or_init(|| Dictionary::load(&debian_file("dictionary"), read).unwrap_or_else(|error| panic!("{error}")))
}

/// Names of the `ATTRIBUTE`s, and of the `VALUE`s with their attribute, of all files the root includes, gathered
/// without our parser.
fn gather(path: &Path, attributes: &mut BTreeSet<String>, values: &mut BTreeSet<String>) {
    for line in read(path).expect("readable").lines() {
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        match words[..] {
            ["$INCLUDE", name] => gather(&path.with_file_name(name), attributes, values),
            ["ATTRIBUTE", name, ..] => {
                attributes.insert(name.to_ascii_lowercase());
            }
            ["VALUE", attribute, name, ..] => {
                values.insert(format!("{attribute} {name}").to_ascii_lowercase());
            }
            _ => {}
        }
    }
}

#[test]
fn debians_set_loads_whole() {
    let set = debian();
    let (mut names, mut named_values) = (BTreeSet::new(), BTreeSet::new());
    gather(&debian_file("dictionary"), &mut names, &mut named_values);
    assert!(names.len() > 7000, "{} names in Debian's set; is it cut?", names.len());
    assert_eq!(set.attributes().count(), names.len());
    for name in &names {
        assert!(set.attribute(name).is_some(), "{name} was not loaded");
    }
    assert!(set.vendors().count() > 170, "{} vendors", set.vendors().count());
    let values: usize = set.attributes().map(|a| a.values().count()).sum();
    assert!(values > 7500, "{values} values");
    assert_eq!(values, named_values.len());
}

/// The files the root leaves out, for their conflicts, load beside what they need.
#[test]
fn debians_other_files_load_too() {
    let standards = |extra: &[&str]| {
        let base = ["dictionary.rfc2865", "dictionary.rfc2866", "dictionary.rfc2868", "dictionary.rfc6929"];
        let files: Vec<PathBuf> = base.iter().chain(extra).map(|name| debian_file(name)).collect();
        Dictionary::new().extended(&files, read).unwrap_or_else(|error| panic!("{error}"))
    };
    let digest = standards(&["dictionary.rfc5090"]);
    assert_eq!(digest.attribute("Digest-Response").map(|a| a.path), Some(AttributePath::plain(103)));
    let narrow = standards(&["dictionary.starent.vsa1"]);
    assert_eq!(narrow.vendor(8164).map(|v| v.format), Some(VendorFormat::RECOMMENDED));
    let nested = standards(&["dictionary.wimax.wichorus"]);
    let hour = nested.attribute("WiMAX-Hour").expect("inside BEGIN-TLV");
    assert_eq!(hour.path.numbers()[..2], [26, 24757]);
    assert!(hour.path.numbers().len() == 4, "{}", hour.path);
    for name in ["dictionary.dhcp", "dictionary.vqp", "dictionary.cisco.vpn3000"] {
        assert!(standards(&[name]).attributes().count() > standards(&[]).attributes().count(), "{name}");
    }
    // One of them is wrong in itself, and the error says so.
    let error = Dictionary::load(&debian_file("dictionary.freedhcp"), read).expect_err("an undefined name").to_string();
    assert!(error.contains("dictionary.freedhcp:238: attribute \"FreeDHCP-Opcode\" is not defined"), "{error}");
}

#[test]
fn debians_attributes_are_where_they_should_be() {
    use DataType::*;
    let set = debian();
    for (name, path, data_type) in [
        ("User-Name", "1", Text),
        ("Vendor-Specific", "26", Vsa),
        ("IPv6-6rd-IPv4MaskLen", "173.1", Integer),
        ("IP-Port-Range-Local-Id", "241.6.11", Text),
        ("Extended-Attribute-5", "245", LongExtended),
        ("Extended-Vendor-Specific-3", "243.26", Evs),
        ("FreeRADIUS-802.1X-Anonce", "245.26.11344.1", Octets),
        ("Cisco-AVPair", "26.9.1", Text),
        ("MS-CHAP2-Response", "26.311.25", Octets),
        ("Mikrotik-Rate-Limit", "26.14988.8", Text),
        ("USR-Channel", "26.429.48952", Integer),
        ("WiMAX-Capability", "26.24757.1", Tlv),
        ("WiMAX-Source-Port", "26.24757.28.11.5.4", Short),
        ("WiMAX-RRQ-HA-IP", "26.24757.18", ComboIp),
        ("3GPP2-DNS-Server-Flag", "26.5535.117.3", Byte),
        ("3GPP2-GMT-Time-Zone-Offset", "26.5535.143", Signed),
        ("ADSL-Forum-Device-Serial-Number", "26.3561.255.2", Text),
        ("ERX-IPv6-NdRa-Prefix", "26.4874.129", Ipv6Prefix),
        ("PMIP6-Home-IPv4-HoA", "155", Ipv4Prefix),
        ("PMIP6-Home-Interface-ID", "153", InterfaceId),
        ("MIP6-Feature-Vector", "124", Integer64),
        ("Event-Timestamp", "55", Date),
        ("Ascend-Data-Filter", "26.529.242", Abinary),
    ] {
        let attribute = set.attribute(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!((attribute.path.to_string().as_str(), attribute.data_type), (path, data_type), "{name}");
        assert_eq!(set.by_path(&attribute.path).map(|a| a.path), Some(attribute.path), "{name}");
    }
    for (vendor, format) in [
        ("WiMAX", (1, 1, true)),
        ("Telrad", (1, 1, true)),
        ("Starent", (2, 2, false)),
        ("USR", (4, 0, false)),
        ("Lucent", (2, 1, false)),
        ("Cisco", (1, 1, false)),
    ] {
        let known = set.vendor_by_name(vendor).unwrap_or_else(|| panic!("{vendor} is missing")).format;
        assert_eq!((known.type_octets, known.length_octets, known.continuation), format, "{vendor}");
    }
    let flags = |name: &str| set.attribute(name).unwrap_or_else(|| panic!("{name} is missing")).flags;
    assert_eq!(flags("User-Password").encryption, Some(Encryption::UserPassword));
    assert_eq!(flags("Tunnel-Password").encryption, Some(Encryption::TunnelPassword));
    assert!(flags("Tunnel-Password").tagged);
    assert_eq!(flags("Ascend-Send-Secret").encryption, Some(Encryption::AscendSecret));
    assert!(flags("EAP-Message").concat);
    assert!(flags("Auth-Type").virtual_only);
    assert_eq!(set.attribute("MS-CHAP-MPPE-Keys").and_then(|a| a.fixed_length), Some(24));
    let status = set.attribute("Acct-Status-Type").expect("defined");
    assert_eq!(status.value_number("interim-update"), Some(3));
    assert_eq!(status.value_number("Alive"), Some(3));
    assert_eq!(status.value_name(3), Some("Interim-Update"));
}

/// Every attribute that Debian has by our name has our number, type and flags; and so has every value.
#[test]
fn ours_agree_with_debians() {
    let digest = Dictionary::load(&debian_file("dictionary.rfc5090"), read).expect("loads alone");
    let mut alone = Vec::new();
    let mut compared = 0;
    for ours in Dictionary::embedded().attributes() {
        // In the whole set Digest-Response has the number of a draft; RFC 5090 is left out of it.
        let Some(theirs) = digest.attribute(&ours.name).or_else(|| debian().attribute(&ours.name)) else {
            alone.push(format!("{} {}", ours.path, ours.name));
            continue;
        };
        compared += 1;
        let name = &ours.name;
        assert_eq!(ours.path, theirs.path, "{name}");
        assert_eq!(ours.data_type, theirs.data_type, "{name}");
        assert_eq!(ours.fixed_length, theirs.fixed_length, "{name}");
        assert_eq!(ours.flags.encryption, theirs.flags.encryption, "{name}");
        assert_eq!(ours.flags.tagged, theirs.flags.tagged, "{name}");
        assert_eq!(ours.flags.concat, theirs.flags.concat, "{name}");
        assert!(!ours.flags.virtual_only, "{name}");
        for (value, number) in ours.values() {
            match theirs.value_number(value) {
                Some(known) => assert_eq!(number, known, "{name} {value}"),
                None => alone.push(format!("{name} {value} {number}")),
            }
        }
    }
    println!("ours alone:\n  {}", alone.join("\n  "));
    assert!(compared > 600, "only {compared} attributes compared");
    assert!(alone.len() < 20, "{} things of ours alone: {alone:#?}", alone.len());
    for ours in Dictionary::embedded().vendors() {
        if let Some(theirs) = debian().vendor_by_name(&ours.name) {
            assert_eq!((ours.number, ours.format), (theirs.number, theirs.format), "{}", ours.name);
        }
    }
}

/// The attributes of the standards are all ours: whatever Debian's RFC files define, we have under its number.
#[test]
fn no_standard_attribute_is_missing() {
    let files = std::fs::read_dir(debian_file("dictionary").with_file_name("")).expect("readable");
    let mut roots: Vec<PathBuf> = files
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("dictionary.rfc")))
        .collect();
    roots.sort();
    let standards = Dictionary::new().extended(&roots, read).unwrap_or_else(|error| panic!("{error}"));
    let missing: Vec<String> = standards
        .attributes()
        .filter(|theirs| Dictionary::embedded().by_path(&theirs.path).is_none())
        .map(|theirs| format!("{} {}", theirs.path, theirs.name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(standards.attributes().count() > 200);
}

/// Debian's set may come on top of ours as an operator's own.
#[test]
fn an_operators_files_extend_ours() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("dictionary");
    std::fs::write(&root, "$INCLUDE site\n$INCLUDE- absent\n").expect("written");
    std::fs::write(folder.path().join("site"), "VENDOR Site 32473\nBEGIN-VENDOR Site\nATTRIBUTE Site-Floor 1 byte\n")
        .expect("written");
    let extended = Dictionary::embedded().extended([&root], read).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(extended.encode("Site-Floor", "7").expect("encodes"), [26, 9, 0, 0, 0x7e, 0xd9, 1, 3, 7]);
    assert!(extended.attribute("Mikrotik-Rate-Limit").is_some(), "ours are still there");

    std::fs::write(folder.path().join("site"), "\nATTRIBUTE Filter-Id 12 string\n").expect("written");
    let error = Dictionary::embedded().extended([&root], read).expect_err("Filter-Id is 11").to_string();
    assert!(error.contains("site:2: attribute \"Filter-Id\" already means 11"), "{error}");
    assert!(error.contains("dictionaries/dictionary.core:"), "{error}");
}

/// What people write and what they are shown are the same, for the types and framings of many vendors.
#[test]
fn text_goes_there_and_back_through_debians_set() {
    let set = debian();
    for line in [
        "WiMAX-Release = \"1.0\"",
        "WiMAX-Source-Port = 1812",
        "WiMAX-DHCPv4-Server = 192.0.2.1",
        "SN-VPN-Name = \"corp\"",
        "USR-Channel = 7",
        "Lucent-Max-Shared-Users = 5",
        "3GPP2-Remote-IP-Address-Value = 192.0.2.7",
        "IP-Port-Range-Start = 1024",
        "FreeRADIUS-802.1X-Anonce = 0x0102",
        "ERX-Service-Activate:1 = \"gold\"",
        "Tunnel-Type:3 = L2TP",
    ] {
        let octets = set.encode_line(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(usize::from(octets[1]), octets.len(), "{line}");
        let described = set.describe(octets[0], &octets[2..]);
        assert_eq!(described.iter().map(ToString::to_string).collect::<Vec<_>>(), [line]);
    }
    // Type, length and the octet that says "more", each in its vendor's width.
    let wimax = set.encode("WiMAX-Release", "1.0").expect("encodes");
    assert_eq!(wimax, [&[26, 14, 0, 0, 0x60, 0xb5, 1, 8, 0, 1, 5][..], b"1.0"].concat());
    let starent = set.encode("SN-VPN-Name", "corp").expect("encodes");
    assert_eq!(starent, [&[26, 14, 0, 0, 0x1f, 0xe4, 0, 2, 0, 8][..], b"corp"].concat());
    let usr = set.encode("USR-Channel", "7").expect("encodes");
    assert_eq!(usr, [26, 14, 0, 0, 1, 0xad, 0, 0, 0xbf, 0x38, 0, 0, 0, 7]);
}

/// The same lines given to FreeRADIUS' own client come out as the same octets.
#[test]
fn radclient_writes_the_same_octets() {
    let mut lines: Vec<String> = [
        "Filter-Id = \"a\\\"b\\\\c\\012\"",
        "Service-Type = Framed-User",
        "Session-Timeout = 300",
        "Event-Timestamp = \"Jan  1 2024 00:00:00 UTC\"",
        "Delegated-IPv6-Prefix = 2001:db8::/32",
        "PMIP6-Home-IPv4-HoA = 192.0.2.0/24",
        "Framed-Interface-Id = 200:5eff:fe00:5301",
        "Tunnel-Type:3 = L2TP",
        "Tunnel-Private-Group-Id = \"17\"",
        "Tunnel-Private-Group-Id:2 = \"17\"",
        "ERX-Service-Activate:1 = \"gold\"",
        "Mikrotik-Rate-Limit = \"2M/2M\"",
        "Cisco-AVPair = \"ip:inacl#1=permit ip any any\"",
        "Attr-26.9.1 = 0x4142",
        "WiMAX-Release = \"1.0\"",
        "WiMAX-Source-Port = 1812",
        "SN-VPN-Name = \"corp\"",
        "USR-Channel = 7",
        "Lucent-Max-Shared-Users = 5",
        "3GPP2-Remote-IP-Address-Value = 192.0.2.7",
        "IP-Port-Range-Start = 1024",
        "FreeRADIUS-802.1X-Anonce = 0x0102",
    ]
    .map(str::to_owned)
    .to_vec();
    // Longer than one attribute, in the three ways there are.
    lines.push(format!("WiMAX-AAA-Session-Id = 0x{}", "17".repeat(300)));
    lines.push(format!("FreeRADIUS-802.1X-EAPoL-Key-Msg = 0x{}", "19".repeat(400)));
    let theirs = radclient(&lines.join("\n"));
    let mut rest = &theirs[..];
    for line in lines {
        let ours = debian().encode_line(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let (same, after) = rest.split_at(rest.len().min(ours.len()));
        assert_eq!(hex::encode(same), hex::encode(ours), "{line}");
        rest = after;
    }
    assert_eq!(hex::encode(rest), "", "they wrote more");
}

/// The attributes of the packet that `radclient` makes of these lines.
fn radclient(lines: &str) -> Vec<u8> {
    let listener = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
    listener.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let port = listener.local_addr().expect("bound").port();
    let mut client = Command::new("radclient")
        .args(["-r", "1", "-t", "0.1", &format!("127.0.0.1:{port}"), "auth", "secret"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("radclient runs: install the Debian package freeradius-utils");
    client.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("written");
    let mut packet = [0; 4096];
    let received = listener.recv(&mut packet);
    client.wait().expect("it ends by itself, unanswered");
    let length = received.unwrap_or_else(|error| panic!("nothing came: {error}"));
    packet[20..length].to_vec()
}
