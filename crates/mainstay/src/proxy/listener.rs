//! The listening sockets of a plan: bound all together or not at all.
//!
//! Owns [`Listeners`] and [`BindError`]. Options that accepted connections inherit are set here, once.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_engine::plan::{Bind, Elsewhere, FileAccess, Frontend, FrontendId, LocalAddress, Plan};
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::dial;
use crate::inherited::Inherited;
use crate::unix_socket::Files;

use super::holder;
use super::socket::watch_peer;

/// Backlog asked for where the plan names neither a backlog nor a limit of connections. The kernel cuts it to
/// `net.core.somaxconn`, 4096 by default.
const DEFAULT_BACKLOG: u32 = 4096;

/// Every listening socket of one plan.
#[derive(Debug)]
pub struct Listeners {
    pub(super) plan: Arc<Plan>,
    pub(super) listeners: Vec<Arc<Listener>>,
    /// The files of those that are files.
    pub(super) files: Files,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) frontend: FrontendId,
    /// Whether a PROXY header comes first.
    pub(super) accept_proxy: bool,
    /// Where clients of it connect to; `None` if it stands for many addresses.
    pub(super) address: Option<SocketAddr>,
    /// Its number, if its clients have no addresses.
    pub(super) local: Option<u32>,
    /// Its own limit of connections, and how many it has.
    pub(super) limit: Option<(u32, Arc<AtomicU32>)>,
    listening: Mutex<bool>,
    backlog: u32,
}

impl Listener {
    fn new(socket: Socket, frontend: FrontendId, bind: &Bind, backlog: u32) -> Self {
        let name = socket.local_addr().ok();
        let bound = name.as_ref().and_then(SockAddr::as_socket);
        Self {
            socket,
            frontend,
            accept_proxy: bind.accept_proxy,
            // Transparent ones stand for any address.
            address: bound.filter(|address| !address.ip().is_unspecified() && !bind.transparent),
            local: name.filter(SockAddr::is_unix).map(|_| bind.id),
            limit: bind.maxconn.map(|limit| (limit, Arc::default())),
            listening: Mutex::new(true),
            backlog,
        }
    }

    /// Takes connections, or refuses them, those in the backlog included. The port stays ours. The kernel would not let a
    /// socket of this machine listen again, so that clients of one wait instead.
    pub(super) fn turn(&self, listens: bool) -> io::Result<()> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        match (std::mem::replace(&mut *listening, listens), listens) {
            _ if self.local.is_some() => Ok(()),
            (true, false) => self.socket.shutdown(std::net::Shutdown::Read),
            (false, true) => self.socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX)),
            _ => Ok(()),
        }
    }
}

impl Listeners {
    /// Binds every address of every frontend, or none.
    ///
    /// An address need not exist on this machine yet: a virtual IP comes and goes.
    pub fn bind(plan: &Arc<Plan>) -> Result<Self, BindError> {
        let (mut listeners, mut files, mut inherited) = (Vec::new(), Files::default(), Inherited::default());
        let sections = (0..).map(FrontendId).zip(&plan.frontends);
        // What the kernel forwards is nobody's to accept: another program of this machine may have its port.
        for (frontend, section) in sections.filter(|(_, section)| section.forwarding.nat().is_none()) {
            for bind in &section.binds {
                let backlog = bind.backlog.unwrap_or_else(|| backlog(plan, section));
                let socket = match &bind.elsewhere {
                    None => listen(bind, backlog),
                    Some(Elsewhere::Descriptor(number)) => {
                        inherited.take(*number).and_then(|socket| listen_inherited(socket, bind, backlog))
                    }
                    Some(Elsewhere::Local(address, access)) => {
                        listen_local(address, access, backlog, &mut files)
                    }
                };
                let socket =
                    socket.map_err(|source| BindError::new(plan, frontend, section, bind, source))?;
                listeners.push(Arc::new(Listener::new(socket, frontend, bind, backlog)));
            }
        }
        Ok(Self { plan: Arc::clone(plan), listeners, files })
    }

    /// Where each socket listens, with the ports the kernel chose, in the order of the plan.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok()?.as_socket()).collect()
    }
}

/// An address that could not be bound.
#[derive(Debug)]
pub struct BindError {
    frontend: String,
    bind: Box<Bind>,
    source: io::Error,
    hint: Option<String>,
}

