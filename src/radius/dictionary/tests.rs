//! Dictionaries in, attributes out; text both ways; errors with their place.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use crate::radius::value::DataType;

use super::*;

fn parse(text: &str) -> Dictionary {
    Dictionary::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn refuse(text: &str) -> String {
    match Dictionary::parse_str(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

/// Loads `root` from a few texts by name.
fn load(texts: &[(&str, &str)]) -> Result<Dictionary, DictionaryError> {
    let texts: BTreeMap<_, _> = texts.iter().copied().collect();
    Dictionary::load(Path::new("root"), |path| {
        let text = texts.get(path.to_str().expect("a plain name"));
        text.map(|t| (*t).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

fn shown(dictionary: &Dictionary, octets: &[u8]) -> Vec<String> {
    let mut rest = octets;
    let mut attributes = Vec::new();
    while let [kind, length, ..] = *rest {
        attributes.push((kind, &rest[2..usize::from(length)]));
        rest = &rest[usize::from(length)..];
    }
    assert!(rest.is_empty());
    dictionary.describe_all(attributes).iter().map(ToString::to_string).collect()
}

mod format {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case_and_numbers_by_the_last_name() {
        let d = parse("ATTRIBUTE Old-Name 11 integer\nVALUE Old-Name One 1\nATTRIBUTE Filter-Id 11 string\n");
        assert_eq!(d.attribute("OLD-name").map(|a| &*a.name), Some("Old-Name"));
        assert_eq!(d.by_kind(11).map(|a| &*a.name), Some("Filter-Id"));
        assert_eq!(d.attributes().count(), 2);
    }

    #[test]
    fn a_definition_repeated_keeps_its_values() {
        let d = parse("ATTRIBUTE A 1 integer\nVALUE A One 1\nATTRIBUTE a 1 byte has_tag\n");
        let a = d.attribute("A").expect("defined");
        assert_eq!((a.data_type, a.flags.tagged, a.value_name(1)), (DataType::Byte, true, Some("One")));
    }

    #[test]
    fn values_may_come_before_their_attribute() {
        let d = parse("VALUE A Two 0x2\nATTRIBUTE A 1 integer # comment\n");
        assert_eq!(d.attribute("A").and_then(|a| a.value_number("two")), Some(2));
    }

    #[test]
    fn vendors_blocks_and_formats() {
        let d = parse(
            "VENDOR Acme 32473 format=2,1\nVENDOR Acme 32473\nBEGIN-VENDOR Acme\nATTRIBUTE Acme-Big 0x1234 string\n\
             END-VENDOR acme\nATTRIBUTE Plain 200 octets[4]\nATTRIBUTE Acme-Dotted 26.32473.7 tlv\n\
             BEGIN-TLV Acme-Dotted\nATTRIBUTE Acme-Leaf 1 short\nEND-TLV Acme-Dotted\n\
             ATTRIBUTE Acme-Leaf-2 26.32473.7.2 byte\nATTRIBUTE Acme-Old 9 string Acme\n",
        );
        let format = d.vendor(32473).expect("defined").format;
        assert_eq!(format, VendorFormat { type_octets: 2, length_octets: 1, continuation: false });
        assert_eq!(d.by_vendor(32473, 0x1234).map(|a| &*a.name), Some("Acme-Big"));
        assert_eq!(d.attribute("Plain").and_then(|a| a.fixed_length), Some(4));
        let path = |name| d.attribute(name).map(|a| a.path.to_string()).unwrap_or_default();
        assert_eq!(path("Acme-Leaf"), "26.32473.7.1");
        assert_eq!(path("Acme-Leaf-2"), "26.32473.7.2");
        assert_eq!(path("Acme-Old"), "26.32473.9");
    }

    #[test]
    fn extended_attributes_and_their_vendors() {
        let d = parse(
            "ATTRIBUTE Ext-5 245 long-extended\nATTRIBUTE Ext-Vendor-5 245.26 evs\nVENDOR Acme 32473\n\
             BEGIN-VENDOR Acme parent=Ext-Vendor-5\nATTRIBUTE Acme-Deep 1 tlv\nATTRIBUTE Acme-Deeper 1.2 string\n\
             END-VENDOR Acme\n",
        );
        let deeper = d.attribute("Acme-Deeper").expect("defined");
        assert_eq!(deeper.path.to_string(), "245.26.32473.1.2");
        assert_eq!(deeper.path.vendor(), Some(32473));
    }

    #[test]
    fn the_newer_formats_words() {
        let d = parse(
            "PROTOCOL RADIUS 1\nPROTOCOL DHCPv4 2 format=short\nBEGIN-PROTOCOL DHCPv4\nATTRIBUTE Nonsense x y z\n\
             END-PROTOCOL DHCPv4\nBEGIN-PROTOCOL RADIUS\nATTRIBUTE Parent 100 tlv\nATTRIBUTE Child .1 uint32\n\
             ENUM Colour uint8\nVALUE Colour Red 1\nATTRIBUTE Paint 101 uint8 enum=Colour\nATTRIBUTE Packed 102 struct\n\
             MEMBER Low uint16\nMEMBER High uint16\nVALUE Low Nothing 0\nSTRUCT Sub High 3\nMEMBER Tail octets\n\
             ALIAS Tint Paint\nDEFINE Inner uint32\nVALUE Inner None 0\nATTRIBUTE Span 103 time_delta\n\
             ATTRIBUTE Flag 104 bool\nATTRIBUTE Long 245 octets long,extended\nFLAGS internal\n\
             ATTRIBUTE Mind 105 string\nEND-PROTOCOL RADIUS\n",
        );
        assert!(d.attribute("Nonsense").is_none());
        assert_eq!(d.attribute("Child").map(|a| a.path.to_string()).as_deref(), Some("100.1"));
        assert_eq!(d.attribute("Paint").and_then(|a| a.value_name(1)), Some("Red"));
        assert_eq!(d.attribute("Tint").and_then(|a| a.value_number("red")), Some(1));
        assert_eq!(d.by_kind(101).map(|a| &*a.name), Some("Paint"));
        assert_eq!(d.attribute("Packed").map(|a| a.data_type), Some(DataType::Struct));
        assert_eq!(d.attribute("Long").map(|a| a.data_type), Some(DataType::LongExtended));
        assert_eq!(d.attribute("Mind").map(Attribute::travels), Some(false));
        assert_eq!(d.encode("Flag", "1").expect("a byte"), [104, 3, 1]);
    }

    #[test]
    fn includes_are_relative_to_the_file_that_names_them() {
        let d = load(&[
            ("root", "$INCLUDE sub/one\n$INCLUDE- gone\nVALUE A Late 9\n"),
            ("sub/one", "$INCLUDE two\nVENDOR Acme 5\nBEGIN-VENDOR Acme\n"),
            ("sub/two", "ATTRIBUTE A 1 integer\n"),
        ]);
        let d = d.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(d.attribute("A").map(|a| d.place(a)).as_deref(), Some("sub/two:1"));
    }

    #[test]
    fn an_error_names_file_line_and_remedy() {
        for (text, words) in [
            ("\nATTRIBUTES A 1 string", "text:2: unknown keyword \"ATTRIBUTES\""),
            ("ATTRIBUTE A 1", "write: ATTRIBUTE name number type [flags]"),
            ("ATTRIBUTE A one string", "\"one\" is not an attribute number"),
            ("ATTRIBUTE A 1 sting", "unknown type \"sting\""),
            ("ATTRIBUTE A 1 octets[x]", "unknown type \"octets[x]\""),
            ("ATTRIBUTE A 1 string hidden", "unknown flag \"hidden\""),
            ("ATTRIBUTE A 1 string encrypt=9", "unknown flag \"encrypt=9\""),
            ("ATTRIBUTE A 1 octets concat,encrypt=2", "exclude each other"),
            ("ATTRIBUTE A 1.2.3.4.5.6.7.8.9.10.11 string", "not an attribute number"),
            ("ATTRIBUTE A 100.1 string", "nothing is defined at 100"),
            ("ATTRIBUTE A 100 string\nATTRIBUTE B 100.1 string", "text:2: \"A\" cannot hold attributes"),
            ("ATTRIBUTE A 100 tlv\nATTRIBUTE B 100.256 string", "\"256\" is not a number this field can hold"),
            ("ATTRIBUTE A 26.9 string", "\"26.9\" is not an attribute number"),
            ("ATTRIBUTE A 26.9.1 string", "vendor \"9\" is not defined"),
            ("VENDOR V 9\nATTRIBUTE A 26.9.256 string", "\"256\" is not a number"),
            ("ATTRIBUTE A 1 string\nATTRIBUTE A 2 string", "text:2: attribute \"A\" already means 1 at text:1, here 2"),
            ("VENDOR V 1\nVENDOR V 2", "vendor \"V\" already means 1 at text:1, here 2"),
            ("VENDOR V 0", "\"0\" is not a number"),
            ("VENDOR V 1 format=3,1", "\"format=3,1\" is not a vendor format"),
            ("VENDOR V 1 format=1,1,c,d", "is not a vendor format"),
            ("BEGIN-VENDOR V", "vendor \"V\" is not defined"),
            ("VENDOR V 1\nBEGIN-VENDOR V\nEND-VENDOR W", "text:3: END-VENDOR W closes nothing"),
            ("END-TLV A", "END-TLV A closes nothing that is open here; expected no END at all"),
            ("BEGIN-TLV A", "attribute \"A\" is not defined"),
            ("VALUE A One 1", "text:1: attribute \"A\" is not defined"),
            ("ATTRIBUTE A 1 integer\nVALUE A One x", "\"x\" is not a number"),
            ("ATTRIBUTE A 1 byte\nVALUE A One 256", "of at most 255"),
            ("ATTRIBUTE A 1 integer\nVALUE A One 1\nVALUE A one 2", "already means 1 at text:2, here 2"),
            ("ATTRIBUTE A 1 string\nVALUE A One 1", "not of an integer type"),
            ("ALIAS A B", "attribute \"B\" is not defined"),
            ("ATTRIBUTE A 1 integer enum=B", "attribute \"B\" is not defined"),
            ("$INCLUDE other", "$INCLUDE has no place in a single text"),
            ("\0", "control characters"),
        ] {
            let error = refuse(text);
            assert!(error.starts_with("text:") && error.contains(words), "{text:?}: {error}");
        }
        let error = load(&[("root", "\n$INCLUDE gone")]).expect_err("no such file").to_string();
        assert!(error.starts_with("root:2: cannot read the file: gone: "), "{error}");
        let error = load(&[("root", "$INCLUDE a"), ("a", "$INCLUDE root")]).expect_err("a loop").to_string();
        assert_eq!(error, "a:1: \"root\" includes itself; remove this $INCLUDE");
        let error = load(&[]).expect_err("no root").to_string();
        assert!(error.starts_with("root: cannot read the file"), "{error}");
    }

    #[test]
    fn an_extension_that_fails_changes_nothing_and_names_both_places() {
        let base = parse("ATTRIBUTE A 1 string\n");
        let error = base.extended(["more"], |_| Ok("ATTRIBUTE A 2 string".into())).expect_err("contradiction");
        assert_eq!(error.to_string(), "more:1: attribute \"A\" already means 1 at text:1, here 2; rename one of them");
        let more = base.extended(["more"], |_| Ok("ATTRIBUTE B 1 octets".into())).expect("a second name");
        assert_eq!(more.by_kind(1).map(|a| &*a.name), Some("B"));
        assert_eq!(base.by_kind(1).map(|a| &*a.name), Some("A"));
    }
}

mod text_both_ways {
    use super::*;

    fn encode(name: &str, text: &str) -> Vec<u8> {
        Dictionary::embedded().encode(name, text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refused(name: &str, text: &str) -> String {
        match Dictionary::embedded().encode(name, text) {
            Ok(octets) => panic!("{name} = {text} gave {octets:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn octets_on_the_wire() {
        assert_eq!(encode("filter-id", "sandbox"), [&[11, 9][..], b"sandbox"].concat());
        assert_eq!(encode("Filter-Id", "\"a\\\"\\x00\\012é\""), [11, 8, b'a', b'"', 0, 10, 0xc3, 0xa9]);
        assert_eq!(encode("Session-Timeout", "300"), [27, 6, 0, 0, 1, 44]);
        assert_eq!(encode("Service-Type", "framed-user"), [6, 6, 0, 0, 0, 2]);
        assert_eq!(encode("Service-Type", "0x11"), [6, 6, 0, 0, 0, 17]);
        assert_eq!(encode("Framed-IP-Address", "10.0.0.1"), [8, 6, 10, 0, 0, 1]);
        assert_eq!(encode("State", "0xfeff"), [24, 4, 0xfe, 0xff]);
        assert_eq!(encode("Event-Timestamp", "1970-01-01T00:01:00Z"), [55, 6, 0, 0, 0, 60]);
        assert_eq!(encode("Event-Timestamp", "Jan  1 1970 00:01:00 UTC"), [55, 6, 0, 0, 0, 60]);
        assert_eq!(encode("Framed-Interface-Id", "200:5eff:fe00:5301"), [96, 10, 2, 0, 0x5e, 0xff, 0xfe, 0, 0x53, 1]);
        assert_eq!(encode("PMIP6-Home-IPv4-HoA", "192.0.2.77/24"), [155, 8, 0, 24, 192, 0, 2, 0]);
        assert_eq!(encode("Delegated-IPv6-Prefix", "2001:db8::1/32")[..8], [123, 20, 0, 32, 0x20, 1, 0x0d, 0xb8]);
        let rate = [&[26, 13, 0, 0, 0x3a, 0x8c, 8, 7][..], b"2M/2M"].concat();
        assert_eq!(encode("Mikrotik-Rate-Limit", "2M/2M"), rate);
        assert_eq!(encode("Attr-26.14988.8", "0x324d2f324d"), rate);
        assert_eq!(encode("Attr-250", "0x01"), [250, 3, 1]);
        assert_eq!(encode("IP-Port-Type", "1"), [241, 9, 5, 1, 6, 0, 0, 0, 1]);
        assert_eq!(encode("IPv6-6rd-BR-IPv4-Address", "192.0.2.1"), [173, 8, 3, 6, 192, 0, 2, 1]);
    }

    #[test]
    fn tags() {
        assert_eq!(encode("Tunnel-Type:1", "L2TP"), [64, 6, 1, 0, 0, 3]);
        assert_eq!(encode("Tunnel-Type", "VLAN"), [64, 6, 0, 0, 0, 13]);
        assert_eq!(encode("Tunnel-Private-Group-Id:2", "17"), [81, 5, 2, b'1', b'7']);
        assert_eq!(encode("Tunnel-Private-Group-Id", "17"), [81, 4, b'1', b'7']);
        // A text that begins like a tag gets the tag that says "none".
        assert_eq!(encode("Tunnel-Private-Group-Id", "\"\\x05\""), [81, 4, 0, 5]);
        assert!(refused("Tunnel-Type:32", "L2TP").contains("tags are 0 to 31"));
        assert!(refused("Filter-Id:1", "x").contains("takes no tag"));
        assert!(refused("Tunnel-Preference", "0x1000000").contains("at most 16777215"));
    }

    #[test]
    fn lines() {
        let d = Dictionary::embedded();
        for line in ["Session-Timeout=300", "Session-Timeout := 300", "Session-Timeout += 300"] {
            assert_eq!(d.encode_line(line).expect("a line"), [27, 6, 0, 0, 1, 44], "{line}");
        }
        let pair = d.encode_line("Cisco-AVPair = \"ip:inacl#1=permit ip any any\"").expect("a line");
        assert_eq!(shown(d, &pair), ["Cisco-AVPair = \"ip:inacl#1=permit ip any any\""]);
        assert!(d.encode_line("Session-Timeout 300").is_err());
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        for (name, text, words) in [
            ("Sesion-Timeout", "1", "did you mean Session-Timeout?"),
            ("Session-Timeout", "soon", "neither a number of at most 4294967295"),
            ("Service-Type", "Framed", "Login-User, Framed-User"),
            ("Framed-IP-Address", "10.0.0", "an IPv4 address"),
            ("State", "0x0", "pairs of hexadecimal digits"),
            ("MS-CHAP-Response", "0x00", "has 1 octets, its length is 50"),
            ("Filter-Id", "\"a", "must end with one"),
            ("Filter-Id", "\"a\"b", "must end with one"),
            ("Filter-Id", "\"\\q\"", "unknown escape"),
            ("Filter-Id", "", "leave the attribute out"),
            ("Attr-26.9.300", "0x00", "not a number an attribute can have"),
            ("Attr-300", "0x00", "not a number an attribute can have"),
            ("User-Password", "secret", "hidden on the wire"),
        ] {
            let error = refused(name, text);
            assert!(error.contains(words), "{name} = {text}: {error}");
        }
        assert!(refused("Filter-Id", &"x".repeat(254)).contains("254 octets do not fit"));
        assert!(refused("Cisco-AVPair", &"x".repeat(248)).contains("do not fit"));
        assert!(parse("ATTRIBUTE Auth-Type 1000 integer").encode("Auth-Type", "1").is_err());
    }

    #[test]
    fn what_is_hidden_needs_the_caller_and_is_never_shown() {
        let d = Dictionary::embedded();
        let octets = d.encode_with("Tunnel-Password:1", "secret", |how, clear| {
            assert_eq!((how, clear), (Encryption::TunnelPassword, &b"secret"[..]));
            Some(vec![0xab; 18])
        });
        let octets = octets.expect("hidden by the closure");
        assert_eq!(octets[..4], [69, 21, 1, 0xab]);
        assert_eq!(shown(d, &octets), ["Tunnel-Password:1 = <hidden, 18 octets>"]);
        for (kind, value) in [(2, &[7; 16][..]), (3, &[9; 17])] {
            let text = d.describe(kind, value)[0].to_string();
            assert!(text.ends_with(&format!("= <hidden, {} octets>", value.len())), "{text}");
        }
    }

    #[test]
    fn long_values_continue_in_the_next_attribute() {
        let d = Dictionary::embedded();
        let eap = d.encode("EAP-Message", &format!("0x{}", "5a".repeat(300))).expect("concat");
        assert_eq!((eap.len(), eap[1], eap[255], eap[256]), (304, 255, 79, 49));
        assert_eq!(shown(d, &eap), [format!("EAP-Message = 0x{}", "5a".repeat(300))]);

        let d = parse(
            "ATTRIBUTE E 245 long-extended\nATTRIBUTE Long 245.1 string\nATTRIBUTE EV 245.26 evs\nVENDOR W 24757 \
             format=1,1,c\nBEGIN-VENDOR W\nATTRIBUTE W-Long 5 octets\nEND-VENDOR W\nBEGIN-VENDOR W parent=EV\n\
             ATTRIBUTE EV-Long 3 octets\nEND-VENDOR W\n",
        );
        // RFC 6929 §2.2: flags with the top bit set until the last piece.
        let long = d.encode("Long", &"y".repeat(600)).expect("fragments");
        assert_eq!(long[..4], [245, 255, 1, 0x80]);
        assert_eq!(long[510..514], [245, 102, 1, 0]);
        assert_eq!(shown(&d, &long), [format!("Long = \"{}\"", "y".repeat(600))]);
        let wimax = d.encode("W-Long", &format!("0x{}", "17".repeat(500))).expect("fragments");
        assert_eq!(wimax[..9], [26, 255, 0, 0, 0x60, 0xb5, 5, 249, 0x80]);
        assert_eq!(shown(&d, &wimax), [format!("W-Long = 0x{}", "17".repeat(500))]);
        let deep = d.encode("EV-Long", &format!("0x{}", "19".repeat(500))).expect("fragments");
        assert_eq!(deep[..9], [245, 255, 26, 0x80, 0, 0, 0x60, 0xb5, 3]);
        assert_eq!(shown(&d, &deep), [format!("EV-Long = 0x{}", "19".repeat(500))]);
    }

    #[test]
    fn what_lies_is_shown_as_octets() {
        let d = Dictionary::embedded();
        for (kind, value, line) in [
            (27, &[0, 0, 1][..], "Attr-27 = 0x000001"),
            (250, &[1], "Attr-250 = 0x01"),
            (26, &[0, 0, 0], "Attr-26 = 0x000000"),
            (26, &[0, 0, 0, 9], "Attr-26.9 = 0x"),
            (26, &[0, 0, 0, 9, 1, 9, 65], "Attr-26.9 = 0x010941"),
            (26, &[0, 0, 0, 9, 1, 1, 65], "Attr-26.9 = 0x010141"),
            (26, &[0, 0, 0, 9, 254, 3, 65], "Attr-26.9.254 = 0x41"),
            (241, &[5, 1, 7, 0], "Attr-241.5 = 0x010700"),
            (245, &[1, 0x80, 7], "Attr-245 = 0x018007"),
            (97, &[0, 129, 0], "Attr-97 = 0x008100"),
            (11, &[0x1b, b'[', 0xff], "Filter-Id = \"\\x1b[\\xff\""),
        ] {
            let lines: Vec<_> = d.describe(kind, value).iter().map(ToString::to_string).collect();
            assert_eq!(lines, [line]);
        }
        let two = d.describe(26, &[0, 0, 0, 9, 1, 3, 65, 2, 3, 66]);
        let lines: Vec<_> = two.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["Cisco-AVPair = \"A\"", "Cisco-NAS-Port = \"B\""]);
        // RFC 3162 §2.3: no more octets than the prefix needs.
        assert_eq!(d.describe(97, &[0, 32, 0x20, 1, 0x0d, 0xb8])[0].text, "2001:db8::/32");
    }

    /// Octets that make a well-formed value of `attribute` often enough.
    fn value_of(attribute: &'static Attribute) -> impl Strategy<Value = (&'static Attribute, Vec<u8>)> {
        let length = match (attribute.fixed_length, text::width(attribute.data_type)) {
            (Some(fixed), _) => usize::from(fixed)..=usize::from(fixed),
            (None, Some(width)) => width..=width,
            (None, None) => 1..=30,
        };
        proptest::collection::vec(any::<u8>(), length).prop_map(move |octets| (attribute, octets))
    }

    fn any_value() -> impl Strategy<Value = (&'static Attribute, Vec<u8>)> {
        let all: Vec<&'static Attribute> = Dictionary::embedded().attributes().collect();
        proptest::sample::select(all).prop_flat_map(value_of)
    }

    /// What is shown for an attribute, written again, is shown the same; and from then on the octets are the same.
    fn comes_back(kind: u8, value: &[u8]) -> Result<(), TestCaseError> {
        let d = Dictionary::embedded();
        let all = d.describe(kind, value);
        prop_assert!(!all.is_empty());
        for described in all.iter().filter(|described| !described.text.starts_with('<')) {
            let octets = match d.encode(&described.name, &described.text) {
                Ok(octets) => octets,
                Err(EncodeError::Empty(_)) => continue,
                Err(error) => return Err(TestCaseError::fail(format!("{described}: {error}"))),
            };
            prop_assert_eq!(octets.len(), usize::from(octets[1]));
            // A prefix loses the bits behind its length once; octets we could not read may be readable by
            // themselves, when what stood beside them was not.
            let again = d.describe(octets[0], &octets[2..]);
            if described.name.starts_with("Attr-") || described.text.contains('/') {
                continue;
            }
            prop_assert_eq!(&again[..], std::slice::from_ref(described));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_attribute_text_comes_back((attribute, octets) in any_value(), tag in 0u8..=31) {
            let d = Dictionary::embedded();
            let tag = attribute.flags.tagged.then_some(tag);
            let wire = d.encode_octets(attribute, tag, &octets).expect("short values fit");
            comes_back(wire[0], &wire[2..])?;
        }

        #[test]
        fn any_octets_are_described(kind: u8, value in proptest::collection::vec(any::<u8>(), 0..=253)) {
            comes_back(kind, &value)?;
        }

        #[test]
        fn any_vendors_octets_are_described(
            vendor in proptest::sample::select(vec![9u32, 311, 3561, 25053, 4874, 77]),
            value in proptest::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..=40),
        ) {
            comes_back(26, &[&vendor.to_be_bytes()[..], &value].concat())?;
        }

        #[test]
        fn any_text_is_quoted_and_read_back(text in ".{1,40}") {
            let wire = encode("Reply-Message", &quote(&text));
            prop_assert_eq!(&wire[2..], text.as_bytes());
            let shown = &Dictionary::embedded().describe(18, &wire[2..])[0].text;
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(shown, &quote(&text));
        }

        #[test]
        fn any_name_and_text_give_an_answer(name in ".{0,20}", text in ".{0,20}") {
            let d = Dictionary::embedded();
            if let Ok(octets) = d.encode(&name, &text) {
                prop_assert!(octets.len() >= 2);
            }
            if let Ok(octets) = d.encode(&format!("Attr-{name}"), &format!("0x{text}")) {
                prop_assert!(octets.len() >= 2);
            }
        }

        #[test]
        fn any_dictionary_gives_an_answer(lines in proptest::collection::vec(line(), 0..12)) {
            let text = lines.join("\n");
            match Dictionary::parse_str(&text) {
                Ok(d) => {
                    for attribute in d.attributes() {
                        prop_assert!(d.attribute(&attribute.name).is_some());
                        prop_assert!(d.by_path(&attribute.path).is_some());
                    }
                }
                Err(error) => prop_assert!(error.to_string().starts_with("text:")),
            }
        }

        #[test]
        fn any_packet_is_described(attributes in proptest::collection::vec(
            (prop_oneof![Just(26u8), Just(79), Just(245), Just(246), any::<u8>()],
             proptest::collection::vec(prop_oneof![0u8..3, Just(0x80), any::<u8>()], 0..12)), 0..6,
        )) {
            let d = Dictionary::embedded();
            let all = d.describe_all(attributes.iter().map(|(kind, value)| (*kind, &value[..])));
            prop_assert_eq!(all.is_empty(), attributes.is_empty());
        }
    }

    /// Lines that are nearly right.
    fn line() -> impl Strategy<Value = String> {
        let words = [
            "ATTRIBUTE",
            "VALUE",
            "VENDOR",
            "BEGIN-VENDOR",
            "END-VENDOR",
            "BEGIN-TLV",
            "END-TLV",
            "ALIAS",
            "ENUM",
            "STRUCT",
            "MEMBER",
            "FLAGS",
            "PROTOCOL",
            "BEGIN-PROTOCOL",
            "END-PROTOCOL",
            "$INCLUDE-",
            "A",
            "B",
            "V",
            "1",
            "2",
            "26",
            "241",
            "245.26",
            "26.1.1",
            "245.26.1.1",
            "1.2",
            ".1",
            "300",
            "0xff",
            "tlv",
            "integer",
            "string",
            "evs",
            "octets[3]",
            "format=2,0",
            "parent=A",
            "has_tag",
            "concat",
            "enum=A",
            "encrypt=2",
            "#",
        ];
        let word = prop_oneof![9 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"];
        proptest::collection::vec(word, 0..6).prop_map(|words| words.join(" "))
    }
}

#[test]
fn the_embedded_files_are_right_and_all_in_use() {
    let d = Dictionary::embedded();
    assert_eq!(d.attribute("user-name").map(|a| a.path), Some(AttributePath::plain(1)));
    let names: Vec<_> = d.files.iter().map(|name| &**name).collect();
    for (name, text) in embedded::FILES {
        assert!(names.contains(name), "{name} is included by nobody");
        assert!(*name == "dictionaries/dictionary" || text.contains("\n# Source: "), "{name} names no source");
    }
    assert_eq!(names.len(), embedded::FILES.len());
    assert!(d.attributes().count() > 600, "{}", d.attributes().count());
}
