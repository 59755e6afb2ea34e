//! Medians and ratios of what was measured in turn.

/// One value for each round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; the mean of the two in the middle of an even number; NaN of none.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn greatest(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// How much more than `other` in each round; at least 1, so that noise makes no ratio of nothing.
    pub(crate) fn above(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| (own - other).max(1.0)).collect())
    }

    /// The ratio to `other` in each round.
    pub(crate) fn ratio_to(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_of_nothing_nothing() {
        let samples = |values: &[f64]| values.iter().copied().collect::<Samples>();
        assert!((samples(&[3.0, 1.0, 2.0]).median() - 2.0).abs() < 1e-9);
        assert!((samples(&[4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < 1e-9);
        assert!(samples(&[]).median().is_nan());
    }

    #[test]
    fn what_is_more_than_in_the_same_round_is_never_nothing() {
        let ours: Samples = [10.0, 5.0].into_iter().collect();
        let other: Samples = [4.0, 6.0].into_iter().collect();
        assert_eq!(ours.above(&other), [6.0, 1.0].into_iter().collect());
    }

    #[test]
    fn a_ratio_is_made_within_a_round() {
        let slow_round: Samples = [1.0, 10.0].into_iter().collect();
        let other: Samples = [2.0, 20.0].into_iter().collect();
        let ratio = slow_round.ratio_to(&other);
        assert!((ratio.least() - 0.5).abs() < 1e-9 && (ratio.greatest() - 0.5).abs() < 1e-9);
    }
}
