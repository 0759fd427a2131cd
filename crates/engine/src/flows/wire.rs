//! How flows are told on a peer link.
//!
//! Owns [`Message`] and its bytes: [`FIRST_BYTE`], a kind, the family and address it is about, and then flows in groups
//! that share an endpoint's port, a server and a source address, so that most flows take eight bytes with IPv4.
//! Views on the same link are JSON and begin otherwise.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Flow, FlowName};
use crate::limits::FLOWS_PER_MESSAGE;

/// What every message of this kind begins with; it changes when old readers would misread what follows.
pub const FIRST_BYTE: u8 = 1;

const BEGIN: u8 = 1;
const FLOWS: u8 = 2;
const ENDED: u8 = 3;
const WHOLE: u8 = 4;
const RELEASED: u8 = 5;

/// What is said about the flows of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The sender has the address, and tells of all its flows from here on.
    Begin(IpAddr),
    /// These are established, no more than [`FLOWS_PER_MESSAGE`], all with endpoints at the address.
    Flows(IpAddr, Vec<Flow>),
    /// These are no more, no more than [`FLOWS_PER_MESSAGE`].
    Ended(IpAddr, Vec<FlowName>),
    /// All were told since [`Message::Begin`], and this is still so; changes follow.
    Whole(IpAddr),
    /// The sender does not have the address any more.
    Released(IpAddr),
}

impl Message {
    /// The address it is about.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Begin(address)
            | Self::Flows(address, _)
            | Self::Ended(address, _)
            | Self::Whole(address)
            | Self::Released(address) => *address,
        }
    }

    /// Whether these bytes are a message of this kind, and one that begins anew.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&[FIRST_BYTE, BEGIN])
    }

    /// Its bytes. What is not of the family of the address, or at another one, is left out.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self {
            Self::Begin(_) => BEGIN,
            Self::Flows(..) => FLOWS,
            Self::Ended(..) => ENDED,
            Self::Whole(_) => WHOLE,
            Self::Released(_) => RELEASED,
        };
        let address = self.address();
        let mut bytes = vec![FIRST_BYTE, kind, if address.is_ipv4() { 4 } else { 6 }];
        put_ip(&mut bytes, address);
        match self {
            Self::Flows(_, flows) => put_flows(&mut bytes, address, flows),
            Self::Ended(_, names) => {
                for name in names.iter().filter(|name| name.client.is_ipv4() == address.is_ipv4()) {
                    put_socket(&mut bytes, name.client);
                    put_u16(&mut bytes, name.port);
                }
            }
            Self::Begin(_) | Self::Whole(_) | Self::Released(_) => {}
        }
        bytes
    }

    /// What `bytes` say.
    ///
    /// # Errors
    /// A phrase that says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut rest = Reader { rest: bytes, ipv4: true };
        if rest.u8()? != FIRST_BYTE {
            return Err("it is no message about flows");
        }
        let kind = rest.u8()?;
        rest.ipv4 = match rest.u8()? {
            4 => true,
            6 => false,
            _ => return Err("its family is unknown"),
        };
        let address = rest.ip()?;
        let message = match kind {
            BEGIN => Self::Begin(address),
            FLOWS => Self::Flows(address, rest.flows(address)?),
            ENDED => Self::Ended(address, rest.names()?),
            WHOLE => Self::Whole(address),
            RELEASED => Self::Released(address),
            _ => return Err("its kind is unknown"),
        };
        if rest.rest.is_empty() { Ok(message) } else { Err("more follows its end") }
    }
}

fn put_flows(bytes: &mut Vec<u8>, address: IpAddr, flows: &[Flow]) {
    let mut groups: BTreeMap<(u16, SocketAddr, IpAddr), Vec<(SocketAddr, u16)>> = BTreeMap::new();
    for flow in flows.iter().filter(|flow| flow.endpoint.ip() == address && flow.is_forwarded()) {
        let group = (flow.endpoint.port(), flow.server, flow.source.ip());
        groups.entry(group).or_default().push((flow.client, flow.source.port()));
    }
    for ((port, server, source), members) in groups {
        put_u16(bytes, port);
        put_socket(bytes, server);
        put_ip(bytes, source);
        put_u16(bytes, u16::try_from(members.len()).unwrap_or(u16::MAX));
        for (client, source_port) in members {
            put_socket(bytes, client);
            put_u16(bytes, source_port);
        }
    }
}

fn put_ip(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => bytes.extend(address.octets()),
    }
}

fn put_socket(bytes: &mut Vec<u8>, socket: SocketAddr) {
    put_ip(bytes, socket.ip());
    put_u16(bytes, socket.port());
}

fn put_u16(bytes: &mut Vec<u8>, number: u16) {
    bytes.extend(number.to_be_bytes());
}

