//! Asks name servers.
//!
//! Owns [`NameServers`]. Every question has an end: [`Output::Resolve`](mainstay_engine::Output::Resolve) is answered
//! within the time-out of its section. All name servers are asked at once, and the first useful answer counts; what a
//! useless one means is the engine's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::{fs, io};

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use mainstay_engine::Plan;
use mainstay_engine::plan::{NameServer, Resolver};
use mainstay_engine::resolve::{Answer, Instance, Problem, Question, RecordKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Where an answer goes: the question, what came of it.
pub type Report = Arc<dyn Fn(u64, Answer) + Send + Sync>;

/// Questions under way at once, each to all name servers of a section: bounds descriptors.
const CONCURRENT_QUESTIONS: usize = 64;

/// Name servers that are taken from [`SYSTEM`], as many as the C library takes, and more than anybody has.
const MOST_SYSTEM_SERVERS: usize = 16;

/// Where the system's own name servers are written.
const SYSTEM: &str = "/etc/resolv.conf";

/// The largest datagram there is.
const LARGEST_DATAGRAM: usize = 65_535;

/// Addresses or instances that are taken from one answer; far more than a service has.
const MOST_RECORDS: usize = 1_024;

/// The name servers of a plan.
pub struct NameServers {
    runtime: Handle,
    resolvers: Vec<Arc<Resolver>>,
    slots: Arc<Semaphore>,
    report: Report,
}

impl NameServers {
    /// For the sections of `plan`, on `runtime`, with those of the system where a section asks for them.
    pub fn new(runtime: Handle, plan: &Plan, report: Report) -> Self {
        let resolvers = plan.resolvers.iter().map(|resolver| {
            let mut resolver = resolver.clone();
            if resolver.system {
                match fs::read_to_string(SYSTEM) {
                    Ok(text) => resolver.name_servers.extend(system_servers(&text)),
                    Err(error) => {
                        tracing::warn!("resolvers {}: cannot read {SYSTEM}: {error}", resolver.name);
                    }
                }
            }
            Arc::new(resolver)
        });
        let resolvers = resolvers.collect();
        Self { runtime, resolvers, slots: Arc::new(Semaphore::new(CONCURRENT_QUESTIONS)), report }
    }

    /// Asks `question`; the answer is reported with the same `attempt`.
    pub fn ask(&self, attempt: u64, question: Question) {
        let Some(resolver) = self.resolvers.get(usize::from(question.resolver.0)) else { return };
        let (resolver, slots) = (Arc::clone(resolver), Arc::clone(&self.slots));
        let report = Arc::clone(&self.report);
        self.runtime.spawn(async move {
            let _slot = slots.acquire().await;
            report(attempt, ask_all(&resolver, &question).await);
        });
    }
}

/// The name servers in the text of a resolv.conf.
fn system_servers(text: &str) -> Vec<NameServer> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.parse::<IpAddr>().ok()
    });
    let server = |ip: IpAddr| NameServer { name: ip.to_string(), address: (ip, 53).into(), tcp: false };
    addresses.take(MOST_SYSTEM_SERVERS).map(server).collect()
}

/// The first useful answer, or else the last of all.
async fn ask_all(resolver: &Arc<Resolver>, question: &Question) -> Answer {
    let Some(message) = query(question, resolver.payload_bytes) else {
        return Answer::Failed(Problem::NoName);
    };
    let message = Arc::new(message);
    let mut asked = JoinSet::new();
    for server in &resolver.name_servers {
        let (server, message, kind) = (server.clone(), Arc::clone(&message), question.kind);
        asked.spawn(async move { ask_one(&server, &message, kind).await });
    }
    let mut latest = Answer::Failed(Problem::Timeout);
    let answers = async {
        while let Some(answer) = asked.join_next().await {
            latest = answer.unwrap_or(Answer::Failed(Problem::Other));
            if !matches!(latest, Answer::Failed(_)) {
                return;
            }
        }
    };
    // Those who have not answered by then are as those who never will.
    let _ = timeout(resolver.retry, answers).await;
    latest
}

