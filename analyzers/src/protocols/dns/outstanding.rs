//! Queries that wait for their answers.

/// The most that one flow waits for; with more the oldest is forgotten.
const MOST: usize = 32;

/// When queries were asked, by their id.
///
/// Most flows ask one question, some two (A and AAAA); the first has its place without memory from the heap.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    first: Option<Query>,
    more: Vec<Query>,
    /// The query that was answered last: a transfer has many answers (RFC 5936, section 2.2).
    answered: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Query {
    id: u16,
    time_ns: u64,
}

impl Outstanding {
    /// Memory that queries besides the first take, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.more.capacity() * size_of::<Query>()
    }

    /// A query is asked. One that is repeated has been waiting since it was asked first.
    pub(super) fn ask(&mut self, id: u16, time_ns: u64) {
        if self.first.iter().chain(&self.more).any(|query| query.id == id) {
            return;
        }
        let query = Query { id, time_ns };
        if self.first.is_none() {
            self.first = Some(query);
            return;
        }
        if self.more.len() + 1 >= MOST {
            self.forget_oldest();
        }
        self.more.push(query);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.more.iter().enumerate().min_by_key(|(_, query)| query.time_ns).map(|(index, _)| index);
        if let Some(index) = oldest {
            self.more.remove(index);
        }
    }

    /// A query is answered: when it was asked, if that is known.
    pub(super) fn answer(&mut self, id: u16) -> Option<u64> {
        let asked = self.take(id)?;
        self.answered = Some(id);
        Some(asked)
    }

    fn take(&mut self, id: u16) -> Option<u64> {
        if let Some(query) = self.first.take_if(|query| query.id == id) {
            return Some(query.time_ns);
        }
        let index = self.more.iter().position(|query| query.id == id)?;
        Some(self.more.swap_remove(index).time_ns)
    }

    /// Whether an answer with this id may come: the query waits for one, or for more.
    pub(super) fn knows(&self, id: u16) -> bool {
        self.answered == Some(id) || self.first.iter().chain(&self.more).any(|query| query.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Outstanding};

    #[test]
    fn answers_find_their_queries_in_any_order() {
        let mut waiting = Outstanding::default();
        for id in 0..5 {
            waiting.ask(id, u64::from(id) * 10);
        }
        waiting.ask(3, 1000);
        assert_eq!([3, 0, 4, 4, 9].map(|id| waiting.answer(id)), [Some(30), Some(0), Some(40), None, None]);
    }

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let mut waiting = Outstanding::default();
        for id in 0..1000 {
            waiting.ask(id, u64::from(id));
        }
        assert_eq!((0..1000).filter(|id| waiting.answer(*id).is_some()).count(), MOST);
    }
}
