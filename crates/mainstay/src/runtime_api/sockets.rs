//! The sockets of HAProxy's runtime API: bound all together at the start, or none.
//!
//! Owns [`Sockets`].

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;

use mainstay_engine::plan::{FileAccess, Level, LocalAddress, RuntimeApi, StatsAddress, StatsSocket};
use socket2::{Domain, Socket, Type};

use crate::dial;
use crate::unix_socket::Files;

/// Connections that wait until they are accepted.
const BACKLOG: i32 = 64;

/// Bound sockets, and their files.
#[derive(Debug)]
pub struct Sockets {
    pub(super) listeners: Vec<(Listener, Level)>,
    files: Files,
}

/// A bound socket.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(std::net::TcpListener),
}

impl Sockets {
    /// Binds every socket of the plan.
    ///
    /// # Errors
    /// A sentence that names the one that cannot be bound.
    pub fn bind(plan: &RuntimeApi) -> Result<Self, String> {
        let mut sockets = Self { listeners: Vec::new(), files: Files::default() };
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
        let access = FileAccess {
            mode: Some(socket.mode.unwrap_or(0o600)),
            user: socket.user.clone(),
            group: socket.group.clone(),
        };
        let socket = self.files.bind(path, &access, BACKLOG)?;
        Ok(Listener::Unix(socket.into()))
    }
}

fn bind_abstract(name: &str) -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&dial::local_address(&LocalAddress::Abstract(name.to_owned()))?)?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Unix(socket.into()))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
