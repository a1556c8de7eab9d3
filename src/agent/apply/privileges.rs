//! Keeps CAP_NET_ADMIN (nftables, conntrack) and CAP_KILL (pppd), and gives the rest up for good, for the programs it runs too.
//! Knows nothing of what they are used for.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::KILL);

/// Why rights could not be given up.
#[derive(Debug, thiserror::Error)]
#[error("capabilities cannot be dropped: {0}")]
pub struct PrivilegeError(#[from] Errno);

/// Gives up all rights of root but those the agent needs. Rights are a thread's own: call it before there is another thread.
///
/// # Errors
/// What the kernel says. A process without CAP_SETPCAP keeps its bounding set: whoever started it (systemd) has set it.
pub fn drop_privileges() -> Result<(), PrivilegeError> {
    if !rustix::process::geteuid().is_root() {
        // What it has it was given, as ambient capabilities, which the programs it runs need too.
        return Ok(());
    }
    let now = capabilities(None)?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        // A program run by root gets all that the bounding set allows, so this is where nft and conntrack lose theirs.
        for capability in CapabilitySet::all().difference(KEPT).iter() {
            match remove_capability_from_bounding_set(capability) {
                // Younger than this kernel.
                Ok(()) | Err(Errno::INVAL) => (),
                Err(error) => return Err(error.into()),
            }
        }
    }
    let kept = now.permitted.intersection(KEPT);
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    Ok(())
}
