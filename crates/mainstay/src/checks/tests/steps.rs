//! Checks of several steps, programs and agents.

use mainstay_engine::plan::{ExternalCheck, HeaderPattern, Regex, TextPattern, Told};

use super::*;

fn text(text: &str) -> Expect {
    Expect::new(Expected::Text(text.as_bytes().to_vec()))
}

fn expect(expect: Expect) -> StepAction {
    StepAction::Expect(Box::new(expect))
}

fn send(text: &str) -> StepAction {
    StepAction::Send(text.as_bytes().to_vec())
}

fn connect() -> StepAction {
    StepAction::Connect(Connect::new(None))
}

/// A server that answers each line it hears: `PING` with `+PONG`, `INFO` in two parts, `QUIT` with an end.
async fn redis() -> SocketAddr {
    server(|mut stream| async move {
        let mut heard = Vec::new();
        loop {
            heard.clear();
            while !heard.ends_with(b"\r\n") {
                if !matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
                    return;
                }
            }
            let answer: &[&[u8]] = match heard.as_slice() {
                b"PING\r\n" => &[b"+PONG\r\n"],
                b"INFO\r\n" => &[b"$11\r\nrole:", b"master\r\n"],
                b"QUIT\r\n" => return,
                _ => &[b"-ERR\r\n"],
            };
            for part in answer {
                if stream.write_all(part).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

async fn talk(
    address: SocketAddr,
    actions: impl IntoIterator<Item = StepAction>,
) -> (CheckStatus, Option<u16>, String) {
    find(check(address, self::super::steps(Dialect::Tcp, actions))).await
}

#[tokio::test]
async fn steps_are_taken_in_turn_and_the_last_one_is_the_result() {
    let address = redis().await;
    let ping = || [send("PING\r\n"), expect(text("+PONG"))];
    let info = || [send("INFO\r\n"), expect(text("role:master"))];
    let all = [connect()].into_iter().chain(ping()).chain(info());
    assert_eq!(talk(address, all).await, found(L7Ok, Some(0), ""));
    // What was received is looked at again until something is sent.
    let again = [connect()].into_iter().chain(ping()).chain([expect(text("PONG"))]);
    assert_eq!(talk(address, again).await, found(L7Ok, Some(0), ""));
    assert_eq!(talk(address, [connect(), send("PING\r\n")]).await, found(L7Ok, Some(0), ""));
    assert_eq!(talk(address, [connect()]).await, found(L4Ok, None, ""));
    // A second connection, to another port.
    let other = silent_server().await;
    let elsewhere = StepAction::Connect(Connect { port: Some(other.port()), ..Connect::new(None) });
    let twice = [connect()].into_iter().chain(ping()).chain([elsewhere]);
    assert_eq!(talk(address, twice).await, found(L4Ok, None, ""));
    let told = Expect { ok: Some(L6Ok), on_success: Some("fine".to_owned()), ..text("+PONG") };
    assert_eq!(talk(address, [connect(), send("PING\r\n"), expect(told)]).await, found(L6Ok, None, "fine"));
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_haproxys_words() {
    let address = redis().await;
    let wrong = |expected: Expect| talk(address, [connect(), send("PING\r\n"), expect(expected)]);
    let ended = "TCPCHK did not match content '+OK' at step 3";
    let by_length = Expect { min_recv: Some(5), ..text("+OK") };
    assert_eq!(wrong(by_length.clone()).await, found(L7Rsp, None, ended));
    let own = Expect { error: Some(L7Sts), on_error: Some(Told::Text("not ok".to_owned())), ..by_length };
    assert_eq!(wrong(own).await, found(L7Sts, Some(0), "not ok"));
    let unwanted = Expect { negated: true, min_recv: Some(1), ..text("PONG") };
    let said = "TCPCHK matched unwanted content 'PONG' at step 3";
    assert_eq!(wrong(unwanted).await, found(L7Rsp, None, said));

    let silent = silent_server().await;
    let waits = steps(Dialect::Tcp, [connect(), send("PING\r\n"), expect(text("+PONG"))]);
    let CheckKind::Steps(mut commented) = waits else { panic!("steps") };
    commented.steps[2].comment = Some("is it redis".to_owned());
    let waits = Check { answer_timeout: SHORT, ..check(silent, CheckKind::Steps(commented)) };
    let said = "no complete answer at step 3 of tcp-check (expect string '+PONG') comment: 'is it redis'";
    assert_eq!(find(waits).await, found(L7Tout, None, said));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let said = "Connection refused at step 1 of tcp-check (connect)";
    assert_eq!(talk(closed, [connect()]).await, found(L4Con, None, said));
}

async fn http_expect(
    answer: &'static str,
    expected: Expect,
    disable: bool,
) -> (CheckStatus, Option<u16>, String) {
    let address = http_server(answer).await;
    let CheckKind::Steps(mut steps) = http() else { panic!("steps") };
    steps.steps[2].action = expect(expected);
    steps.disable_on_404 = disable;
    find(check(address, CheckKind::Steps(steps))).await
}

#[tokio::test]
async fn bodies_headers_and_statuses_of_answers_are_judged() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nX-Role: a, leader\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nred\r\n2\r\ndy\r\n0\r\n\r\n";
    let body = |text: &str| Expect::new(Expected::Body(text.as_bytes().to_vec()));
    assert_eq!(http_expect(CHUNKED, body("reddy"), false).await, found(L7Ok, Some(200), ""));
    let wrong = found(L7Rsp, None, "HTTP content check did not match");
    assert_eq!(http_expect(CHUNKED, body("ready"), false).await, wrong);
    let regex = |text| Expect::new(Expected::BodyRegex(Regex::new(text, false).unwrap()));
    assert_eq!(http_expect(CHUNKED, regex("^red+y$"), false).await, found(L7Ok, Some(200), ""));
    let not = Expect { negated: true, ..regex("red") };
    let unwanted = found(L7Rsp, None, "HTTP check matched unwanted content");
    assert_eq!(http_expect(CHUNKED, not, false).await, unwanted);
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    let none = found(L7Rsp, None, "HTTP content check could not find a response body");
    assert_eq!(http_expect(empty, body("x"), false).await, none);

    let header = |whole, value: TextPattern| {
        let name = TextPattern::Is("x-role".to_owned());
        Expect::new(Expected::Header(HeaderPattern { name, value: Some(value), whole }))
    };
    let leader = || TextPattern::Is("leader".to_owned());
    assert_eq!(http_expect(CHUNKED, header(false, leader()), false).await, found(L7Ok, Some(200), ""));
    let missing = found(L7Sts, Some(200), "no such header");
    assert_eq!(http_expect(CHUNKED, header(true, leader()), false).await, missing);

    let regex = Expect::new(Expected::StatusRegex(Regex::new("^2..$", false).unwrap()));
    assert_eq!(http_expect(CHUNKED, regex.clone(), false).await, found(L7Ok, Some(200), ""));
    let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
    assert_eq!(http_expect(gone, regex.clone(), false).await, found(L7Sts, Some(404), "gone"));
    assert_eq!(http_expect(gone, regex, true).await, found(L7Okc, Some(404), ""));
}

fn external(command: &str, script: &str) -> Check {
    let file = std::env::temp_dir().join(format!("mainstay-check-{}-{command}", std::process::id()));
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = ExternalCheck {
        command: file.to_str().unwrap().to_owned(),
        path: "/usr/bin:/bin".to_owned(),
        user: None,
        proxy: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 6443))),
        proxy_name: "k8s".to_owned(),
        proxy_id: 2,
        server_id: 1,
        server_name: "cp1".to_owned(),
        server_maxconn: 7,
    };
    check(SocketAddr::from((Ipv4Addr::LOCALHOST, 7443)), CheckKind::External(program))
}

#[tokio::test]
async fn programs_get_haproxys_arguments_and_environment_and_end_in_time() {
    let asks = "#!/bin/sh\n\
        test \"$*\" = '127.0.0.1 6443 127.0.0.1 7443' || { echo \"$*\"; exit 9; }\n\
        test \"$HAPROXY_PROXY_NAME/$HAPROXY_SERVER_NAME/$HAPROXY_SERVER_MAXCONN\" = k8s/cp1/7 || exit 8\n\
        test -z \"$HOME\"\n";
    assert_eq!(find(external("asks", asks)).await, found(Procok, Some(0), ""));
    let fails = found(Procerr, Some(3), "exit status 3: no quorum");
    assert_eq!(find(external("fails", "#!/bin/sh\necho no quorum\nexit 3\n")).await, fails);
    let hangs = external("hangs", "#!/bin/sh\nsleep 600\n");
    let hangs = Check { connect_timeout: SHORT, answer_timeout: SHORT, ..hangs };
    assert_eq!(find(hangs).await, found(Proctout, Some(0), ""));
    for name in ["asks", "fails", "hangs"] {
        let _ = std::fs::remove_file(
            std::env::temp_dir().join(format!("mainstay-check-{}-{name}", std::process::id())),
        );
    }
}

#[tokio::test]
async fn agents_are_heard_up_to_the_end_of_their_line() {
    let address = server(|mut stream| async move {
        let mut asked = [0; 5];
        let _ = stream.read_exact(&mut asked).await;
        let _ = stream.write_all(b"drain 5").await;
        let _ = stream.write_all(b"0%\nmore").await;
        let _ = until_closed(&mut stream).await;
    })
    .await;
    let agent = Agent { address, send: "state".to_owned(), interval: TIMELY, timeout: TIMELY };
    let Answer::Line { line, .. } = agent::ask(&agent).await else { panic!("it answers") };
    assert!(line.starts_with("drain 50%\n"), "{line}");
    let silent = Agent { address: silent_server().await, timeout: SHORT, ..agent };
    let Answer::Failed(verdict) = agent::ask(&silent).await else { panic!("it is silent") };
    assert_eq!(verdict.status, L7Tout);
}
