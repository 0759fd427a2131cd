//! What a keepalived.conf asks of the machine it is to run on, and the machine does not have.
//!
//! Owns [`Host`], which the caller answers, and [`inspect`]. Findings are warnings, because a file may be meant for
//! another machine; only a script that others can change keeps a configuration from running, where the file asks for
//! that with `enable_script_security`.

use std::net::IpAddr;

use super::places;
use crate::config::diagnostic::{Diagnostic, Level};
use crate::config::keepalived::{Statement, Tree, Word, codes};
use crate::config::lower::keepalived::Parts;
use crate::config::source::Span;
use crate::plan::{Notify, NotifyScript, Router, Script, ScriptCommand, ScriptUser, VirtualAddress};

/// The addresses of an interface with the lengths of their prefixes.
pub type Networks = Vec<(IpAddr, u8)>;

/// The machine at hand; the engine cannot look for itself.
pub struct Host<'a> {
    /// What an interface has; `None` if there is no such interface.
    pub interface: &'a dyn Fn(&str) -> Option<Networks>,
    /// What there is to say about a program that a script runs as a user, by default as root.
    pub program: &'a dyn Fn(&str, Option<&ScriptUser>) -> Program,
    /// Whether the configuration is to run on this machine now, and is not only looked at.
    pub runs_here: bool,
}

/// What there is to say about the program of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Nothing.
    Fine,
    /// It cannot be found; the reason.
    Missing(String),
    /// Whoever runs it may not execute it.
    NotExecutable,
    /// It runs as root, and somebody else can change it.
    Exposed {
        /// The file, or the directory above it, that can be changed.
        path: String,
        /// Who can.
        to: String,
    },
    /// There is no such user or group; a sentence.
    NoAccount(String),
}

/// Reports what `host` lacks for the scripts and routers that became of `tree`. Without a machine to look at, it reports
/// what the texts alone show.
pub(super) fn inspect(
    tree: &Tree,
    parts: &Parts,
    host: Option<&Host<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if let Some(host) = host {
        check_interfaces(tree, host, diagnostics);
        for script in &parts.scripts {
            check_script(tree, script, host, diagnostics);
        }
        for router in &parts.routers {
            if let Some(block) = places::instance(tree, &router.name) {
                check_notify(tree, block, &router.notify, host, diagnostics);
            }
        }
        for group in &parts.groups {
            if let Some(block) = places::group(tree, &group.name) {
                check_notify(tree, block, &group.notify, host, diagnostics);
            }
        }
        for fifo in &parts.notify_fifos {
            let reader = |keyword| {
                let line = places::global(tree, keyword)?;
                line.values.first().is_some_and(|word| word.text == fifo.path).then_some(keyword)
            };
            let line = match reader("notify_fifo") {
                Some(_) => places::global(tree, "notify_fifo_script"),
                None => places::global(tree, "vrrp_notify_fifo_script"),
            };
            if let (Some(line), Some(script)) = (line, &fifo.script) {
                check_line(tree, line, script, host, diagnostics);
            }
        }
    }
    for router in &parts.routers {
        let Some(instance) = places::instance(tree, &router.name) else { continue };
        let networks = |interface: &str| host.and_then(|host| (host.interface)(interface));
        check_source(instance, router, networks(&router.interface), diagnostics);
        for virtual_ip in router.addresses.iter().chain(&router.excluded_addresses) {
            // An interface with a virtual MAC address is made on top of the router's.
            let is_made =
                router.virtual_mac.as_ref().is_some_and(|own| own.interface == virtual_ip.interface);
            let networks = networks(if is_made { &router.interface } else { &virtual_ip.interface });
            check_subnet(instance, router, virtual_ip, networks, diagnostics);
        }
    }
}

/// Each interface once, where it is first named.
fn check_interfaces(tree: &Tree, host: &Host<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut seen: Vec<&str> = Vec::new();
    let instances = tree.statements.iter().filter(|statement| statement.keyword.text == "vrrp_instance");
    for word in instances.flat_map(named_interfaces).filter(|word| word.filled) {
        let name = word.text.as_str();
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        if (host.interface)(name).is_none() {
            let message = format!("this machine has no interface `{name}`");
            diagnostics.push(
                Diagnostic::warning(codes::NO_INTERFACE, word.span, message)
                    .label("not here, or not yet")
                    .hint("`ip link` lists the interfaces"),
            );
        }
    }
}

