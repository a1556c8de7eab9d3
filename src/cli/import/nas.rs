//! From FreeRADIUS's table `nas` to our NASes. Resolves no host names: what an address is must not depend on the hour.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::values;
use crate::model::{Nas, NasName, Secret};
use crate::store::freeradius::Client;

use super::plan::{Effect, LeftOut};

/// What may be decided beforehand.
pub(super) struct Rules<'r> {
    /// NASes there are already, of the store and of the configuration.
    pub(super) known: &'r [Nas],
    /// Whether Access-Requests must carry a Message-Authenticator.
    pub(super) require_message_authenticator: bool,
}

/// The NASes, those there are already among them, and the rows that cannot be carried over.
pub(super) fn nases(clients: &[Client], rules: &Rules<'_>) -> (Vec<Nas>, Vec<LeftOut>) {
    let (mut nases, mut left_out) = (Vec::<Nas>::new(), Vec::new());
    for client in clients {
        match nas(client, rules, &nases) {
            Ok(nas) => {
                if !client.server.is_empty() {
                    left_out.push(told(
                        client,
                        format!("virtual server {:?} has no like here", client.server),
                        Effect::WithoutIt,
                    ));
                }
                nases.push(nas);
            }
            Err(reason) => left_out.push(told(client, reason, Effect::NotImported)),
        }
    }
    (nases, left_out)
}

fn nas(client: &Client, rules: &Rules<'_>, planned: &[Nas]) -> Result<Nas, String> {
    let name = if client.name.is_empty() { &client.address } else { &client.name };
    // FreeRADIUS's short names are free text; ours stand in file names and labels.
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    values::nas_name(&name)?;
    let address = client.address.trim();
    let network = address.parse::<IpNet>().or_else(|_| address.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| {
        format!("{address:?} is neither an address nor a network; add it by address with `radhold nas add`")
    })?;
    let network = network.trunc();
    if client.secret.is_empty() {
        return Err("it has no secret".to_owned());
    }
    for other in rules.known.iter().chain(planned) {
        let (same_name, same_network) = (other.name.as_str() == name, other.network == network);
        let there = rules.known.iter().any(|known| std::ptr::eq(known, other));
        match (same_name, same_network) {
            (true, true) if there => {}
            (true, _) => return Err(format!("NAS {name} is the name of another, at {}", other.network)),
            (false, true) => return Err(format!("NAS {} has the address {network} already", other.name)),
            (false, false) => {}
        }
    }
    let mut nas = Nas::new(NasName::new(name), network, Secret::new(client.secret.as_bytes()));
    nas.require_message_authenticator = rules.require_message_authenticator;
    nas.dialect = match client.kind.to_ascii_lowercase().as_str() {
        known @ ("mikrotik" | "cisco") => known.to_owned(),
        _ => "standard".to_owned(),
    };
    Ok(nas)
}

fn told(client: &Client, reason: String, effect: Effect) -> LeftOut {
    LeftOut {
        table: "nas",
        row: Some(client.id),
        whose: client.name.clone(),
        what: client.address.clone(),
        reason,
        effect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: i64, name: &str, address: &str, kind: &str) -> Client {
        Client {
            id,
            address: address.to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            secret: "s3cret".to_owned(),
            server: String::new(),
        }
    }

    #[test]
    fn addresses_and_networks_are_nases_and_host_names_are_not() {
        let known = [Nas::new("old", "192.0.2.9/32".parse::<IpNet>().unwrap(), Secret::new("x"))];
        let clients = [
            client(1, "Main router", "192.0.2.1", "mikrotik"),
            client(2, "", "2001:db8::/32", "other"),
            client(3, "host", "nas.example", "cisco"),
            client(4, "main-router", "192.0.2.2", "cisco"),
            client(5, "again", "192.0.2.9", "other"),
            client(6, "old", "192.0.2.9", "other"),
            Client { secret: String::new(), ..client(7, "mute", "192.0.2.7", "other") },
            client(8, "Main router", "192.0.2.8", "other"),
        ];
        let (nases, left_out) = nases(&clients, &Rules { known: &known, require_message_authenticator: true });
        let made: Vec<_> = nases.iter().map(|nas| format!("{} {} {}", nas.name, nas.network, nas.dialect)).collect();
        assert_eq!(
            made,
            [
                "Main-router 192.0.2.1/32 mikrotik",
                "2001-db8---32 2001:db8::/32 standard",
                "main-router 192.0.2.2/32 cisco",
                "old 192.0.2.9/32 standard"
            ]
        );
        assert_eq!(left_out.iter().filter_map(|it| it.row).collect::<Vec<_>>(), [3, 5, 7, 8]);
        assert!(nases.iter().all(|nas| nas.require_message_authenticator));
    }
}
