//! What a frontend of HTTP answers itself: pages of statistics, and whether the service is up.
//!
//! Data only; [`pages`](crate::pages) decides what a request is answered with.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::plan::Condition;

/// What a frontend that leads to no server answers itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// A request for exactly this is told whether the service is up (`monitor-uri`).
    pub monitor_uri: Option<String>,
    /// The page of statistics.
    pub statistics: Option<StatisticsPage>,
    /// Whether its section is a `listen`, so that HAProxy shows a backend of the same name.
    pub is_listen: bool,
}

/// A page of statistics (`stats …`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsPage {
    /// What requests for it begin with (`stats uri`).
    pub uri: String,
    /// What is asked for a password with, where no rule has a realm of its own (`stats realm`).
    pub realm: String,
    /// How often browsers load it again (`stats refresh`).
    pub refresh: Option<Duration>,
    /// The proxies it shows; all of them when empty (`stats scope`).
    pub scope: Vec<String>,
    /// Whether it does not say which version this is (`stats hide-version`).
    pub hide_version: bool,
    /// The balancer's name on it (`stats show-node`).
    pub node: Option<NodeName>,
    /// What is said of the balancer on it (`stats show-desc`).
    pub description: Option<String>,
    /// Whether it shows addresses and algorithms (`stats show-legends`).
    pub legends: bool,
}

/// The name of a balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeName {
    /// This one.
    Given(String),
    /// That of the machine.
    Machine,
}

/// Who may see a page of statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// What is done with the request.
    pub access: Access,
    /// When; always without one.
    pub condition: Option<Condition>,
}

/// What is done with a request for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is answered, and no further rule is asked.
    Allow,
    /// It is refused.
    Deny,
    /// It is asked for a password, under this realm or that of the page.
    Ask(Option<String>),
}

/// A user who has said the right password. The password itself is not kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Account([u8; 32]);

impl Account {
    /// The account of a user with a password.
    pub fn new(user: &str, password: &str) -> Self {
        Self(digest(base64(format!("{user}:{password}").as_bytes()).as_bytes()))
    }

    /// Whether these are the credentials of it, as `Authorization: Basic` has them. It takes as long for wrong ones.
    pub fn fits(&self, credentials: &str) -> bool {
        let differences = self.0.iter().zip(digest(credentials.as_bytes())).map(|(own, other)| own ^ other);
        differences.fold(0, |all, difference| all | difference) == 0
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(..)")
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Base64 (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let digit = DIGITS.get(digit as usize).filter(|_| place <= three.len());
            text.push(char::from(digit.copied().unwrap_or(b'=')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_browsers_send() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        let account = Account::new("Aladdin", "open sesame");
        assert!(account.fits("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        for wrong in ["QWxhZGRpbjpvcGVuIHNlc2FtZQ=", "", "QWxhZGRpbjpvcGVuIHNlc2FtZR=="] {
            assert!(!account.fits(wrong), "{wrong}");
        }
        assert_eq!(format!("{account:?}"), "Account(..)");
    }
}
