//! Rectangles whose areas are as given weights, as near to squares as can be: a squarified
//! treemap (Bruls, Huizing and van Wijk, "Squarified Treemaps", 2000).

/// A rectangle in the picture's units, from its upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    /// The area without `top` at its upper edge and `margin` all round; nothing where it is too small.
    pub(super) fn inner(self, top: f64, margin: f64) -> Self {
        Self {
            x: self.x + margin,
            y: self.y + margin + top,
            width: (self.width - 2.0 * margin).max(0.0),
            height: (self.height - top - 2.0 * margin).max(0.0),
        }
    }

    fn shorter(self) -> f64 {
        self.width.min(self.height)
    }
}

/// One area within `whole` for each weight, in their order. Weights from the largest to the
/// smallest give the best shapes. A weight of nothing gets an area of nothing.
pub(super) fn squarified(weights: &[u64], whole: Area) -> Vec<Area> {
    let total: f64 = weights.iter().map(|&weight| float(weight)).sum();
    if total <= 0.0 || whole.shorter() <= 0.0 {
        return vec![Area::default(); weights.len()];
    }
    let scale = whole.width * whole.height / total;
    let sizes: Vec<f64> = weights.iter().map(|&weight| float(weight) * scale).collect();
    let mut areas = Vec::with_capacity(sizes.len());
    let (mut rest, mut from) = (whole, 0);
    while from < sizes.len() {
        let length = row(&sizes[from..], rest.shorter());
        rest = place(&sizes[from..from + length], rest, &mut areas);
        from += length;
    }
    areas
}

/// How many of `sizes` to put into a row along a side so that the worst shape is best.
fn row(sizes: &[f64], side: f64) -> usize {
    let (mut sum, mut best) = (0.0, f64::INFINITY);
    for (index, &size) in sizes.iter().enumerate() {
        sum += size;
        // Sizes fall, so the first and the last are the extremes.
        let worst = [sizes[0], size].map(|size| {
            let thickness = sum / side;
            let ratio = size / (thickness * thickness);
            ratio.max(1.0 / ratio)
        });
        let worst = worst[0].max(worst[1]);
        if worst > best || worst.is_nan() {
            return index.max(1);
        }
        best = worst;
    }
    sizes.len()
}

/// Lays a row along the shorter side of `rest`; returns what is left of it.
fn place(row: &[f64], rest: Area, areas: &mut Vec<Area>) -> Area {
    let sum: f64 = row.iter().sum();
    let side = rest.shorter();
    let thickness = if side > 0.0 { sum / side } else { 0.0 };
    let upright = rest.width >= rest.height;
    let mut at = 0.0;
    for &size in row {
        let length = if thickness > 0.0 { size / thickness } else { 0.0 };
        areas.push(if upright {
            Area {
                x: rest.x,
                y: rest.y + at,
                width: thickness,
                height: length,
            }
        } else {
            Area {
                x: rest.x + at,
                y: rest.y,
                width: length,
                height: thickness,
            }
        });
        at += length;
    }
    if upright {
        Area {
            x: rest.x + thickness,
            width: (rest.width - thickness).max(0.0),
            ..rest
        }
    } else {
        Area {
            y: rest.y + thickness,
            height: (rest.height - thickness).max(0.0),
            ..rest
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture has no place for 53 bits")]
fn float(weight: u64) -> f64 {
    weight as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: Area = Area {
        x: 10.0,
        y: 20.0,
        width: 600.0,
        height: 400.0,
    };

    #[test]
    fn the_example_of_the_paper() {
        let whole = Area {
            x: 0.0,
            y: 0.0,
            width: 6.0,
            height: 4.0,
        };
        let areas = squarified(&[6, 6, 4, 3, 2, 2, 1], whole);
        let expected = [
            (0.0, 0.0, 3.0, 2.0),
            (0.0, 2.0, 3.0, 2.0),
            (3.0, 0.0, 1.714, 2.333),
            (4.714, 0.0, 1.286, 2.333),
            (3.0, 2.333, 1.2, 1.667),
            (4.2, 2.333, 1.2, 1.667),
            (5.4, 2.333, 0.6, 1.667),
        ];
        for (area, (x, y, width, height)) in areas.iter().zip(expected) {
            let differences = [area.x - x, area.y - y, area.width - width, area.height - height];
            assert!(
                differences.iter().all(|difference| difference.abs() < 0.001),
                "{areas:#?}"
            );
        }
    }

    #[test]
    fn nothing_gets_no_area() {
        assert_eq!(squarified(&[], WHOLE), []);
        assert_eq!(squarified(&[0, 0], WHOLE), [Area::default(); 2]);
        let flat = Area { height: 0.0, ..WHOLE };
        assert_eq!(squarified(&[5], flat), [Area::default()]);
    }

    proptest! {
        #[test]
        fn areas_are_as_the_weights_and_stay_inside(mut weights in prop::collection::vec(any::<u64>(), 1..60)) {
            weights.sort_unstable_by(|a, b| b.cmp(a));
            let areas = squarified(&weights, WHOLE);
            let total: f64 = weights.iter().map(|&weight| float(weight)).sum();
            prop_assume!(total > 0.0);
            for (area, weight) in areas.iter().zip(&weights) {
                let expected = float(*weight) / total * WHOLE.width * WHOLE.height;
                prop_assert!((area.width * area.height - expected).abs() < 0.01, "{area:?} {expected}");
                prop_assert!(area.x > WHOLE.x - 0.01 && area.y > WHOLE.y - 0.01, "{area:?}");
                prop_assert!(area.x + area.width < WHOLE.x + WHOLE.width + 0.01, "{area:?}");
                prop_assert!(area.y + area.height < WHOLE.y + WHOLE.height + 0.01, "{area:?}");
            }
        }
    }
}
