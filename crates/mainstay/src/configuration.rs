//! The configuration files of this machine: which are read, and what becomes of them.
//!
//! Owns [`Configuration`] and [`compare`]. What the texts mean is the engine's business; it cannot look at files,
//! variables, names or the machine itself, so that is done here.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mainstay_engine::Plan;
use mainstay_engine::config::diagnostic::{Diagnostic, Level};
use mainstay_engine::config::lower::haproxy::Additions;
use mainstay_engine::config::source::{SourceId, Sources};
use mainstay_engine::config::{self, Host, KeyFile, Surroundings};
use zeroize::Zeroizing;

use crate::host::{self, Machine};

/// Read when no file is given, where they exist.
const DEFAULT_HAPROXY_CFG: &str = "/etc/haproxy/haproxy.cfg";
const DEFAULT_KEEPALIVED_CONF: &str = "/etc/keepalived/keepalived.conf";

/// Bytes of one configuration file: a thousand times a large one, and little enough to hold.
const LARGEST_FILE: u64 = 16 << 20;

/// Files of one haproxy.cfg: more than anybody splits it into, and little enough to hold.
const MOST_FILES: usize = 1_024;

/// Bytes of a file that holds a key: the longest key takes 132 as digits with `hex:` before them.
const LARGEST_KEY_FILE: u64 = 256;

/// Bytes of the largest file of patterns: room for all that a condition takes.
const LARGEST_PATTERN_FILE: u64 = 1024 * 1024;

/// The bits of a file's mode that let its group and everybody read it.
const READABLE_BY_OTHERS: u32 = 0o044;

/// Which files to read.
#[derive(Clone, Debug, Args)]
pub struct ConfigurationArgs {
    /// A haproxy.cfg to read, or a directory whose *.cfg files are read in the order of their names; may be given several
    /// times, and all of it is one configuration. Without any file, those in /etc are read
    #[arg(short = 'f', long, value_name = "FILE|DIRECTORY")]
    pub haproxy_cfg: Vec<PathBuf>,
    /// A keepalived.conf to read; may be given several times
    #[arg(long, value_name = "FILE")]
    pub keepalived_conf: Vec<PathBuf>,
    /// Who forwards connections to servers
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    pub forwarding: ForwardingMode,
}

/// Who forwards connections to servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ForwardingMode {
    /// The daemon accepts connections and relays them
    #[default]
    Proxy,
    /// The kernel forwards packets, so that connections outlive a balancer; what it cannot do stays with the proxy
    Nat,
}

/// Texts, and what was found in them.
#[derive(Debug)]
pub struct Findings {
    /// The texts. Passwords in them are marked.
    pub sources: Sources,
    /// All findings, in the order of the files and their lines.
    pub diagnostics: Vec<Diagnostic>,
}

/// Everything that was read, and what became of it.
#[derive(Debug)]
pub struct Configuration {
    /// What was found.
    pub findings: Findings,
    /// Present exactly if no finding is an error.
    pub plan: Option<Plan>,
    /// What servers that are added later are read with.
    pub additions: Additions,
}

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To say what is wrong with it; it may be meant for another machine.
    Check,
    /// To run it here.
    Run,
}

impl Findings {
    fn new(sources: Sources, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.is_none(), diagnostic.span));
        Self { sources, diagnostics }
    }

    /// How many findings are of `level`.
    pub fn count(&self, level: Level) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count()
    }

    /// Whether no finding is an error.
    pub fn valid(&self) -> bool {
        self.count(Level::Error) == 0
    }
}

impl Configuration {
    /// Reads the files that `args` name, or else the usual ones that exist, and holds them against this machine.
    ///
    /// # Errors
    /// A sentence: a file cannot be read, or there is none.
    pub fn read(args: &ConfigurationArgs, purpose: Purpose) -> Result<Self, String> {
        let (haproxy, keepalived) = files(args)?;
        let (sources, haproxy, keepalived) = texts(&haproxy, &keepalived)?;
        let (mut plan, mut diagnostics) = config::load(&sources, &haproxy, &keepalived, &surroundings());
        if let (Some(plan), ForwardingMode::Nat) = (&mut plan, args.forwarding) {
            let found = config::forward_by_kernel(plan, &sources, &haproxy, &surroundings());
            diagnostics.extend(found);
        }
        let machine = Machine::look().map_err(|error| format!("cannot list the interfaces: {error}"))?;
        let host = Host {
            interface: &|name| machine.interface(name),
            program: &host::program,
            runs_here: purpose == Purpose::Run,
        };
        diagnostics.extend(config::inspect(&sources, &keepalived, Some(&host), &surroundings()));
        let additions = config::additions(&sources, &haproxy, &surroundings());
        let findings = Findings::new(sources, diagnostics);
        let plan = plan.filter(|_| findings.valid());
        Ok(Self { findings, plan, additions })
    }
}

/// Reads the keepalived.conf files of several balancers, each by itself, and holds them against each other. They are
/// about other machines than this one, so it is not looked at. A haproxy.cfg is read once, as that of every balancer.
///
/// # Errors
/// A sentence: a file cannot be read.
pub fn compare(args: &ConfigurationArgs) -> Result<Findings, String> {
    let (sources, haproxy, balancers) = texts(&args.haproxy_cfg, &args.keepalived_conf)?;
    let mut diagnostics = Vec::new();
    if !haproxy.is_empty() {
        diagnostics.extend(config::load(&sources, &haproxy, &[], &surroundings()).1);
    }
    for balancer in &balancers {
        diagnostics.extend(config::load(&sources, &[], &[*balancer], &elsewhere()).1);
        diagnostics.extend(config::inspect(&sources, &[*balancer], None, &elsewhere()));
    }
    diagnostics.extend(config::compare(&sources, &balancers, &elsewhere()));
    Ok(Findings::new(sources, diagnostics))
}