impl BindError {
    fn new(plan: &Plan, id: FrontendId, frontend: &Frontend, bind: &Bind, source: io::Error) -> Self {
        let hint = match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EBADF) => Some("the daemon was not started with this descriptor".to_owned()),
            Some(Errno::ENOTSOCK | Errno::EINVAL) if bind.elsewhere.is_some() => {
                Some("the descriptor is no socket for streams".to_owned())
            }
            Some(_) if bind.elsewhere.is_some() => None,
            Some(Errno::EADDRINUSE) => {
                own_use(plan, id, bind).or_else(|| holder::of_port(bind.address.port()))
            }
            Some(Errno::EACCES) if bind.address.port() < 1024 => {
                Some("ports below 1024 need CAP_NET_BIND_SERVICE".to_owned())
            }
            Some(Errno::ENODEV) => {
                bind.interface.as_ref().map(|interface| format!("there is no interface `{interface}`"))
            }
            _ => None,
        };
        Self { frontend: frontend.name.clone(), bind: Box::new(bind.clone()), source, hint }
    }

    /// The kernel's reason.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frontend, bind, source, hint } = self;
        write!(f, "frontend `{frontend}` cannot listen on {bind}")?;
        if let Some(interface) = &bind.interface {
            write!(f, " at interface {interface}")?;
        }
        let reason = source
            .raw_os_error()
            .map_or_else(|| source.to_string(), |code| Errno::from_raw(code).desc().to_lowercase());
        write!(f, ": {reason}")?;
        match hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn listen(bind: &Bind, backlog: u32) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(bind.address), kind, Some(Protocol::TCP))?;
    // Old connections in TIME_WAIT do not keep a restarted daemon from its port.
    socket.set_reuse_address(true)?;
    match bind.address.ip() {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => {
            socket.set_only_v6(!bind.dual_stack)?;
            socket.set_freebind_v6(true)?;
        }
    }
    if let Some(interface) = &bind.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if bind.transparent {
        match bind.address.ip() {
            IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    tune(&socket, bind)?;
    socket.bind(&bind.address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// What accepted connections inherit, which saves five system calls for each of them.
fn tune(socket: &Socket, bind: &Bind) -> io::Result<()> {
    watch_peer(&SockRef::from(socket))?;
    dial::tune(&SockRef::from(socket), &bind.tuning)?;
    let Some(size) = bind.mss else { return Ok(()) };
    // As with HAProxy, the usual size is that of a socket that nobody has told anything.
    let size =
        if size < 0 { socket.tcp_mss()?.saturating_sub(size.unsigned_abs()) } else { size.unsigned_abs() };
    // Less than the kernel can do is no reason not to start.
    if let Err(error) = socket.set_tcp_mss(size) {
        tracing::warn!("cannot set mss {size} for {bind}: {error}");
    }
    Ok(())
}

fn listen_local(
    address: &LocalAddress,
    access: &FileAccess,
    backlog: u32,
    files: &mut Files,
) -> io::Result<Socket> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    if let LocalAddress::Path(path) = address {
        return files.bind(Path::new(path), access, backlog);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&dial::local_address(address)?)?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// A socket that was inherited listens already, or is bound and listens from now on.
fn listen_inherited(socket: Socket, bind: &Bind, backlog: u32) -> io::Result<Socket> {
    if !socket.local_addr()?.is_unix() {
        tune(&socket, bind)?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// HAProxy's rule: the backlog that is named, or room for as many as may be connected.
fn backlog(plan: &Plan, frontend: &Frontend) -> u32 {
    let limit = frontend.maxconn.unwrap_or(plan.maxconn);
    frontend.backlog.unwrap_or(limit.max(DEFAULT_BACKLOG)).max(1)
}

/// Whether another frontend of the same plan listens there.
fn own_use(plan: &Plan, id: FrontendId, bind: &Bind) -> Option<String> {
    let port = bind.address.port();
    (0..).map(FrontendId).zip(&plan.frontends).find_map(|(other, section)| {
        let clashes = section
            .binds
            .iter()
            .any(|other| other.elsewhere.is_none() && other.address.port() == port && other != bind);
        (other != id && clashes || section.binds.iter().filter(|other| *other == bind).count() > 1)
            .then(|| format!("frontend `{}` listens on port {port}, too", section.name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::socket::PEER_DEAD_AFTER;
    use super::*;

    #[test]
    fn accepted_connections_inherit_the_options() {
        let bind = Bind::new("127.0.0.1:0".parse().unwrap());
        let listener = listen(&bind, 8).unwrap();
        let address = listener.local_addr().unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.connect(&address).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.keepalive().unwrap());
        assert!(accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(PEER_DEAD_AFTER));
        assert!(accepted.tcp_keepalive_time().unwrap() < PEER_DEAD_AFTER);
    }
}
