//! Forgets the flows of an address by `conntrack -D`, so that nothing begun before goes on and no address translation is
//! inherited. The rules cut a flow even where this fails: see `rules`.

use std::io;
use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::process::Command;

/// Forgets every flow from and to an address.
///
/// # Errors
/// When conntrack cannot be run. That there was no flow is no error.
pub(in crate::agent) async fn cut_flows(address: Ipv4Addr) -> io::Result<()> {
    let address = address.to_string();
    // From it, to it, and to it behind a translation.
    for side in ["--orig-src", "--orig-dst", "--reply-src"] {
        let mut conntrack = Command::new("conntrack");
        conntrack.args(["-D", side, &address]);
        conntrack.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        conntrack.status().await?;
    }
    Ok(())
}
