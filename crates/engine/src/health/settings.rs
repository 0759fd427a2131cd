//! What a server is now: as configured, until an operator, its agent or DNS changes it.
//!
//! Owns [`Settings`]. Nothing here outlives the daemon, as with HAProxy without a state file.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plan::{Check, Server};

/// What an operator wants of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    /// It takes connections if it works.
    #[default]
    Ready,
    /// It takes no new connections but those that belong to it; it is checked as before.
    Drain,
    /// It takes no connections and is not checked. Those it has stay.
    Maintenance,
}

/// What a server is now.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) admin: AdminState,
    pub(super) weight: u16,
    pub(super) maxconn: Option<u32>,
    /// Where it is; `None` while nobody knows, and then it is as in maintenance.
    ip: Option<IpAddr>,
    port: u16,
    /// Whether it is a socket of this machine, which needs no address.
    local: bool,
    /// How it is checked, with the address of now. Shared with the attempts under way.
    pub(super) check: Option<Arc<Check>>,
    /// Whether checks are carried out (`enable health`).
    pub(super) checks_on: bool,
    /// Where checks go that do not go to the server's own address.
    check_ip: Option<IpAddr>,
    check_port: Option<u16>,
}

impl Settings {
    /// As configured. A server whose address is unspecified has none yet.
    pub(super) fn new(server: &Server) -> Self {
        let own = server.address;
        let aside = server.check.as_ref().map(|check| check.address);
        Self {
            admin: if server.disabled { AdminState::Maintenance } else { AdminState::Ready },
            weight: server.weight,
            maxconn: server.maxconn,
            ip: Some(own.ip()).filter(|ip| !ip.is_unspecified()),
            port: own.port(),
            local: server.local().is_some(),
            check: server.check.clone().map(Arc::new),
            checks_on: server.check.is_some(),
            check_ip: aside.map(|aside| aside.ip()).filter(|ip| *ip != own.ip()),
            check_port: aside.map(|aside| aside.port()).filter(|port| *port != own.port()),
        }
    }

    /// Whether it is out of service, whatever checks would say.
    pub(super) const fn out_of_service(&self) -> bool {
        matches!(self.admin, AdminState::Maintenance) || (self.ip.is_none() && !self.local)
    }

    /// Where its connections go.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.ip.map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Moves it; without a port, the one it has stays. Checks that went to its old address go to the new one.
    pub(super) fn set_address(&mut self, ip: Option<IpAddr>, port: Option<u16>) {
        (self.ip, self.port) = (ip, port.unwrap_or(self.port));
        self.aim_check();
    }

    /// Sends checks elsewhere; `None` is to the server's own address.
    pub(super) fn set_check_ip(&mut self, ip: Option<IpAddr>) {
        self.check_ip = ip;
        self.aim_check();
    }

    /// Sends checks to another port; `None` is the server's own.
    pub(super) fn set_check_port(&mut self, port: Option<u16>) {
        self.check_port = port;
        self.aim_check();
    }

    fn aim_check(&mut self) {
        let (Some(address), Some(check)) = (self.address(), &mut self.check) else { return };
        let ip = self.check_ip.unwrap_or(address.ip());
        let aim = SocketAddr::new(ip, self.check_port.unwrap_or(address.port()));
        if check.address != aim {
            Arc::make_mut(check).address = aim;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn checks_follow_the_address_unless_they_go_elsewhere() {
        let aim = |check: &str, orders: fn(&mut Settings)| {
            let own = address("10.0.0.1:6443");
            let check = Check::new(address(check));
            let mut settings = Settings::new(&Server { check: Some(check), ..Server::new("a", own) });
            orders(&mut settings);
            settings.check.unwrap().address.to_string()
        };
        let move_it: fn(&mut Settings) =
            |settings| settings.set_address(Some(IpAddr::from([10, 0, 0, 2])), Some(7443));
        assert_eq!(aim("10.0.0.1:6443", move_it), "10.0.0.2:7443");
        assert_eq!(aim("10.0.0.1:8080", move_it), "10.0.0.2:8080");
        assert_eq!(aim("10.0.0.9:6443", move_it), "10.0.0.9:7443");
        let and_back = |settings: &mut Settings| {
            settings.set_check_port(Some(1));
            settings.set_check_ip(Some(IpAddr::from([10, 0, 0, 8])));
            settings.set_address(None, Some(7443));
            settings.set_address(Some(IpAddr::from([10, 0, 0, 2])), None);
            settings.set_check_port(None);
        };
        assert_eq!(aim("10.0.0.1:6443", and_back), "10.0.0.8:7443");
    }
}
