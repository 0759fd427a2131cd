//! What this machine has of what a configuration asks for: interfaces, programs, accounts.
//!
//! Owns [`Machine`]. It looks and changes nothing; what that means for a configuration is the engine's business.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mainstay_engine::config::{Networks, Program};
use mainstay_engine::plan::ScriptUser;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use nix::unistd::{Gid, Uid};

use crate::program;

/// Permission bits of a file's mode.
const EXECUTE: u32 = 0o111;
const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// In a directory with this bit, only its owner may replace a file.
const STICKY: u32 = 0o1000;

/// The machine as it was when it was looked at.
#[derive(Debug)]
pub struct Machine {
    interfaces: BTreeMap<String, Networks>,
}

impl Machine {
    /// Looks at the interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn look() -> io::Result<Self> {
        let mut interfaces: BTreeMap<String, Networks> = BTreeMap::new();
        for entry in getifaddrs()? {
            // An address with a label is listed under the label.
            let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
            let networks = interfaces.entry(name).or_default();
            let (address, mask) = (entry.address.as_ref().and_then(ip), entry.netmask.as_ref().and_then(ip));
            networks.extend(address.zip(mask).map(|(address, mask)| (address, prefix_length(mask))));
        }
        Ok(Self { interfaces })
    }

    /// What an interface has; `None` if there is no such interface.
    pub fn interface(&self, name: &str) -> Option<Networks> {
        self.interfaces.get(name).cloned()
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn prefix_length(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    u8::try_from(ones).unwrap_or(u8::MAX)
}

/// What there is to say about `program`, which a script runs as `user` or else as root.
pub fn program(program: &str, user: Option<&ScriptUser>) -> Program {
    let account = match user.map_or(Ok((Uid::from_raw(0), Gid::from_raw(0))), program::account) {
        Ok(account) => account,
        Err(sentence) => return Program::NoAccount(sentence),
    };
    let (path, metadata) = match find(program) {
        Ok(found) => found,
        Err(reason) => return Program::Missing(reason),
    };
    if !metadata.is_file() {
        return Program::Missing("it is not a file".to_owned());
    }
    if !may_execute(&metadata, account) {
        return Program::NotExecutable;
    }
    let as_root = account.0.is_root() || account.1.as_raw() == 0;
    exposed(&path).filter(|_| as_root).map_or(Program::Fine, |(path, to)| Program::Exposed { path, to })
}

/// The file of a program, looked for where scripts look.
fn find(program: &str) -> Result<(PathBuf, Metadata), String> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        program::PATH.split(':').map(|directory| Path::new(directory).join(program)).collect()
    };
    let mut reason = "there is no such file".to_owned();
    for path in candidates {
        match fs::metadata(&path) {
            Ok(metadata) => return Ok((path, metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// Whether the permission bits let an account execute a file. A script runs without supplementary groups.
fn may_execute(metadata: &Metadata, (user, group): (Uid, Gid)) -> bool {
    let bits = if user.is_root() {
        EXECUTE
    } else if metadata.uid() == user.as_raw() {
        EXECUTE & 0o700
    } else if metadata.gid() == group.as_raw() {
        EXECUTE & 0o070
    } else {
        EXECUTE & 0o007
    };
    metadata.mode() & bits != 0
}

/// The first part of the way to a file that somebody besides root can change, and who; links are followed, and the
/// way to a link counts too.
fn exposed(path: &Path) -> Option<(String, String)> {
    let ways = [std::path::absolute(path).ok(), fs::canonicalize(path).ok()];
    let parts = ways.iter().flatten().flat_map(|way| way.ancestors().collect::<Vec<_>>().into_iter().rev());
    parts
        .filter_map(|part| Some((part, fs::symlink_metadata(part).ok()?)))
        .find_map(|(part, metadata)| Some((part.display().to_string(), others(&metadata)?)))
}

/// Who besides root can change a file or what stands in a directory.
fn others(metadata: &Metadata) -> Option<String> {
    if metadata.uid() != 0 {
        return Some(format!("its owner, user {}", metadata.uid()));
    }
    // The permissions of a link mean nothing, and a sticky directory keeps its files their owners'.
    if metadata.is_symlink() || (metadata.is_dir() && metadata.mode() & STICKY != 0) {
        return None;
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Some("everybody".to_owned());
    }
    (metadata.mode() & GROUP_WRITE != 0 && metadata.gid() != 0).then(|| format!("group {}", metadata.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_loopback_interface_is_seen_with_its_networks() {
        let machine = Machine::look().unwrap();
        let networks = machine.interface("lo").unwrap();
        assert!(networks.is_empty() || networks.contains(&("127.0.0.1".parse().unwrap(), 8)), "{networks:?}");
        assert_eq!(machine.interface("nothing0"), None);
    }

    #[test]
    fn programs_are_looked_for_and_at() {
        let directory = std::env::temp_dir().join(format!("mainstay-host-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("check.sh");
        let name = file.display().to_string();
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&file, "#!/bin/sh\n").unwrap();

        mode(0o644);
        assert_eq!(program(&name, None), Program::NotExecutable);
        mode(0o755);
        assert_eq!(program("sh", None), Program::Fine);
        assert_eq!(program("/nonexistent/x", None), Program::Missing("there is no such file".to_owned()));
        assert!(matches!(program(&directory.display().to_string(), None), Program::Missing(_)));
        let nobody =
            |group: Option<&str>| ScriptUser { user: "nobody".to_owned(), group: group.map(str::to_owned) };
        assert_eq!(program("/bin/sh", Some(&nobody(None))), Program::Fine);
        let strange = program("/bin/sh", Some(&nobody(Some("no-such-group"))));
        assert_eq!(strange, Program::NoAccount("there is no group `no-such-group`".to_owned()));

        mode(0o757);
        let Program::Exposed { path, to } = program(&name, None) else { panic!("everybody can change it") };
        // An ordinary user who runs this test owns the directory already.
        assert!((path == name && to == "everybody") || to.starts_with("its owner"), "{path} {to}");
        assert_eq!(program(&name, Some(&nobody(None))), Program::Fine, "it does not run as root");
        fs::remove_dir_all(&directory).unwrap();
    }
}
