//! Percentiles of many launches.

use serde::Serialize;

/// What is said of a phase over many VMs, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many VMs have it.
    pub count: usize,
    /// The middle.
    pub p50: f64,
    /// Nine tenths took no longer.
    pub p90: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    /// Of these values; `None` where there are none. Percentiles are by nearest rank: each is a
    /// value that occurred.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self {
            count: values.len(),
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |values: &[f64]| Percentiles::of(values.to_vec()).map(|p| (p.p50, p.p90, p.p99, p.max));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[2.0]), Some((2.0, 2.0, 2.0, 2.0)));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(of(&hundred), Some((50.0, 90.0, 99.0, 100.0)));
        assert_eq!(of(&[1.0, f64::NAN, 3.0]), Some((1.0, 3.0, 3.0, 3.0)));
    }
}
