//! Which families a single file brings into a program.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::super::bytes::Source;
use super::super::object::Object;
use super::super::symbols::{Binding, visit};
use super::table::{TABLE, Trigger};

/// What a file tells about plug-ins by its soname and its symbols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Marks {
    /// The rows of the table that it triggers, as bits.
    pub(super) rows: u64,
    /// Whether it calls `dlopen` or `dlmopen` itself.
    pub(super) opens: bool,
}

/// Bits of rows by the name of a symbol.
type Names = HashMap<&'static [u8], u64>;

struct Tables {
    imports: Names,
    defines: Names,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables {
        imports: Names::new(),
        defines: Names::new(),
    };
    for (place, row) in TABLE.iter().enumerate() {
        let (names, table) = match row.trigger {
            Trigger::Soname(_) => continue,
            Trigger::Imports(names) => (names, &mut tables.imports),
            Trigger::Defines(names) => (names, &mut tables.defines),
        };
        for name in names {
            *table.entry(name.as_bytes()).or_default() |= 1 << place;
        }
    }
    tables
});

/// The longest name in the table; longer ones need not be looked up.
const LONGEST: usize = 32;

impl Marks {
    /// The marks of `object`, which was read from `source`. Damaged symbols tell nothing.
    pub(in super::super) fn read(object: &Object, source: Option<&Source>) -> Self {
        let mut marks = Self::default();
        let soname = object.soname.as_deref().unwrap_or_default().to_string_lossy();
        for (place, row) in TABLE.iter().enumerate() {
            if let Trigger::Soname(start) = row.trigger
                && soname.starts_with(start)
            {
                marks.rows |= 1 << place;
            }
        }
        let tables = &*TABLES;
        if let Some(source) = source.filter(|_| object.dynamic) {
            let each = |binding, name: &[u8]| {
                if name.len() > LONGEST {
                    return;
                }
                if binding == Binding::Defined {
                    marks.rows |= tables.defines.get(name).copied().unwrap_or(0);
                } else {
                    marks.rows |= tables.imports.get(name).copied().unwrap_or(0);
                    marks.opens |= matches!(name, b"dlopen" | b"dlmopen");
                }
            };
            // The loader reads symbols only when they are asked for: damage among them is told
            // with `--symbols`, and here they just tell nothing more.
            visit(source, each).unwrap_or_default();
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_its_bits() {
        assert!(TABLE.len() <= 64);
        for row in TABLE {
            if let Trigger::Imports(names) | Trigger::Defines(names) = row.trigger {
                assert!(names.iter().all(|name| name.len() <= LONGEST), "{names:?}");
            }
        }
    }
}
