//! What is asked of a product: W1 to W5.
//!
//! Owns [`Workload`] and [`Figures`].

use std::time::Duration;

use crate::load::{Kind, Load, Measured, hold};
use crate::network::Network;
use crate::product::Running;

/// Connections that are busy at once.
const BUSY: usize = 64;

/// Downloads at once.
const DOWNLOADS: usize = 8;

/// Connections held for their memory. A process may have 20,000 descriptors here: a proxy needs two for each, and so
/// does this program.
const IDLE: usize = 9_000;

/// Connections held beside busy ones.
const IDLE_BESIDE: usize = 5_000;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    /// W1: a new connection for each request.
    NewConnections,
    /// W2: request after request on connections that stay.
    Requests,
    /// W3: downloads.
    Bulk,
    /// W4: connections on which nothing happens.
    Idle,
    /// W5: W2 beside connections on which nothing happens.
    RequestsBesideIdle,
}

/// A figure of one run, by name: the larger the better, or the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Answers a second, or gigabytes a second.
    Rate,
    /// The product's CPU time for one answer or gigabyte, in microseconds or seconds.
    Cpu,
    /// In microseconds.
    P99,
    /// In microseconds.
    P999,
    /// Bytes for each connection.
    Memory,
}

/// What one run measured.
pub(crate) type Figures = Vec<(Figure, f64)>;

impl Workload {
    pub(crate) const ALL: [Self; 5] =
        [Self::NewConnections, Self::Requests, Self::Bulk, Self::Idle, Self::RequestsBesideIdle];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NewConnections => "W1",
            Self::Requests => "W2",
            Self::Bulk => "W3",
            Self::Idle => "W4",
            Self::RequestsBesideIdle => "W5",
        }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::NewConnections => "a new connection for each request, 64 at once",
            Self::Requests => "200 bytes for 1 KiB, 64 connections that stay",
            Self::Bulk => "8 downloads",
            Self::Idle => "9,000 connections on which nothing happens",
            Self::RequestsBesideIdle => "W2 beside 5,000 connections on which nothing happens",
        }
    }

    /// Runs it once.
    pub(crate) fn run(
        self,
        network: &Network,
        product: &Running,
        lasts: Duration,
    ) -> Result<Figures, String> {
        let busy = |kind, connections| {
            busy(network, product, &Load { kind, connections, targets: &product.targets, lasts })
        };
        match self {
            Self::NewConnections => busy(Kind::NewConnections, BUSY),
            Self::Requests => busy(Kind::Requests, BUSY),
            Self::Bulk => busy(Kind::Bulk, DOWNLOADS).map(|mut figures| {
                // Counted in bytes: per byte to per gigabyte, and microseconds to seconds.
                for (figure, value) in &mut figures {
                    match figure {
                        Figure::Rate => *value /= 1e9,
                        Figure::Cpu => *value *= 1e9 / 1e6,
                        _ => {}
                    }
                }
                figures.retain(|(figure, _)| matches!(figure, Figure::Rate | Figure::Cpu));
                figures
            }),
            Self::Idle => {
                let before = product.memory();
                let _held = self.hold(network, product, IDLE)?;
                let grown = product.memory().saturating_sub(before);
                Ok(vec![(Figure::Memory, grown as f64 / IDLE as f64)])
            }
            Self::RequestsBesideIdle => {
                let _held = self.hold(network, product, IDLE_BESIDE)?;
                busy(Kind::Requests, BUSY)
            }
        }
    }

    /// Opens silent connections, and waits until the product has connected all of them.
    fn hold(
        self,
        network: &Network,
        product: &Running,
        count: usize,
    ) -> Result<Vec<std::net::TcpStream>, String> {
        let targets = &product.targets;
        let held = network.client.enter(|| {
            let share = count / targets.len();
            targets.iter().map(|&target| hold(target, share)).collect::<std::io::Result<Vec<_>>>()
        })?;
        let held = held.map_err(|error| format!("{}: {error}", self.name()))?.into_iter().flatten().collect();
        // The one that is served now came after all of them.
        let last =
            Load { kind: Kind::NewConnections, connections: 1, targets, lasts: Duration::from_millis(200) };
        busy(network, product, &last)?;
        Ok(held)
    }
}

fn busy(network: &Network, product: &Running, load: &Load<'_>) -> Result<Figures, String> {
    let before = product.cpu();
    let measured: Measured = network.client.enter(|| load.run())?.map_err(|error| error.to_string())?;
    let spent = product.cpu().saturating_sub(before);
    Ok(vec![
        (Figure::Rate, measured.per_second()),
        (Figure::Cpu, spent.as_secs_f64() * 1e6 / measured.count as f64),
        (Figure::P99, measured.latency(0.99)),
        (Figure::P999, measured.latency(0.999)),
    ])
}
