//! `radhold nas …`

use radhold::app::keys;
use radhold::model::Secret;
use serde_json::json;

use super::{House, wait};

#[test]
fn a_nas_is_added_listed_and_removed() {
    let house = House::with("[nas.core]\naddress = \"10.0.0.1\"\nsecret = \"fedcba9876543210\"\n");
    let file = house.file("secret", "0123456789abcdef\n");
    house.done(&[
        "nas",
        "add",
        "edge",
        "--address",
        "192.0.2.7/24",
        "--secret-file",
        &file,
        "--dialect",
        "mikrotik",
        "--coa-port",
        "1700",
        "--octet-direction",
        "swapped",
        "--no-require-message-authenticator",
        "--reject-delay",
        "2s",
        "--allow-callers",
        "10.0.0.0/8",
        "--deny-callers",
        "192.0.2.7",
        "--deny-callers",
        "0.0.0.0/0",
        "--approvers",
        "operator:90s",
        "--when-unreachable",
        "hold",
        "--challenge",
        "--code-or-reject",
    ]);
    let list = house.json(&["nas", "list"]);
    assert_eq!((&list[0]["name"], &list[0]["kept_in"]), (&json!("core"), &json!("configuration")));
    assert_eq!(
        list[1],
        json!({
            "name": "edge", "address": "192.0.2.0/24", "dialect": "mikrotik", "require_message_authenticator": false,
            "limit_proxy_state": false, "allow_ms_chap_v1": false, "coa_address": null, "coa_port": 1700,
            "coa_source": null, "reject_delay": 2.0, "octet_direction": "swapped",
            "octet_wrap": false, "unique_ports": null, "sandbox_filter": null,
            "permit_filter": null, "approvers": ["operator:1m30s"], "when_unreachable": "hold", "allow_callers": ["10.0.0.0/8"], "deny_callers": ["192.0.2.7/32", "0.0.0.0/0"],
            "nas_identifier": null, "radsec": [], "radsec_only": false, "dynauth": "auto", "previous_secret_until": null,
            "totp_in_password": null, "challenge": true, "code_or_reject": true, "kept_in": "store",
        })
    );
    assert!(!house.done(&["nas", "list"]).contains("0123456789abcdef"));

    // The store holds the secret sealed, and it opens.
    let store = house.store();
    let kept = wait(store.nases()).unwrap().remove(0);
    assert!(!String::from_utf8_lossy(kept.secret.expose()).contains("0123456789abcdef"));
    assert_eq!(keys::open_nas(kept, &house.sealing_key()).unwrap().secret, Secret::new("0123456789abcdef"));

    house.done(&["nas", "remove", "edge"]);
    assert_eq!(house.json(&["nas", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_generated_secret_is_printed_once_and_kept() {
    let house = House::new();
    let printed = house.done(&["nas", "add", "edge", "--address", "192.0.2.1", "--generate-secret"]);
    let secret = printed.lines().find_map(|line| line.strip_prefix("secret ")).unwrap();
    assert_eq!(secret.len(), 32);
    let store = house.store();
    let kept = wait(store.nases()).unwrap().remove(0);
    assert_eq!(keys::open_nas(kept, &house.sealing_key()).unwrap().secret.expose(), secret.as_bytes());
}

#[test]
fn mistakes_about_nases_are_told_in_one_line() {
    let house = House::with("[nas.core]\naddress = \"10.0.0.1\"\nsecret = \"fedcba9876543210\"\n");
    house.done(&["nas", "add", "edge", "--address", "192.0.2.1", "--generate-secret"]);
    for (code, arguments, complaint) in [
        (
            1,
            &["nas", "add", "edge", "--address", "192.0.2.2", "--generate-secret"][..],
            "radhold: NAS edge exists already, in the store",
        ),
        (
            1,
            &["nas", "add", "core", "--address", "192.0.2.2", "--generate-secret"],
            "radhold: NAS core exists already, in the configuration",
        ),
        (
            1,
            &["nas", "add", "a", "--address", "10.0.0.1/32", "--generate-secret"],
            "radhold: NAS core has the address 10.0.0.1/32 already",
        ),
        (
            2,
            &["nas", "add", "a", "--address", "192.0.2.3", "--generate-secret", "--permit-filter", "sandbox"],
            "radhold: both filters would be \"sandbox\"",
        ),
        (4, &["nas", "remove", "core"], "radhold: there is no NAS core in the store; it is in the configuration"),
        (4, &["nas", "remove", "nobody"], "radhold: there is no NAS nobody in the store; see `radhold nas list`"),
    ] {
        let said = house.fails(code, arguments);
        assert!(said.starts_with(complaint), "{arguments:?}: {said}");
    }
    let said =
        house.fails(2, &["nas", "add", "a", "--address", "192.0.2.3", "--generate-secret", "--dialect", "klingon"]);
    assert!(said.starts_with("radhold: there is no dialect \"klingon\"; there are accel-ppp, cisco, "), "{said}");
    for arguments in [
        ["nas", "add", "a b", "--address", "192.0.2.3", "--generate-secret"],
        ["nas", "add", "a", "--address", "192.0.2.300", "--generate-secret"],
    ] {
        house.fails(2, &arguments);
    }
}

#[test]
fn a_short_secret_is_warned_of() {
    let house = House::new();
    let ran = house.run_with(&["nas", "add", "edge", "--address", "192.0.2.1", "--secret-stdin"], "a-short-one\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "added NAS edge\n"));
    assert!(ran.stderr.contains("shorter than 16 octets"), "{}", ran.stderr);
}
