//! The table by which the kernel finds the server of a flow: Maglev hashing (Eisenbud et al.: Maglev, NSDI 2016), by weight.
//!
//! Owns [`table`]. It is a function of the servers' addresses and weights and of nothing else, so that every balancer has the same
//! one, and a flow that comes to another balancer finds its server there: neither the order of the file nor what happened before
//! has a part in it.

use std::net::SocketAddr;

use sha2::{Digest, Sha256};

use crate::limits::MAGLEV_ENTRIES;

/// Which server each entry belongs to, as an index into `servers`; empty if all weights are 0.
///
/// A server has as many entries as its weight is of all weights, to within two. When one comes or goes, its entries change hands,
/// and few others do.
pub fn table(servers: &[(SocketAddr, u16)]) -> Vec<u16> {
    let heaviest = servers.iter().map(|&(_, weight)| weight).max().unwrap_or(0);
    let mut takers: Vec<Taker> = (0..)
        .zip(servers)
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(index, &(address, weight))| Taker::new(index, address, weight, heaviest))
        .collect();
    takers.sort_by_key(|taker| taker.address);
    let mut table = vec![None; usize::from(MAGLEV_ENTRIES)];
    let mut left = if takers.is_empty() { 0 } else { table.len() };
    // The heaviest server takes an entry in each round, and others as often as their weights let them.
    while left > 0 {
        for taker in &mut takers {
            taker.saved += u32::from(taker.weight);
            if left == 0 || taker.saved < u32::from(heaviest) {
                continue;
            }
            taker.saved -= u32::from(heaviest);
            taker.take(&mut table);
            left -= 1;
        }
    }
    table.into_iter().flatten().collect()
}

/// A server that takes entries, in an order of its own.
struct Taker {
    index: u16,
    address: SocketAddr,
    weight: u16,
    /// What it has left of the weights of earlier rounds.
    saved: u32,
    next: u16,
    skip: u16,
}

impl Taker {
    fn new(index: u16, address: SocketAddr, weight: u16, heaviest: u16) -> Self {
        let digest = Sha256::digest(address.to_string());
        let number = |at: usize| {
            let bytes = digest.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        let below = |number: u64, limit: u16| u16::try_from(number % u64::from(limit)).unwrap_or(0);
        // The size is prime, so that any step but 0 leads to every entry.
        let (next, skip) = (below(number(0), MAGLEV_ENTRIES), 1 + below(number(8), MAGLEV_ENTRIES - 1));
        // Half of an entry, so that shares are rounded and not cut.
        let saved = u32::from(heaviest / 2);
        Self { index, address, weight, saved, next, skip }
    }

    /// Takes the first entry in its order that nobody has. There is one.
    fn take(&mut self, table: &mut [Option<u16>]) {
        loop {
            let place = usize::from(self.next);
            let next = (u32::from(self.next) + u32::from(self.skip)) % u32::from(MAGLEV_ENTRIES);
            self.next = u16::try_from(next).unwrap_or(0);
            if let Some(entry @ None) = table.get_mut(place) {
                *entry = Some(self.index);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(weights: &[u16]) -> Vec<(SocketAddr, u16)> {
        let address = |index: usize| SocketAddr::from(([10, 0, 0, u8::try_from(index).unwrap()], 6443));
        weights.iter().enumerate().map(|(index, &weight)| (address(index + 1), weight)).collect()
    }

    fn counts(table: &[u16], servers: usize) -> Vec<f64> {
        let count =
            |index| f64::from(u16::try_from(table.iter().filter(|&&own| own == index).count()).unwrap());
        (0..u16::try_from(servers).unwrap()).map(count).collect()
    }

    #[test]
    fn the_size_is_prime_and_the_table_is_what_it_was() {
        assert!((2..32).all(|factor| !MAGLEV_ENTRIES.is_multiple_of(factor)));
        let table = table(&servers(&[1, 1, 1]));
        // Another table here is another server for every flow that comes from a balancer of an earlier version.
        let sum = Sha256::digest(table.iter().flat_map(|entry| entry.to_be_bytes()).collect::<Vec<_>>());
        let first: Vec<_> = table.iter().take(12).copied().collect();
        assert_eq!(
            format!("{first:?} {:02x}{:02x}", sum[0], sum[1]),
            "[1, 1, 0, 1, 1, 1, 2, 2, 2, 0, 1, 1] 39e6"
        );
    }

    #[test]
    fn nobody_to_take_an_entry_leaves_none() {
        assert_eq!(table(&[]), [0_u16; 0]);
        assert_eq!(table(&servers(&[0, 0])), [0_u16; 0]);
        assert_eq!(counts(&table(&servers(&[0, 3])), 2), [0.0, f64::from(MAGLEV_ENTRIES)]);
    }

    proptest! {
        #[test]
        fn shares_go_by_weight(weights in prop::collection::vec(0_u16..=256, 1..40)) {
            let table = table(&servers(&weights));
            let all: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            prop_assume!(all > 0.0);
            for (count, &weight) in counts(&table, weights.len()).iter().zip(&weights) {
                let share = f64::from(MAGLEV_ENTRIES) * f64::from(weight) / all;
                prop_assert!((count - share).abs() <= 2.0, "{count} of {share}");
            }
        }

        #[test]
        fn only_addresses_and_weights_count(
            (one, other) in prop::collection::vec(1_u16..=256, 1..20).prop_flat_map(|weights| {
                let servers = servers(&weights);
                (Just(servers.clone()), Just(servers).prop_shuffle())
            })
        ) {
            let named = |servers: &[(SocketAddr, u16)]| -> Vec<_> {
                table(servers).into_iter().map(|index| servers[usize::from(index)].0).collect()
            };
            prop_assert_eq!(named(&one), named(&other));
        }

        #[test]
        fn a_server_that_goes_moves_little_but_its_own(
            weights in prop::collection::vec(1_u16..=4, 2..20),
            gone in any::<prop::sample::Index>(),
        ) {
            let gone = gone.index(weights.len());
            let mut fewer = weights.clone();
            fewer[gone] = 0;
            let (before, after) = (table(&servers(&weights)), table(&servers(&fewer)));
            prop_assume!(!after.is_empty());
            let own = u16::try_from(gone).unwrap();
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after && **before != own).count();
            // What the paper finds for a table this size is below 3 %; small sets of servers vary more.
            prop_assert!(moved * 10 < before.len(), "{moved} of {}", before.len());
        }
    }
}
