//! The address of PostgreSQL, which may name several hosts of which one at a time can be written. Opens nothing.
//!
//! `postgres://USER:PASSWORD@HOST1:PORT,HOST2:PORT/DATABASE?target_session_attrs=read-write`, as libpq has it.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::store::StoreError;

/// The key that says which hosts will do.
const TARGET: &str = "target_session_attrs";

/// Hosts, in the order in which they are tried, and what is said at each.
#[derive(Clone)]
pub(super) struct Address {
    hosts: Vec<PgConnectOptions>,
    /// Whether a host that cannot be written will do.
    any: bool,
}

impl Address {
    /// Reads an address. Statements and transactions get time limits on the side of PostgreSQL, so that one whose client was cut
    /// off holds nobody up; a connection whose other end is gone is noticed there within some ten seconds.
    pub(super) fn parse(url: &str, patience: Duration) -> Result<Self, StoreError> {
        let bad = |reason: String| StoreError::BadAddress(format!("the address of PostgreSQL: {reason}"));
        let (url, any) = without_target(url).map_err(bad)?;
        let limits = [
            ("statement_timeout", format!("{}ms", patience.as_millis())),
            ("idle_in_transaction_session_timeout", format!("{}ms", patience.as_millis() * 2)),
            ("tcp_keepalives_idle", "5".to_owned()),
            ("tcp_keepalives_interval", "2".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            ("tcp_user_timeout", "10s".to_owned()),
            // A plan made for the arrays of one batch may be a hash join, which reads whole tables and takes row locks in no
            // order. One plan for all of them looks each row up, in the order given.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            // That plan may be made when the outbox is empty, and lasts: read as a whole, a table whose rows come and go is its dead rows.
            ("enable_seqscan", "off".to_owned()),
            // Where there is no other way than that, the plan looks dear enough to be compiled, which takes longer than all of it.
            ("jit", "off".to_owned()),
        ];
        let hosts = host_by_host(&url).into_iter().map(|url| {
            let options = PgConnectOptions::from_str(&url).map_err(|error| bad(error.to_string()))?;
            Ok(options.application_name("radhold").options(limits.iter().map(|(key, value)| (*key, value))))
        });
        Ok(Self { hosts: hosts.collect::<Result<_, StoreError>>()?, any })
    }

    /// How each host is connected to, in order.
    pub(super) fn hosts(&self) -> &[PgConnectOptions] {
        &self.hosts
    }

    /// Whether a host that cannot be written will do.
    pub(super) fn any(&self) -> bool {
        self.any
    }
}

// Written out because the options hold the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.hosts.iter().map(name)).finish()
    }
}

/// A host as people know it.
pub(super) fn name(host: &PgConnectOptions) -> String {
    match host.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", host.get_host(), host.get_port()),
    }
}

/// The address without `target_session_attrs`, and whether that said that any host will do.
fn without_target(url: &str) -> Result<(String, bool), String> {
    let Some((front, query)) = url.split_once('?') else { return Ok((url.to_owned(), false)) };
    let mut any = false;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((TARGET, "any")) => any = true,
            Some((TARGET, "read-write" | "primary")) => any = false,
            Some((TARGET, other)) => {
                return Err(format!("{TARGET}={other} is of no use here: radhold writes; say read-write"));
            }
            _ => kept.push(pair),
        }
    }
    let url = if kept.is_empty() { front.to_owned() } else { format!("{front}?{}", kept.join("&")) };
    Ok((url, any))
}

/// One address for each host that stands between `@` and `/`, with commas between.
fn host_by_host(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (person, hosts) = match authority.rsplit_once('@') {
        Some((person, hosts)) => (format!("{person}@"), hosts),
        None => (String::new(), authority),
    };
    hosts.split(',').map(|host| format!("{scheme}://{person}{host}{path}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str) -> Vec<String> {
        Address::parse(url, Duration::from_secs(1)).unwrap().hosts().iter().map(name).collect()
    }

    #[test]
    fn hosts_are_tried_in_the_order_given() {
        assert_eq!(names("postgres://u:p@a/d"), ["a:5432"]);
        assert_eq!(names("postgres://u:p@a:1,b,[::1]:3/d?sslmode=disable"), ["a:1", "b:5432", "[::1]:3"]);
        assert_eq!(names("postgresql://a,b?dbname=d"), ["a:5432", "b:5432"]);
        let address = Address::parse("postgres://u:se,sa%40me@a,b/d", Duration::from_secs(1)).unwrap();
        assert!(address.hosts().iter().all(|host| host.get_username() == "u" && host.get_database() == Some("d")));
        assert!(!format!("{address:?}").contains("sa"), "{address:?}");
    }

    #[test]
    fn only_hosts_that_can_be_written_are_asked_for() {
        let any = |attrs: &str| {
            Address::parse(&format!("postgres://a,b/d?{TARGET}={attrs}&sslmode=disable"), Duration::from_secs(1))
                .map(|address| address.any())
        };
        assert!(!any("read-write").unwrap() && !any("primary").unwrap() && any("any").unwrap());
        let error = any("standby").unwrap_err().to_string();
        assert!(error.contains("target_session_attrs=standby"), "{error}");
        assert!(matches!(Address::parse("postgres://a:b:c/d", Duration::ZERO), Err(StoreError::BadAddress(_))));
    }
}
