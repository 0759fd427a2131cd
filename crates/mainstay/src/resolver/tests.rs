//! Questions to name servers on loopback that answer in every way there is.

use std::time::Duration;

use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, CNAME, SRV};
use mainstay_engine::plan::ResolverId;
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A name server over UDP and TCP that answers with what `answer` makes of each question.
async fn name_server(
    answer: impl Fn(Message, bool) -> Option<Message> + Send + Sync + 'static,
) -> NameServer {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // Somebody else may have this port of TCP.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let answer = Arc::new(answer);
    let over_tcp = Arc::clone(&answer);
    tokio::spawn(async move {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            if let Some(reply) = answer(Message::from_vec(&buffer[..length]).unwrap(), false) {
                udp.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut buffer = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut buffer).await.unwrap();
            let reply = over_tcp(Message::from_vec(&buffer).unwrap(), true).unwrap().to_vec().unwrap();
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    NameServer { name: "stub".to_owned(), address, tcp: false }
}

fn reply(question: &Message) -> Message {
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.add_queries(question.queries.clone());
    reply
}

fn with_address(question: &Message, address: [u8; 4]) -> Message {
    let mut reply = reply(question);
    let name = question.queries[0].name.clone();
    reply.add_answer(Record::from_rdata(name, 5, RData::A(A(address.into()))));
    reply
}

fn with_code(question: &Message, code: ResponseCode) -> Message {
    let mut reply = reply(question);
    reply.metadata.response_code = code;
    reply
}

async fn ask(name_servers: Vec<NameServer>, kind: RecordKind, retry: Duration) -> Answer {
    let resolver = Arc::new(Resolver { retry, ..Resolver::new("dns", name_servers) });
    let question = Question { resolver: ResolverId(0), name: "cp.test".to_owned(), kind };
    timeout(PATIENCE, ask_all(&resolver, &question)).await.expect("an answer in time")
}

fn addresses(list: &[[u8; 4]]) -> Answer {
    Answer::Addresses(list.iter().map(|address| IpAddr::from(*address)).collect())
}

#[tokio::test]
async fn the_first_useful_answer_counts_whatever_the_others_say() {
    let refuses = name_server(|question, _| Some(with_code(&question, ResponseCode::Refused))).await;
    let silent = name_server(|_, _| None).await;
    let knows = name_server(|question, _| Some(with_address(&question, [10, 0, 0, 5]))).await;
    let answer = ask(vec![silent.clone(), refuses.clone(), knows], RecordKind::A, PATIENCE).await;
    assert_eq!(answer, addresses(&[[10, 0, 0, 5]]));
    let short = Duration::from_millis(200);
    let refused = ask(vec![silent.clone(), refuses], RecordKind::A, short).await;
    assert_eq!(refused, Answer::Failed(Problem::Refused), "an answer says more than silence");
    assert_eq!(ask(vec![silent], RecordKind::A, short).await, Answer::Failed(Problem::Timeout));
    assert_eq!(ask(Vec::new(), RecordKind::A, short).await, Answer::Failed(Problem::Timeout));
}

#[tokio::test]
async fn failures_have_their_names() {
    for (code, problem) in [
        (ResponseCode::NXDomain, Problem::NoName),
        (ResponseCode::ServFail, Problem::Other),
        (ResponseCode::NoError, Problem::NoRecord),
    ] {
        let server = name_server(move |question, _| Some(with_code(&question, code))).await;
        assert_eq!(ask(vec![server], RecordKind::A, PATIENCE).await, Answer::Failed(problem));
    }
}

#[tokio::test]
async fn answers_to_other_questions_are_nobodys() {
    let server = name_server(|question, _| {
        let mut other = with_address(&question, [10, 0, 0, 66]);
        other.metadata.id = other.metadata.id.wrapping_add(1);
        Some(other)
    })
    .await;
    let answer = ask(vec![server], RecordKind::A, Duration::from_millis(200)).await;
    assert_eq!(answer, Answer::Failed(Problem::Timeout));
    let server = name_server(|question, _| {
        let mut stranger = reply(&question);
        stranger.add_answer(Record::from_rdata(name("other.test."), 5, RData::A(A([10, 0, 0, 66].into()))));
        Some(stranger)
    })
    .await;
    assert_eq!(ask(vec![server], RecordKind::A, PATIENCE).await, Answer::Failed(Problem::NoRecord));
}

#[tokio::test]
async fn aliases_are_followed() {
    let server = name_server(|question, _| {
        let mut reply = reply(&question);
        let alias = RData::CNAME(CNAME(name("real.test.")));
        reply.add_answer(Record::from_rdata(name("cp.test."), 5, alias));
        reply.add_answer(Record::from_rdata(name("real.test."), 5, RData::A(A([10, 0, 0, 7].into()))));
        Some(reply)
    })
    .await;
    assert_eq!(ask(vec![server], RecordKind::A, PATIENCE).await, addresses(&[[10, 0, 0, 7]]));
}

#[tokio::test]
async fn what_does_not_fit_comes_over_tcp() {
    let server = name_server(|question, tcp| {
        let mut cut = reply(&question);
        cut.metadata.truncation = true;
        Some(if tcp { with_address(&question, [10, 0, 0, 8]) } else { cut })
    })
    .await;
    assert_eq!(ask(vec![server.clone()], RecordKind::A, PATIENCE).await, addresses(&[[10, 0, 0, 8]]));
    let direct = NameServer { tcp: true, ..server };
    assert_eq!(ask(vec![direct], RecordKind::A, PATIENCE).await, addresses(&[[10, 0, 0, 8]]));
}

#[tokio::test]
async fn a_service_has_instances() {
    let server = name_server(|question, _| {
        let mut reply = reply(&question);
        let data = RData::SRV(SRV::new(1, 20, 6443, name("CP1.Test.")));
        reply.add_answer(Record::from_rdata(name("cp.test."), 5, data));
        Some(reply)
    })
    .await;
    let instance = Instance { host: "cp1.test".to_owned(), port: 6443, weight: 20 };
    assert_eq!(ask(vec![server], RecordKind::Srv, PATIENCE).await, Answer::Instances(vec![instance]));
}

#[test]
fn the_systems_name_servers_are_read() {
    let text = "# comment\nsearch test\nnameserver 192.0.2.53\n nameserver  2001:db8::53 \nnameserver x\nnameserver\n";
    let found = system_servers(text).into_iter().map(|server| server.address.to_string());
    assert_eq!(found.collect::<Vec<_>>(), ["192.0.2.53:53", "[2001:db8::53]:53"]);
}