/// What is left of a message about one family.
struct Reader<'a> {
    rest: &'a [u8],
    ipv4: bool,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("it is cut off")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.take().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.take().map(u16::from_be_bytes)
    }

    fn ip(&mut self) -> Result<IpAddr, &'static str> {
        Ok(if self.ipv4 {
            Ipv4Addr::from(self.take::<4>()?).into()
        } else {
            Ipv6Addr::from(self.take::<16>()?).into()
        })
    }

    fn socket(&mut self) -> Result<SocketAddr, &'static str> {
        Ok(SocketAddr::new(self.ip()?, self.u16()?))
    }

    fn flows(&mut self, address: IpAddr) -> Result<Vec<Flow>, &'static str> {
        let mut flows = Vec::new();
        while !self.rest.is_empty() {
            let endpoint = SocketAddr::new(address, self.u16()?);
            let (server, source) = (self.socket()?, self.ip()?);
            for _ in 0..self.u16()? {
                if flows.len() >= FLOWS_PER_MESSAGE {
                    return Err("it has too many flows");
                }
                let client = self.socket()?;
                let flow = Flow { client, endpoint, server, source: SocketAddr::new(source, self.u16()?) };
                if !flow.is_forwarded() {
                    return Err("a flow of it is none that is forwarded");
                }
                flows.push(flow);
            }
        }
        Ok(flows)
    }

    fn names(&mut self) -> Result<Vec<FlowName>, &'static str> {
        let mut names = Vec::new();
        while !self.rest.is_empty() {
            if names.len() >= FLOWS_PER_MESSAGE {
                return Err("it has too many flows");
            }
            names.push(FlowName { client: self.socket()?, port: self.u16()? });
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn ip(ipv4: bool) -> BoxedStrategy<IpAddr> {
        if ipv4 {
            any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
        } else {
            any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
        }
    }

    fn socket(ipv4: bool) -> impl Strategy<Value = SocketAddr> {
        (ip(ipv4), any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address, port))
    }

    fn flow(ipv4: bool, address: IpAddr) -> impl Strategy<Value = Flow> {
        (socket(ipv4), 0..3_u16, socket(ipv4), socket(ipv4))
            .prop_map(move |(client, port, server, source)| Flow {
                client,
                endpoint: SocketAddr::new(address, port),
                server,
                source,
            })
            .prop_filter("it is forwarded", Flow::is_forwarded)
    }

    fn message() -> impl Strategy<Value = Message> {
        any::<bool>().prop_flat_map(|ipv4| ip(ipv4).prop_map(move |address| (ipv4, address))).prop_flat_map(
            |(ipv4, address)| {
                let name = (socket(ipv4), any::<u16>()).prop_map(|(client, port)| FlowName { client, port });
                prop_oneof![
                    Just(Message::Begin(address)),
                    vec(flow(ipv4, address), 0..40).prop_map(move |flows| Message::Flows(address, flows)),
                    vec(name, 0..40).prop_map(move |names| Message::Ended(address, names)),
                    Just(Message::Whole(address)),
                    Just(Message::Released(address)),
                ]
            },
        )
    }

    fn sorted(message: Message) -> Message {
        match message {
            Message::Flows(address, mut flows) => {
                flows.sort();
                Message::Flows(address, flows)
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_understood(message in message()) {
            let told = message.encode();
            prop_assert_eq!(Message::decode(&told).map(sorted), Ok(sorted(message)));
            for length in 0..told.len() {
                // A cut may fall between two flows; whatever it is, it is read or refused.
                let _ = Message::decode(&told[..length]);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..400), kind in 0..7_u8, six in any::<bool>()) {
            let _ = Message::decode(&bytes);
            bytes.splice(0..0, [FIRST_BYTE, kind, if six { 6 } else { 4 }]);
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()).map(sorted), Ok(sorted(message)));
            }
        }
    }

    #[test]
    fn a_message_is_bounded_and_small() {
        let address = IpAddr::from([10, 0, 0, 100]);
        let flow = |number: u16| Flow {
            client: SocketAddr::new([10, 1, 0, 1].into(), number),
            endpoint: SocketAddr::new(address, 6443),
            server: ([10, 0, 0, 11], 6443).into(),
            source: SocketAddr::new(address, number),
        };
        let flows: Vec<_> = (0..1000).map(flow).collect();
        let told = Message::Flows(address, flows.clone()).encode();
        assert_eq!(told.len(), 7 + 14 + 8 * flows.len());
        assert_eq!(Message::decode(&told), Ok(Message::Flows(address, flows.clone())));
        let more = [flows, vec![flow(1000)]].concat();
        assert!(Message::decode(&Message::Flows(address, more).encode()).is_err());
        // Every flow with a server of its own, which takes the most.
        let address = IpAddr::from([1; 16]);
        let worst = (0..1000).map(|number| Flow {
            client: SocketAddr::new([2; 16].into(), number),
            endpoint: SocketAddr::new(address, 6443),
            server: SocketAddr::new(address, number),
            source: SocketAddr::new(address, number),
        });
        let told = Message::Flows(address, worst.collect()).encode();
        assert!(told.len() < 65_000, "{} bytes fit one frame of the link", told.len());
    }

    #[test]
    fn what_is_no_message_is_refused_by_a_phrase() {
        let begin = Message::Begin([10, 0, 0, 1].into()).encode();
        for (bytes, phrase) in [
            (&b"{}"[..], "it is no message about flows"),
            (&[1], "it is cut off"),
            (&[1, 9, 4, 1, 2, 3, 4], "its kind is unknown"),
            (&[1, 1, 5, 1, 2, 3, 4], "its family is unknown"),
            (&[&begin[..], &[0]].concat(), "more follows its end"),
        ] {
            assert_eq!(Message::decode(bytes), Err(phrase));
        }
    }
}
