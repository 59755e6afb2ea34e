//! What waits, in its order.

use std::collections::VecDeque;

/// A queue whose first has its place in it: most connections have one request at a time, and take no memory besides for it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    first: Option<T>,
    /// Empty where there is no first.
    more: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, more: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) const fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut T> {
        self.more.back_mut().or(self.first.as_mut())
    }

    pub(super) fn push_back(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.more.push_back(item);
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take();
        if !self.more.is_empty() {
            self.first = self.more.pop_front();
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn what_came_first_goes_first_whether_one_waits_or_many() {
        let mut queue = Queue::default();
        assert_eq!(queue.pop_front(), None);
        assert_eq!(queue.back_mut(), None);
        for round in 1..4 {
            for item in 0..round {
                queue.push_back(item);
                assert_eq!(queue.back_mut().copied(), Some(item));
                assert_eq!((queue.front(), queue.len(), queue.is_empty()), (Some(&0), item + 1, false));
            }
            for item in 0..round {
                assert_eq!(queue.pop_front(), Some(item));
            }
            assert!(queue.is_empty());
        }
    }
}
