//! Whether the input chains of nftables let PPTP in, told from what `nft list ruleset` prints. Pure; a reader of words, not an
//! interpreter: what it cannot tell it says it cannot tell.

use std::collections::{BTreeMap, BTreeSet};

/// What can be told of chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lets {
    /// TCP 1723 and GRE are accepted, or nothing is dropped.
    In,
    /// There are rules that may accept them, or not.
    Unclear,
    /// No rule accepts both, and what is not accepted is dropped.
    Out,
}

/// Whether PPTP over IPv4 (TCP 1723 and GRE) may come in: what the strictest of the input chains says.
pub(super) fn pptp(ruleset: &str) -> Lets {
    let chains = chains(ruleset);
    let of_ipv4 = |table: &str| table.starts_with("inet ") || table.starts_with("ip ");
    let dropping = chains.iter().filter(|((table, _), rules)| of_ipv4(table) && drops_input(rules));
    dropping.map(|(&(table, name), _)| judge(&chains, table, name)).max().unwrap_or(Lets::In)
}

/// The rules of each chain, by table and name.
type Chains<'a> = BTreeMap<(&'a str, &'a str), Vec<String>>;

fn chains(ruleset: &str) -> Chains<'_> {
    let mut chains = Chains::new();
    let (mut table, mut chain) = ("", None);
    // A long set goes on in the next line.
    let mut begun = String::new();
    for line in ruleset.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("table ") {
            (table, chain) = (name.trim_end_matches(" {"), None);
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = Some(name.trim_end_matches(" {"));
        } else if line == "}" && begun.is_empty() {
            chain = None;
        } else if let Some(chain) = chain {
            begun += line;
            if begun.matches('{').count() > begun.matches('}').count() {
                begun.push(' ');
            } else {
                chains.entry((table, chain)).or_default().push(std::mem::take(&mut begun));
            }
        }
    }
    chains
}

/// By its policy, or by a last rule that has no condition.
fn drops_input(rules: &[String]) -> bool {
    let is_input = |rule: &String| rule.contains("hook input");
    let has_policy = rules.iter().any(|rule| is_input(rule) && rule.contains("policy drop"));
    let last = rules.last().map(String::as_str).unwrap_or_default();
    let drops = |verdict: &str| verdict.starts_with("drop") || verdict.starts_with("reject");
    let counted = last.strip_prefix("counter packets ").and_then(|rest| rest.splitn(4, ' ').nth(3));
    has_policy || (rules.iter().any(is_input) && (drops(last) || counted.is_some_and(drops)))
}

/// Follows jumps within the table.
fn judge(chains: &Chains<'_>, table: &str, name: &str) -> Lets {
    let (mut gre, mut control, mut unclear) = (false, false, false);
    let (mut seen, mut ahead) = (BTreeSet::new(), vec![name]);
    while let Some(name) = ahead.pop() {
        let Some(rules) = chains.get(&(table, name)).filter(|_| seen.insert(name)) else { continue };
        for rule in rules.iter().filter(|rule| !rule.starts_with("type ")) {
            let words: Vec<_> = rule.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).collect();
            let has = |word: &str| words.contains(&word);
            let target =
                words.iter().position(|word| ["jump", "goto"].contains(word)).and_then(|at| words.get(at + 1)).copied();
            if rule.contains("vmap") || rule.contains("xt match") || rule.contains("xt target") {
                unclear = true;
            } else if let Some(target) = target {
                ahead.push(target);
            } else if has("accept") {
                gre |= has("gre") || (has("47") && (has("protocol") || has("l4proto")));
                control |= has("1723");
                unclear |= may_accept_anything(rule, &words);
            }
        }
    }
    match (gre && control, unclear) {
        (true, _) => Lets::In,
        (false, true) => Lets::Unclear,
        (false, false) => Lets::Out,
    }
}

/// A named set, a range, a negation; or no word of a protocol, a state of conntrack or loopback at all.
fn may_accept_anything(rule: &str, words: &[&str]) -> bool {
    let about =
        ["tcp", "udp", "icmp", "icmpv6", "l4proto", "protocol", "nexthdr", "esp", "ah", "ct", "lo", "ipsec", "ip6"];
    let is_range = |word: &&str| word.split_once('-').is_some_and(|(from, _)| from.parse::<u16>().is_ok());
    let is_elsewhere = words.iter().any(|word| ["udp", "icmp", "icmpv6", "ct", "lo"].contains(word));
    let is_vague = rule.contains('@') || rule.contains("!=") || words.iter().any(is_range);
    (is_vague && !is_elsewhere) || !words.iter().any(|word| about.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(family: &str, input: &str, others: &str) -> String {
        format!(
            "table {family} filter {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy drop;\n\
             \t\tct state established,related accept\n\t\tiifname \"lo\" accept\n{input}\n\t}}\n{others}}}\n"
        )
    }

    #[test]
    fn a_chain_that_accepts_both_lets_pptp_in() {
        for rules in [
            "\t\ttcp dport 1723 accept\n\t\tmeta l4proto gre accept",
            "\t\ttcp dport { 22,\n\t\t\t1723 } accept\n\t\tip protocol 47 counter packets 0 bytes 0 accept",
        ] {
            assert_eq!(pptp(&filter("inet", rules, "")), Lets::In, "{rules}");
        }
        assert_eq!(pptp(""), Lets::In);
        assert_eq!(pptp(&filter("ip6", "", "")), Lets::In, "no PPTP over IPv6");
    }

    #[test]
    fn jumps_are_followed_within_the_table_alone() {
        let public = "\tchain public {\n\t\ttcp dport 1723 accept\n\t\tjump input\n\t\tmeta l4proto gre accept\n\t}\n";
        let jump = "\t\tiifname \"eth0\" jump public";
        assert_eq!(pptp(&filter("inet", jump, public)), Lets::In);
        assert_eq!(pptp(&filter("inet", "", public)), Lets::Out, "nothing leads there");
        let elsewhere = format!("{}table ip other {{\n{public}}}\n", filter("inet", jump, ""));
        assert_eq!(pptp(&elsewhere), Lets::Out);
    }

    #[test]
    fn the_strictest_chain_counts_and_a_last_drop_is_a_policy() {
        let open = filter("inet", "\t\ttcp dport 1723 accept\n\t\tmeta l4proto gre accept", "");
        let closed = |last: &str| {
            format!(
                "table ip b {{\n\tchain IN {{\n\t\ttype filter hook input priority 1; policy accept;\n{last}\n\t}}\n}}\n"
            )
        };
        for last in ["drop", "reject with icmp type admin-prohibited", "counter packets 4 bytes 240 drop"] {
            assert_eq!(pptp(&format!("{open}{}", closed(last))), Lets::Out, "{last}");
        }
        assert_eq!(pptp(&format!("{open}{}", closed("tcp dport 25 drop"))), Lets::In);
    }

    #[test]
    fn what_cannot_be_told_is_not_told() {
        for rule in [
            "ip saddr 192.0.2.0/24 accept",
            "iifname vmap { \"eth0\" : jump public }",
            "tcp dport @services accept",
            "tcp dport 1000-2000 accept",
            "meta l4proto != icmp6 accept",
            "xt match \"conntrack\" counter packets 0 bytes 0 accept",
            "accept",
        ] {
            assert_eq!(pptp(&filter("inet", rule, "")), Lets::Unclear, "{rule}");
        }
        for rule in ["tcp dport 22 accept", "udp dport 60000-61000 accept", "icmp type echo-request accept"] {
            assert_eq!(pptp(&filter("inet", rule, "")), Lets::Out, "{rule}");
        }
    }
}
