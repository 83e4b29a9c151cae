//! Several recipes to one. The rules stand in `docs/recipe.md`, "Including".

use std::collections::BTreeMap;

use super::codes;
use super::located::Located;
use super::model::{
    Base, FileEntry, Image, Kernel, Libraries, List, Preload, Recipe, Run, Scalar, Services, Validation, Warm, Without,
    Word,
};
use super::report::{Report, quoted};
use super::resolved::{Pocket, PurgeRule};

/// Merges `recipes`, each over those before it.
pub(super) fn merge(recipes: Vec<Recipe>, report: &mut Report) -> Recipe {
    recipes.into_iter().fold(Recipe::default(), |mut merged, mut own| {
        leave_out(&mut merged, own.without.take().unwrap_or_default(), report);
        over(merged, own)
    })
}

/// `own` over what it inherits.
fn over(inherited: Recipe, own: Recipe) -> Recipe {
    Recipe {
        version: own.version,
        name: own.name.or(inherited.name),
        description: own.description.or(inherited.description),
        include: None,
        base: section(inherited.base, own.base, base),
        packages: list(inherited.packages, own.packages),
        services: section(inherited.services, own.services, |inherited, own| Services {
            keep: list(inherited.keep, own.keep),
        }),
        overlays: list(inherited.overlays, own.overlays),
        files: list(inherited.files, own.files),
        purge: list(inherited.purge, own.purge),
        keep: list(inherited.keep, own.keep),
        libraries: section(inherited.libraries, own.libraries, libraries),
        kernel: section(inherited.kernel, own.kernel, kernel),
        init: own.init.or(inherited.init),
        image: section(inherited.image, own.image, |inherited, own| Image {
            root: own.root.or(inherited.root),
            compression: own.compression.or(inherited.compression),
            free_space: own.free_space.or(inherited.free_space),
        }),
        run: section(inherited.run, own.run, run),
        warm: section(inherited.warm, own.warm, warm),
        validate: list(inherited.validate, own.validate),
        without: None,
    }
}

fn base(inherited: Base, own: Base) -> Base {
    Base {
        debian: own.debian.or(inherited.debian),
        architecture: own.architecture.or(inherited.architecture),
        components: list(inherited.components, own.components),
        mirror: own.mirror.or(inherited.mirror),
        pockets: list(inherited.pockets, own.pockets),
        bootstrap: own.bootstrap.or(inherited.bootstrap),
        bootstrapper: own.bootstrapper.or(inherited.bootstrapper),
    }
}

fn libraries(inherited: Libraries, own: Libraries) -> Libraries {
    Libraries {
        local: own.local.or(inherited.local),
        repository: own.repository.or(inherited.repository),
        linked_packages: list(inherited.linked_packages, own.linked_packages),
        keep: list(inherited.keep, own.keep),
        relocate: list(inherited.relocate, own.relocate),
    }
}

fn kernel(inherited: Kernel, own: Kernel) -> Kernel {
    Kernel {
        package: own.package.or(inherited.package),
        modules: list(inherited.modules, own.modules),
        wrap: own.wrap.or(inherited.wrap),
        initrd: own.initrd.or(inherited.initrd),
        command_line: list(inherited.command_line, own.command_line),
    }
}

fn run(inherited: Run, own: Run) -> Run {
    Run {
        memory: own.memory.or(inherited.memory),
        cpus: own.cpus.or(inherited.cpus),
        user: own.user.or(inherited.user),
        environment: section(inherited.environment, own.environment, environment),
    }
}

fn warm(inherited: Warm, own: Warm) -> Warm {
    Warm {
        touch: list(inherited.touch, own.touch),
        preload: section(inherited.preload, own.preload, |inherited, own| Preload {
            python3: list(inherited.python3, own.python3),
            programs: list(inherited.programs, own.programs),
        }),
    }
}

fn environment(
    mut inherited: BTreeMap<Word, Located<Scalar>>,
    own: BTreeMap<Word, Located<Scalar>>,
) -> BTreeMap<Word, Located<Scalar>> {
    for (name, value) in own {
        // Removed first: inserting would keep the inherited key with its place.
        inherited.remove(&name);
        inherited.insert(name, value);
    }
    inherited
}

fn section<T: Default>(inherited: Option<T>, own: Option<T>, merge: impl FnOnce(T, T) -> T) -> Option<T> {
    match (inherited, own) {
        (inherited, None) => inherited,
        (inherited, Some(own)) => Some(merge(inherited.unwrap_or_default(), own)),
    }
}

