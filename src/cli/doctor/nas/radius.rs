//! The files of pppd's radius.so, beside what the front is told. Their crude format is `radiusclient`'s.

use std::net::IpAddr;

use super::INSTALL;
use super::pppd::option_files;
use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::radiusclient;
use crate::cli::doctor::tree::Tree;
use crate::config::Front;

pub(super) fn files(tree: &Tree, front: Option<&Front>) -> Vec<Finding> {
    let named = option_files(tree).into_iter().find_map(|(_, text)| {
        text.lines().find_map(|line| Some(line.strip_prefix("radius-config-file")?.trim().to_owned()))
    });
    let path = named.unwrap_or_else(|| "/etc/radiusclient/radiusclient.conf".to_owned());
    let Some(text) = tree.text(&path) else {
        let why = "Without it radius.so does not start, and every login fails.";
        return vec![Finding::fail("nas.radiusclient", format!("there is no {path}"), why, INSTALL)];
    };
    let settings = radiusclient::settings(&text);
    let mut findings = Vec::new();
    for problem in &settings.problems {
        let why = "radius.so reads it otherwise than it looks, or not at all.";
        findings.push(Finding::fail("nas.radiusclient", format!("{path}: {problem}"), why, format!("edit {path}")));
    }
    for (key, word) in [("mapfile", "map"), ("dictionary", "dictionary"), ("servers", "file of servers")] {
        if let Some(file) = settings.get(key).filter(|file| !tree.exists(file)) {
            let mend = if key == "mapfile" { format!("touch {file}") } else { INSTALL.to_owned() };
            let why = "radius.so opens it in any case; without it every login fails.";
            findings.push(Finding::fail("nas.radiusclient", format!("the {word}, {file}, is not there"), why, mend));
        }
    }
    if settings.get("nas_identifier").is_none() {
        findings.push(Finding::warn(
            "nas.radiusclient",
            format!("{path} has no nas_identifier"),
            "Then the name of this host must resolve to its address, or nothing is ever sent.",
            format!("echo 'nas_identifier nas-1' >> {path}"),
        ));
    }
    let asks_this_host = |host: &&str| host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if front.is_none() && settings.hosts("authserver").iter().any(asks_this_host) {
        findings.push(Finding::warn(
            "nas.front",
            "pppd asks this host, but no server is named in [agent.front]",
            "Without a front there must be a server on this very port, and its NAS must do without Message-Authenticator.",
            "editor /etc/radhold/agent.toml   ([agent.front.server.1]); systemctl restart radhold-agent",
        ));
    }
    findings.extend(patience(&settings, front, &path));
    findings.extend(settings.get("servers").and_then(|file| secrets(tree, &settings, file, front)));
    if let Some((file, text)) = settings.get("dictionary").and_then(|file| Some((file, tree.text(file)?))) {
        for problem in radiusclient::dictionary(&text) {
            findings.push(Finding::fail(
                "nas.radiusclient",
                format!("{file}: {problem}"),
                "Attributes it does not know are lost: without the keys pppd hangs up, without Filter-Id nothing is held.",
                INSTALL,
            ));
        }
    }
    if findings.is_empty() {
        let hosts = settings.hosts("authserver").into_iter().collect::<Vec<_>>().join(", ");
        findings.push(Finding::ok("nas.radiusclient", format!("{path} is sound; pppd asks {hosts}")));
    }
    findings
}

/// pppd must not give up before the front does, nor wait longer than its client.
fn patience(settings: &radiusclient::Settings, front: Option<&Front>, path: &str) -> Option<Finding> {
    const CLIENT: u64 = 30;
    let seconds = settings.patience()?;
    if seconds > CLIENT {
        return Some(Finding::warn(
            "nas.radiusclient",
            format!("pppd waits {seconds} s for an answer (radius_timeout times radius_retries)"),
            "Its client gives up sooner, and pppd stands still meanwhile.",
            format!("set radius_timeout 3 and radius_retries 4 in {path}"),
        ));
    }
    let front = front?;
    (seconds <= front.patience.as_secs()).then(|| {
        Finding::warn(
            "nas.radiusclient",
            format!("pppd waits {seconds} s, the front {} s", front.patience.as_secs()),
            "pppd gives up while the front still asks another server.",
            format!("raise radius_retries in {path}, or lower agent.front.patience"),
        )
    })
}

fn secrets(tree: &Tree, settings: &radiusclient::Settings, file: &str, front: Option<&Front>) -> Option<Finding> {
    let text = tree.text(file)?;
    let (secrets, problems) = radiusclient::secrets(&text);
    let why = "With another secret than the server's every login fails, and every record is dropped.";
    if let Some(problem) = problems.first() {
        let mend = "openssl rand -hex 20   (and the same in agent.front.secret)";
        return Some(Finding::fail("nas.radiusclient", format!("{file}: {problem}"), why, mend));
    }
    let asked = settings.hosts("authserver").into_iter().chain(settings.hosts("acctserver"));
    for host in asked {
        let Some(secret) = secrets.get(host) else {
            let mend = format!("add a line \"{host} SECRET\" to {file}");
            return Some(Finding::fail("nas.radiusclient", format!("{file} has no secret for {host}"), why, mend));
        };
        let fronts = front.filter(|front| front.auth.iter().any(|address| address.ip().to_string() == host));
        if fronts.is_some_and(|front| front.secret.expose() != secret.as_bytes()) {
            let mend = format!("make agent.front.secret_file and the line of {host} in {file} the same");
            let says = format!("the secret of {host} in {file} is not the front's");
            return Some(Finding::fail("nas.radiusclient", says, why, mend));
        }
        if secret.len() < crate::config::values::SECRET_LEAST {
            return Some(Finding::warn(
                "nas.radiusclient",
                format!("the secret of {host} in {file} has {} characters", secret.len()),
                "A short secret can be guessed from one recorded packet (RFC 2865 §3 wants 16 octets).",
                "openssl rand -hex 20   (and the same in agent.front.secret)",
            ));
        }
    }
    if tree.mode(file).is_some_and(|mode| mode & 0o077 != 0) {
        let why = "Whoever reads it can answer in the server's name.";
        return Some(Finding::fail(
            "nas.radiusclient",
            format!("others than root can read {file}"),
            why,
            format!("chmod 600 {file}"),
        ));
    }
    None
}
