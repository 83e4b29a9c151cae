//! Where every byte of the packages went: kept, linked, purged, stripped.

use serde::Serialize;

use super::amount::{Amount, name, per_cent};
use super::facts::Facts;
use super::libraries::linked_by_package;
use super::treemap::{Area, squarified};

/// The picture in two shapes: one for wide windows and paper, one for narrow windows.
const SHAPES: [(&str, f64, f64); 2] = [("wide", 1160.0, 500.0), ("narrow", 440.0, 640.0)];
/// Height of a group's heading.
const HEADING: f64 = 20.0;
/// The room a letter takes, generously.
const LETTER: f64 = 7.2;
/// Cells below this share of the whole, in thousandths, are drawn as one.
const SMALLEST: u128 = 2;

/// What became of some bytes.
#[derive(Debug)]
pub(super) struct Group {
    kind: &'static str,
    title: &'static str,
    cells: Vec<(String, u64)>,
}

/// The picture, ready to draw.
#[derive(Debug, Serialize)]
pub(super) struct Map {
    total: Amount,
    legend: Vec<Legend>,
    shapes: Vec<Shape>,
}

#[derive(Debug, Serialize)]
struct Legend {
    kind: &'static str,
    title: &'static str,
    amount: Amount,
    share: String,
}

#[derive(Debug, Serialize)]
struct Shape {
    name: &'static str,
    width: f64,
    height: f64,
    groups: Vec<DrawnGroup>,
}

#[derive(Debug, Serialize)]
struct DrawnGroup {
    kind: &'static str,
    area: Drawn,
    cells: Vec<Drawn>,
}

/// A rectangle with what is written into it.
#[derive(Debug, Serialize)]
struct Drawn {
    x: String,
    y: String,
    width: String,
    height: String,
    text_x: String,
    text_y: String,
    /// As much of the name as fits; empty where nothing does.
    label: String,
    /// The size, where there is room for a second line.
    below: String,
    below_y: String,
    title: String,
}

/// What became of the bytes, group by group, each group's cells from the largest to the smallest.
pub(super) fn groups(facts: &Facts) -> Vec<Group> {
    let manifest = &facts.manifest;
    let (own, added): (Vec<_>, Vec<_>) = manifest
        .packages
        .iter()
        .map(|size| (size.package.clone(), size.bytes))
        .partition(|(package, _)| !["(overlays)", "(recipe)"].contains(&package.as_str()));
    let purged = manifest.purge.iter().map(|saving| (name(saving.rule), saving.bytes));
    let linked = linked_by_package(facts).into_iter();
    let linked = linked.map(|(package, bytes)| (package.to_owned(), bytes));
    let groups = [
        ("kept", "In the image", own),
        ("linked", "Linked from the repository", linked.collect()),
        ("purged", "Purged", purged.collect()),
        ("services", "Services", services(facts)),
        ("added", "Laid over", added),
    ];
    let group = |(kind, title, mut cells): (_, _, Vec<(String, u64)>)| {
        cells.retain(|(_, bytes)| *bytes > 0);
        cells.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        Group { kind, title, cells }
    };
    groups
        .into_iter()
        .map(group)
        .filter(|group| !group.cells.is_empty())
        .collect()
}

/// What the step that strips services took away.
fn services(facts: &Facts) -> Vec<(String, u64)> {
    let steps = &facts.manifest.steps;
    let at = steps.iter().position(|step| step.name == "services");
    let saved = at.and_then(|at| {
        let before = steps.get(at.checked_sub(1)?)?;
        Some(before.bytes.saturating_sub(steps[at].bytes))
    });
    vec![("services".to_owned(), saved.unwrap_or(0))]
}

