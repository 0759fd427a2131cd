//! Every verdict at least once, from real servers on the loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;

use mainstay_engine::plan::{
    Connect, Dialect, Expect, Expected, Pool, PoolId, Request, Server, ServerIndex, StatusRanges, Step,
    StepAction, Steps, TlsCheck, Verify,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::*;
use CheckStatus::{
    L4Con, L4Ok, L4Tout, L6Ok, L6Rsp, L6Tout, L7Ok, L7Okc, L7Rsp, L7Sts, L7Tout, Procerr, Procok, Proctout,
};

mod steps;

/// Long for a loopback, so that only servers that mean to be silent are.
const TIMELY: Duration = Duration::from_secs(5);

/// For servers that are silent on purpose.
const SHORT: Duration = Duration::from_millis(150);

const ONLY_SERVER: ServerId = ServerId { pool: PoolId(0), server: ServerIndex(0) };

fn check(address: SocketAddr, kind: CheckKind) -> Check {
    Check {
        kind,
        interval: TIMELY,
        fast_interval: TIMELY,
        down_interval: TIMELY,
        connect_timeout: TIMELY,
        answer_timeout: TIMELY,
        ..Check::new(address)
    }
}

/// A request for `/readyz`, which 200 to 399 pass.
fn http() -> CheckKind {
    https(None)
}

fn https(tls: Option<TlsCheck>) -> CheckKind {
    let request = Request { method: "GET".to_owned(), uri: "/readyz".to_owned(), ..Request::default() };
    let statuses = Expected::Status(StatusRanges { ranges: vec![(200, 399)] });
    let actions = [
        StepAction::Connect(Connect::new(tls)),
        StepAction::Request(request),
        StepAction::Expect(Box::new(Expect::new(statuses))),
    ];
    steps(Dialect::Http, actions)
}

fn steps(dialect: Dialect, actions: impl IntoIterator<Item = StepAction>) -> CheckKind {
    let steps = (1..).zip(actions).map(|(number, action)| Step { number, action, comment: None });
    CheckKind::Steps(Steps { dialect, steps: steps.collect(), disable_on_404: false })
}

fn tls(verify: Verify, server_name: Option<&str>) -> Option<TlsCheck> {
    let server_name = server_name.map(str::to_owned);
    Some(TlsCheck { verify, server_name, alpn: Vec::new(), certificate: None })
}

fn plan(check: &Check) -> Plan {
    let server = Server { check: Some(check.clone()), ..Server::new("cp1", check.address) };
    Plan { pools: vec![Pool::new("k8s", vec![server])], ..Plan::default() }
}

/// What one attempt of `check` finds out: status, HTTP code and detail.
async fn find(check: Check) -> (CheckStatus, Option<u16>, String) {
    let (report, mut verdicts) = tokio::sync::mpsc::unbounded_channel();
    let report = move |server, attempt, verdict| {
        let _ = report.send((server, attempt, verdict));
    };
    let checks = Checks::new(Handle::current(), &plan(&check), report, |_, _, _| {});
    checks.unwrap().start(ONLY_SERVER, 42, Arc::new(check), Seen { up: true, sessions: 0 });
    let (server, attempt, verdict) = verdicts.recv().await.unwrap();
    assert_eq!((server, attempt), (ONLY_SERVER, 42));
    assert!(verdict.took < 2 * TIMELY);
    (verdict.status, verdict.code, verdict.detail)
}

fn found(status: CheckStatus, code: Option<u16>, detail: &str) -> (CheckStatus, Option<u16>, String) {
    (status, code, detail.to_owned())
}

/// A server that treats each connection as `serve` says.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads one request, up to its empty line.
async fn read_request(stream: &mut impl Stream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
    assert_eq!(request, b"GET /readyz HTTP/1.0\r\n\r\n");
}

/// A server that answers one HTTP request with `answer` and keeps the connection open.
async fn http_server(answer: &'static str) -> SocketAddr {
    server(move |mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = until_closed(&mut stream).await;
    })
    .await
}

/// A server that accepts and says nothing.
async fn silent_server() -> SocketAddr {
    server(|mut stream| async move {
        let _ = until_closed(&mut stream).await;
    })
    .await
}

