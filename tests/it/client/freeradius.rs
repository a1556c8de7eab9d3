//! `radhold client` against FreeRADIUS.

use std::fs;

use super::process::Process;
use crate::freeradius::Daemon;

/// A FreeRADIUS, running, and its addresses.
struct FreeRadius {
    _daemon: Daemon,
    auth: String,
    acct: String,
}

/// alice's answers carry a Message-Authenticator, old's do not: before CVE-2024-3596, that was the rule.
const USERS: &str = "\
alice Cleartext-Password := \"wonderland\"
\tFilter-Id := \"sandbox\"
old Cleartext-Password := \"wonderland\"
";

const SECTIONS: &str = r#"
    authorize {
        if (&User-Name != "old") {
            update reply {
                &Message-Authenticator := 0x00
            }
        }
        files
        chap
        mschap
        pap
    }
    accounting {
        ok
    }
"#;

impl FreeRadius {
    fn start() -> Self {
        let daemon = Daemon::start(|dir| {
            let users = dir.join("users");
            fs::write(&users, USERS).unwrap();
            let modules = format!(
                r#"
modules {{
    always ok {{
        rcode = ok
    }}
    pap {{
    }}
    chap {{
    }}
    mschap {{
    }}
    files {{
        usersfile = "{}"
    }}
}}
"#,
                users.display()
            );
            (modules, SECTIONS.to_owned())
        });
        Self { auth: daemon.auth.to_string(), acct: daemon.accounting.to_string(), _daemon: daemon }
    }
}

#[test]
fn freeradius_takes_every_method_and_proves_itself() {
    let server = FreeRadius::start();
    let process = Process::new();
    let (right, wrong) = (process.file("right", "wonderland"), process.file("wrong", "wanderland"));
    for method in ["pap", "chap", "mschapv1", "mschapv2"] {
        let run = |password| {
            let login = ["auth", &server.auth, "--user", "alice", "--password-file", password, "--method", method];
            process.client(&login, "")
        };
        let accepted = run(&right);
        assert_eq!(accepted.code, 0, "{method}: {}", accepted.all());
        assert!(accepted.stdout.contains("Filter-Id = \"sandbox\""), "{}", accepted.stdout);
        assert!(accepted.stdout.contains("verified: Response Authenticator, Message-Authenticator"));
        let version_2 = method == "mschapv2";
        assert_eq!(accepted.stdout.contains("Message-Authenticator, MS-CHAP2-Success"), version_2);
        assert_eq!(accepted.stdout.contains("MS-MPPE-Recv-Key = <hidden, 34 octets>"), version_2);
        let refused = run(&wrong);
        assert_eq!(refused.code, 1, "{method}: {}", refused.all());
        assert_eq!(refused.stdout.contains("E=691"), method.starts_with("mschap"), "{}", refused.stdout);
    }
    let packets = "User-Name = alice, User-Password = wonderland\n\nUser-Name = alice, CHAP-Password = wonderland\n\n\
                   User-Name = alice, MS-CHAP-Password = wonderland\n\nUser-Name = alice, MS-CHAP2-Password = wonderland";
    let ran = process.client(&["auth", &server.auth, "--count", "5", "--parallel", "3"], packets);
    assert!(ran.code == 0 && ran.stdout.contains(": 20 accepted"), "{}", ran.all());
}

#[test]
fn freeradius_answers_accounting_and_status() {
    let server = FreeRadius::start();
    let process = Process::new();
    let record = "User-Name = alice\nAcct-Status-Type = Start\nAcct-Session-Id = 4D2\nNAS-Port = 7";
    let ran = process.client(&["acct", &server.acct], record);
    assert!(ran.code == 0 && ran.stdout.contains("Accounting-Response"), "{}", ran.all());
    for address in [&server.auth, &server.acct] {
        let ran = process.client(&["status", address], "");
        assert_eq!(ran.code, 0, "{}", ran.all());
    }
}

#[test]
fn freeradius_without_message_authenticator_or_with_another_secret_is_not_believed() {
    let server = FreeRadius::start();
    let process = Process::new();
    let password = process.file("password", "wonderland");
    let login = ["auth", &server.auth, "--user", "old", "--password-file", &password, "-t", "1", "-r", "0"];
    let ran = process.client(&login, "");
    assert!(ran.code == 4 && ran.stdout.contains("CVE-2024-3596"), "{}", ran.all());
    let ran = process.client(&[&login[..], &["--accept-unsigned"]].concat(), "");
    assert!(ran.code == 0 && ran.stdout.contains("verified: Response Authenticator\n"), "{}", ran.all());
    // A request signed with another secret gets no answer; one that cannot be checked gets one we do not believe.
    let arguments = [&["client"], &login[..], &["--secret-stdin"]].concat();
    let ran = process.run(&arguments, "another secret", None);
    assert_eq!(ran.code, 3, "{}", ran.all());
    let ran = process.run(&[&arguments[..], &["--no-message-authenticator"]].concat(), "another secret", None);
    assert!(ran.code == 4 && ran.stdout.contains("is the secret right"), "{}", ran.all());
}