/// The question as a message. A name that is none can have no address.
fn query(question: &Question, payload_bytes: u16) -> Option<Message> {
    let mut name = Name::from_ascii(&question.name).ok()?;
    name.set_fqdn(true);
    let kind = match question.kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
        RecordKind::Srv => RecordType::SRV,
    };
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(payload_bytes);
    message.set_edns(edns);
    Some(message)
}

async fn ask_one(server: &NameServer, message: &Message, kind: RecordKind) -> Answer {
    let reply = match server.tcp {
        true => over_tcp(server.address, message).await,
        false => match over_udp(server.address, message).await {
            // What does not fit into a datagram comes over TCP (RFC 7766 §5).
            Ok(reply) if reply.metadata.truncation => over_tcp(server.address, message).await,
            reply => reply,
        },
    };
    match reply {
        Ok(reply) => read(&reply, message, kind),
        // Nobody is there to answer: the kernel of the other side says so.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Answer::Failed(Problem::Timeout),
        Err(_) => Answer::Failed(Problem::Other),
    }
}

async fn over_udp(address: SocketAddr, message: &Message) -> io::Result<Message> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of the kernel's choice for each question: who does not see it cannot answer it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(&encode(message)?).await?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let reply = Message::from_vec(buffer.get(..length).unwrap_or_default());
        if let Ok(reply) = reply.map_err(drop).and_then(|reply| belongs(reply, message).ok_or(())) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(address: SocketAddr, message: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(address).await?;
    let bytes = encode(message)?;
    stream.write_u16(u16::try_from(bytes.len()).map_err(io::Error::other)?).await?;
    stream.write_all(&bytes).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    let reply = Message::from_vec(&buffer).map_err(io::Error::other)?;
    belongs(reply, message).ok_or_else(|| io::Error::other("an answer to another question"))
}

fn encode(message: &Message) -> io::Result<Vec<u8>> {
    message.to_vec().map_err(io::Error::other)
}

/// The reply, if it is one to this message.
fn belongs(reply: Message, message: &Message) -> Option<Message> {
    let same = reply.metadata.id == message.metadata.id
        && reply.metadata.message_type == MessageType::Response
        && reply.queries == message.queries;
    same.then_some(reply)
}

/// What a reply says about the name that was asked for, or about those it is another name of.
fn read(reply: &Message, message: &Message, kind: RecordKind) -> Answer {
    match reply.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Answer::Failed(Problem::NoName),
        ResponseCode::Refused => return Answer::Failed(Problem::Refused),
        _ => return Answer::Failed(Problem::Other),
    }
    let mut names: Vec<Name> = message.queries.iter().map(|query| query.name.clone()).collect();
    let (mut addresses, mut instances) = (Vec::new(), Vec::new());
    for record in reply.answers.iter().take(MOST_RECORDS) {
        if !names.contains(&record.name) {
            continue;
        }
        match (&record.data, kind) {
            (RData::CNAME(other), _) => names.push(other.0.clone()),
            (RData::A(address), RecordKind::A) => addresses.push(IpAddr::V4(address.0)),
            (RData::AAAA(address), RecordKind::Aaaa) => addresses.push(IpAddr::V6(address.0)),
            (RData::SRV(instance), RecordKind::Srv) => instances.push(Instance {
                host: instance.target.to_lowercase().to_ascii().trim_end_matches('.').to_owned(),
                port: instance.port,
                weight: instance.weight,
            }),
            _ => {}
        }
    }
    match kind {
        _ if addresses.is_empty() && instances.is_empty() => Answer::Failed(Problem::NoRecord),
        RecordKind::Srv => Answer::Instances(instances),
        RecordKind::A | RecordKind::Aaaa => Answer::Addresses(addresses),
    }
}

#[cfg(test)]
mod tests;
