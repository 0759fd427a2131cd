//! The table of turns that round robin and source read.
//!
//! Owns [`rotation`], a pure function, called when a view is published and never on a connect.

use std::sync::Arc;

use crate::limits::ROTATION_LENGTH;

/// Indices into `weights`, each as often as its weight says and smoothly interleaved: at no point of the rotation is a
/// server a whole turn ahead of its share. Weights are divided by their greatest common divisor first; those that would
/// still make a table longer than [`ROTATION_LENGTH`] are rounded. A weight of 0 gets no turn.
pub fn rotation(weights: &[u16]) -> Arc<[u16]> {
    let mut turns: Vec<(u16, i64)> = (0..)
        .zip(weights)
        .filter(|&(_, &weight)| weight > 0)
        .map(|(index, &w)| (index, i64::from(w)))
        .collect();
    shorten(&mut turns);
    let total: i64 = turns.iter().map(|&(_, weight)| weight).sum();

    // Each turn every server earns its weight, and the richest one is served and pays the total.
    let mut credits = vec![0_i64; turns.len()];
    (0..total)
        .filter_map(|_| {
            let mut richest: Option<(&mut i64, u16)> = None;
            for (credit, &(index, weight)) in credits.iter_mut().zip(&turns) {
                *credit += weight;
                if richest.as_ref().is_none_or(|(most, _)| *credit > **most) {
                    richest = Some((credit, index));
                }
            }
            let (credit, index) = richest?;
            *credit -= total;
            Some(index)
        })
        .collect()
}

/// Makes the weights as small as they can be, and smaller than exact when the table would be too long.
fn shorten(turns: &mut [(u16, i64)]) {
    let divide = |turns: &mut [(u16, i64)]| {
        let divisor = turns.iter().fold(0, |divisor, &(_, weight)| greatest_common_divisor(divisor, weight));
        turns.iter_mut().for_each(|(_, weight)| *weight /= divisor.max(1));
    };
    divide(turns);
    let total: i64 = turns.iter().map(|&(_, weight)| weight).sum();
    if total > ROTATION_LENGTH {
        turns.iter_mut().for_each(|(_, weight)| *weight = (*weight * ROTATION_LENGTH / total).max(1));
        divide(turns);
    }
}

/// The greatest common divisor of all weights but zeros.
pub fn common_divisor(weights: &[u16]) -> u16 {
    let divisor =
        weights.iter().fold(0, |divisor, &weight| greatest_common_divisor(divisor, i64::from(weight)));
    u16::try_from(divisor).unwrap_or(1)
}

const fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_weights_go_round_in_the_order_of_the_file() {
        assert_eq!(*rotation(&[100, 100, 100]), [0, 1, 2]);
        assert_eq!(*rotation(&[0, 7, 0, 7]), [1, 3]);
        assert!(rotation(&[0, 0]).is_empty() && rotation(&[]).is_empty());
    }

    #[test]
    fn a_heavy_server_is_interleaved() {
        assert_eq!(*rotation(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*rotation(&[32, 16]), [0, 1, 0]);
    }

    #[test]
    fn a_table_that_would_be_too_long_is_rounded() {
        let weights: Vec<u16> = (0..40).map(|index| 4096 - index).chain([1]).collect();
        let table = rotation(&weights);
        let turns = |server: u16| table.iter().filter(|&&entry| entry == server).count();
        assert!(i64::try_from(table.len()).unwrap() <= ROTATION_LENGTH + 41);
        assert!((99..=102).contains(&turns(0)) && (98..=102).contains(&turns(39)) && turns(40) == 1);
    }

    proptest! {
        #[test]
        fn shares_are_exact_over_one_rotation(weights in prop::collection::vec(0_u16..=256, 1..12)) {
            let table = rotation(&weights);
            let total: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            for (server, &weight) in (0..).zip(&weights) {
                let turns = table.iter().filter(|&&entry| entry == server).count();
                prop_assert_eq!(turns * total, usize::from(weight) * table.len());
            }
        }

        #[test]
        fn no_server_is_a_whole_turn_ahead_of_its_share(weights in prop::collection::vec(1_u16..=256, 2..8)) {
            let table = rotation(&weights);
            let total: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            let mut turns = vec![0_usize; weights.len()];
            for (passed, &server) in (1_usize..).zip(table.iter()) {
                turns[usize::from(server)] += 1;
                for (&had, &weight) in turns.iter().zip(&weights) {
                    prop_assert!(had * total < passed * usize::from(weight) + total);
                }
            }
        }
    }
}
