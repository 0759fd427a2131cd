//! PROXY headers: which a server expects, and which clients send.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::lower::haproxy::line::{Line, bad_value};
use crate::plan::{ProxyHeader, ProxyVersion};

/// What `proxy-v2-options` takes.
const OPTIONS: [&str; 8] =
    ["ssl", "cert-cn", "cert-key", "cert-sig", "ssl-cipher", "authority", "crc32c", "unique-id"];

/// What the parameters of a server say about its header. Each is a flag, as in HAProxy, where any of them makes a
/// header and only some of them one of version 2.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderFlags {
    v1: bool,
    v2: bool,
    checksum: bool,
    authority: bool,
    unique_id: bool,
    tls: bool,
}

impl HeaderFlags {
    /// Takes in a parameter; whether it is one of these.
    pub(super) fn set(&mut self, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
        match line.name {
            "send-proxy" => self.v1 = true,
            "no-send-proxy" => self.v1 = false,
            "send-proxy-v2" => self.v2 = true,
            "no-send-proxy-v2" => self.v2 = false,
            "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => (self.v2, self.tls) = (true, true),
            "no-send-proxy-v2-ssl" | "no-send-proxy-v2-ssl-cn" => (self.v2, self.tls) = (false, false),
            "proxy-v2-options" => self.set_options(line, diagnostics),
            _ => return false,
        }
        true
    }

    fn set_options(&mut self, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
        let Some(word) = line.values.first() else { return };
        for option in word.text.split(',') {
            match option {
                "crc32c" => self.checksum = true,
                "authority" => self.authority = true,
                "unique-id" => self.unique_id = true,
                _ if OPTIONS.contains(&option) => self.tls = true,
                _ => {
                    let expected = format!("`proxy-v2-options` takes {}", OPTIONS.join(", "));
                    diagnostics.push(bad_value(word, &expected));
                    return;
                }
            }
        }
    }

    /// The header that comes of it, if one does.
    pub(super) fn header(self) -> Option<ProxyHeader> {
        let Self { v1, v2, checksum, authority, unique_id, tls } = self;
        let version = if v2 { ProxyVersion::V2 } else { ProxyVersion::V1 };
        let any = v1 || v2 || checksum || authority || unique_id || tls;
        any.then_some(ProxyHeader { version, checksum, authority, unique_id, tls })
    }
}

/// `tcp-request connection expect-proxy layer4`: whether `line` is that, without a condition.
pub(super) fn expects_header(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let (action, layer) = (line.values.first(), line.values.get(1));
    if line.name != "tcp-request connection" || action.is_none_or(|word| word.text != "expect-proxy") {
        return false;
    }
    match layer {
        Some(layer) if layer.text == "layer4" => line.values.len() == 2,
        _ => {
            diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, line.whole(), "`expect-proxy` needs `layer4` behind it")
                    .hint("write `tcp-request connection expect-proxy layer4`"),
            );
            true
        }
    }
}