/// This machine, as configurations see it.
pub fn surroundings() -> Surroundings<'static> {
    Surroundings {
        variable: &|name| std::env::var(name).ok(),
        resolve: &resolve,
        key_file: &key_file,
        pattern_file: &pattern_file,
    }
}

/// What is known here of another machine: its key files cannot be read, and are taken for good and the same.
fn elsewhere() -> Surroundings<'static> {
    let key_file = &|_: &str| {
        Ok(KeyFile {
            text: "a key that only the other machine has".to_owned().into(),
            readable_by_others: false,
        })
    };
    Surroundings { key_file, ..surroundings() }
}

/// All texts, and which of them are haproxy.cfg and which are keepalived.conf files.
fn texts(
    haproxy: &[PathBuf],
    keepalived: &[PathBuf],
) -> Result<(Sources, Vec<SourceId>, Vec<SourceId>), String> {
    let haproxy = &expand(haproxy)?;
    let mut sources = Sources::default();
    let mut add = |paths: &[PathBuf]| -> Result<Vec<SourceId>, String> {
        paths.iter().map(|path| Ok(sources.add(path.display().to_string(), text(path)?))).collect()
    };
    let (haproxy, keepalived) = (add(haproxy)?, add(keepalived)?);
    for secret in config::secrets(&sources, &haproxy, &keepalived) {
        sources.mark_secret(secret);
    }
    Ok((sources, haproxy, keepalived))
}

fn files(args: &ConfigurationArgs) -> Result<(Vec<PathBuf>, Vec<PathBuf>), String> {
    if !args.haproxy_cfg.is_empty() || !args.keepalived_conf.is_empty() {
        return Ok((args.haproxy_cfg.clone(), args.keepalived_conf.clone()));
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

/// The files that `paths` mean, as HAProxy's `-f`: of a directory its files that end in `.cfg` and do not start with a
/// dot, in the order of the bytes of their names. What is in directories below is not read.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let cannot = |error: std::io::Error| format!("cannot read the directory {}: {error}", path.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(cannot)? {
            let file = entry.map_err(cannot)?.path();
            let name = file.file_name().unwrap_or_default().as_encoded_bytes();
            if name.ends_with(b".cfg") && !name.starts_with(b".") && file.is_file() {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(format!("the directory {} has no file that ends in `.cfg`", path.display()));
        }
        found.sort_by(|one, other| {
            one.as_os_str().as_encoded_bytes().cmp(other.as_os_str().as_encoded_bytes())
        });
        files.append(&mut found);
    }
    if files.len() > MOST_FILES {
        return Err(format!("{} files are too many to read; the most is {MOST_FILES}", files.len()));
    }
    Ok(files)
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

fn key_file(path: &str) -> Result<KeyFile, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    // Whatever else it is may never end, or never begin.
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > LARGEST_KEY_FILE {
        return Err(format!(
            "it has {} bytes, and no key takes more than {LARGEST_KEY_FILE}",
            metadata.len()
        ));
    }
    // With room for all of it: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(LARGEST_KEY_FILE).unwrap_or(0)));
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(LARGEST_KEY_FILE).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(KeyFile { text, readable_by_others: metadata.permissions().mode() & READABLE_BY_OTHERS != 0 })
}

fn pattern_file(path: &str) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(LARGEST_PATTERN_FILE + 1).read_to_string(&mut text);
    match u64::try_from(read.map_err(|error| error.to_string())?) {
        Ok(bytes) if bytes <= LARGEST_PATTERN_FILE => Ok(text),
        _ => Err(format!("it has more than {LARGEST_PATTERN_FILE} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_its_cfg_files_in_the_order_of_their_names() {
        let directory = std::env::temp_dir().join(format!("mainstay-directory-{}", std::process::id()));
        fs::create_dir_all(directory.join("below.cfg")).unwrap();
        for name in [
            "b.cfg",
            "B.cfg",
            "a.cfg",
            "10.cfg",
            "9.cfg",
            ".hidden.cfg",
            "c.conf",
            "d.cfg~",
            "below.cfg/e.cfg",
        ] {
            fs::write(directory.join(name), "").unwrap();
        }
        let last = PathBuf::from("/last");
        let files = expand(&[directory.clone(), last.clone()]).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["10.cfg", "9.cfg", "B.cfg", "a.cfg", "b.cfg", "last"]);
        assert_eq!(files.last(), Some(&last));
        fs::create_dir(directory.join("empty")).unwrap();
        assert!(expand(&[directory.join("empty")]).unwrap_err().contains("no file that ends in `.cfg`"));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn key_files_are_read_whole_and_their_rights_looked_at() {
        let directory = std::env::temp_dir().join(format!("mainstay-key-file-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("key");
        let name = path.to_str().unwrap();
        let read = || key_file(name).map(|file| (file.text.to_string(), file.readable_by_others));
        for (mode, others) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o711, false)] {
            fs::write(&path, "hex:00\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(), Ok(("hex:00\n".to_owned(), others)), "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
        assert!(read().unwrap_err().contains("No such file"));
        fs::write(&path, "k".repeat(257)).unwrap();
        assert_eq!(read().unwrap_err(), "it has 257 bytes, and no key takes more than 256");
        fs::write(&path, [0xff]).unwrap();
        assert!(read().unwrap_err().contains("UTF-8"));
        assert_eq!(key_file(directory.to_str().unwrap()).err().unwrap(), "it is not a file");
        assert!(key_file("/dev/zero").is_err());
        fs::remove_dir_all(&directory).unwrap();
    }
}
