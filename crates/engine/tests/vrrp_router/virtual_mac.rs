//! A router whose addresses have a hardware address of their own (RFC 9568 §7.2, §7.3).

use mainstay_engine::plan::{Family, HardwareAddress, Router, VirtualMac, Vrid};
use mainstay_engine::{Input, Output};

use crate::bench::{Bench, HIGHER, LOWER, router};

fn with_virtual_mac(priority: u8, transmit_on_base: bool) -> Router {
    let mut router = router(priority);
    let interface = "vrrp.51".to_owned();
    router.addresses[0].interface.clone_from(&interface);
    let address = HardwareAddress::of(Family::Ipv4, router.vrid);
    Router { virtual_mac: Some(VirtualMac { address, interface, transmit_on_base }), ..router }
}

fn hardware(outputs: &[Output]) -> Vec<(String, Option<String>)> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::SendAdvert { interface, hardware, .. } => {
            Some((interface.clone(), hardware.map(|hardware| hardware.to_string())))
        }
        _ => None,
    });
    sent.collect()
}

#[test]
fn it_is_the_address_of_rfc_9568_7_3() {
    let vrid = Vrid::new(0x33).expect("not 0");
    assert_eq!(HardwareAddress::of(Family::Ipv4, vrid).to_string(), "00:00:5e:00:01:33");
    assert_eq!(HardwareAddress::of(Family::Ipv6, vrid).to_string(), "00:00:5e:00:02:33");
}

#[test]
fn adverts_come_from_it_unless_they_are_to_come_from_the_interface() {
    for (on_base, expected) in [(false, Some("00:00:5e:00:01:33".to_owned())), (true, None)] {
        let mut bench = Bench::new(with_virtual_mac(100, on_base));
        bench.until_active();
        assert_eq!(hardware(&bench.take()), [("eth0".to_owned(), expected)]);
    }
}

/// The successor has the same hardware address, so there is nobody to send strays on to, and silence in ARP would
/// silence it too.
#[test]
fn there_is_no_drain() {
    let mut bench = Bench::active(with_virtual_mac(100, false));
    bench.hear(HIGHER, 120);
    assert_eq!(bench.deeds(), ["remove"]);

    let mut bench = Bench::new(with_virtual_mac(120, false));
    bench.hear(LOWER, 100);
    bench.until_active();
    let deeds = bench.deeds();
    assert_eq!(deeds[..3], ["advert 120", "install", "announce"], "nothing is sent on");

    bench.handle(Input::Stop);
    bench.hear(LOWER, 100);
    assert_eq!(bench.deeds(), ["advert 0", "remove", "exit"]);
}

#[test]
fn addresses_are_announced_where_they_are() {
    let mut bench = Bench::new(with_virtual_mac(100, false));
    bench.until_active();
    let announced = bench.take().into_iter().find_map(|output| match output {
        Output::Announce { interface, .. } => Some(interface),
        _ => None,
    });
    assert_eq!(announced.as_deref(), Some("vrrp.51"));
}
