//! Where clients connect that is no address, and what a listener has of its own.

use std::fmt;

use crate::plan::LocalAddress;

/// A listener without an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Elsewhere {
    /// A socket of this machine.
    Local(LocalAddress, FileAccess),
    /// A descriptor that the daemon was started with, whatever it is bound to (`fd@`).
    Descriptor(i32),
}

/// Who may connect to a socket that is a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileAccess {
    /// The permissions of the file; `None` leaves them to the umask.
    pub mode: Option<u32>,
    /// The owner of the file, by name or number.
    pub user: Option<String>,
    /// The group of the file, by name or number.
    pub group: Option<String>,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(address, _) => address.fmt(f),
            Self::Descriptor(number) => write!(f, "fd@{number}"),
        }
    }
}