impl Group {
    fn bytes(&self) -> u64 {
        self.cells.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// The cells that can be seen, and the rest as one.
    fn visible(&self, total: u64) -> Vec<(String, u64)> {
        let seen = |(_, bytes): &&(String, u64)| u128::from(*bytes) * 1000 >= u128::from(total) * SMALLEST;
        let mut cells: Vec<(String, u64)> = self.cells.iter().take_while(seen).cloned().collect();
        let others = &self.cells[cells.len()..];
        if !others.is_empty() {
            let bytes = others.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
            let name = match others {
                [(name, _)] => name.clone(),
                _ => format!("{} smaller ones", others.len()),
            };
            cells.push((name, bytes));
        }
        cells.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        cells
    }
}

impl Map {
    /// Draws the groups; `None` where there is nothing to draw.
    pub(super) fn of(groups: &[Group]) -> Option<Self> {
        let total = groups
            .iter()
            .fold(0_u64, |sum, group| sum.saturating_add(group.bytes()));
        if total == 0 {
            return None;
        }
        let legend = |group: &Group| Legend {
            kind: group.kind,
            title: group.title,
            amount: Amount::new(group.bytes()),
            share: per_cent(group.bytes(), total),
        };
        let shape = |(name, width, height)| Shape {
            name,
            width,
            height,
            groups: draw(
                groups,
                total,
                Area {
                    x: 0.0,
                    y: 0.0,
                    width,
                    height,
                },
            ),
        };
        Some(Self {
            total: Amount::new(total),
            legend: groups.iter().map(legend).collect(),
            shapes: SHAPES.map(shape).into(),
        })
    }
}

fn draw(groups: &[Group], total: u64, whole: Area) -> Vec<DrawnGroup> {
    let mut ordered: Vec<&Group> = groups.iter().collect();
    // A stable sort: groups of one size stay in their order.
    ordered.sort_by_key(|group| std::cmp::Reverse(group.bytes()));
    let weights: Vec<u64> = ordered.iter().map(|group| group.bytes()).collect();
    let areas = squarified(&weights, whole);
    let pairs = ordered.into_iter().zip(areas);
    pairs.map(|(group, area)| draw_group(group, area, total)).collect()
}

fn draw_group(group: &Group, area: Area, total: u64) -> DrawnGroup {
    let cells = group.visible(total);
    let weights: Vec<u64> = cells.iter().map(|(_, bytes)| *bytes).collect();
    let has_heading = area.height > 3.0 * HEADING && area.width > 40.0;
    let areas = squarified(&weights, area.inner(if has_heading { HEADING } else { 0.0 }, 2.0));
    let bytes = Amount::new(group.bytes());
    let heading = format!("{} \u{b7} {}", group.title, bytes.text);
    let drawn = |((name, bytes), area): (&(String, u64), Area)| {
        let amount = Amount::new(*bytes);
        let title = format!("{}: {name}, {} ({})", group.title, amount.text, amount.exact);
        Drawn::new(area.inner(0.0, 0.75), name, &amount.text, title)
    };
    let label = match letters(&heading) <= room(area) {
        _ if !has_heading => "",
        true => &heading,
        false => group.title,
    };
    let own = Drawn::new(area, label, "", format!("{heading} ({})", bytes.exact));
    DrawnGroup {
        kind: group.kind,
        area: own,
        cells: cells.iter().zip(areas).map(drawn).collect(),
    }
}

impl Drawn {
    fn new(area: Area, name: &str, below: &str, title: String) -> Self {
        let fits = |text: &str, bottom: f64| area.height >= bottom && room(area) >= letters(text);
        let label = if area.height >= 17.0 {
            cut(name, room(area))
        } else {
            String::new()
        };
        let below = if !label.is_empty() && fits(below, 33.0) {
            below
        } else {
            ""
        };
        let number = |number: f64| format!("{number:.1}");
        Self {
            x: number(area.x),
            y: number(area.y),
            width: number(area.width),
            height: number(area.height),
            text_x: number(area.x + 5.0),
            text_y: number(area.y + 14.0),
            below_y: number(area.y + 29.0),
            label,
            below: below.to_owned(),
            title,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from nothing to a few hundred"
)]
fn room(area: Area) -> usize {
    ((area.width - 8.0).max(0.0) / LETTER) as usize
}

fn letters(text: &str) -> usize {
    text.chars().count()
}

/// As much of `text` as `room` letters hold, with an ellipsis where it is cut; nothing where no
/// three letters would be left.
fn cut(text: &str, room: usize) -> String {
    if letters(text) <= room {
        return text.to_owned();
    }
    if room < 4 {
        return String::new();
    }
    text.chars().take(room - 1).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_their_room() {
        for (text, room, expected) in [
            ("libc6", 5, "libc6"),
            ("libc6-dev", 6, "libc6\u{2026}"),
            ("libc6", 3, ""),
            ("äöü", 3, "äöü"),
        ] {
            assert_eq!(cut(text, room), expected);
        }
    }

    #[test]
    fn small_cells_are_drawn_as_one_and_no_byte_is_lost() {
        let mut cells = vec![("big".to_owned(), 9_000), ("next".to_owned(), 900)];
        cells.extend((0..50).map(|index| (format!("p{index}"), 2)));
        let group = Group {
            kind: "kept",
            title: "In the image",
            cells,
        };
        let visible = group.visible(10_000);
        let names: Vec<&str> = visible.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["big", "next", "50 smaller ones"]);
        assert_eq!(visible.iter().map(|(_, bytes)| bytes).sum::<u64>(), group.bytes());
    }

    #[test]
    fn nothing_is_no_picture() {
        assert!(Map::of(&[]).is_none());
        let cells = vec![("huge".to_owned(), u64::MAX), ("more".to_owned(), u64::MAX)];
        let map = Map::of(&[Group {
            kind: "kept",
            title: "In the image",
            cells,
        }])
        .unwrap();
        assert_eq!(map.total.bytes, u64::MAX);
    }
}
