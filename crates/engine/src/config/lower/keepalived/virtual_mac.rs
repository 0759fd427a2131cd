//! `use_vmac`: a hardware address of the virtual router's own, and the interface that has it.

use super::address::check_interface;
use super::fields::Fields;
use super::instance::Instance;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::{Statement, Word, codes};
use crate::config::source::Span;
use crate::plan::{Delivery, Family, HardwareAddress, Router, VirtualMac};

/// What `use_vmac` says, before names are given.
#[derive(Debug)]
pub(super) struct UseVmac {
    /// The keyword.
    span: Span,
    /// The name it gives the interface.
    name: Option<(String, Span)>,
    transmit_on_base: bool,
}

/// Reads `use_vmac` and `vmac_xmit_base` of an instance with `delivery`.
pub(super) fn use_vmac(
    fields: &Fields<'_>,
    delivery: &Delivery,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<UseVmac> {
    let on_base = fields.last("vmac_xmit_base");
    let Some(statement) = fields.last("use_vmac") else {
        if let Some(useless) = on_base {
            diagnostics.push(Diagnostic::note(
                codes::NO_EFFECT,
                useless.keyword.span,
                "`vmac_xmit_base` has no effect without `use_vmac`: there is no other MAC address",
            ));
        }
        return None;
    };
    let name = name(statement, diagnostics).map(|word| (word.text.clone(), word.span));
    let unicast = matches!(delivery, Delivery::Unicast { .. });
    if unicast && on_base.is_none() {
        diagnostics.push(
            Diagnostic::warning(
                codes::VMAC_UNICAST,
                statement.keyword.span,
                "unicast adverts come from the interface's own MAC address: `use_vmac` is taken with `vmac_xmit_base`, \
                 as in Keepalived",
            )
            .hint("add `vmac_xmit_base`, or leave out `unicast_peer`"),
        );
    }
    let transmit_on_base = unicast || on_base.is_some();
    Some(UseVmac { span: statement.keyword.span, name, transmit_on_base })
}

/// The name in `use_vmac [NAME] [MAC]`.
fn name<'a>(statement: &'a Statement, diagnostics: &mut Vec<Diagnostic>) -> Option<&'a Word> {
    let is_hardware = |word: &&Word| word.text.matches(':').count() >= 4;
    if let Some(hardware) = statement.values.iter().find(is_hardware) {
        diagnostics.push(
            Diagnostic::error(
                codes::VMAC_ADDRESS,
                hardware.span,
                "the MAC address of a virtual router cannot be chosen: mainstay uses the one RFC 9568 gives it",
            )
            .label("another MAC address")
            .hint("leave it out on every balancer"),
        );
    }
    let name = statement.values.first().filter(|word| !is_hardware(word))?;
    check_interface(name, diagnostics).then_some(name)
}

/// Gives every interface of `use_vmac` a name of its own, and puts the instance's addresses on it.
pub(super) fn name_interfaces(instances: &mut [Instance], prefix: &str, diagnostics: &mut Vec<Diagnostic>) {
    let mut taken: Vec<(String, Option<Span>)> =
        instances.iter().map(|instance| (instance.router.interface.clone(), None)).collect();
    for instance in instances.iter() {
        let Some((name, span)) = instance.use_vmac.as_ref().and_then(|asked| asked.name.as_ref()) else {
            continue;
        };
        if let Some((_, first)) = taken.iter().find(|(other, _)| other == name) {
            let message = format!("the interface of `use_vmac` cannot be called `{name}`: another one is");
            let diagnostic = Diagnostic::error(codes::VMAC_NAME, *span, message).label("taken");
            diagnostics.push(match first {
                Some(first) => diagnostic.related(*first, "the other one"),
                None => diagnostic.hint("adverts of an instance travel on it: choose another name"),
            });
        }
        taken.push((name.clone(), Some(*span)));
    }
    for instance in instances {
        let Some(asked) = instance.use_vmac.take() else { continue };
        let interface = match asked.name {
            Some((name, _)) => name,
            None => free_name(&instance.router, prefix, &taken),
        };
        if interface.len() > super::address::INTERFACE_NAME_BYTES {
            diagnostics.push(
                Diagnostic::error(
                    codes::VMAC_NAME,
                    asked.span,
                    format!("no interface can be called `{interface}`"),
                )
                .hint("shorten `vmac_prefix`"),
            );
        }
        taken.push((interface.clone(), Some(asked.span)));
        attach(&mut instance.router, interface, asked.transmit_on_base);
    }
}

/// The name that Keepalived would choose.
fn free_name(router: &Router, prefix: &str, taken: &[(String, Option<Span>)]) -> String {
    let family = match router.family() {
        Family::Ipv4 => "",
        Family::Ipv6 => "6",
    };
    let name = |number: String| format!("{prefix}{family}{number}.{}", router.vrid);
    let is_free = |name: &String| taken.iter().all(|(other, _)| other != name);
    let numbered = (1..=taken.len()).map(|number| name(number.to_string()));
    [name(String::new())].into_iter().chain(numbered).find(is_free).unwrap_or_default()
}

/// As in Keepalived, addresses of another family, or on another interface, stay where they are.
fn attach(router: &mut Router, interface: String, transmit_on_base: bool) {
    let family = router.family();
    for own in router.addresses.iter_mut().chain(&mut router.excluded_addresses) {
        if own.interface == router.interface && Family::of(own.address) == family {
            own.interface.clone_from(&interface);
        }
    }
    let address = HardwareAddress::of(family, router.vrid);
    router.virtual_mac = Some(VirtualMac { address, interface, transmit_on_base });
}
