//! What a direction has to do with the other one: bytes that wait until those have come which they acknowledge.

use super::{Half, Outlet};
use crate::tcp::Delivery;

impl Half {
    /// Where the stream is; at its end, behind everything.
    pub(in crate::tcp) const fn reached(&self) -> u64 {
        if self.ended { u64::MAX } else { self.next }
    }

    /// How far the other side says that its sender has these bytes, where that is further than they were seen; `None` where nothing
    /// was seen of this side, which then need not come.
    pub(in crate::tcp) fn lacks(&self, acknowledged: u32) -> Option<u64> {
        if !self.started || self.ended || !self.is_seen() {
            return None;
        }
        let position = self.position(acknowledged)?;
        // A FIN has a number of its own.
        let fin_acknowledged = self.fin_position().is_some_and(|fin| position == fin + 1);
        let position = position - u64::from(fin_acknowledged);
        (position > self.next).then_some(position)
    }

    /// Whether anything that has a place in the stream was seen.
    #[inline]
    pub(in crate::tcp) const fn is_seen(&self) -> bool {
        self.syn_seen || self.syn_ack_seen || self.next > self.base || self.waiting.is_some()
    }

    /// Whether more was sent than was delivered: it was acknowledged, by what is known or by `number`, or nothing was seen at all.
    #[inline]
    pub(in crate::tcp) fn is_unseen(&self, number: Option<u32>) -> bool {
        if self.ended || !self.is_seen() {
            return !self.ended;
        }
        let acked = number.and_then(|number| self.position(number)).map_or(self.acked, |acked| acked.max(self.acked));
        // One byte more is a FIN, seen or not.
        acked > self.next + 1
    }

    /// Whether an acknowledgement is none of more than was seen.
    #[inline]
    pub(in crate::tcp) const fn has_come_to(&self, acknowledged: u32) -> bool {
        acknowledged.wrapping_sub(self.next as u32).cast_signed() <= 0
    }

    /// The other side is at `reached`: delivers what waited for that. Gives whether there was anything.
    pub(in crate::tcp) fn answer<F: FnMut(Delivery<'_>)>(&mut self, reached: u64, out: &mut Outlet<'_, F>) -> bool {
        let came = self.waiting.as_mut().is_some_and(|waiting| waiting.answers.come(reached));
        if came {
            self.drain(out);
        }
        came
    }

    /// How far the other side would have to be for what has waited for it too long, if anything has.
    pub(in crate::tcp) fn overdue(&self, time_ns: u64, segments: u32) -> Option<u64> {
        self.waiting.as_ref()?.answers.overdue(time_ns, segments)
    }

    /// Whether the next bytes are there, and wait for the other side.
    pub(in crate::tcp) fn is_held(&self) -> bool {
        self.held_since().is_some()
    }

    /// When the next bytes came, if they are there and wait for the other side.
    pub(in crate::tcp) fn held_since(&self) -> Option<u64> {
        let first = self.waiting.as_ref()?.sparse.first()?;
        (first.start == self.next).then_some(first.time_ns)
    }

    /// Goes on behind the hole that is next, if something behind it was seen and is not beyond `position`. Gives whether it did. An acknowledgement
    /// alone is not trusted so far: whoever sent one of bytes that were never sent would have those that come taken for old ones.
    pub(in crate::tcp) fn skip_acknowledged<F: FnMut(Delivery<'_>)>(
        &mut self,
        position: u64,
        out: &mut Outlet<'_, F>,
    ) -> bool {
        let skips = self.hole_end().is_some_and(|end| end > self.next && end <= position);
        if skips {
            self.skip_hole(out);
        }
        skips
    }
}