fn named_interfaces(instance: &Statement) -> impl Iterator<Item = &Word> {
    let own = places::setting(instance, &["interface"]).and_then(|statement| statement.values.first());
    let addresses = ["virtual_ipaddress", "virtual_ipaddress_excluded"];
    let addresses = addresses.into_iter().flat_map(|keyword| places::entries(instance, keyword));
    let devices = addresses.filter_map(|entry| {
        let mut words = entry.values.iter();
        words.find(|word| word.text == "dev")?;
        words.next()
    });
    let tracked = places::entries(instance, "track_interface").map(|entry| &entry.keyword);
    own.into_iter().chain(devices).chain(tracked)
}

fn check_script(tree: &Tree, script: &Script, host: &Host<'_>, diagnostics: &mut Vec<Diagnostic>) {
    // The data plane is asked instead, and no program is run.
    let ScriptCommand::Execute { arguments } = &script.command else { return };
    let Some(block) = places::script(tree, &script.name) else { return };
    let value = |keyword| places::setting(block, &[keyword]).and_then(|statement| statement.values.first());
    let Some(command) = value("script").map(|word| word.span) else { return };
    let user = value("user").map_or(command, |word| word.span);
    check_program(tree, arguments, script.user.as_ref(), (command, user), host, diagnostics);
}

/// The programs that are told about changes of a router, or of a group.
fn check_notify(
    tree: &Tree,
    block: &Statement,
    notify: &Notify,
    host: &Host<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (keyword, script) in [
        ("notify_master", &notify.master),
        ("notify_backup", &notify.backup),
        ("notify_fault", &notify.fault),
        ("notify_stop", &notify.stop),
        ("notify", &notify.any),
        ("notify_master_rx_lower_pri", &notify.lower_priority),
    ] {
        let (Some(script), Some(line)) = (script, places::setting(block, &[keyword])) else { continue };
        check_line(tree, line, script, host, diagnostics);
    }
}

/// `KEYWORD COMMAND [USER [GROUP]]`.
fn check_line(
    tree: &Tree,
    line: &Statement,
    script: &NotifyScript,
    host: &Host<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Some(command) = line.values.first().map(|word| word.span) else { return };
    let user = line.values.get(1).map_or(command, |word| word.span);
    check_program(tree, &script.arguments, script.user.as_ref(), (command, user), host, diagnostics);
}

/// One program, and where it and its user stand.
fn check_program(
    tree: &Tree,
    arguments: &[String],
    account: Option<&ScriptUser>,
    (command, user): (Span, Span),
    host: &Host<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Some(program) = arguments.first() else { return };
    let diagnostic = match (host.program)(program, account) {
        Program::Fine => return,
        Program::Missing(reason) => {
            let message = format!("`{program}` cannot be found on this machine: {reason}");
            Diagnostic::warning(codes::NO_PROGRAM, command, message)
                .label("would always fail here")
                .hint("install it, or write the path that it has")
        }
        Program::NotExecutable => {
            let message = format!("`{program}` may not be executed by {}", name_of(account));
            Diagnostic::warning(codes::NOT_EXECUTABLE, command, message)
                .label("would always fail here")
                .hint(format!("`chmod +x {program}`"))
        }
        Program::Exposed { path, to } => exposed(tree, host, command, program, (&path, &to)),
        Program::NoAccount(sentence) => {
            let usual = || places::global(tree, "script_user")?.values.first().map(|word| word.span);
            let place = if user == command { usual().unwrap_or(command) } else { user };
            let message = format!("{sentence} on this machine, and mainstay does not start without");
            Diagnostic::warning(codes::NO_ACCOUNT, place, message).hint("create it, or name another one")
        }
    };
    diagnostics.push(diagnostic);
}

fn name_of(account: Option<&ScriptUser>) -> String {
    account.map_or_else(|| "root".to_owned(), |user| format!("`{}`", user.user))
}

