//! What the kernel must have and do: /dev/ppp, modules, forwarding. Knows no configuration but whether pppd speaks IPv6.

use super::pppd::{has_option, option_files};
use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::tree::Tree;

/// Modules of the kernel, and why.
const MODULES: [(&str, &str); 5] = [
    ("ppp_generic", "It is PPP itself."),
    ("ppp_async", "pptpd and xl2tpd hand pppd a terminal, which needs it."),
    ("ppp_mppe", "Without it there is no MPPE: PPTP clients that want encryption hang up."),
    ("nf_tables", "The sandbox is made of it."),
    ("nft_fib_inet", "Without it nft refuses the sandbox: it holds IPv6 sources to their interface."),
];

pub(super) fn device(tree: &Tree) -> Finding {
    if tree.exists("dev/ppp") {
        return Finding::ok("nas.dev-ppp", "/dev/ppp is there");
    }
    let mend = if tree.word("proc/sys/kernel/osrelease").is_some_and(|release| release.contains("cloud")) {
        "apt install linux-image-amd64 && reboot   (this is a cloud kernel, which has no PPP)"
    } else {
        "modprobe ppp_generic; in a container: pass /dev/ppp in"
    };
    Finding::fail("nas.dev-ppp", "there is no /dev/ppp", "pppd cannot make an interface without it.", mend)
}

pub(super) fn modules(tree: &Tree) -> Finding {
    let release = tree.word("proc/sys/kernel/osrelease").unwrap_or_default();
    let loaded = tree.text("proc/modules").unwrap_or_default();
    let list = |name: &str| tree.text(&format!("lib/modules/{release}/{name}")).unwrap_or_default();
    let (built_in, available) = (list("modules.builtin"), list("modules.dep"));
    let is_there = |module: &str| {
        let file = format!("/{module}.ko");
        loaded.lines().any(|line| line.split(' ').next() == Some(module))
            || tree.exists(&format!("sys/module/{module}"))
            || built_in.contains(&file)
            || available.contains(&file)
    };
    let missing: Vec<_> = MODULES.iter().filter(|(module, _)| !is_there(module)).collect();
    match missing.as_slice() {
        [] => Finding::ok("nas.modules", "PPP, MPPE and nftables are in the kernel, or can be loaded"),
        [(_, why), ..] => {
            let names: Vec<_> = missing.iter().map(|(module, _)| *module).collect();
            let mend = if release.contains("cloud") {
                "apt install linux-image-amd64 && reboot   (this is a cloud kernel, which has no PPP)".to_owned()
            } else {
                format!("modprobe -a {}; if that fails, install the kernel's package of modules", names.join(" "))
            };
            // A kernel with everything in it brings no lists along.
            let make =
                if tree.exists(&format!("lib/modules/{release}/modules.dep")) { Finding::fail } else { Finding::warn };
            make("nas.modules", format!("kernel {release} has no {}", names.join(", ")), why, mend)
        }
    }
}

pub(super) fn forwarding(tree: &Tree) -> Finding {
    match tree.word("proc/sys/net/ipv4/ip_forward").as_deref() {
        Some("1") => Finding::ok("nas.forwarding", "IPv4 is forwarded"),
        _ => Finding::fail(
            "nas.forwarding",
            "IPv4 is not forwarded",
            "Clients reach this host and nothing behind it.",
            "sysctl -w net.ipv4.ip_forward=1; for good: /etc/sysctl.d/60-radhold-nas.conf (pppd/install.sh)",
        ),
    }
}

/// Only where pppd is told to speak IPv6.
pub(super) fn ipv6_forwarding(tree: &Tree) -> Option<Finding> {
    let wanted = option_files(tree).iter().any(|(_, text)| has_option(text, "+ipv6"));
    if !wanted {
        return None;
    }
    Some(match tree.word("proc/sys/net/ipv6/conf/all/forwarding").as_deref() {
        Some("1") => Finding::ok("nas.forwarding-ipv6", "IPv6 is forwarded"),
        _ => Finding::warn(
            "nas.forwarding-ipv6",
            "pppd speaks IPv6 (+ipv6), but IPv6 is not forwarded",
            "Clients get IPv6 addresses that lead nowhere.",
            "sysctl -w net.ipv6.conf.all.forwarding=1   (and accept_ra=2 where this host's own route comes from)",
        ),
    })
}
