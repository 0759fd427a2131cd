//! Metrics for Prometheus, on an address of their own (`mainstay run --metrics`).
//!
//! Owns [`Exporter`] and what a scrape may ask for; `server` is the HTTP round it. `own` has our names, `haproxy` those of
//! HAProxy's exporter, `exposition` the format. All read the one snapshot that `mainstay status` shows.

mod exposition;
mod haproxy;
mod own;
mod server;

pub use server::Exporter;

use mainstay_engine::admin::Status;

use crate::proxy::ProxyLoad;

use exposition::Exposition;

/// The type of the text, as HTTP says it.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is wanted of all metrics. HAProxy's exporter has the same parameters, but for `mainstay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    /// `scope=global`.
    process: bool,
    /// `scope=frontend`.
    frontends: bool,
    /// `scope=backend`.
    backends: bool,
    /// `scope=server`.
    servers: bool,
    /// `scope=mainstay`: what has our names.
    own: bool,
    /// Servers in maintenance, too; not with `no-maint`.
    maintenance: bool,
}

impl Wanted {
    const EVERYTHING: Self = Self::all(true);

    const fn all(of_them: bool) -> Self {
        Self {
            process: of_them,
            frontends: of_them,
            backends: of_them,
            servers: of_them,
            own: of_them,
            maintenance: true,
        }
    }

    /// What the part of a URL after `?` asks for; as with HAProxy, the first `scope` leaves out all others, an empty one
    /// everything, and other parameters mean nothing.
    fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::EVERYTHING;
        let mut scoped = false;
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "no-maint" => wanted.maintenance = false,
                "scope" => {
                    if !scoped {
                        wanted = Self { maintenance: wanted.maintenance, ..Self::all(false) };
                        scoped = true;
                    }
                    wanted.add(value)?;
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn add(&mut self, scope: &str) -> Result<(), String> {
        match scope {
            "" => {}
            "*" | "%2A" | "%2a" => *self = Self { maintenance: self.maintenance, ..Self::EVERYTHING },
            "global" => self.process = true,
            "frontend" => self.frontends = true,
            "backend" => self.backends = true,
            "server" => self.servers = true,
            "mainstay" => self.own = true,
            _ => {
                return Err(
                    "`scope` is global, frontend, backend, server, mainstay or *, once or several times"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

/// What is measured, at one moment.
struct Daemon<'a> {
    /// What `mainstay status` shows.
    status: &'a Status,
    /// What the data plane did.
    load: ProxyLoad,
}

/// What HAProxy's exporter answers a scrape with, and under `scope=mainstay` our names.
///
/// # Errors
/// What is wrong with the query, as a sentence.
pub fn of_haproxy(status: &Status, load: ProxyLoad, query: &str) -> Result<String, String> {
    let wanted = Wanted::parse(query)?;
    let own = wanted.own && wanted != Wanted { maintenance: wanted.maintenance, ..Wanted::EVERYTHING };
    Ok(text(&Daemon { status, load }, Wanted { own, ..wanted }))
}

/// The text of a scrape.
fn text(daemon: &Daemon<'_>, wanted: Wanted) -> String {
    let mut text = Exposition::default();
    if wanted.own {
        own::write(&mut text, daemon.status, &daemon.load);
    }
    haproxy::write(&mut text, daemon, wanted);
    text.into_text()
}

#[cfg(test)]
mod tests;
