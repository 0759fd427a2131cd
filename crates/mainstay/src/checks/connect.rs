//! Opens and closes the connections of checks, and names what goes wrong.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::health::check::CheckStatus;
use mainstay_engine::plan::{Dial, ProxyHeader, ProxyVersion};
use mainstay_engine::proxy_protocol;
use nix::errno::Errno;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::checks::Finding;
use crate::dial;

/// Connects to `address` as `dial` says, no later than `deadline`, and sends what comes before everything else.
pub(super) async fn connect(
    address: SocketAddr,
    dial: Option<&Dial>,
    header: Option<&ProxyHeader>,
    deadline: Instant,
) -> Result<TcpStream, Finding> {
    match timeout_at(deadline, open(address, dial, header)).await {
        Err(_) => Err(Finding::new(CheckStatus::L4Tout, "no answer to a connect")),
        Ok(Err(error)) => Err(Finding::new(status_of(&error), words(&error))),
        Ok(Ok(stream)) => {
            // A request is one small write; a failure costs a delay and nothing else.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
    }
}

async fn open(
    address: SocketAddr,
    dial: Option<&Dial>,
    header: Option<&ProxyHeader>,
) -> io::Result<TcpStream> {
    let mut stream = match dial {
        None => TcpStream::connect(address).await?,
        Some(dial) => {
            let stream = TcpStream::from_std(dial::start(dial, address, None)?.into())?;
            stream.writable().await?;
            stream.take_error()?.map_or(Ok(stream), Err)?
        }
    };
    if let Some(form) = header {
        // As HAProxy's: version 2 has a word for a connection of the balancer's own, version 1 says who is connected.
        let endpoints = match form.version {
            ProxyVersion::V1 => Some(Endpoints::new(stream.local_addr()?, stream.peer_addr()?)),
            ProxyVersion::V2 => None,
        };
        stream.write_all(&proxy_protocol::encode(form, endpoints, None)).await?;
    }
    Ok(stream)
}

/// Makes the end of a connection that nothing was said on one RST, as HAProxy does: it leaves no TIME-WAIT here and no
/// handshake to finish there.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Without it the connection ends in the usual way.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// The system's words for an error, without its number.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Whether the server or this machine is at fault.
fn status_of(error: &io::Error) -> CheckStatus {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EADDRNOTAVAIL
            | Errno::EAFNOSUPPORT,
        ) => CheckStatus::Sockerr,
        Some(Errno::ETIMEDOUT) => CheckStatus::L4Tout,
        _ => CheckStatus::L4Con,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_the_servers_or_this_machines() {
        let status = |errno: Errno| status_of(&io::Error::from(errno));
        assert_eq!(status(Errno::EMFILE), CheckStatus::Sockerr);
        assert_eq!(status(Errno::EADDRNOTAVAIL), CheckStatus::Sockerr);
        assert_eq!(status(Errno::ETIMEDOUT), CheckStatus::L4Tout);
        assert_eq!(status(Errno::EHOSTUNREACH), CheckStatus::L4Con);
        assert_eq!(words(&io::Error::from(Errno::EHOSTUNREACH)), "No route to host");
    }
}
