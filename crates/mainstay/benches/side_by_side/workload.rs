//! What is asked of a product: W1 to W5, and how its cost grows with connections, servers and endpoints.
//!
//! Owns [`Workload`] and [`Figures`].

use std::borrow::Cow;
use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use crate::load::{Kind, Load, Measured, hold};
use crate::network::Network;
use crate::product::{Running, Shape};

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
    /// W2 with so many connections.
    Connections(u16),
    /// W1 with so many servers.
    Servers(u16),
    /// W1 over so many endpoints.
    Endpoints(u16),
}

/// A figure of one run, by name: the larger the better, or the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Answers a second, or gigabytes a second.
    Rate,
    /// The product's CPU time for one answer or gigabyte, in microseconds or seconds.
    Cpu,
    /// The same of the whole machine: clients, servers and kernel included.
    MachineCpu,
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
    pub(crate) const ALL: [Self; 16] = [
        Self::NewConnections,
        Self::Requests,
        Self::Bulk,
        Self::Idle,
        Self::RequestsBesideIdle,
        Self::Connections(1),
        Self::Connections(10),
        Self::Connections(100),
        Self::Connections(1_000),
        Self::Connections(9_000),
        Self::Servers(1),
        Self::Servers(10),
        Self::Servers(100),
        Self::Servers(1_000),
        Self::Endpoints(10),
        Self::Endpoints(100),
    ];

    pub(crate) fn name(self) -> Cow<'static, str> {
        match self {
            Self::NewConnections => "W1".into(),
            Self::Requests => "W2".into(),
            Self::Bulk => "W3".into(),
            Self::Idle => "W4".into(),
            Self::RequestsBesideIdle => "W5".into(),
            Self::Connections(count) => format!("{count}-connections").into(),
            Self::Servers(count) => format!("{count}-servers").into(),
            Self::Endpoints(count) => format!("{count}-endpoints").into(),
        }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::NewConnections => "a new connection for each request, 64 at once",
            Self::Requests => "200 bytes for 1 KiB, 64 connections that stay",
            Self::Bulk => "8 downloads",
            Self::Idle => "9,000 connections on which nothing happens",
            Self::RequestsBesideIdle => "W2 beside 5,000 connections on which nothing happens",
            Self::Connections(_) => "W2 with so many connections, all of them busy",
            Self::Servers(_) => "W1 with so many servers",
            Self::Endpoints(_) => "W1 over so many endpoints with three servers each",
        }
    }

    /// Whether it shows how cost grows, so that its cost alone is of interest.
    pub(crate) const fn grows(self) -> bool {
        matches!(self, Self::Connections(_) | Self::Servers(_) | Self::Endpoints(_))
    }

    /// What the product is to be configured for.
    pub(crate) fn shape(self) -> Shape {
        match self {
            Self::Servers(servers) => Shape { servers, ..Shape::default() },
            Self::Endpoints(endpoints) => Shape { endpoints, ..Shape::default() },
            _ => Shape::default(),
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
            Self::NewConnections | Self::Servers(_) | Self::Endpoints(_) => busy(Kind::NewConnections, BUSY),
            Self::Requests => busy(Kind::Requests, BUSY),
            Self::Connections(count) => busy(Kind::Requests, usize::from(count)),
            Self::Bulk => busy(Kind::Bulk, DOWNLOADS).map(|mut figures| {
                // Counted in bytes: per byte to per gigabyte, and microseconds to seconds.
                for (figure, value) in &mut figures {
                    match figure {
                        Figure::Rate => *value /= 1e9,
                        Figure::Cpu | Figure::MachineCpu => *value *= 1e9 / 1e6,
                        _ => {}
                    }
                }
                figures.retain(|(figure, _)| !matches!(figure, Figure::P99 | Figure::P999));
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
    fn hold(self, network: &Network, product: &Running, count: usize) -> Result<Vec<TcpStream>, String> {
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
    let (before, machine_before) = (product.cpu(), machine_cpu());
    let measured: Measured = network.client.enter(|| load.run())?.map_err(|error| error.to_string())?;
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / measured.count as f64;
    Ok(vec![
        (Figure::Rate, measured.per_second()),
        (Figure::Cpu, each(product.cpu().saturating_sub(before))),
        (Figure::MachineCpu, each(machine_cpu().saturating_sub(machine_before))),
        (Figure::P99, measured.latency(0.99)),
        (Figure::P999, measured.latency(0.999)),
    ])
}

/// CPU time of everything on this machine so far (proc(5), `/proc/stat`): idle time and waiting for disks left out, and
/// that of other virtual machines.
fn machine_cpu() -> Duration {
    const TICKS_PER_SECOND: u32 = 100;
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let busy = fields.take(7).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    let ticks: u32 = busy.filter_map(|(_, ticks)| ticks.parse::<u32>().ok()).sum();
    Duration::from_secs(1) * ticks / TICKS_PER_SECOND
}
