//! What the process needs of the kernel for itself: capabilities, descriptors, memory that stays in memory.

use std::fs;

use mainstay_engine::Plan;
use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Numbers of capabilities (capabilities(7)).
const CAPABILITIES: [(u32, &str, &str); 2] = [
    (12, "CAP_NET_ADMIN", "to put virtual addresses on an interface"),
    (13, "CAP_NET_RAW", "to speak VRRP and ARP"),
];

const CAP_IPC_LOCK: u32 = 14;

/// Checks that the process may do what `plan` asks for.
///
/// # Errors
/// A sentence with the capabilities that are missing.
pub fn need_capabilities(plan: &Plan) -> Result<(), String> {
    need_transparency(plan)?;
    if plan.routers.is_empty() {
        return Ok(());
    }
    let Some(effective) = effective_capabilities() else { return Ok(()) };
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| effective & (1 << number) == 0)
        .map(|(_, name, purpose)| format!("{name} {purpose}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("virtual routers need {}: run as root or grant these capabilities", missing.join(" and ")))
}

/// Addresses of others can be used with either of two capabilities (`IP_TRANSPARENT` in ip(7)).
fn need_transparency(plan: &Plan) -> Result<(), String> {
    let servers = plan.servers().find(|(_, server)| {
        let source = server.dial.as_ref().and_then(|dial| dial.source.as_ref());
        source.is_some_and(|source| source.is_transparent())
    });
    let mut listeners = plan.frontends.iter().flat_map(|frontend| &frontend.binds);
    let what = match (servers, listeners.find(|bind| bind.transparent)) {
        (Some((_, server)), _) => format!("`usesrc` of server {}", server.name),
        (None, Some(bind)) => format!("`transparent` of `bind {bind}`"),
        (None, None) => return Ok(()),
    };
    let Some(effective) = effective_capabilities() else { return Ok(()) };
    if CAPABILITIES.iter().any(|(number, ..)| effective & (1 << number) != 0) {
        return Ok(());
    }
    Err(format!("{what} needs CAP_NET_ADMIN, to use addresses of others: run as root or grant it"))
}

/// Lets the process have as many descriptors as it may: each connection needs two.
pub fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Keeps the process in memory, so that a machine that swaps does not make it late for an advert.
///
/// What is mapped now is locked as a whole; later mappings page by page as they are used, so that the unused part of
/// thread stacks costs nothing. That includes the data plane, whose pages are as hot, and few: an idle connection holds
/// no buffer.
///
/// # Errors
/// A sentence with the reason, and what would grant it.
pub fn lock_memory() -> Result<(), String> {
    // Below a limit, the lock would hold now and mapping memory would fail later. The capability knows no limit, but one
    // of a user namespace does not count.
    let limited = need_no_memory_limit();
    if !has_capability(CAP_IPC_LOCK) {
        limited.clone()?;
    }
    let refused = |error: Errno| limited.clone().err().unwrap_or_else(|| error.to_string());
    mlockall(MlockAllFlags::MCL_CURRENT).map_err(refused)?;
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_FUTURE | on_fault).map_err(refused)
}

fn need_no_memory_limit() -> Result<(), String> {
    let (_, most) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(|error| error.to_string())?;
    if most == RLIM_INFINITY || setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok() {
        return Ok(());
    }
    Err(format!(
        "RLIMIT_MEMLOCK is {} KiB: grant CAP_IPC_LOCK or set `LimitMEMLOCK=infinity` in the systemd unit",
        most / 1024
    ))
}

/// Whether the process has the capability with this number.
pub fn has_capability(number: u32) -> bool {
    effective_capabilities().is_some_and(|effective| effective & (1 << number) != 0)
}

/// The capabilities that count now, as a set of bits; `None` if `/proc` does not say.
fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_without_routers_needs_no_capability() {
        assert_eq!(need_capabilities(&Plan::default()), Ok(()));
    }

    #[test]
    fn the_kernel_says_which_capabilities_there_are() {
        assert!(effective_capabilities().is_some());
    }
}