/// Reads until the other side ends the connection; returns how.
async fn until_closed(stream: &mut impl Stream) -> io::Result<()> {
    let mut scratch = [0; 512];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

#[tokio::test]
async fn a_connection_is_proof_enough_and_ends_with_a_reset() {
    let (ended, end) = mpsc::channel();
    let address = server(move |mut stream| {
        let ended = ended.clone();
        async move {
            let _ = ended.send(until_closed(&mut stream).await);
        }
    })
    .await;
    assert_eq!(find(check(address, CheckKind::Connect)).await, found(L4Ok, None, ""));
    let end = tokio::task::spawn_blocking(move || end.recv_timeout(TIMELY)).await.unwrap();
    assert_eq!(end.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(find(check(address, http())).await, found(L4Con, None, "Connection refused"));
}

#[tokio::test]
async fn a_connect_without_an_answer_times_out() {
    // With its backlog full the kernel drops further SYNs.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _holds_the_backlog = std::net::TcpStream::connect(address).unwrap();
    let check = Check { connect_timeout: SHORT, ..check(address, CheckKind::Connect) };
    assert_eq!(find(check).await, found(L4Tout, None, "no answer to a connect"));
}

#[tokio::test]
async fn the_status_of_an_answer_decides() {
    let ok = http_server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(find(check(ok, http())).await, found(L7Ok, Some(200), ""));

    let forbidden = http_server(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 45\r\n\r\n{\"kind\":\"Status\",\"message\":\"not before RBAC\"}",
    )
    .await;
    assert_eq!(find(check(forbidden, http())).await, found(L7Sts, Some(403), "not before RBAC"));

    let failing = http_server(
        "HTTP/1.0 500 Internal Server Error\r\n\r\n[+]ping ok\n[-]etcd failed: reason withheld\n",
    )
    .await;
    assert_eq!(
        find(check(failing, http())).await,
        found(L7Sts, Some(500), "[-]etcd failed: reason withheld")
    );
}

#[tokio::test]
async fn what_is_no_answer_is_said() {
    let garbage = http_server("+PONG\r\n").await;
    assert_eq!(find(check(garbage, http())).await, found(L7Rsp, None, "not HTTP: +PONG.."));

    let closing = server(|mut stream| async move { read_request(&mut stream).await }).await;
    assert_eq!(find(check(closing, http())).await, found(L7Rsp, None, "connection closed without an answer"));

    let resetting = server(|mut stream| async move {
        read_request(&mut stream).await;
        connect::reset_on_close(&stream);
    })
    .await;
    assert_eq!(find(check(resetting, http())).await, found(L7Rsp, None, "Connection reset by peer"));

    let endless = server(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"More: and more\r\n").await.is_ok() {}
    })
    .await;
    let (status, _, detail) = find(check(endless, http())).await;
    assert_eq!((status, detail.as_str()), (L7Rsp, "no end of the headers within 16384 bytes"));
}

#[tokio::test]
async fn a_silent_server_times_out_where_it_fell_silent() {
    let address = silent_server().await;
    let answer = Check { answer_timeout: SHORT, ..check(address, http()) };
    assert_eq!(find(answer).await, found(L7Tout, None, "no complete answer"));
    let hello = Check { answer_timeout: SHORT, ..check(address, CheckKind::SslHello) };
    assert_eq!(find(hello).await, found(L6Tout, None, "no answer to a client hello"));
    let handshake =
        Check { connect_timeout: SHORT, tls: tls(Verify::None, None), ..check(address, CheckKind::Connect) };
    assert_eq!(find(handshake).await, found(L6Tout, None, "no end of the TLS handshake"));
    let half = http_server("HTTP/1.1 200 O").await;
    let half = Check { answer_timeout: SHORT, ..check(half, http()) };
    assert_eq!(find(half).await, found(L7Tout, None, "no complete answer"));
}

/// An authority that signs server certificates, and its file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(file: &str, common_name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, common_name);
        let certificate = params.self_signed(&key).unwrap();
        let file = temporary_file(file, &pem(certificate.der()));
        Self { issuer: Issuer::new(params, key), file }
    }

    fn verify(&self) -> Verify {
        Verify::Authority(self.file.to_str().unwrap().to_owned())
    }

    /// A TLS server with a certificate for `names`, which answers `/readyz` with 200.
    async fn server(&self, names: &[&str]) -> SocketAddr {
        self.server_with(
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap(),
        )
        .await
    }

    async fn server_with(&self, params: CertificateParams) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        tls_server(vec![certificate.der().clone()], key, &[&TLS12, &TLS13]).await
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

