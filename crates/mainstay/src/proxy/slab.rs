//! The sessions of one worker, found by keys that a later session in the same place does not answer to.

/// Names one session of one worker, for as long as the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    place: u32,
    generation: u32,
}

impl Key {
    /// The key as a number below 2^63; every 2^31st user of a place would be taken for the first.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation & (u32::MAX >> 1)) << 32 | u64::from(self.place)
    }

    /// The key that [`Key::to_bits`] made a number of.
    pub(super) fn from_bits(bits: u64) -> Self {
        let place = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self { place, generation: u32::try_from(bits >> 32).unwrap_or(u32::MAX) }
    }
}

/// Values with stable, generation-checked keys.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts in what `make` makes of its key.
    pub(super) fn insert(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            let place = u32::try_from(self.entries.len()).expect("file descriptors run out before places");
            self.entries.push(Entry { generation: 0, value: None });
            place
        });
        let entry = &mut self.entries[place as usize];
        let key = Key { place, generation: entry.generation };
        entry.value = Some(make(key));
        key
    }

    /// The value `key` names, unless it has been removed.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.place as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// Takes a value out. Its key, and every copy of it, names nothing from now on.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.place as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1) & (u32::MAX >> 1);
        self.free.push(key.place);
        Some(value)
    }

    /// The keys of the values in some places, and where they go on.
    pub(super) fn page(&self, from: usize, places: usize) -> (Vec<Key>, Option<usize>) {
        let until = from.saturating_add(places);
        let keys = self.keys().skip_while(|key| (key.place as usize) < from);
        let keys = keys.take_while(|key| (key.place as usize) < until).collect();
        (keys, (until < self.entries.len()).then_some(until))
    }

    /// The keys of all values.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        (0..).zip(&self.entries).filter_map(|(place, entry)| {
            entry.value.as_ref().map(|_| Key { place, generation: entry.generation })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing_in_a_reused_place() {
        let mut slab = Slab::default();
        let first = slab.insert(|_| "first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert(|_| "second");
        assert_eq!(first.place, second.place);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(Key::from_bits(second.to_bits())), Some(&mut "second"));
        assert_eq!(slab.keys().collect::<Vec<_>>(), [second]);
        let third = slab.insert(|_| "third");
        assert_eq!(slab.page(0, 1), (vec![second], Some(1)));
        assert_eq!(slab.page(1, 1), (vec![third], None));
        assert_eq!(slab.page(2, 1), (vec![], None));
    }
}
