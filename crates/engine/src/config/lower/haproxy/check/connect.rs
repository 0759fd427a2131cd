//! `tcp-check connect` and `http-check connect` lines.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::line::{Line, bad_value, missing};

/// How a check connects, as far as a line says so.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectLine<'a> {
    /// With the server's own parameters, where nothing else is said.
    pub(super) default: bool,
    pub(super) tls: bool,
    pub(super) linger: bool,
    /// A PROXY header comes first.
    pub(super) header: bool,
    pub(super) port: Option<u16>,
    pub(super) address: Option<&'a Word>,
    pub(super) name: Option<&'a Word>,
    pub(super) alpn: Option<&'a Word>,
}

impl<'a> ConnectLine<'a> {
    /// What nobody wrote.
    pub(super) fn implied() -> Self {
        Self { default: true, ..Self::default() }
    }

    /// Reads a line; the other value is its comment.
    pub(super) fn read(line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> (Self, Option<String>) {
        let mut connect = Self::default();
        let mut comment = None;
        let mut words = line.values.iter();
        while let Some(word) = words.next() {
            let name = word.text.as_str();
            let takes_value = ["port", "addr", "sni", "alpn", "comment", "proto"].contains(&name);
            let value = if takes_value { words.next() } else { None };
            if takes_value && value.is_none() {
                diagnostics.push(missing(word.span, format!("`{name}` needs a value")));
                break;
            }
            match (name, value) {
                ("default", _) => connect.default = true,
                ("ssl", _) => connect.tls = true,
                ("linger", _) => connect.linger = true,
                ("addr", value) => connect.address = value,
                ("sni", value) => connect.name = value,
                ("alpn", value) => connect.alpn = value,
                ("comment", value) => comment = value.map(|value| value.text.clone()),
                ("port", Some(value)) => connect.set_port(value, diagnostics),
                ("proto", Some(value)) if ["h1", "none"].contains(&value.text.as_str()) => {}
                ("send-proxy", _) => connect.header = true,
                ("via-socks4", _) => diagnostics.push(refused(word, "checks connect directly")),
                ("proto", _) => diagnostics.push(refused(word, "checks speak HTTP/1")),
                _ => {
                    let expected = format!(
                        "`{}` takes default, port, addr, ssl, sni, alpn, linger, send-proxy and comment",
                        line.name
                    );
                    diagnostics.push(bad_value(word, &expected));
                    break;
                }
            }
        }
        (connect, comment)
    }

    fn set_port(&mut self, value: &Word, diagnostics: &mut Vec<Diagnostic>) {
        self.port = value.text.parse().ok().filter(|port| *port > 0);
        if self.port.is_none() && value.filled {
            diagnostics.push(bad_value(value, "a port is a number from 1 to 65535"));
        }
    }
}

fn refused(word: &Word, reason: &str) -> Diagnostic {
    Diagnostic::warning(
        codes::NOT_ACTED_ON,
        word.span,
        format!("mainstay does not act on `{}` yet: {reason}", word.text),
    )
}
