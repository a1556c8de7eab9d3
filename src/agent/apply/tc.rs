//! How fast an interface may be, by `tc` with a batch on its standard input: a token bucket (TBF) towards the user, which delays,
//! and policing of what comes from the user, which drops. Knows no session, and touches only what bears its own handle and preference.

use std::fmt::Write as _;

use super::tool::{ToolError, run};
use crate::dynauth::server::Rates;

/// The handle of our token bucket: who has another on an interface of ours keeps it.
const HANDLE: &str = "7268:";
/// The preference of our filter at the ingress.
const PREFERENCE: &str = "29288";
/// Bits per second. Below this the kernel cannot count a packet's time.
const SLOWEST: u64 = 8_000;
/// Octets that may come at once: a fortieth of a second to the user, where the rest waits; a quarter from the user, where the rest
/// is lost, and TCP would never find the rate with less. At least some full packets, at most what the kernel can count.
const BURST: std::ops::RangeInclusive<u64> = (16 << 10)..=(64 << 20);
/// How long a packet to the user may wait.
const LATENCY: &str = "300ms";

/// Puts limits in force on an interface in place of those of `before`; `None`: it is not known which these are. Gives what the
/// kernel then shows of them: see [`shown`].
///
/// # Errors
/// [`ToolError`]; the interface may then have one limit and not the other.
pub(super) async fn limit(interface: &str, before: Option<Rates>, rates: Rates) -> Result<String, ToolError> {
    if before.is_none() {
        lift([interface].into_iter()).await?;
    }
    run("tc", &["-batch", "-"], &orders(interface, before.unwrap_or_default(), rates)).await
}

/// The same for many at once, of none of which it is known what limits it has. Gives what the kernel shows for each.
///
/// # Errors
/// [`ToolError`]; then some have their limits and others not.
pub(super) async fn limit_all(wanted: &[(&str, Rates)]) -> Result<Vec<String>, ToolError> {
    lift(wanted.iter().map(|(interface, _)| *interface)).await?;
    let lines: String = wanted.iter().map(|(interface, rates)| orders(interface, Rates::default(), *rates)).collect();
    let said = run("tc", &["-batch", "-"], &lines).await?;
    let mut shown: Vec<String> = Vec::new();
    for line in said.split_inclusive('\n') {
        match shown.last_mut() {
            // Each begins with the one discipline at its root.
            Some(last) if !(line.starts_with("qdisc ") && line.contains(" root ")) => last.push_str(line),
            _ => shown.push(line.to_owned()),
        }
    }
    if shown.len() == wanted.len() {
        Ok(shown)
    } else {
        Err(ToolError::Refused("tc", format!("to show {} interfaces: there are {}", wanted.len(), shown.len())))
    }
}

/// What the kernel shows of the limits of these interfaces, one after the other as [`limit`] gave it for each.
///
/// # Errors
/// [`ToolError`], also when an interface is gone.
pub(super) async fn shown(interfaces: impl Iterator<Item = &str>) -> Result<String, ToolError> {
    let lines: String = interfaces.map(show).collect();
    run("tc", &["-batch", "-"], &lines).await
}

/// Takes our limits away from interfaces, whether they have any or not.
///
/// # Errors
/// [`ToolError`] when tc cannot be run at all.
pub(super) async fn lift(interfaces: impl Iterator<Item = &str>) -> Result<(), ToolError> {
    let mut lines = String::new();
    for interface in interfaces {
        let _ = writeln!(lines, "qdisc del dev {interface} root handle {HANDLE}");
        let _ = writeln!(lines, "filter del dev {interface} ingress pref {PREFERENCE}");
    }
    match run("tc", &["-force", "-batch", "-"], &lines).await {
        // It refuses to delete what is not there.
        Ok(_) | Err(ToolError::Refused(..)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Interfaces that may have a limit of ours, as the kernel lists them.
///
/// # Errors
/// [`ToolError`].
pub(super) async fn limited() -> Result<Vec<String>, ToolError> {
    let listed = run("tc", &["qdisc", "show"], "").await?;
    let of = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, handle) = (words.next()?, words.next()?);
        (kind == "ingress" || handle == HANDLE).then_some(())?;
        words.skip_while(|word| *word != "dev").nth(1).map(str::to_owned)
    };
    Ok(listed.lines().filter_map(of).collect())
}

fn orders(interface: &str, before: Rates, rates: Rates) -> String {
    let mut lines = String::new();
    if let Some(rate) = rates.down {
        let (rate, burst) = bucket(rate, 40);
        let _ = writeln!(
            lines,
            "qdisc replace dev {interface} root handle {HANDLE} tbf rate {rate}bit burst {burst} latency {LATENCY}"
        );
    } else if before.down.is_some() {
        let _ = writeln!(lines, "qdisc del dev {interface} root handle {HANDLE}");
    }
    if before.up.is_some() {
        // The kernel changes no filter of this kind.
        let _ = writeln!(lines, "filter del dev {interface} ingress pref {PREFERENCE}");
    }
    if let Some(rate) = rates.up {
        let (rate, burst) = bucket(rate, 4);
        // A packet that was put together by the receiving interface is larger than its MTU.
        let _ = writeln!(
            lines,
            "qdisc replace dev {interface} ingress\n\
             filter add dev {interface} ingress protocol all pref {PREFERENCE} handle 1 matchall \
             action police rate {rate}bit burst {burst} mtu 65535 conform-exceed drop"
        );
    }
    lines + &show(interface)
}

fn show(interface: &str) -> String {
    format!("qdisc show dev {interface}\nfilter show dev {interface} ingress pref {PREFERENCE}\n")
}

/// The rate as the kernel can keep it, and how many octets may come at once: those of this part of a second.
fn bucket(rate: u64, part: u64) -> (u64, u64) {
    let rate = rate.max(SLOWEST);
    (rate, (rate / 8 / part).clamp(*BURST.start(), *BURST.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_some_packets_and_no_more_than_can_be_counted() {
        assert_eq!(bucket(1, 40), (8_000, 16 << 10));
        assert_eq!(bucket(800_000, 4), (800_000, 25_000));
        assert_eq!(bucket(80_000_000, 40), (80_000_000, 250_000));
        assert_eq!(bucket(u64::MAX, 4).1, 64 << 20);
    }
}
