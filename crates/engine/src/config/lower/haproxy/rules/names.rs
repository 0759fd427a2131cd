//! What conditions and rules can refer to: frontends, pools, servers and tables, by name.

use crate::config::diagnostic::did_you_mean;
use crate::config::haproxy::codes;
use crate::config::lower::haproxy::page::Userlist;
use crate::config::lower::haproxy::proxy::Proxy;
use crate::plan::{FrontendId, PoolId, ServerId, ServerIndex, TableId};

/// What there is, seen from one proxy.
pub(in crate::config::lower::haproxy) struct Names<'a, 'b> {
    /// The proxy that asks: what is not named is its own.
    pub(in crate::config::lower::haproxy) own: &'b Proxy<'a>,
    /// Every proxy.
    pub(in crate::config::lower::haproxy) proxies: &'b [Proxy<'a>],
    /// Those that are frontends of the plan, in its order.
    pub(in crate::config::lower::haproxy) fronts: &'b [&'b Proxy<'a>],
    /// Those that are pools of the plan, in its order.
    pub(in crate::config::lower::haproxy) backs: &'b [&'b Proxy<'a>],
    /// Those that have tables, in the order of the plan.
    pub(in crate::config::lower::haproxy) tables: &'b [&'b Proxy<'a>],
    /// Whether the proxy that asks answers requests of HTTP, which can be looked at then.
    pub(in crate::config::lower::haproxy) http: bool,
    /// Who may log in.
    pub(in crate::config::lower::haproxy) userlists: &'b [Userlist],
}

/// A code, what is wrong, and what was expected.
pub(super) type Problem = (&'static str, String, String);

impl<'a, 'b> Names<'a, 'b> {
    /// The name of the proxy that asks.
    pub(super) fn proxy(&self) -> &'b str {
        &self.own.name.text
    }

    /// A backend: `None` if it has no server.
    pub(super) fn pool(&self, name: &str) -> Result<Option<PoolId>, Problem> {
        let back = self.find(name, "backend", |proxy| proxy.is_back())?;
        Ok(place(self.backs, back).map(PoolId))
    }

    /// A frontend: `None` if it is not started.
    pub(super) fn frontend(&self, name: &str) -> Result<Option<FrontendId>, Problem> {
        let front = self.find(name, "frontend", |proxy| proxy.is_front())?;
        Ok(place(self.fronts, front).map(FrontendId))
    }

    /// A server, perhaps with its backend before a slash; `None` if the backend is not started.
    pub(super) fn server(&self, name: &str) -> Result<Option<ServerId>, Problem> {
        let (pool, server) = name.split_once('/').unwrap_or(("", name));
        let back = self.find(pool, "backend", |_| true)?;
        let index = back.servers.iter().position(|line| line.name.text == server);
        let Some(index) = index.and_then(|index| u16::try_from(index).ok()) else {
            let names = back.servers.iter().map(|line| line.name.text.as_str());
            let label = meant(server, names);
            let message = format!("there is no server `{server}` in `{}`", back.name.text);
            return Err((codes::UNDEFINED_SERVER, message, label));
        };
        let pool = place(self.backs, back).map(PoolId);
        Ok(pool.map(|pool| ServerId { pool, server: ServerIndex(index) }))
    }

    /// A table.
    pub(super) fn table(&self, name: &str) -> Result<TableId, Problem> {
        let name = if name.is_empty() { self.proxy() } else { name };
        let found = self.tables.iter().position(|proxy| proxy.name.text == name);
        found.and_then(|found| u16::try_from(found).ok()).map(TableId).ok_or_else(|| {
            let names = self.tables.iter().map(|proxy| proxy.name.text.as_str());
            (codes::UNDEFINED_TABLE, format!("there is no stick table `{name}`"), meant(name, names))
        })
    }

    fn find(
        &self,
        name: &str,
        what: &str,
        fits: impl Fn(&Proxy<'a>) -> bool,
    ) -> Result<&'b Proxy<'a>, Problem> {
        if name.is_empty() && fits(self.own) {
            return Ok(self.own);
        }
        let named = self.proxies.iter().find(|proxy| proxy.name.text == name && fits(proxy));
        named.ok_or_else(|| {
            let names = self.proxies.iter().filter(|proxy| fits(proxy)).map(|proxy| proxy.name.text.as_str());
            let message = if name.is_empty() {
                format!("`{}` is no {what}, and no other is named", self.proxy())
            } else {
                format!("there is no {what} `{name}`")
            };
            (codes::UNDEFINED_SECTION, message, meant(name, names))
        })
    }
}

fn meant<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    did_you_mean(name, names)
        .map_or_else(|| "not defined".to_owned(), |meant| format!("did you mean `{meant}`?"))
}

fn place<'a>(proxies: &[&Proxy<'a>], wanted: &Proxy<'a>) -> Option<u16> {
    let place = proxies.iter().position(|proxy| std::ptr::eq(*proxy, wanted));
    place.and_then(|place| u16::try_from(place).ok())
}
