//! Figures of a few measurements: medians, since a busy host makes single launches late and
//! never early.

use serde::Serialize;

/// What is said of several measurements of one thing. All are in the measurements' own unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// From the smallest to the largest, as a part of the median: 0.1 is ten per cent.
    pub spread: f64,
}

impl Summary {
    /// The figures of `values`; `None` where there is none, or one that is no number.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = middle(&sorted)?;
        let spread = if median == 0.0 { 0.0 } else { (max - min) / median };
        Some(Self {
            count: sorted.len(),
            median,
            min,
            max,
            spread,
        })
    }
}

/// The median of sorted values.
fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[sorted.len() / 2 - 1], upper)
    } else {
        upper
    })
}

/// The median of `values`; `None` as for [`Summary::of`].
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    Summary::of(values).map(|summary| summary.median)
}

/// The quotient of two figures; `None` where it has no meaning.
#[must_use]
pub fn quotient(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    let quotient = above? / below?;
    quotient.is_finite().then_some(quotient)
}

/// The difference of two figures; `None` where one is missing.
#[must_use]
pub fn difference(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    Some(above? - below?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_are_as_counted_by_hand() {
        let summary = |values: &[f64]| {
            let all = Summary::of(values).unwrap();
            (all.count, all.median, all.min, all.max, all.spread)
        };
        assert_eq!(summary(&[2.0]), (1, 2.0, 2.0, 2.0, 0.0));
        assert_eq!(summary(&[4.0, 1.0]), (2, 2.5, 1.0, 4.0, 1.2));
        assert_eq!(summary(&[9.0, 1.0, 2.0]), (3, 2.0, 1.0, 9.0, 4.0));
        assert_eq!(summary(&[0.0, 0.0]), (2, 0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
        assert_eq!(median(&[]), None);
        for (above, below, expected) in [
            (Some(3.0), Some(2.0), (Some(1.5), Some(1.0))),
            (Some(2.0), Some(3.5), (Some(2.0 / 3.5), Some(-1.5))),
            (Some(3.0), Some(0.0), (None, Some(3.0))),
            (None, Some(2.0), (None, None)),
            (Some(2.0), None, (None, None)),
        ] {
            assert_eq!((quotient(above, below), difference(above, below)), expected);
        }
    }

    proptest! {
        #[test]
        fn half_of_all_values_are_on_each_side_of_the_median(values in prop::collection::vec(0.0..1e6_f64, 1..40)) {
            let all = Summary::of(&values).unwrap();
            let below = values.iter().filter(|value| **value < all.median).count();
            let above = values.iter().filter(|value| **value > all.median).count();
            prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
            prop_assert!(all.min <= all.median && all.median <= all.max);
        }
    }
}
