//! `balance source`: the same client address goes to the same server while the set of servers stays the same.
//!
//! Owns the hash of an address; `hash` leads from there to a server.

use std::net::IpAddr;

/// The address as one number. HAProxy takes it as it is as well: neighbouring clients then spread evenly, which no
/// scrambling hash does for the handful of addresses a cluster has.
pub(super) fn hash(client: IpAddr) -> u32 {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let [high, upper, lower, low] = [96, 64, 32, 0].map(|shift| word(address.to_bits() >> shift));
            high ^ upper ^ lower ^ low
        }
    }
}

/// The low 32 bits.
fn word(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_hashes_the_same_however_it_is_written() {
        let plain: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(hash(plain), 0xc000_0207);
        assert_eq!(hash("::ffff:192.0.2.7".parse().unwrap()), hash(plain));
        assert_eq!(hash("2001:db8::1".parse().unwrap()), 0x2001_0db8 ^ 1);
    }
}