async fn tls_server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    versions: &[&'static tokio_rustls::rustls::SupportedProtocolVersion],
) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = until_closed(&mut stream).await;
        }
    })
    .await
}

fn temporary_file(name: &str, text: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("mainstay-checks-{}-{name}.pem", std::process::id()));
    std::fs::write(&file, text).unwrap();
    file
}

fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (number, group) in der.chunks(3).enumerate() {
        let bits =
            group.iter().chain([&0; 2]).take(3).fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        let sextets = [18, 12, 6, 0].map(|shift| char::from(ALPHABET[bits >> shift & 63]));
        text.extend(&sextets[..=group.len()]);
        text.push_str(&"="[..usize::from(group.len() < 3)].repeat(3 - group.len()));
        if number % 16 == 15 {
            text.push('\n');
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

#[tokio::test]
async fn a_certificate_of_a_known_authority_passes_by_address_and_by_name() {
    let authority = Authority::new("known", "kubernetes");
    let address = authority.server(&["127.0.0.1", "api.example.com"]).await;
    for name in [None, Some("127.0.0.1"), Some("api.example.com")] {
        let check = check(address, https(tls(authority.verify(), name)));
        assert_eq!(find(check).await, found(L7Ok, Some(200), ""), "{name:?}");
    }
    let handshake = Check { tls: tls(authority.verify(), None), ..check(address, CheckKind::Connect) };
    assert_eq!(find(handshake).await, found(L6Ok, None, ""));
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_explained() {
    let authority = Authority::new("believed", "kubernetes");
    let other = Authority::new("other", "example");
    let namesake = Authority::new("namesake", "kubernetes");
    let address = authority.server(&["cp1.example.com", "10.0.0.11"]).await;

    let by = |verify, name| check(address, https(tls(verify, name)));
    let wrong_name = "certificate is valid for cp1.example.com, 10.0.0.11, not api.example.com";
    assert_eq!(find(by(authority.verify(), Some("api.example.com"))).await, found(L6Rsp, None, wrong_name));
    let wrong_address = "certificate is valid for cp1.example.com, 10.0.0.11, not 127.0.0.1";
    assert_eq!(find(by(authority.verify(), None)).await, found(L6Rsp, None, wrong_address));
    let unknown = "certificate is signed by an unknown authority";
    assert_eq!(find(by(other.verify(), Some("cp1.example.com"))).await, found(L6Rsp, None, unknown));
    let same_name = "certificate is signed by another authority of the same name as the known one";
    assert_eq!(find(by(namesake.verify(), Some("cp1.example.com"))).await, found(L6Rsp, None, same_name));
    assert_eq!(find(by(Verify::None, None)).await, found(L7Ok, Some(200), ""));
}

#[tokio::test]
async fn an_authority_that_serves_itself_is_explained() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let file = temporary_file("itself", &pem(certificate.der()));
    let verify = Verify::Authority(file.to_str().unwrap().to_owned());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let address = tls_server(vec![certificate.der().clone()], key, &[&TLS13]).await;
    let (status, _, detail) = find(check(address, https(tls(verify, None)))).await;
    std::fs::remove_file(file).unwrap();
    assert_eq!(status, L6Rsp);
    assert!(detail.starts_with("the server shows the certificate of an authority"), "{detail}");
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_explained() {
    let authority = Authority::new("time", "kubernetes");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let expired = authority.server_with(params.clone()).await;
    let check_of = |address| check(address, https(tls(authority.verify(), None)));
    let (status, code, detail) = find(check_of(expired)).await;
    assert_eq!((status, code), (L6Rsp, None));
    assert!(detail.starts_with("certificate expired ") && detail.ends_with(" d ago"), "{detail}");

    params.not_before = date_time_ymd(2400, 1, 1);
    params.not_after = date_time_ymd(2401, 1, 1);
    let early = authority.server_with(params).await;
    let (status, _, detail) = find(check_of(early)).await;
    assert_eq!(status, L6Rsp);
    assert!(detail.starts_with("certificate is not valid before "), "{detail}");
}

#[tokio::test]
async fn either_version_of_tls_will_do() {
    for version in [&TLS12, &TLS13] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let address = tls_server(vec![certificate.der().clone()], key, &[version]).await;
        let check = check(address, https(tls(Verify::None, None)));
        assert_eq!(find(check).await, found(L7Ok, Some(200), ""), "{version:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_fails_the_handshake() {
    let plain = server(|mut stream| async move {
        let mut scratch = [0; 16];
        let _ = stream.read(&mut scratch).await;
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
        let _ = until_closed(&mut stream).await;
    })
    .await;
    let handshake = Check { tls: tls(Verify::None, None), ..check(plain, CheckKind::Connect) };
    assert_eq!(find(handshake).await, found(L6Rsp, None, "the answer is not TLS"));
    let hello = check(plain, CheckKind::SslHello);
    assert_eq!(find(hello).await, found(L6Rsp, None, "not TLS: the answer starts with byte 0x48"));

    let closing = server(|mut stream| async move {
        let mut scratch = [0; 4096];
        let _ = stream.read(&mut scratch).await;
    })
    .await;
    let handshake = Check { tls: tls(Verify::None, None), ..check(closing, CheckKind::Connect) };
    let end = "connection closed during the TLS handshake";
    assert_eq!(find(handshake).await, found(L6Rsp, None, end));
}

#[tokio::test]
async fn a_client_hello_of_ssl3_gets_an_answer_of_a_server_of_today() {
    let authority = Authority::new("hello", "kubernetes");
    let address = authority.server(&["127.0.0.1"]).await;
    assert_eq!(find(check(address, CheckKind::SslHello)).await, found(L6Ok, None, ""));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_anything_starts() {
    let broken = temporary_file("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let empty = temporary_file("empty", "nothing here\n");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 6443));
    let error_of = |file: &str, name| {
        let check = check(address, https(tls(Verify::Authority(file.to_owned()), name)));
        Checks::new(Handle::current(), &plan(&check), |_, _, _| {}, |_, _, _| {}).unwrap_err().to_string()
    };
    let missing =
        "check of server k8s/cp1: ca-file /nowhere/ca.crt: cannot be read: No such file or directory";
    assert_eq!(error_of("/nowhere/ca.crt", None), missing);
    let (broken_path, empty_path) = (broken.to_str().unwrap(), empty.to_str().unwrap());
    assert!(error_of(broken_path, None).contains("certificate 1 is no authority"));
    assert!(error_of(empty_path, None).ends_with("holds no certificate"));
    let check = check(address, https(tls(Verify::None, Some("not a name"))));
    let error =
        Checks::new(Handle::current(), &plan(&check), |_, _, _| {}, |_, _, _| {}).unwrap_err().to_string();
    assert_eq!(error, "check of server k8s/cp1: `not a name` is neither a host name nor an address");
    for file in [broken, empty] {
        let _ = std::fs::remove_file(file);
    }
}

#[tokio::test]
async fn attempts_do_not_wait_for_each_other() {
    let address = silent_server().await;
    let check = Check { answer_timeout: SHORT, ..check(address, http()) };
    let (report, mut verdicts) = tokio::sync::mpsc::unbounded_channel();
    let report = move |_, attempt, verdict: Verdict| {
        let _ = report.send((attempt, verdict.status));
    };
    let checks = Checks::new(Handle::current(), &plan(&check), report, |_, _, _| {}).unwrap();
    let started = Instant::now();
    let check = Arc::new(check);
    (0..50).for_each(|attempt| checks.start(ONLY_SERVER, attempt, Arc::clone(&check), Seen::default()));
    let mut attempts = Vec::new();
    for _ in 0..50 {
        let (attempt, status) = verdicts.recv().await.unwrap();
        assert_eq!(status, L7Tout);
        attempts.push(attempt);
    }
    attempts.sort_unstable();
    assert!(attempts.into_iter().eq(0..50));
    assert!(started.elapsed() < 20 * SHORT, "one after the other would take 50 times as long");
}
