//! Token buckets that packets fill by their own time: no clock is read, and a replay comes out the same each time.

/// A bucket holds what comes in this time; less would lose of low rates what comes between two packets.
const BURST_NS: u64 = 100_000_000;
/// Parts of a token: tokens come in nanoseconds, rates are for seconds.
const PARTS: i128 = 1_000_000_000;

/// So many tokens a second, with a burst of a tenth of that at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Tokens a second, which is parts a nanosecond.
    rate: u64,
    /// Parts that fit in.
    most: i128,
    /// Parts that must be there for a packet to pass.
    least: i128,
    /// Below zero where packets took more than was there.
    parts: i128,
    /// Latest time so far; 0 before the first.
    time_ns: u64,
}

impl Bucket {
    /// `rate` packets a second, each of which is a token. One more than the burst fits in, so that of the time between two packets nothing is
    /// lost.
    pub(super) const fn of_packets(rate: u64) -> Self {
        let burst = burst(rate);
        let first = if burst > PARTS { burst } else { PARTS };
        Self { rate, most: first + PARTS, least: PARTS, parts: first, time_ns: 0 }
    }

    /// `rate` bits a second, of which a packet takes as many as it has. As long as anything is left, a packet passes, however long it is, and what it
    /// takes too much is owed: the rate holds also where a packet is more than a burst, and long ones have the chance that short ones have.
    pub(super) const fn of_bits(rate: u64) -> Self {
        let burst = burst(rate);
        Self { rate, most: burst, least: 1, parts: burst, time_ns: 0 }
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
            self.parts = (self.parts + i128::from(passed) * i128::from(self.rate)).min(self.most);
            self.time_ns = time_ns;
        }
    }

    /// Whether a packet may pass.
    #[inline]
    pub(super) const fn is_open(&self) -> bool {
        self.parts >= self.least
    }

    /// Takes the `tokens` of a packet that [may pass](Self::is_open).
    #[inline]
    pub(super) const fn take(&mut self, tokens: u32) {
        self.parts -= tokens as i128 * PARTS;
    }
}

/// Parts that come in a burst's time.
const fn burst(rate: u64) -> i128 {
    rate as i128 * BURST_NS as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;

    /// Packets that pass of one each `gap_ns`, each of `tokens`, for `seconds`.
    fn passed(mut bucket: Bucket, tokens: u32, gap_ns: u64, seconds: u64) -> u64 {
        (0..seconds * 1_000_000_000 / gap_ns)
            .map(|n| {
                bucket.advance(START + n * gap_ns);
                let is_open = bucket.is_open();
                if is_open {
                    bucket.take(tokens);
                }
                u64::from(is_open)
            })
            .sum()
    }

    /// Whether so many packets pass at once, and not one more.
    fn passes_just(mut bucket: Bucket, packets: usize) -> bool {
        for _ in 0..packets {
            if !bucket.is_open() {
                return false;
            }
            bucket.take(1);
        }
        !bucket.is_open()
    }

    #[test]
    fn ten_times_the_rate_gets_the_rate_and_one_burst_to_the_packet() {
        for rate in [7, 100, 1_000, 33_333] {
            let gap = 1_000_000_000 / (rate * 10);
            let last = (10_000_000_000 / gap - 1) * gap;
            let parts = (rate * BURST_NS).max(1_000_000_000) + rate * last;
            assert_eq!(passed(Bucket::of_packets(rate), 1, gap, 10), parts / 1_000_000_000, "{rate}");
        }
    }

    #[test]
    fn less_than_the_rate_gets_all() {
        assert_eq!(passed(Bucket::of_packets(1_000), 1, 1_100_000, 10), 10_000_000_000 / 1_100_000);
        // 12,000 bits each 12.1 ms.
        assert_eq!(passed(Bucket::of_bits(1_000_000), 12_000, 12_100_000, 10), 10_000_000_000 / 12_100_000);
    }

    #[test]
    fn of_bits_a_burst_is_a_tenth_of_a_second_at_low_rates_too_and_the_packet_that_goes_beyond_it() {
        // From 1.2 packets of 1,500 bytes in a tenth of a second down to a packet in twelve seconds.
        for (rate, at_once) in [(144_000, 2), (100_000, 1), (10_000, 1), (1_000, 1)] {
            let mut bucket = Bucket::of_bits(rate);
            bucket.advance(START);
            let mut packets = 0;
            while bucket.is_open() {
                bucket.take(12_000);
                packets += 1;
            }
            assert_eq!(packets, at_once, "{rate}");
            // An hour of ten times as many: what came, a burst and no more than one packet.
            let bits = passed(Bucket::of_bits(rate), 12_000, 1_200_000_000_000 / rate, 3_600) * 12_000;
            let came = rate * 3_600;
            assert!((came - 12_000..=came + rate / 10 + 12_000).contains(&bits), "{rate}: {bits}");
        }
    }

    #[test]
    fn what_a_packet_takes_too_much_is_owed() {
        let mut bucket = Bucket::of_bits(1_000);
        bucket.advance(START);
        bucket.take(12_000);
        // 100 were there.
        bucket.advance(START + 11_900_000_000);
        assert!(!bucket.is_open());
        bucket.advance(START + 11_900_000_001);
        assert!(bucket.is_open());
    }

    #[test]
    fn time_that_goes_back_or_leaps_gives_no_more_than_a_burst() {
        let mut bucket = Bucket::of_packets(100);
        bucket.advance(START);
        assert!(passes_just(bucket, 10));
        bucket.advance(u64::MAX);
        assert!(passes_just(bucket, 11));
        bucket.take(11);
        bucket.advance(0);
        bucket.advance(u64::MAX);
        assert!(!bucket.is_open());
        let mut bits = Bucket::of_bits(100);
        bits.advance(START);
        bits.advance(u64::MAX);
        assert!(passes_just(bits, 10));
    }
}
