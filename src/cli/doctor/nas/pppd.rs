//! pppd's and pptpd's own files: plugins, scripts, options. Knows nothing of RADIUS but the plugins' names.

use super::INSTALL;
use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::tree::Tree;

/// The scripts of pppd that must tell the agent, and what is lost when one does not.
const HOOKS: [(&str, &str, bool); 5] = [
    ("ip-pre-up", "Without it the rules are not in place when the first packet comes.", true),
    ("ip-up", "Without it the agent does not know that the session runs.", true),
    ("ip-down", "Without it the agent learns late that a session is over, and its address stays in the sets.", true),
    (
        "ipv6-up",
        "Without it the agent knows no IPv6 address of a session: a server that names one finds nobody, and a link of IPv6 alone \
         stays in the sandbox.",
        false,
    ),
    ("ipv6-down", "Without it a session goes on being known by an IPv6 address it has no more.", false),
];

pub(super) fn packages(tree: &Tree) -> Finding {
    let plugin = |name: &str| {
        let versions = tree.names("usr/lib/pppd").into_iter();
        versions.map(|version| format!("usr/lib/pppd/{version}/{name}")).find(|path| tree.exists(path))
    };
    let why = "It is pppd that the clients talk to, and radius.so that asks.";
    let missing: Vec<_> = ["radius.so", "radattr.so"].into_iter().filter(|name| plugin(name).is_none()).collect();
    if !tree.exists("usr/sbin/pppd") {
        Finding::fail("nas.pppd", "there is no /usr/sbin/pppd", why, "apt install ppp")
    } else if !missing.is_empty() {
        let says = format!("pppd has no {} in /usr/lib/pppd", missing.join(" and "));
        Finding::fail("nas.pppd", says, why, "apt install --reinstall ppp")
    } else {
        Finding::ok("nas.pppd", "pppd has radius.so and radattr.so")
    }
}

pub(super) fn hooks(tree: &Tree) -> Vec<Finding> {
    let calls = |event: &str| {
        tree.names(&format!("etc/ppp/{event}.d")).into_iter().find(|name| {
            let path = format!("etc/ppp/{event}.d/{name}");
            tree.is_executable(&path)
                && run_parts_takes(name)
                && tree.text(&path).is_some_and(|text| text.contains(&format!("radhold agent hook {event}")))
        })
    };
    let mut findings = Vec::new();
    for (event, why, needed) in HOOKS {
        let local = format!("etc/ppp/{event}.local");
        let (says, mend) = if !tree.exists(&format!("etc/ppp/{event}")) {
            (
                format!("there is no /etc/ppp/{event}, which runs /etc/ppp/{event}.d"),
                "apt install --reinstall ppp".to_owned(),
            )
        } else if tree.is_executable(&local)
            && tree.text(&local).is_none_or(|text| !text.contains("radhold agent hook"))
        {
            let says = format!("/{local} takes the place of /etc/ppp/{event}.d, and does not call the agent");
            (says, format!("mv /{local} /etc/ppp/{event}.d/local"))
        } else if calls(event).is_none() {
            (format!("no executable in /etc/ppp/{event}.d calls radhold agent hook {event}"), INSTALL.to_owned())
        } else {
            continue;
        };
        let make = if needed { Finding::fail } else { Finding::warn };
        findings.push(make("nas.hooks", says, why, mend));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("nas.hooks", "pppd's scripts call the agent"));
    }
    findings
}

pub(super) fn options(tree: &Tree) -> Finding {
    let files = option_files(tree);
    let why = "radius.so asks the server; radattr.so, loaded after it, tells the agent what the server said.";
    let with_radius = files.iter().find(|(_, text)| text.contains("radius.so"));
    let Some((path, text)) = with_radius else {
        return Finding::fail("nas.options", "no file of options in /etc/ppp loads radius.so", why, INSTALL);
    };
    let [radius, radattr] = ["plugin radius.so", "plugin radattr.so"].map(|option| position(text, option));
    if radattr.is_none() || radattr < radius {
        return Finding::fail(
            "nas.options",
            format!("/{path} does not load radattr.so after radius.so"),
            why,
            format!("add \"plugin radattr.so\" below \"plugin radius.so\" in /{path}"),
        );
    }
    if !has_option(text, "require-mschap-v2") {
        return Finding::warn(
            "nas.options",
            format!("/{path} does not say require-mschap-v2"),
            "Other methods make no keys for MPPE, or show the password.",
            format!("add \"require-mschap-v2\" to /{path}"),
        );
    }
    Finding::ok("nas.options", format!("/{path} asks RADIUS, and keeps what it says"))
}

pub(super) fn pptpd(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text("etc/pptpd.conf") else { return Vec::new() };
    if has_option(&text, "noipparam") {
        return vec![Finding::fail(
            "nas.pptpd",
            "/etc/pptpd.conf says noipparam",
            "Then there is no Calling-Station-Id: no address to ban, and none to show who is asked.",
            "sed -i /^noipparam/d /etc/pptpd.conf && systemctl restart pptpd",
        )];
    }
    let option = text.lines().filter_map(|line| line.strip_prefix("option")).map(str::trim).next_back();
    let file = option.unwrap_or("/etc/ppp/options");
    let Some(options) = tree.text(file) else {
        return vec![Finding::fail(
            "nas.pptpd",
            format!("pptpd's file of options, {file}, is not there"),
            "Every call ends before it begins.",
            INSTALL,
        )];
    };
    let included: Vec<_> = options.lines().filter_map(|line| line.strip_prefix("file ")).map(str::trim).collect();
    let texts = included.iter().filter_map(|path| tree.text(path)).chain([options.clone()]);
    if !texts.into_iter().any(|text| text.contains("radius.so")) {
        return vec![Finding::fail(
            "nas.pptpd",
            format!("pptpd's file of options, {file}, does not load radius.so"),
            "pppd would look into /etc/ppp/chap-secrets, and nobody would be asked.",
            INSTALL,
        )];
    }
    if !["require-mppe-128", "require-mppe"].iter().any(|option| has_option(&options, option)) {
        return vec![Finding::warn(
            "nas.pptpd",
            format!("{file} does not require MPPE"),
            "PPTP without MPPE is plain text.",
            format!("add \"require-mppe-128\" to {file}"),
        )];
    }
    vec![Finding::ok("nas.pptpd", format!("pptpd calls pppd with {file}"))]
}

/// run-parts passes over names with dots and other signs (`radhold.dpkg-old`).
fn run_parts_takes(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// pppd's files of options that may be meant, with their texts.
pub(super) fn option_files(tree: &Tree) -> Vec<(String, String)> {
    let names = tree.names("etc/ppp").into_iter();
    let named = names.filter(|name| name.contains("options")).map(|name| format!("etc/ppp/{name}"));
    named.filter_map(|path| tree.text(&path).map(|text| (path, text))).collect()
}

pub(super) fn has_option(text: &str, option: &str) -> bool {
    position(text, option).is_some()
}

fn position(text: &str, option: &str) -> Option<usize> {
    let words: Vec<_> = option.split(' ').collect();
    text.lines().position(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()))
}
