//! Where the application layers of a shard's flows are.

use super::FlowApp;

/// So many lie side by side.
const CHUNK: usize = 512;

/// Which one is a flow's; valid until it is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppSlot(u32);

/// The application layers of a shard's flows, in chunks that never move, like the flows themselves: as many as there were flows at a time.
///
/// Asked for one by one, each would take the allocator a few hundred instructions, and glibc lets the heap of a thread grow page by page,
/// with a system call for each. The place that was cleared last is the first to be taken again: it is still in the cache.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Vec<Option<FlowApp>>>,
    free: Vec<u32>,
}

impl Arena {
    /// Puts `app` in.
    pub(crate) fn insert(&mut self, app: FlowApp) -> AppSlot {
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.place(slot)
        {
            *place = Some(app);
            return AppSlot(slot);
        }
        let last = self.chunks.pop_if(|chunk| chunk.len() < CHUNK);
        let mut chunk = last.unwrap_or_else(|| Vec::with_capacity(CHUNK));
        let slot = self.chunks.len() * CHUNK + chunk.len();
        chunk.push(Some(app));
        self.chunks.push(chunk);
        AppSlot(slot as u32)
    }

    /// The one in `slot`.
    #[inline]
    pub(crate) fn get(&self, slot: AppSlot) -> Option<&FlowApp> {
        self.chunks.get(slot.0 as usize / CHUNK)?.get(slot.0 as usize % CHUNK)?.as_ref()
    }

    /// The one in `slot`, to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: AppSlot) -> Option<&mut FlowApp> {
        self.place(slot.0)?.as_mut()
    }

    /// Drops the one in `slot`.
    pub(crate) fn clear(&mut self, slot: AppSlot) {
        if let Some(place) = self.place(slot.0)
            && place.is_some()
        {
            *place = None;
            self.free.push(slot.0);
        }
    }

    #[inline]
    fn place(&mut self, slot: u32) -> Option<&mut Option<FlowApp>> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use vxtap_wire::{FiveTuple, IpAddress, IpVersion, protocol};

    use super::{Arena, CHUNK};
    use crate::app::FlowApp;
    use crate::protocols::FlowFacts;

    fn app(number: u64) -> FlowApp {
        let tuple = FiveTuple {
            source: IpAddress::v4([10, 0, 0, 1]),
            destination: IpAddress::v4([10, 0, 0, 2]),
            source_port: 1,
            destination_port: 2,
            protocol: protocol::TCP,
            version: IpVersion::V4,
        };
        FlowApp::new(FlowFacts::new(tuple, number, [].into()))
    }

    #[test]
    fn each_is_found_in_its_place_and_cleared_places_are_taken_again() {
        let mut arena = Arena::default();
        let many = CHUNK as u64 * 2 + 1;
        let slots: Vec<_> = (0..many).map(|number| arena.insert(app(number))).collect();
        let number = |arena: &Arena, slot| arena.get(slot).map(|app| app.facts().flow_id);
        assert!(slots.iter().zip(0..).all(|(slot, expected)| number(&arena, *slot) == Some(expected)));
        arena.clear(slots[7]);
        arena.clear(slots[7]);
        assert_eq!(number(&arena, slots[7]), None);
        assert_eq!((arena.insert(app(99)), number(&arena, slots[7])), (slots[7], Some(99)));
        assert_ne!(arena.insert(app(100)), slots[7], "cleared twice is one place");
        assert_eq!(arena.chunks.len(), 3);
    }
}
