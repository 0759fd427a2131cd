//! Sockets that are files: bound under a name that nobody knows yet, and taken away at the end.
//!
//! Owns [`bind`] and [`Files`]. As with HAProxy, a path that somebody else has is taken over; at the end a file is removed
//! only if it is still ours.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mainstay_engine::plan::FileAccess;
use nix::unistd::{Gid, Group, Uid, User, chown};
use socket2::{Domain, SockAddr, Socket, Type};

/// The files of sockets. They go when this is dropped.
#[derive(Debug, Default)]
pub struct Files(Vec<(PathBuf, u64)>);

impl Drop for Files {
    fn drop(&mut self) {
        for (path, inode) in &self.0 {
            if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.ino() == *inode) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Files {
    /// Listens on a file, which is then one of these.
    ///
    /// # Errors
    /// The kernel's, or that of an account that is not there.
    pub fn bind(&mut self, path: &Path, access: &FileAccess, backlog: i32) -> io::Result<Socket> {
        if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        // Nobody may connect before the permissions are right: it gets its name only afterwards.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.tmp", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        socket.bind(&SockAddr::unix(&unfinished)?)?;
        let finish = || {
            if let Some(mode) = access.mode {
                fs::set_permissions(&unfinished, Permissions::from_mode(mode))?;
            }
            let owner = access.user.as_deref().map(user).transpose()?;
            let group = access.group.as_deref().map(group).transpose()?;
            if owner.is_some() || group.is_some() {
                chown(&unfinished, owner, group)?;
            }
            socket.listen(backlog)?;
            let inode = fs::symlink_metadata(&unfinished)?.ino();
            fs::rename(&unfinished, path)?;
            Ok(inode)
        };
        match finish() {
            Ok(inode) => {
                self.0.push((path.to_owned(), inode));
                Ok(socket)
            }
            Err(error) => {
                let _ = fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }
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
