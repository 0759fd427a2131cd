//! The simulated LAN: who hears whom, how late, how often and how damaged.

use std::time::Duration;

use crate::cluster::LONGEST_DELAY;
use crate::random::Random;

pub(crate) struct Lan {
    /// `cut[from][to]`: nothing gets through in that direction.
    cut: Vec<Vec<bool>>,
    loss: u64,
    damage: u64,
    duplicates: u64,
}

impl Lan {
    pub(crate) fn whole(nodes: usize) -> Self {
        Self { cut: vec![vec![false; nodes]; nodes], loss: 0, damage: 0, duplicates: 0 }
    }

    /// Whether nothing gets through in that direction.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from][to]
    }

    /// Every frame arrives again; copies and overtaking stay, because whole LANs have them too.
    pub(crate) fn mend(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        (self.loss, self.damage) = (0, 0);
    }

    /// One more thing that is wrong, or one less.
    pub(crate) fn disturb(&mut self, random: &mut Random) -> String {
        let nodes = self.cut.len();
        match random.below(5) {
            0 | 1 => {
                let (from, to) = (random.index(nodes), random.index(nodes));
                self.cut[from][to] = from != to && !self.cut[from][to];
                format!("cut {from} -> {to}: {}", self.cut[from][to])
            }
            2 => {
                let sides: Vec<bool> = (0..nodes).map(|_| random.percent(50)).collect();
                for (from, row) in self.cut.iter_mut().enumerate() {
                    for (to, cut) in row.iter_mut().enumerate() {
                        *cut = sides[from] != sides[to];
                    }
                }
                format!("partition {sides:?}")
            }
            3 => {
                self.mend();
                "mended".to_owned()
            }
            _ => {
                self.loss = random.pick(&[0, 1, 10, 40]);
                self.damage = random.pick(&[0, 0, 5]);
                self.duplicates = random.pick(&[0, 5, 30]);
                format!("{}% lost, {}% damaged, {}% twice", self.loss, self.damage, self.duplicates)
            }
        }
    }

    /// The copies of a datagram that arrive, each with its delay. A receiver may overtake or find a bit flipped.
    pub(crate) fn carry(
        &self,
        (from, to): (usize, usize),
        datagram: &[u8],
        random: &mut Random,
    ) -> Vec<(Duration, Vec<u8>)> {
        let copies = if random.percent(self.duplicates) { 2 } else { 1 };
        let mut arriving = Vec::new();
        for _ in 0..copies {
            if self.cut[from][to] || random.percent(self.loss) {
                continue;
            }
            let mut copy = datagram.to_vec();
            if random.percent(self.damage) {
                let at = random.index(copy.len());
                copy[at] ^= 1 << random.below(8);
            }
            arriving.push((random.span(Duration::from_micros(50), LONGEST_DELAY), copy));
        }
        arriving
    }
}
