//! The ring of `hash-type consistent` and `balance random`: HAProxy's, point for point.
//!
//! Owns [`Ring`], made when a view is published, and [`avalanche`], the hash that lays it out.

use crate::limits::RING_LENGTH;
use crate::plan::ServerIndex;

/// Points on a circle of 2^32 places, each of which belongs to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring(Vec<(u32, u16)>);

impl Ring {
    /// A ring on which each server has as many points as `weights` says. A point depends only on the place of its
    /// server in the file, so a server that comes or goes moves no client between two others. More than
    /// [`RING_LENGTH`] points are thinned out in proportion.
    pub fn new(weights: &[u16]) -> Self {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut points = Vec::new();
        for (index, &weight) in (0_u16..).zip(weights) {
            let count = match u64::from(weight) {
                0 => 0,
                weight if total > RING_LENGTH => (weight * RING_LENGTH / total).max(1),
                weight => weight,
            };
            // HAProxy numbers servers from 1 and gives each of them room for as many points as the highest weight has.
            let first = (u32::from(index) + 1).wrapping_mul(POINTS_PER_SERVER);
            points.extend(
                (0..)
                    .take(usize::try_from(count).unwrap_or_default())
                    .map(|point: u32| (avalanche(first.wrapping_add(point)), index)),
            );
        }
        points.sort_unstable();
        Self(points)
    }

    /// The servers from the one that is closest to `hash`, the way round.
    pub(super) fn from(&self, hash: u32) -> impl Iterator<Item = ServerIndex> {
        let after = self.0.partition_point(|&(point, _)| point < hash);
        let points = self.0.len();
        let start = match (self.wrapped(after), self.wrapped((after + points).saturating_sub(1))) {
            (Some((next, _)), Some((previous, _)))
                if hash.wrapping_sub(previous) <= next.wrapping_sub(hash) =>
            {
                after + points - 1
            }
            _ => after,
        };
        (0..points).filter_map(move |step| self.wrapped(start + step)).map(|(_, index)| ServerIndex(index))
    }

    fn wrapped(&self, place: usize) -> Option<(u32, u16)> {
        self.0.get(place.checked_rem(self.0.len())?).copied()
    }
}

/// Points that a server of weight 256 has.
const POINTS_PER_SERVER: u32 = 4096;

/// Bob Jenkins' integer hash with full avalanche, and HAProxy's last step, which spreads points over the whole circle.
pub const fn avalanche(number: u32) -> u32 {
    let mut a = number;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_goes_moves_nobody_else() {
        let (all, fewer) = (Ring::new(&[160, 160, 160]), Ring::new(&[160, 0, 160]));
        for client in 0..2_000 {
            let hash = avalanche(client);
            let (before, after) = (all.from(hash).next().unwrap(), fewer.from(hash).next().unwrap());
            assert!(before == after || before == ServerIndex(1), "{client}");
        }
    }

    #[test]
    fn no_point_leads_to_nobody_and_too_many_are_thinned_out() {
        assert_eq!(Ring::new(&[]).from(7).next(), None);
        assert_eq!(Ring::new(&[0, 1]).from(7).next(), Some(ServerIndex(1)));
        let many = Ring::new(&[4096; 64]);
        assert_eq!(u64::try_from(many.0.len()).unwrap(), RING_LENGTH);
    }
}
