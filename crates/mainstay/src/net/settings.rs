//! Kernel settings (sysctl) that virtual MAC addresses need, and how they were before.
//!
//! Owns [`Settings`]. What belongs to the machine is only ever raised, is remembered, and is put back at the end unless
//! somebody else changed it meanwhile. A daemon that is killed leaves it raised.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Settings of the machine that were changed.
#[derive(Debug, Default)]
pub(super) struct Settings {
    changed: Vec<Changed>,
}

#[derive(Debug)]
struct Changed {
    path: PathBuf,
    before: String,
    after: String,
}

impl Settings {
    /// Prepares `base`, on which an interface with a virtual MAC address for IPv4 is to be.
    ///
    /// # Errors
    /// A setting that cannot be changed, as a sentence.
    pub(super) fn prepare_ipv4(&mut self, base: &str) -> io::Result<()> {
        // The kernel answers ARP for any address of the host on any interface: `base` would answer for the virtual
        // address with its own MAC address.
        self.raise(&ipv4(base, "arp_ignore"), 1)?;
        // It would also name the virtual address as the sender of its own requests, which caches believe.
        self.raise(&ipv4(base, "arp_announce"), 2)?;
        self.move_strict_filter()
    }

    /// Puts everything back. Returns a sentence for what could not be.
    pub(super) fn restore(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        for Changed { path, before, after } in self.changed.drain(..).rev() {
            match fs::read_to_string(&path) {
                Ok(now) if now.trim() == after => {
                    if let Err(error) = write(&path, &before) {
                        complaints.push(error.to_string());
                    }
                }
                // Somebody else changed it, or it went with its interface.
                Ok(_) | Err(_) => {}
            }
        }
        complaints
    }

    /// `all.rp_filter` counts for every interface, the virtual ones too, whose frames are answered by another. Where it
    /// is strict, each interface is told so itself, as Keepalived does.
    fn move_strict_filter(&mut self) -> io::Result<()> {
        let all = ipv4("all", "rp_filter");
        if read(&all)? != 1 {
            return Ok(());
        }
        for entry in fs::read_dir("/proc/sys/net/ipv4/conf")? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str().filter(|name| *name != "all") {
                self.raise(&ipv4(name, "rp_filter"), 1)?;
            }
        }
        self.change(&all, 1, 0)
    }

    fn raise(&mut self, path: &Path, least: u32) -> io::Result<()> {
        let now = read(path)?;
        if now >= least { Ok(()) } else { self.change(path, now, least) }
    }

    fn change(&mut self, path: &Path, before: u32, after: u32) -> io::Result<()> {
        write(path, &after.to_string())?;
        let (before, after) = (before.to_string(), after.to_string());
        self.changed.push(Changed { path: path.to_owned(), before, after });
        Ok(())
    }
}

/// Settings of an interface of the daemon's own, before it goes up.
///
/// # Errors
/// A setting that cannot be changed, as a sentence.
pub(super) fn of_virtual_interface(name: &str, speaks_ipv6: bool) -> io::Result<()> {
    // It answers ARP for what is on it, and for nothing else of this host.
    write(&ipv4(name, "arp_ignore"), "1")?;
    write(&ipv4(name, "arp_announce"), "2")?;
    // What comes in here is answered by another interface.
    write(&ipv4(name, "rp_filter"), "0")?;
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return Ok(());
    }
    // No address made of the MAC address, which another host has too: neither by itself nor by a router's word.
    write(&ipv6(name, "addr_gen_mode"), "1")?;
    write(&ipv6(name, "accept_ra"), "0")?;
    write(&ipv6(name, "disable_ipv6"), if speaks_ipv6 { "0" } else { "1" })
}

fn ipv4(interface: &str, setting: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv4/conf/{interface}/{setting}"))
}

fn ipv6(interface: &str, setting: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"))
}

fn read(path: &Path) -> io::Result<u32> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    text.trim().parse().map_err(|_| named(path, &"it is no number"))
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    fs::write(path, value).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot set {}: {error}", path.display()))
}
