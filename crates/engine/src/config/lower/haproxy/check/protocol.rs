//! Options that stand for a short exchange of another protocol: `redis-check`, `smtpchk`, `mysql-check`, `pgsql-check`,
//! `ldap-check`.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::Word;
use crate::config::lower::haproxy::check::connect::ConnectLine;
use crate::config::lower::haproxy::check::ruleset::{Draft, What};
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::plan::{CheckStatus, Expect, Expected, MysqlPacket, Regex, Told};

/// The steps that an option stands for; nothing where something is wrong, which is reported.
pub(super) fn steps<'a>(line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<Draft<'a>>> {
    let words = match line.name {
        "option redis-check" => redis(),
        "option smtpchk" => smtp(line.values),
        "option ldap-check" => ldap(),
        "option mysql-check" => mysql(line, diagnostics)?,
        _ => postgresql(user(line, diagnostics)?),
    };
    let orderly = ConnectLine { default: true, linger: true, ..ConnectLine::default() };
    let connect = std::iter::once(What::Connect(orderly));
    let numbered = (1..).zip(connect.chain(words));
    Some(numbered.map(|(number, what)| Draft { number, what, comment: None }).collect())
}

fn send<'a>(bytes: impl Into<Vec<u8>>) -> What<'a> {
    What::Send(bytes.into())
}

fn expect<'a>(expect: Expect) -> What<'a> {
    What::Expect(Box::new(expect))
}

/// A pattern of this file.
fn pattern(text: &str) -> Regex {
    Regex::new(text, false).expect("the expressions of this file can be read")
}

fn text(text: &str) -> Option<Told> {
    Some(Told::Text(text.to_owned()))
}

/// RESP: a `PING` and its answer.
fn redis<'a>() -> Vec<What<'a>> {
    let pong = Expect {
        error: Some(CheckStatus::L7Sts),
        on_success: Some("Redis server is ok".to_owned()),
        on_error: Some(Told::Answer { skipped: 0, code: false }),
        ..Expect::new(Expected::Text(b"+PONG\r\n".to_vec()))
    };
    vec![send("*1\r\n$4\r\nPING\r\n"), expect(pong)]
}

/// RFC 5321: a greeting, a hello, a goodbye.
fn smtp<'a>(words: &[Word]) -> Vec<What<'a>> {
    let hello = match words {
        [verb, host, ..] if ["EHLO", "HELO"].contains(&verb.text.as_str()) => {
            format!("{} {}\r\n", verb.text, host.text)
        }
        _ => "HELO localhost\r\n".to_owned(),
    };
    let reply = |form: &str, min_recv| Expect {
        min_recv,
        error: Some(CheckStatus::L7Sts),
        on_error: Some(Told::Answer { skipped: 4, code: true }),
        ..Expect::new(Expected::TextRegex(pattern(form)))
    };
    let smtp_at_all = Expect {
        error: Some(CheckStatus::L7Rsp),
        on_error: Some(Told::Answer { skipped: 0, code: false }),
        ..reply("^[0-9]{3}[ \\r]", Some(4))
    };
    vec![
        expect(smtp_at_all),
        expect(reply("^2[0-9]{2}[ \\r]", Some(4))),
        send(hello),
        expect(reply("^(2[0-9]{2}-[^\\r]*\\r\\n)*2[0-9]{2}[ \\r]", None)),
        send("QUIT\r\n"),
        expect(reply("^2[0-9]{2}[- \\r]", Some(4))),
    ]
}

/// RFC 4511 §4.2: an anonymous bind, and its success.
fn ldap<'a>() -> Vec<What<'a>> {
    // A length of one byte, or of several.
    const LENGTH: &str = "(?:[0-7][0-9A-F]|81[0-9A-F]{2}|82[0-9A-F]{4}|84[0-9A-F]{8})";
    let result = format!("^30{LENGTH}02010161{LENGTH}0A01");
    let not_ldap = || text("Not LDAPv3 protocol");
    let message = Expect {
        min_recv: Some(14),
        on_error: not_ldap(),
        ..Expect::new(Expected::BinaryRegex(pattern("^30")))
    };
    let bind = Expect { on_error: not_ldap(), ..Expect::new(Expected::BinaryRegex(pattern(&result))) };
    let success = Expect {
        min_recv: Some(14),
        error: Some(CheckStatus::L7Sts),
        on_success: Some("Success".to_owned()),
        on_error: text("the bind was refused, see RFC 4511 section 4.1.9"),
        ..Expect::new(Expected::BinaryRegex(pattern(&format!("{result}00"))))
    };
    vec![
        send(*b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"),
        expect(message),
        expect(bind),
        expect(success),
    ]
}

/// The greeting alone, or a login without a password, and a goodbye.
fn mysql<'a>(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<What<'a>>> {
    let packet = |packet| {
        let on_error = Some(Told::Answer { skipped: 7, code: false });
        expect(Expect { on_error, ..Expect::new(Expected::Mysql(packet)) })
    };
    if line.values.is_empty() {
        return Some(vec![packet(MysqlPacket::Greeting)]);
    }
    let name = user(line, diagnostics)?.as_bytes();
    let mut login = match line.values.get(2).map(|form| (form, form.text.as_str())) {
        None | Some((_, "post-41")) => {
            let mut start = b"\x00\x82\x00\x00\x00\x80\x00\x01\x21".to_vec();
            start.extend([0; 23]);
            start
        }
        Some((_, "pre-41")) => b"\x00\x80\x00\x00\x01".to_vec(),
        Some((form, _)) => {
            diagnostics.push(bad_value(form, "a login is `pre-41` or `post-41`"));
            return None;
        }
    };
    login.extend(name.iter().chain(b"\0\0"));
    let length = u32::try_from(login.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes: Vec<u8> = length.into_iter().take(3).chain([1]).collect();
    bytes.extend(login);
    // A packet of one byte that ends the connection.
    bytes.extend(b"\x01\0\0\0\x01");
    Some(vec![send(bytes), packet(MysqlPacket::Greeting), packet(MysqlPacket::Ok)])
}

/// A startup message of protocol 3.0, and any question for credentials.
fn postgresql<'a>(user: &str) -> Vec<What<'a>> {
    let mut rest = b"\x00\x03\x00\x00user\0".to_vec();
    rest.extend(user.as_bytes().iter().chain(b"\0\0"));
    let length = u32::try_from(rest.len() + 4).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(rest);
    let no_error = Expect {
        negated: true,
        min_recv: Some(5),
        error: Some(CheckStatus::L7Rsp),
        on_error: Some(Told::Answer { skipped: 6, code: false }),
        ..Expect::new(Expected::TextRegex(pattern("^E")))
    };
    let question = "^52000000[A-Z0-9]{2}000000(00|02|03|04|05|06|07|09|0A)";
    let question = Expect {
        min_recv: Some(9),
        error: Some(CheckStatus::L7Sts),
        on_success: Some("PostgreSQL server is ok".to_owned()),
        on_error: text("PostgreSQL unknown error"),
        ..Expect::new(Expected::BinaryRegex(pattern(question)))
    };
    vec![send(bytes), expect(no_error), expect(question)]
}

/// `user NAME`.
fn user<'a>(line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> Option<&'a str> {
    match line.values {
        [keyword, name, ..] if keyword.text == "user" => return Some(&name.text),
        [keyword, ..] if keyword.text != "user" => {
            diagnostics.push(bad_value(keyword, &format!("`{}` takes `user` and a name", line.name)));
        }
        _ => diagnostics.push(missing(line.span, format!("`{}` needs `user` and a name", line.name))),
    }
    None
}
