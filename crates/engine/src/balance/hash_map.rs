//! HAProxy's table for `balance static-rr` and `balance source`, entry for entry.
//!
//! Owns [`hash_map`], a pure function, called when a view is published and never on a connect.

use std::sync::Arc;

use crate::limits::ROTATION_LENGTH;

/// Indices into `weights`, each as often as its weight says, in the order of HAProxy: a client that belongs to a server
/// there belongs to it here. `divisor` is the greatest common divisor of all configured weights of the pool, also of
/// those servers that get no turn now. Weights that make a table longer than [`ROTATION_LENGTH`] are rounded.
pub fn hash_map(weights: &[u16], divisor: u16) -> Arc<[u16]> {
    let divisor = i64::from(divisor.max(1));
    let mut turns: Vec<(u16, i64)> = (0..)
        .zip(weights)
        .filter(|&(_, &weight)| weight > 0)
        .map(|(index, &weight)| (index, (i64::from(weight) + divisor - 1) / divisor))
        .collect();
    let total: i64 = turns.iter().map(|&(_, weight)| weight).sum();
    if total > ROTATION_LENGTH {
        turns.iter_mut().for_each(|(_, weight)| *weight = (*weight * ROTATION_LENGTH / total).max(1));
    }
    let total: i64 = turns.iter().map(|&(_, weight)| weight).sum();

    // Each turn every server earns its weight. Whole totals count, so the first one of the file wins while none has
    // saved up enough.
    let mut scores = vec![0_i64; turns.len()];
    (0..total)
        .filter_map(|_| {
            let mut best: Option<(&mut i64, u16, i64)> = None;
            for (score, &(index, weight)) in scores.iter_mut().zip(&turns) {
                *score += weight;
                let rank = (*score + total) / total;
                if best.as_ref().is_none_or(|&(_, _, most)| rank > most) {
                    best = Some((score, index, rank));
                }
            }
            let (score, index, _) = best?;
            *score -= total;
            Some(index)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_server_of_the_file_comes_first() {
        assert_eq!(*hash_map(&[1, 1, 1], 1), [0, 1, 2]);
        assert_eq!(*hash_map(&[3, 1], 1), [0, 0, 0, 1]);
        assert_eq!(*hash_map(&[100, 0, 100], 100), [0, 2]);
        assert!(hash_map(&[], 0).is_empty());
    }

    proptest! {
        #[test]
        fn a_table_has_no_more_entries_than_its_bound_allows(
            weights in prop::collection::vec(0_u16..=256, 0..80),
        ) {
            let table = hash_map(&weights, 1);
            prop_assert!(i64::try_from(table.len()).unwrap() <= ROTATION_LENGTH + 80);
            prop_assert!(table.iter().all(|&index| weights[usize::from(index)] > 0));
        }
    }
}
