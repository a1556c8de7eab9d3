//! `radhold nodes`

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::failure::Failure;
use super::{manual, output};
use crate::store::{Cluster, NodeStatus};

/// Show the servers that share the store: who is alive, and what waits for any of them.
///
/// "seen" is how long ago the store last heard of a node, and "lag" how long that took; a node that was not heard of for some seconds
/// is dead, and the others have taken over its orders. "leases" are orders it holds. One node polls Telegram. "spooled" are records that lie on a node's own disk until the
/// store has them, as it said when it was last seen. As JSON: one object
/// with nodes, waiting_orders, oldest_waiting_s, overdue_sessions and most_overdue_s; what ends in _s is in seconds.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold nodes\n  radhold nodes --json | jq -r '.nodes[] | select(.alive | not) | .name'"
))]
pub(super) struct NodesArgs {
    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &NodesArgs, context: &Context) -> Result<(), Failure> {
    let cluster = context.store().await?.cluster().await?;
    if args.json {
        return output::print_json(&Shown::from(&cluster));
    }
    output::print_table(
        ["node", "state", "seen", "lag", "since", "version", "leases", "leased until", "telegram", "spooled"],
        cluster.nodes.iter().map(row).collect(),
        "no server works on this store",
    )?;
    output::print(&format!(
        "\norders waiting: {}{}\nsessions overdue: {}{}",
        cluster.waiting_orders,
        for_how_long(cluster.waiting_orders, cluster.oldest_waiting_s),
        cluster.overdue_sessions,
        for_how_long(cluster.overdue_sessions, cluster.most_overdue_s),
    ))
}

/// The cluster, as programs see it.
#[derive(Debug, Serialize)]
struct Shown<'c> {
    nodes: Vec<Node<'c>>,
    waiting_orders: u64,
    oldest_waiting_s: f64,
    overdue_sessions: u64,
    most_overdue_s: f64,
}

#[derive(Debug, Serialize)]
struct Node<'c> {
    name: &'c str,
    alive: bool,
    version: &'c str,
    started_at: String,
    seen_s: f64,
    lag_s: f64,
    leases: u64,
    leased_until: Option<String>,
    polls_telegram: bool,
    spooled: u64,
    spooled_since: Option<String>,
}

impl<'c> From<&'c Cluster> for Shown<'c> {
    fn from(cluster: &'c Cluster) -> Self {
        Self {
            nodes: cluster.nodes.iter().map(Node::from).collect(),
            waiting_orders: cluster.waiting_orders,
            oldest_waiting_s: cluster.oldest_waiting_s,
            overdue_sessions: cluster.overdue_sessions,
            most_overdue_s: cluster.most_overdue_s,
        }
    }
}

impl<'c> From<&'c NodeStatus> for Node<'c> {
    fn from(node: &'c NodeStatus) -> Self {
        Self {
            name: node.name.as_str(),
            alive: node.alive,
            version: &node.version,
            started_at: node.started_at.to_string(),
            seen_s: node.seen_s,
            lag_s: node.lag_s,
            leases: node.leases,
            leased_until: node.leased_until.map(|until| until.to_string()),
            polls_telegram: node.polls_telegram,
            spooled: node.spooled,
            spooled_since: node.spooled_since.map(|since| since.to_string()),
        }
    }
}

fn row(node: &NodeStatus) -> [String; 10] {
    [
        node.name.to_string(),
        if node.alive { "alive" } else { "dead" }.to_owned(),
        format!("{:.1} s ago", node.seen_s),
        format!("{:.1} ms", node.lag_s * 1000.0),
        node.started_at.to_string(),
        node.version.clone(),
        node.leases.to_string(),
        output::or_dash(node.leased_until),
        if node.polls_telegram && node.alive { "polls" } else { "-" }.to_owned(),
        match node.spooled_since {
            Some(since) if node.spooled > 0 => format!("{} since {since}", node.spooled),
            _ => "-".to_owned(),
        },
    ]
}

fn for_how_long(count: u64, seconds: f64) -> String {
    if count == 0 { String::new() } else { format!(", the oldest for {seconds:.1} s") }
}
