//! The lines of `virtual_routes` and `virtual_rules`.

use std::net::IpAddr;
use std::slice::Iter;

use super::address::{check_interface, scope};
use super::fields::{Fields, recognise};
use crate::config::diagnostic::{Diagnostic, Level};
use crate::config::keepalived::keywords::{self, Place, Values};
use crate::config::keepalived::{Statement, Word, codes};
use crate::config::source::Span;
use crate::limits;
use crate::plan::{
    Family, MAIN_TABLE, Network, Route, RouteKind, Routing, RoutingEntry, Rule, RuleAction, Scope,
};

/// The priorities that rules without one get: downwards for each family, as in Keepalived.
#[derive(Debug)]
pub(super) struct RulePriorities {
    ipv4: u32,
    ipv6: u32,
}

impl Default for RulePriorities {
    fn default() -> Self {
        Self { ipv4: 16_384, ipv6: 16_384 }
    }
}

impl RulePriorities {
    fn next(&mut self, family: Family) -> u32 {
        let priority = match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        };
        let next = *priority;
        *priority = next.saturating_sub(1);
        next
    }
}

/// The routes and then the rules of one instance; those with mistakes are left out.
pub(super) fn lower_routing(
    fields: &Fields<'_>,
    priorities: &mut RulePriorities,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Routing> {
    let mut routing = Vec::new();
    for statement in fields.inside("virtual_routes") {
        let Some(line) = Line::read(Place::Route, statement, diagnostics) else { continue };
        let entry = route(&line, diagnostics).map(RoutingEntry::Route);
        add(&mut routing, entry, &line, diagnostics);
    }
    for statement in fields.inside("virtual_rules") {
        let Some(line) = Line::read(Place::Rule, statement, diagnostics) else { continue };
        let entry = rule(&line, priorities, diagnostics).map(RoutingEntry::Rule);
        add(&mut routing, entry, &line, diagnostics);
    }
    routing
}

fn add(
    routing: &mut Vec<Routing>,
    entry: Option<RoutingEntry>,
    line: &Line<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Some(entry) = entry else { return };
    if routing.iter().any(|other| other.entry == entry) {
        let message = format!("`{entry}` is there twice");
        diagnostics.push(Diagnostic::warning(codes::GIVEN_TWICE, line.span, message));
    } else if routing.len() == limits::ROUTING_PER_ROUTER {
        let message = format!("more than {} routes and rules in one instance", limits::ROUTING_PER_ROUTER);
        diagnostics.push(Diagnostic::error(codes::TOO_MANY, line.span, message).label("one too many"));
    } else if routing.len() < limits::ROUTING_PER_ROUTER {
        routing.push(Routing { entry, tracked: line.given("no_track").is_none() });
    }
}

/// One line, its options by name.
struct Line<'a> {
    place: Place,
    span: Span,
    options: Vec<(&'static str, Option<&'a Word>, Span)>,
    bare: Option<&'a Word>,
}

