//! The configuration files of this machine: which are read, and what becomes of them.
//!
//! Owns [`Configuration`]. What the texts mean is the engine's business; it cannot look at files, variables or names
//! itself, so that is done here.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::Args;
use mainstay_engine::Plan;
use mainstay_engine::config::diagnostic::{Diagnostic, Level};
use mainstay_engine::config::source::{SourceId, Sources};
use mainstay_engine::config::{self, Surroundings};

/// Read when no file is given, where they exist.
const DEFAULT_HAPROXY_CFG: &str = "/etc/haproxy/haproxy.cfg";
const DEFAULT_KEEPALIVED_CONF: &str = "/etc/keepalived/keepalived.conf";

/// Bytes of one configuration file: a thousand times a large one, and little enough to hold.
const LARGEST_FILE: u64 = 16 << 20;

/// Which files to read.
#[derive(Clone, Debug, Args)]
pub struct ConfigurationArgs {
    /// A haproxy.cfg to read; may be given several times. Without any file, those in /etc are read
    #[arg(long, value_name = "FILE")]
    pub haproxy_cfg: Vec<PathBuf>,
    /// A keepalived.conf to read
    #[arg(long, value_name = "FILE")]
    pub keepalived_conf: Option<PathBuf>,
}

/// Everything that was read, and what was found in it.
#[derive(Debug)]
pub struct Configuration {
    /// The texts. Passwords in them are marked.
    pub sources: Sources,
    /// Present exactly if no finding is an error.
    pub plan: Option<Plan>,
    /// All findings, in the order of the files and their lines.
    pub diagnostics: Vec<Diagnostic>,
}

impl Configuration {
    /// Reads the files that `args` name, or else the usual ones that exist.
    ///
    /// # Errors
    /// A sentence: a file cannot be read, or there is none.
    pub fn read(args: &ConfigurationArgs) -> Result<Self, String> {
        let (haproxy, keepalived) = files(args)?;
        let mut sources = Sources::default();
        let mut add = |paths: &[PathBuf]| -> Result<Vec<SourceId>, String> {
            paths.iter().map(|path| Ok(sources.add(path.display().to_string(), text(path)?))).collect()
        };
        let (haproxy, keepalived) = (add(&haproxy)?, add(&keepalived)?);
        for secret in config::secrets(&sources, &haproxy, &keepalived) {
            sources.mark_secret(secret);
        }
        let surroundings = Surroundings { variable: &|name| std::env::var(name).ok(), resolve: &resolve };
        let (plan, mut diagnostics) = config::load(&sources, &haproxy, &keepalived, &surroundings);
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.is_none(), diagnostic.span));
        Ok(Self { sources, plan, diagnostics })
    }

    /// How many findings are of `level`.
    pub fn count(&self, level: Level) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count()
    }
}

fn files(args: &ConfigurationArgs) -> Result<(Vec<PathBuf>, Vec<PathBuf>), String> {
    if !args.haproxy_cfg.is_empty() || args.keepalived_conf.is_some() {
        return Ok((args.haproxy_cfg.clone(), args.keepalived_conf.iter().cloned().collect()));
    }
    let usual = |path: &str| -> Vec<PathBuf> {
        Some(PathBuf::from(path)).filter(|path| path.exists()).into_iter().collect()
    };
    let (haproxy, keepalived) = (usual(DEFAULT_HAPROXY_CFG), usual(DEFAULT_KEEPALIVED_CONF));
    if haproxy.is_empty() && keepalived.is_empty() {
        return Err(format!(
            "there is nothing to read: neither {DEFAULT_HAPROXY_CFG} nor {DEFAULT_KEEPALIVED_CONF} exists; \
             name files with --haproxy-cfg and --keepalived-conf"
        ));
    }
    Ok((haproxy, keepalived))
}

fn text(path: &Path) -> Result<String, String> {
    let name = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    if metadata.len() > LARGEST_FILE {
        return Err(format!("{name} has {} bytes; the most is {LARGEST_FILE}", metadata.len()));
    }
    let bytes = fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        format!("{name} is not UTF-8 text: byte {} is invalid", error.utf8_error().valid_up_to() + 1)
    })
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.map(|address| address.ip()).collect())
}
