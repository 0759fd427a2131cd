//! The side that dials: hears what a peer tells of itself, and says how the link ended.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mainstay_engine::peers::{LinkEnd, LinkId, ListenAddress, PeerInput};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::channel::{Channel, Failure, Key};
use super::flows::{self, Ear, FlowReport};
use super::{HANDSHAKE_PATIENCE, Report, message, socket};
use crate::clock;

/// How long a peer may take to answer a connect. On a LAN it takes less than a millisecond.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// How long a peer may say nothing: it tells of itself every second.
const SILENCE: Duration = Duration::from_secs(10);

/// The shortest time between two views that are passed on, so that no peer fills the control thread's inbox.
const VIEWS_APART: Duration = Duration::from_millis(10);

/// Dials a peer, reports what it tells, and returns how it ended.
pub(super) async fn dial(
    link: LinkId,
    peer: IpAddr,
    source: &ListenAddress,
    port: u16,
    key: &Key,
    report: &Report,
    flows: Option<&FlowReport>,
) -> LinkEnd {
    let stream = match timeout(CONNECT_PATIENCE, connect(peer, source, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return LinkEnd::Refused,
        Ok(Err(error)) => return LinkEnd::Other(format!("it cannot be dialled: {error}")),
        Err(_) => return LinkEnd::Other("nothing answers on its port".to_owned()),
    };
    let initiated = Channel::initiate(stream, key, flows::wish(flows));
    let mut channel = match timeout(HANDSHAKE_PATIENCE, initiated).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(Failure::Closed)) => return LinkEnd::ClosedEarly,
        Ok(Err(Failure::Key)) => return LinkEnd::KeyRefused,
        Ok(Err(Failure::Other(how))) => return LinkEnd::Other(how),
        Err(_) => return LinkEnd::Other("it does not prove that it has the key".to_owned()),
    };
    report(PeerInput::Opened { link });
    let mut ear = Ear::new(flows, link, peer);
    loop {
        let mut message = match timeout(SILENCE, channel.receive()).await {
            Ok(Ok(message)) => message,
            Ok(Err(Failure::Closed)) => return LinkEnd::Closed,
            Ok(Err(Failure::Key)) => return LinkEnd::KeyRefused,
            Ok(Err(Failure::Other(how))) => return LinkEnd::Other(how),
            Err(_) => return LinkEnd::Other(format!("it said nothing for {} s", SILENCE.as_secs())),
        };
        if ear.hears(&mut message) {
            continue;
        }
        let came = Instant::now();
        match message::decode(&message) {
            Ok(view) => {
                report(PeerInput::View { link, view: Box::new(view), clock_ms: clock::wall_ms() });
            }
            Err(how) => return LinkEnd::Other(how),
        }
        sleep_until(came + VIEWS_APART).await;
    }
}

async fn connect(peer: IpAddr, source: &ListenAddress, port: u16) -> io::Result<TcpStream> {
    let address = socket::with_port(peer, &source.interface, port)?;
    let stream = socket::from(source)?.connect(address).await?;
    socket::prepare(&stream)?;
    Ok(stream)
}