fn exposed(tree: &Tree, host: &Host<'_>, command: Span, program: &str, who: (&str, &str)) -> Diagnostic {
    let (path, to) = who;
    let message = format!("`{program}` runs as root, and {to} can change `{path}`");
    let security = places::global(tree, "enable_script_security");
    let (level, label) = match security {
        Some(_) if host.runs_here => (Level::Error, "not run, because of `enable_script_security`"),
        Some(_) => (Level::Warning, "`mainstay run` refuses it, because of `enable_script_security`"),
        None => (Level::Warning, "whoever can change it can become root"),
    };
    let diagnostic = match level {
        Level::Error => Diagnostic::error(codes::EXPOSED_SCRIPT, command, message),
        _ => Diagnostic::warning(codes::EXPOSED_SCRIPT, command, message),
    };
    let diagnostic = diagnostic
        .label(label)
        .hint(format!("`chown root:root {path} && chmod go-w {path}`, or run the script as another `user`"));
    match security {
        Some(security) => diagnostic.related(security.keyword.span, "asked for here"),
        None => diagnostic,
    }
}

/// A source that the interface, which is there, does not have.
fn check_source(
    instance: &Statement,
    router: &Router,
    networks: Option<Networks>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let (Some(networks), Some(source)) = (networks, router.source) else { return };
    let keyword = ["unicast_src_ip", "mcast_src_ip"];
    let word = places::setting(instance, &keyword).and_then(|statement| statement.values.first());
    if let Some(word) = word.filter(|_| networks.iter().all(|(address, _)| *address != source)) {
        let message = format!("`{source}` is not an address of `{}` on this machine", router.interface);
        diagnostics.push(
            Diagnostic::warning(codes::FOREIGN_SOURCE, word.span, message)
                .label("adverts could not be sent from here")
                .hint("write this balancer's own address, or check the file on the balancer it is for"),
        );
    }
}

/// A virtual address that no network of its interface holds; where the interface is not known, the balancer's own
/// address has to lie in the network of the virtual one.
fn check_subnet(
    instance: &Statement,
    router: &Router,
    virtual_ip: &VirtualAddress,
    networks: Option<Networks>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let VirtualAddress { address, prefix_length, interface, .. } = virtual_ip;
    let message = match networks {
        Some(networks) => {
            let comparable = |network: &&(IpAddr, u8)| {
                // A daemon that runs here may hold the virtual addresses themselves.
                let all = router.addresses.iter().chain(&router.excluded_addresses);
                network.0.is_ipv4() == address.is_ipv4() && all.clone().all(|own| own.address != network.0)
            };
            let networks: Vec<_> = networks.iter().filter(comparable).collect();
            if networks.is_empty()
                || networks.iter().any(|(own, length)| same_network(*own, *address, *length))
            {
                return;
            }
            let (own, length) = networks.first().map_or((*address, 0), |network| **network);
            format!("`{address}` is outside the networks of `{interface}`, such as that of {own}/{length}")
        }
        None => {
            let Some(own) = router.source else { return };
            let whole = if address.is_ipv4() { 32 } else { 128 };
            let unknown = *prefix_length == whole || *interface != router.interface;
            if unknown || own.is_ipv4() != address.is_ipv4() || same_network(own, *address, *prefix_length) {
                return;
            }
            format!(
                "`{own}`, this balancer's own address, is outside the network of `{address}/{prefix_length}`"
            )
        }
    };
    let entry = ["virtual_ipaddress", "virtual_ipaddress_excluded"]
        .into_iter()
        .flat_map(|keyword| places::entries(instance, keyword))
        .find(|entry| {
            entry.keyword.text.split('/').next().and_then(|text| text.parse().ok()) == Some(*address)
        });
    let Some(entry) = entry else { return };
    diagnostics.push(
        Diagnostic::warning(codes::OUTSIDE_SUBNET, entry.keyword.span, message)
            .label("clients and routers there may not find it")
            .hint("write an address and a prefix length of the interface's network"),
    );
}

/// Whether two addresses share their first `length` bits.
fn same_network(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    (bits(one) ^ bits(other)).leading_zeros() >= u32::from(length)
}