/// What is inherited, then what is new; an own entry replaces the inherited one of its identity
/// in place. An empty list, written out, empties what is inherited.
fn list<T: Identified>(inherited: List<T>, own: List<T>) -> List<T> {
    let Some(own) = own else { return inherited };
    if own.is_empty() {
        return Some(own);
    }
    let mut merged = inherited.unwrap_or_default();
    let inherited_count = merged.len();
    for entry in own {
        let inherited = &mut merged[..inherited_count];
        match inherited
            .iter_mut()
            .find(|other| other.value.identity() == entry.value.identity())
        {
            Some(replaced) => *replaced = entry,
            None => merged.push(entry),
        }
    }
    Some(merged)
}

/// By what two entries of a list are the same.
trait Identified {
    /// The identity's type.
    type Identity: ?Sized + PartialEq;
    /// The entry's identity.
    fn identity(&self) -> &Self::Identity;
    /// The identity for a message.
    fn shown(&self) -> String;
}

impl Identified for String {
    type Identity = str;

    fn identity(&self) -> &str {
        self
    }

    fn shown(&self) -> String {
        quoted(self)
    }
}

impl Identified for FileEntry {
    type Identity = str;

    fn identity(&self) -> &str {
        &self.path.value
    }

    fn shown(&self) -> String {
        quoted(&self.path.value)
    }
}

impl Identified for Validation {
    type Identity = str;

    fn identity(&self) -> &str {
        &self.name.value
    }

    fn shown(&self) -> String {
        quoted(&self.name.value)
    }
}

impl Identified for PurgeRule {
    type Identity = Self;

    fn identity(&self) -> &Self {
        self
    }

    fn shown(&self) -> String {
        "this rule".to_owned()
    }
}

impl Identified for Pocket {
    type Identity = Self;

    fn identity(&self) -> &Self {
        self
    }

    fn shown(&self) -> String {
        "this pocket".to_owned()
    }
}

/// Takes what `without` names out of what is inherited.
fn leave_out(inherited: &mut Recipe, without: Without, report: &mut Report) {
    let services = inherited.services.get_or_insert_default();
    let kernel = inherited.kernel.get_or_insert_default();
    drop_from(&mut inherited.packages, without.packages, report);
    drop_from(&mut services.keep, without.services, report);
    drop_from(&mut inherited.overlays, without.overlays, report);
    drop_from(&mut inherited.files, without.files, report);
    drop_from(&mut inherited.purge, without.purge, report);
    drop_from(&mut inherited.keep, without.keep, report);
    leave_out_libraries(
        &mut inherited.libraries,
        [without.linked_packages, without.keep_libraries, without.relocate],
        report,
    );
    drop_from(&mut kernel.modules, without.modules, report);
    drop_from(&mut kernel.command_line, without.command_line, report);
    let warm = inherited.warm.get_or_insert_default();
    drop_from(&mut warm.touch, without.touch, report);
    let preload = warm.preload.get_or_insert_default();
    drop_from(&mut preload.python3, without.python3, report);
    drop_from(&mut preload.programs, without.programs, report);
    drop_from(&mut inherited.validate, without.validate, report);
    let environment = inherited
        .run
        .get_or_insert_default()
        .environment
        .get_or_insert_default();
    for name in without.environment.unwrap_or_default() {
        if environment.remove(&name).is_none() {
            nothing_removed(&name, report);
        }
    }
}

/// Takes packages, globs and folders out of the inherited section, which is not made for it:
/// a recipe without the section keeps all libraries.
fn leave_out_libraries(
    section: &mut Option<Libraries>,
    [packages, keep, relocate]: [List<String>; 3],
    report: &mut Report,
) {
    let mut none = Libraries::default();
    let libraries = section.as_mut().unwrap_or(&mut none);
    drop_from(&mut libraries.linked_packages, packages, report);
    drop_from(&mut libraries.keep, keep, report);
    drop_from(&mut libraries.relocate, relocate, report);
}

fn drop_from<T, D>(list: &mut List<T>, dropped: List<D>, report: &mut Report)
where
    T: Identified,
    D: Identified<Identity = T::Identity>,
{
    for name in dropped.unwrap_or_default() {
        let before = list.as_ref().map_or(0, Vec::len);
        if let Some(list) = list {
            list.retain(|entry| entry.value.identity() != name.value.identity());
        }
        if list.as_ref().map_or(0, Vec::len) == before {
            nothing_removed(&name, report);
        }
    }
}

fn nothing_removed<D: Identified>(name: &Located<D>, report: &mut Report) {
    let message = format!("no included recipe has {}", name.value.shown());
    let added = report.add(&name.place, codes::WITHOUT_NOTHING, message);
    added.help("'without' names entries as the included recipe writes them; take this line out");
}
