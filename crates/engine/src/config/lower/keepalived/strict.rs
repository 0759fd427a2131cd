//! `vrrp_strict` and `strict_mode`: what Keepalived takes back of a file so that it keeps to the RFCs.

use std::net::IpAddr;
use std::time::Duration;

use super::Globals;
use super::fields::Fields;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::{Statement, codes};
use crate::plan::{Authentication, Delivery, Preempt, Priority, Router};

/// Whether an instance is a strict one.
pub(super) fn is_strict(fields: &Fields<'_>, globals: &Globals) -> bool {
    fields.flag_or("strict_mode", globals.strict)
}

/// Whether `state` counts for a strict instance: MASTER is for the owner of the addresses alone.
pub(super) fn state_counts(
    fields: &Fields<'_>,
    priority: Priority,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let Some(state) = fields.last("state") else { return true };
    let says_master = fields.word("state").is_some_and(|word| word.text == "MASTER");
    let counts = says_master == (priority == Priority::OWNER);
    if !counts {
        let owner = if says_master { "BACKUP, because it is below 255" } else { "MASTER, because it is 255" };
        let message = format!("in strict mode the priority makes this instance a {owner}");
        diagnostics.push(taken_back(state, message).hint("write the state that goes with the priority"));
    }
    counts
}

/// Makes a router keep to the RFCs, as Keepalived does, and reports what was meant otherwise.
pub(super) fn apply(router: &mut Router, fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if let (Delivery::Unicast { .. }, Some(peers)) = (&router.delivery, fields.last("unicast_peer")) {
        diagnostics.push(
            Diagnostic::error(codes::STRICT, peers.keyword.span, "strict mode allows no unicast peers")
                .label("Keepalived would not run this instance")
                .hint("remove the peers, or strict mode"),
        );
    }
    let first = router.addresses.first().map(|own| own.address);
    if let (Some(IpAddr::V6(address)), Some(block)) = (first, fields.last("virtual_ipaddress"))
        && !address.is_unicast_link_local()
    {
        let message = format!("in strict mode the first IPv6 address has to be link-local, not {address}");
        diagnostics.push(
            Diagnostic::warning(codes::STRICT, block.keyword.span, message)
                .label("is used all the same, as in Keepalived"),
        );
    }
    if router.authentication != Authentication::None
        && let Some(block) = fields.last("authentication")
    {
        router.authentication = Authentication::None;
        diagnostics.push(taken_back(block, "strict mode allows no authentication".to_owned()));
    }
    if matches!(router.preempt, Preempt::After(delay) if !delay.is_zero())
        && let Some(line) = fields.last("preempt_delay")
    {
        router.preempt = Preempt::After(Duration::ZERO);
        diagnostics.push(taken_back(line, "strict mode allows no `preempt_delay`".to_owned()));
    }
    router.missed_adverts = 3;
    router.answers_lower_priority = false;
    router.answers_higher_priority = false;
    (router.announce.lower_priority_repeat, router.announce.lower_priority_delay) = (0, Duration::ZERO);
    for (name, wrong) in [
        ("down_timer_adverts", fields.integer::<u8>("down_timer_adverts").is_some_and(|count| count != 3)),
        ("lower_prio_no_advert", !fields.flag_or("lower_prio_no_advert", true)),
        ("higher_prio_send_advert", fields.flag("higher_prio_send_advert")),
        (
            "garp_lower_prio_repeat",
            fields.integer::<u32>("garp_lower_prio_repeat").is_some_and(|count| count > 0),
        ),
        (
            "garp_lower_prio_delay",
            fields.integer::<u32>("garp_lower_prio_delay").is_some_and(|count| count > 0),
        ),
    ] {
        if let Some(line) = fields.last(name).filter(|_| wrong) {
            diagnostics.push(taken_back(line, format!("strict mode takes `{name}` back")));
        }
    }
}

/// Strict mode wants virtual addresses that nobody can connect to unless their owner is active, which is of no use here.
pub(super) fn report_accept(
    router: &Router,
    fields: &Fields<'_>,
    globals: &Globals,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let span = fields.last("strict_mode").map(|line| line.keyword.span).or(globals.strict_span);
    if let (false, Some(span)) = (router.priority == Priority::OWNER, span) {
        let message =
            format!("the addresses of `{}` accept connections in strict mode all the same", router.name);
        diagnostics.push(
            Diagnostic::warning(codes::STRICT, span, message)
                .label("Keepalived would drop what is sent to them, unless the priority is 255"),
        );
    }
}

fn taken_back(line: &Statement, message: String) -> Diagnostic {
    Diagnostic::warning(codes::STRICT, line.keyword.span, message).label("has no effect, as in Keepalived")
}
