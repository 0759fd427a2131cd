//! The sockets of HAProxy's runtime API: bound all together at the start, or none.
//!
//! Owns [`Sockets`]. As with HAProxy, a path that somebody else has is taken over; at the end a file is removed only if it
//! is still ours.

use std::fs::{self, Permissions};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::{Path, PathBuf};

use mainstay_engine::plan::{Level, RuntimeApi, StatsAddress, StatsSocket};
use nix::unistd::{Gid, Group, Uid, User, chown};
use socket2::{Domain, Socket, Type};

/// Connections that wait until they are accepted.
const BACKLOG: i32 = 64;

/// Bound sockets, and their files.
#[derive(Debug)]
pub struct Sockets {
    pub(super) listeners: Vec<(Listener, Level)>,
    files: Files,
}

/// The files of sockets. They go when this is dropped.
#[derive(Debug)]
pub struct Files(Vec<(PathBuf, u64)>);

/// A bound socket.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(std::net::TcpListener),
}

impl Drop for Files {
    fn drop(&mut self) {
        for (path, inode) in &self.0 {
            if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.ino() == *inode) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Sockets {
    /// Binds every socket of the plan.
    ///
    /// # Errors
    /// A sentence that names the one that cannot be bound.
    pub fn bind(plan: &RuntimeApi) -> Result<Self, String> {
        let mut sockets = Self { listeners: Vec::new(), files: Files(Vec::new()) };
        for socket in &plan.sockets {
            let (name, bound) = match &socket.address {
                StatsAddress::Path(path) => (path.clone(), sockets.bind_path(Path::new(path), socket)),
                StatsAddress::Abstract(name) => (format!("abns@{name}"), bind_abstract(name)),
                StatsAddress::Tcp(address) => (address.to_string(), bind_tcp(*address)),
            };
            let listener =
                bound.map_err(|error| format!("cannot listen on the stats socket {name}: {error}"))?;
            sockets.listeners.push((listener, socket.level));
        }
        Ok(sockets)
    }

    /// The sockets, and the files that are to stay as long as they are used.
    pub(super) fn into_parts(self) -> (Vec<(Listener, Level)>, Files) {
        (self.listeners, self.files)
    }

    fn bind_path(&mut self, path: &Path, socket: &StatsSocket) -> io::Result<Listener> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        if fs::symlink_metadata(path).is_ok_and(|metadata| !is_socket(&metadata)) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        // Nobody may connect before the permissions are right: it gets its name only afterwards.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.tmp", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let listener = UnixListener::bind(&unfinished)?;
        let finish = || {
            fs::set_permissions(&unfinished, Permissions::from_mode(socket.mode.unwrap_or(0o600)))?;
            let owner = socket.user.as_deref().map(user).transpose()?;
            let group = socket.group.as_deref().map(group).transpose()?;
            if owner.is_some() || group.is_some() {
                chown(&unfinished, owner, group)?;
            }
            listener.set_nonblocking(true)?;
            let inode = fs::symlink_metadata(&unfinished)?.ino();
            fs::rename(&unfinished, path)?;
            Ok(inode)
        };
        match finish() {
            Ok(inode) => {
                self.files.0.push((path.to_owned(), inode));
                Ok(Listener::Unix(listener))
            }
            Err(error) => {
                let _ = fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }
}

fn is_socket(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
}

fn bind_abstract(name: &str) -> io::Result<Listener> {
    let listener = UnixListener::bind_addr(&UnixAddress::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    Ok(Listener::Unix(listener))
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    // A virtual address need not be here yet.
    match address.is_ipv4() {
        true => socket.set_freebind_v4(true)?,
        false => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Tcp(socket.into()))
}

/// The user of a name or a number.
fn user(name: &str) -> io::Result<Uid> {
    let found = || User::from_name(name).ok().flatten().map(|user| user.uid);
    name.parse().ok().map(Uid::from_raw).or_else(found).ok_or_else(|| unknown("user", name))
}

/// The group of a name or a number.
fn group(name: &str) -> io::Result<Gid> {
    let found = || Group::from_name(name).ok().flatten().map(|group| group.gid);
    name.parse().ok().map(Gid::from_raw).or_else(found).ok_or_else(|| unknown("group", name))
}

fn unknown(what: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(path: &Path) -> RuntimeApi {
        let socket = StatsSocket {
            address: StatsAddress::Path(path.to_string_lossy().into_owned()),
            level: Level::User,
            mode: Some(0o640),
            user: None,
            group: None,
        };
        RuntimeApi { sockets: vec![socket], ..RuntimeApi::default() }
    }

    #[test]
    fn a_path_is_taken_over_and_left_to_whoever_took_it_over() {
        let directory = std::env::temp_dir().join(format!("mainstay-stats-{}", std::process::id()));
        let path = directory.join("sub/admin.sock");
        let first = Sockets::bind(&plan(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let second = Sockets::bind(&plan(&path)).unwrap();
        drop(first);
        assert!(path.exists(), "it is the second one's");
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        let error = Sockets::bind(&plan(&path)).unwrap_err();
        assert!(error.contains("no socket"), "{error}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
