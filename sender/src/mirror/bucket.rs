//! Token buckets that packets fill by their own time: no clock is read, and a replay comes out the same each time.

/// A bucket holds what comes in this time and room for one of the largest; less would lose of low rates what comes between two
/// packets.
const BURST_NS: u64 = 100_000_000;
/// Parts of a token: tokens come in nanoseconds, rates are for seconds.
const PARTS: u128 = 1_000_000_000;

/// So many tokens a second, with a burst of a tenth of that at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Tokens a second, which is parts a nanosecond.
    rate: u64,
    /// Parts that fit in.
    most: u128,
    parts: u128,
    /// Latest time so far; 0 before the first.
    time_ns: u64,
}

impl Bucket {
    /// `rate` tokens a second; `largest` is the most that is taken at a time.
    pub(super) const fn new(rate: u64, largest: u32) -> Self {
        let burst = rate as u128 * BURST_NS as u128;
        let one = largest as u128 * PARTS;
        let first = if burst > one { burst } else { one };
        Self { rate, most: first + one, parts: first, time_ns: 0 }
    }

    /// Tokens that come in `ns` nanoseconds.
    pub(super) const fn tokens_in(&self, ns: u64) -> f64 {
        self.rate as f64 * (ns as f64 / PARTS as f64)
    }

    /// Fills in what has come until `time_ns`; time that goes back brings nothing.
    #[inline]
    pub(super) fn advance(&mut self, time_ns: u64) {
        if time_ns > self.time_ns {
            let passed = if self.time_ns == 0 { 0 } else { time_ns - self.time_ns };
            self.parts = (self.parts + u128::from(passed) * u128::from(self.rate)).min(self.most);
            self.time_ns = time_ns;
        }
    }

    /// Whether `tokens` are there.
    #[inline]
    pub(super) fn has(&self, tokens: u32) -> bool {
        self.parts >= u128::from(tokens) * PARTS
    }

    /// Takes `tokens`, which [are there](Self::has).
    #[inline]
    pub(super) fn take(&mut self, tokens: u32) {
        self.parts = self.parts.saturating_sub(u128::from(tokens) * PARTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;

    /// Tokens taken one by one, one each `gap_ns`, for `seconds`.
    fn taken(mut bucket: Bucket, gap_ns: u64, seconds: u64) -> u64 {
        (0..seconds * 1_000_000_000 / gap_ns)
            .map(|n| {
                bucket.advance(START + n * gap_ns);
                let has = bucket.has(1);
                if has {
                    bucket.take(1);
                }
                u64::from(has)
            })
            .sum()
    }

    #[test]
    fn ten_times_the_rate_gets_the_rate_and_one_burst_to_the_packet() {
        for rate in [7, 100, 1_000, 33_333] {
            let gap = 1_000_000_000 / (rate * 10);
            let last = (10_000_000_000 / gap - 1) * gap;
            let parts = (rate * BURST_NS).max(1_000_000_000) + rate * last;
            assert_eq!(taken(Bucket::new(rate, 1), gap, 10), parts / 1_000_000_000, "{rate}");
        }
    }

    #[test]
    fn less_than_the_rate_gets_all() {
        assert_eq!(taken(Bucket::new(1_000, 1), 1_100_000, 10), 10_000_000_000 / 1_100_000);
    }

    #[test]
    fn a_rate_below_one_of_the_largest_lets_it_pass_in_the_end() {
        let mut bucket = Bucket::new(1_000, 12_000);
        bucket.advance(START);
        assert!(bucket.has(12_000));
        bucket.take(12_000);
        bucket.advance(START + 11_999_999_999);
        assert!(!bucket.has(12_000));
        bucket.advance(START + 12_000_000_000);
        assert!(bucket.has(12_000));
    }

    #[test]
    fn time_that_goes_back_or_leaps_gives_no_more_than_a_burst() {
        let mut bucket = Bucket::new(100, 1);
        bucket.advance(START);
        assert!(bucket.has(10) && !bucket.has(11));
        bucket.advance(u64::MAX);
        assert!(bucket.has(11) && !bucket.has(12));
        bucket.take(11);
        bucket.advance(0);
        bucket.advance(u64::MAX);
        assert!(!bucket.has(1));
    }
}
