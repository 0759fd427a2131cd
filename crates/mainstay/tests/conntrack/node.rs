//! A balancer's part in the synchronisation, without the daemon round it: its thread and its links.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use mainstay::configuration::{Configuration, ConfigurationArgs, ForwardingMode, Purpose};
use mainstay::lab::topology::INTERFACE;
use mainstay::nat::flow_sync::FlowSync;
use mainstay::net::{Move, Usher};
use mainstay::peer_link::{DEFAULT_PORT, PeerLinks};
use mainstay_engine::flows::PeerFlows;
use mainstay_engine::peers::{LinkId, ListenAddress, PeerInput, PeerOutput};
use mainstay_engine::plan::{Plan, RouterId};
use tokio::runtime::{Builder, Runtime};

use crate::rig::{Family, PATIENCE, Rig, await_that, endpoints};

/// What the control thread has of it.
pub(crate) struct Node {
    links: PeerLinks,
    usher: Usher,
    news: Receiver<PeerInput>,
    own: ListenAddress,
    peer: IpAddr,
    /// Its end closes the links, as that of a process.
    _runtime: Runtime,
}

impl Node {
    /// Starts the balancer with this host number, which accepts links.
    pub(crate) fn start(rig: &Rig, (name, number): (&str, u8), peer: u8) -> Self {
        let (sender, news) = channel();
        let post = sender.clone();
        let endpoints = endpoints();
        let sync = rig.on(name, move || FlowSync::start(endpoints, move |input| drop(post.send(input))));
        let sync = sync.expect("a thread");
        let host = rig.host(name).clone();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || host.move_in().expect("the host"))
            .enable_all()
            .build()
            .expect("threads");
        let report = Arc::new(move |input| drop(sender.send(input)));
        let news_of_links = Some(sync.link_report());
        let mut links =
            PeerLinks::new(runtime.handle().clone(), &plan(), DEFAULT_PORT, report, news_of_links);
        let own = ListenAddress { address: Family::Ipv4.address(number), interface: INTERFACE.to_owned() };
        links.carry_out(PeerOutput::Listen(BTreeSet::from([own.clone()])));
        links.carry_out(PeerOutput::Tell(Arc::default()));
        let peer = Family::Ipv4.address(peer);
        Self { links, usher: sync.usher(), news, own, peer, _runtime: runtime }
    }

    /// Dials the peer until it answers.
    pub(crate) fn link(&mut self) {
        await_that(|| {
            let (source, router) = (self.own.clone(), RouterId(0));
            self.links.carry_out(PeerOutput::Dial { link: LinkId(1), peer: self.peer, source, router });
            loop {
                match self.news() {
                    PeerInput::Opened { .. } => return Ok(()),
                    PeerInput::Ended { end, .. } => return Err(format!("{end:?}")),
                    _ => {}
                }
            }
        });
    }

    /// The virtual addresses are about to be here. Returns how many connections are in the kernel by then, and how many it
    /// refused.
    pub(crate) fn take_addresses(&mut self) -> (usize, usize) {
        let mut sum = (0, 0);
        for family in [Family::Ipv4, Family::Ipv6] {
            self.come(family);
            loop {
                match self.news() {
                    PeerInput::FlowsTaken { taken, refused, .. } => {
                        sum = (sum.0 + taken, sum.1 + refused);
                        break;
                    }
                    PeerInput::FlowsFailed(reason) => panic!("{reason}"),
                    _ => {}
                }
            }
        }
        sum
    }

    /// One virtual address is about to be here.
    pub(crate) fn come(&mut self, family: Family) {
        (self.usher)(Move::Comes(family.address(140)));
    }

    /// The next thing that the control thread would hear.
    pub(crate) fn news(&self) -> PeerInput {
        self.news.recv_timeout(PATIENCE).expect("news")
    }

    /// The virtual addresses were here.
    pub(crate) fn release_addresses(&mut self) {
        for family in [Family::Ipv4, Family::Ipv6] {
            (self.usher)(Move::Went(family.address(140)));
        }
    }

    /// Waits until what is known of the peer is `wanted`.
    pub(crate) fn await_flows(&self, wanted: impl Fn(&PeerFlows) -> bool) -> PeerFlows {
        let mut last = None;
        loop {
            match self.news.recv_timeout(PATIENCE) {
                Ok(PeerInput::Flows(peers)) => {
                    last = peers.into_iter().find(|flows| flows.peer == self.peer).or(last);
                    if let Some(flows) = last.clone().filter(&wanted) {
                        return flows;
                    }
                }
                Ok(PeerInput::FlowsFailed(reason)) => panic!("{reason}"),
                Ok(_) => {}
                Err(error) => panic!("{error}, and before {last:?}"),
            }
        }
    }
}

/// One router with a secret, for its key.
fn plan() -> Plan {
    let file = PathBuf::from("/run/keepalived.conf");
    let text = "vrrp_instance V {\n interface lan\n virtual_router_id 51\n priority 100\n authentication {\n \
                auth_type PASS\n auth_pass one\n }\n virtual_ipaddress {\n 10.9.0.100/24\n }\n}\n";
    fs::write(&file, text).expect("a file can be written");
    let args = ConfigurationArgs {
        haproxy_cfg: Vec::new(),
        keepalived_conf: vec![file],
        forwarding: ForwardingMode::Proxy,
    };
    let read = Configuration::read(&args, Purpose::Check).expect("it can be read");
    read.plan.unwrap_or_else(|| panic!("{:?}", read.findings))
}