impl<'a> Line<'a> {
    /// Takes a line apart; `None` if something in it keeps it from being used.
    fn read(place: Place, statement: &'a Statement, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        if let Some(block) = &statement.block {
            let message = format!("a line of `{}` takes no block", place.name());
            diagnostics.push(
                Diagnostic::error(codes::BLOCK_EXPECTED, block.open, message).hint("is a `}` missing above?"),
            );
            return None;
        }
        let words: Vec<&Word> = [&statement.keyword].into_iter().chain(&statement.values).collect();
        if words.iter().any(|word| !word.filled) {
            return None;
        }
        let mut line = Self { place, span: statement.span(), options: Vec::new(), bare: None };
        let before = diagnostics.len();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            line.take(word, &mut words, diagnostics);
        }
        let errors = |diagnostic: &Diagnostic| diagnostic.level == Level::Error;
        (!diagnostics.iter().skip(before).any(errors)).then_some(line)
    }

    fn take(&mut self, word: &'a Word, rest: &mut Iter<'_, &'a Word>, diagnostics: &mut Vec<Diagnostic>) {
        let known = keywords::find(self.place, &word.text).is_some();
        if self.place == Place::Route && !known && self.bare.is_none() {
            self.bare = Some(word);
            return;
        }
        let option = Statement { keyword: (*word).clone(), values: Vec::new(), block: None };
        let Some((values, name)) = recognise(self.place, &option, diagnostics) else {
            // What is not acted on has a value, which is no option.
            if !WITHOUT_VALUE.contains(&word.text.as_str()) {
                rest.next();
            }
            return;
        };
        let value = match values {
            Values::Word => match rest.next() {
                Some(value) => Some(*value),
                None => {
                    let message = format!("`{name}` takes one value, and none follows");
                    diagnostics.push(
                        Diagnostic::error(codes::VALUE_COUNT, word.span, message).label("a value is missing"),
                    );
                    return;
                }
            },
            _ => None,
        };
        self.options.push((name, value, word.span));
    }

    /// The option of one of these names that counts, with its value.
    fn option(&self, names: &[&str]) -> Option<(&'static str, Option<&'a Word>, Span)> {
        self.options.iter().rev().find(|(name, ..)| names.contains(name)).copied()
    }

    fn given(&self, name: &str) -> Option<Span> {
        self.option(&[name]).map(|(_, _, span)| span)
    }

    fn word(&self, names: &[&str]) -> Option<&'a Word> {
        self.option(names)?.1
    }

    /// What the option makes of its value; `Err` if the value was reported.
    fn read_as<T>(
        &self,
        names: &[&str],
        what: &str,
        read: impl Fn(&str) -> Option<T>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Option<T>, Reported> {
        let Some((name, Some(word), _)) = self.option(names) else { return Ok(None) };
        match read(&word.text) {
            Some(value) => Ok(Some(value)),
            None => {
                diagnostics.push(Diagnostic::error(
                    codes::BAD_VALUE,
                    word.span,
                    format!("`{name}` takes {what}, not `{}`", word.text),
                ));
                Err(Reported)
            }
        }
    }

    fn interface(
        &self,
        names: &[&str],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Option<String>, Reported> {
        let Some(word) = self.word(names) else { return Ok(None) };
        if check_interface(word, diagnostics) { Ok(Some(word.text.clone())) } else { Err(Reported) }
    }

    fn network(
        &self,
        name: &str,
        families: &mut Families,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Option<Network>, Reported> {
        match self.word(&[name]) {
            None => Ok(None),
            Some(word) if ["all", "any", "default"].contains(&word.text.as_str()) => Ok(None),
            Some(word) => network(word, families, diagnostics).map(Some),
        }
    }

    fn address(
        &self,
        names: &[&str],
        families: &mut Families,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Option<IpAddr>, Reported> {
        let address = self.read_as(names, "an IP address", |text| text.parse().ok(), diagnostics)?;
        let (Some(address), Some(word)) = (address, self.word(names)) else { return Ok(None) };
        families.meet(Family::of(address), word.span, diagnostics)?;
        Ok(Some(address))
    }

    fn table(&self, names: &[&str], diagnostics: &mut Vec<Diagnostic>) -> Result<Option<u32>, Reported> {
        let known = [("main", MAIN_TABLE), ("default", 253), ("local", 255)];
        self.number_or_name(names, &known, "/etc/iproute2/rt_tables", diagnostics)
    }

    fn protocol(&self, diagnostics: &mut Vec<Diagnostic>) -> Result<u8, Reported> {
        let known = [("kernel", 2), ("boot", 3), ("static", 4), ("keepalived", 18)];
        let given = self.number_or_name(&["protocol"], &known, "/etc/iproute2/rt_protos", diagnostics)?;
        // As Keepalived marks its own, which whoever looks for them goes by.
        let number = given.unwrap_or(18);
        u8::try_from(number).map_err(|_| {
            let span = self.given("protocol").unwrap_or(self.span);
            let message = "`protocol` must be from 0 to 255";
            diagnostics.push(Diagnostic::error(codes::OUT_OF_RANGE, span, message));
            Reported
        })
    }

    /// A number, or a name that every machine knows.
    fn number_or_name(
        &self,
        names: &[&str],
        known: &[(&str, u32)],
        file: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Option<u32>, Reported> {
        let Some((name, Some(word), _)) = self.option(names) else { return Ok(None) };
        let known = known.iter().find(|(known, _)| *known == word.text).map(|(_, number)| *number);
        if let Some(number) = known.or_else(|| number(&word.text)) {
            return Ok(Some(number));
        }
        diagnostics.push(
            Diagnostic::error(
                codes::ROUTING_NAME,
                word.span,
                format!("mainstay does not know the {name} `{}`", word.text),
            )
            .label("a name of this machine's own")
            .hint(format!("write its number, as in {file}")),
        );
        Err(Reported)
    }
}

/// Options without a value that are not acted on.
const WITHOUT_VALUE: [&str; 13] = [
    "lock",
    "append",
    "not",
    "nop",
    "l3mdev",
    "local",
    "broadcast",
    "multicast",
    "anycast",
    "nat",
    "xresolve",
    "nexthop",
    "encap",
];

/// Something is wrong, and was said.
struct Reported;

/// The family that the addresses of one line share.
#[derive(Default)]
struct Families {
    first: Option<(Family, Span)>,
}

impl Families {
    fn of_line(line: &Line<'_>) -> Self {
        let named = [("inet", Family::Ipv4), ("inet6", Family::Ipv6)];
        let first = named.into_iter().find_map(|(name, family)| Some((family, line.given(name)?)));
        Self { first }
    }

    fn meet(
        &mut self,
        family: Family,
        span: Span,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<(), Reported> {
        match self.first {
            Some((first, first_span)) if first != family => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::ROUTING_FAMILIES,
                        span,
                        format!("this is {family} in a line of {first}"),
                    )
                    .label(format!("{first} was expected"))
                    .related(first_span, format!("makes it {first}")),
                );
                Err(Reported)
            }
            Some(_) => Ok(()),
            None => {
                self.first = Some((family, span));
                Ok(())
            }
        }
    }

    fn family(&self) -> Family {
        self.first.map_or(Family::Ipv4, |(family, _)| family)
    }
}

fn route(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Route> {
    let mut families = Families::of_line(line);
    let read = read_route(line, &mut families, diagnostics).ok()?;
    let nonsense = match (&read.kind, &read.gateway, &read.interface) {
        (RouteKind::Unicast, None, None) => "this route leads nowhere: it has neither `via` nor `dev`",
        (RouteKind::Unicast, Some(IpAddr::V6(gateway)), None) if gateway.is_unicast_link_local() => {
            "a link-local `via` needs a `dev`"
        }
        (RouteKind::Unicast, _, None) if read.onlink => "`onlink` needs a `dev`",
        (RouteKind::Unicast, ..) | (_, None, None) => return Some(read),
        _ => "a route that leads nowhere takes neither `via` nor `dev`",
    };
    diagnostics.push(Diagnostic::error(codes::ROUTING_SENSE, line.span, nonsense).label("in this route"));
    None
}

fn read_route(
    line: &Line<'_>,
    families: &mut Families,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Route, Reported> {
    let Some(destination) = line.word(&["to"]).or(line.bare) else {
        let message = "this route has no destination";
        diagnostics.push(
            Diagnostic::error(codes::ROUTING_SENSE, line.span, message)
                .hint("begin it with a network such as 192.0.2.0/24, or with `default`"),
        );
        return Err(Reported);
    };
    let is_default = destination.text == "default";
    let named = if is_default { None } else { Some(network(destination, families, diagnostics)?) };
    let number_of = |name: &str| format!("a number, `{name} 100`");
    let route = Route {
        kind: kind(line),
        gateway: line.address(&["via", "gw"], families, diagnostics)?,
        interface: line.interface(&["dev", "oif"], diagnostics)?,
        source: line.address(&["src"], families, diagnostics)?,
        table: line.table(&["table"], diagnostics)?.unwrap_or(MAIN_TABLE),
        metric: line.read_as(
            &["metric", "priority", "preference"],
            &number_of("metric"),
            number,
            diagnostics,
        )?,
        protocol: line.protocol(diagnostics)?,
        scope: line
            .read_as(&["scope"], "global, site, link, host or a number", scope, diagnostics)?
            .unwrap_or(Scope::Global),
        mtu: line.read_as(&["mtu"], &number_of("mtu"), number, diagnostics)?,
        onlink: line.given("onlink").is_some(),
        destination: named.unwrap_or(Network { address: families.family().unspecified(), prefix_length: 0 }),
    };
    Ok(route)
}

fn kind(line: &Line<'_>) -> RouteKind {
    let kinds = [
        ("blackhole", RouteKind::Blackhole),
        ("unreachable", RouteKind::Unreachable),
        ("prohibit", RouteKind::Prohibit),
        ("throw", RouteKind::Throw),
    ];
    let named = kinds.into_iter().find(|(name, _)| line.given(name).is_some());
    named.map_or(RouteKind::Unicast, |(_, kind)| kind)
}

fn rule(line: &Line<'_>, priorities: &mut RulePriorities, diagnostics: &mut Vec<Diagnostic>) -> Option<Rule> {
    let mut families = Families::of_line(line);
    let from = line.network("from", &mut families, diagnostics).ok()?;
    let to = line.network("to", &mut families, diagnostics).ok()?;
    let input_interface = line.interface(&["iif", "dev"], diagnostics).ok()?;
    let output_interface = line.interface(&["oif"], diagnostics).ok()?;
    let mark =
        line.read_as(&["fwmark"], "a number such as 0x10, or 0x10/0xff", read_mark, diagnostics).ok()?;
    let action = action(line, diagnostics).ok()?;
    let protocol = line.protocol(diagnostics).ok()?;
    let names = ["priority", "preference", "order", "pref"];
    let given = line.read_as(&names, "a number, `priority 100`", number, diagnostics).ok()?;
    let family = families.family();
    let priority = given.unwrap_or_else(|| {
        let priority = priorities.next(family);
        diagnostics.push(
            Diagnostic::warning(
                codes::RULE_PRIORITY,
                line.span,
                format!("this rule has no priority: it gets {priority}, as in Keepalived"),
            )
            .hint(format!("add `priority {priority}`, or the one that is meant")),
        );
        priority
    });
    Some(Rule { family, from, to, input_interface, output_interface, mark, action, priority, protocol })
}

fn action(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Result<RuleAction, Reported> {
    let table = line.table(&["table", "lookup"], diagnostics)?.map(RuleAction::Table);
    let kinds = [
        ("blackhole", RuleAction::Blackhole),
        ("unreachable", RuleAction::Unreachable),
        ("prohibit", RuleAction::Prohibit),
    ];
    let named = kinds.into_iter().filter(|(name, _)| line.given(name).is_some()).map(|(_, action)| action);
    let asked: Vec<RuleAction> = table.into_iter().chain(named).collect();
    if let [action] = asked.as_slice() {
        return Ok(*action);
    }
    let message = match asked.len() {
        0 => "this rule does nothing",
        _ => "this rule does more than one thing",
    };
    diagnostics.push(
        Diagnostic::error(codes::ROUTING_SENSE, line.span, message)
            .hint("give it one of `table`, `blackhole`, `unreachable` and `prohibit`"),
    );
    Err(Reported)
}

fn network(
    word: &Word,
    families: &mut Families,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Network, Reported> {
    let (address, length) = match word.text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word.text.as_str(), None),
    };
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix_length = length.map_or(Some(most), |length| length.parse().ok())?;
        (prefix_length <= most).then_some(Network { address, prefix_length })
    });
    let Some(parsed) = parsed else {
        diagnostics.push(
            Diagnostic::error(codes::BAD_VALUE, word.span, format!("`{}` is not a network", word.text))
                .label("a network such as 192.0.2.0/24 was expected"),
        );
        return Err(Reported);
    };
    families.meet(Family::of(parsed.address), word.span, diagnostics)?;
    let first = first_of(parsed);
    if first != parsed.address {
        diagnostics.push(
            Diagnostic::error(
                codes::HOST_BITS,
                word.span,
                format!("`{}` has bits set beyond its prefix, which the kernel refuses", word.text),
            )
            .hint(format!("write {first}/{}", parsed.prefix_length)),
        );
        return Err(Reported);
    }
    Ok(parsed)
}

/// The first address of a network.
fn first_of(network: Network) -> IpAddr {
    let length = u32::from(network.prefix_length);
    match network.address {
        IpAddr::V4(address) => {
            let host_bits = u32::MAX.checked_shr(length).unwrap_or(0);
            IpAddr::V4((address.to_bits() & !host_bits).into())
        }
        IpAddr::V6(address) => {
            let host_bits = u128::MAX.checked_shr(length).unwrap_or(0);
            IpAddr::V6((address.to_bits() & !host_bits).into())
        }
    }
}

/// A number, decimal or after `0x`.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `MARK` or `MARK/MASK`.
fn read_mark(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((mark, mask)) => Some((number(mark)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}
