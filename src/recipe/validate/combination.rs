//! Settings that are right each for itself but not together.

use crate::recipe::codes;
use crate::recipe::model::Recipe;
use crate::recipe::report::Report;
use crate::recipe::resolved::{Bootstrap, Bootstrapper, Init, Initrd, RootKind};

/// Checks them all.
pub(super) fn check(recipe: &Recipe, report: &mut Report) {
    let base = recipe.base.as_ref();
    let bootstrap = base.and_then(|base| base.bootstrap.as_ref());
    let extract = bootstrap.is_some_and(|bootstrap| bootstrap.value == Bootstrap::Extract);
    check_services(recipe, extract, report);
    check_initrd(recipe, extract, report);
    let bootstrapper = base.and_then(|base| base.bootstrapper.as_ref());
    if let Some(tool) = bootstrapper.filter(|tool| extract && tool.value != Bootstrapper::Auto) {
        let message = "packages that are only extracted need no bootstrapper";
        let added = report.add(&tool.place, codes::NO_EFFECT, message);
        added.help("take 'bootstrapper' out, or write 'bootstrap: configured'");
    }
    let purges_nothing = recipe.purge.as_ref().is_some_and(Vec::is_empty);
    if let Some(first) = recipe.keep.iter().flatten().next().filter(|_| purges_nothing) {
        let message = "nothing is purged, so there is nothing to keep from it";
        let added = report.add(&first.place, codes::KEEP_WITHOUT_PURGE, message);
        added.help("take 'keep' out, or name rules under 'purge'");
    }
}

fn check_services(recipe: &Recipe, extract: bool, report: &mut Report) {
    let Some(init) = recipe.init.as_ref().filter(|init| init.value == Init::Services) else {
        return;
    };
    let kept = recipe.services.as_ref().and_then(|services| services.keep.as_ref());
    if kept.is_none_or(Vec::is_empty) {
        let added = report.add(
            &init.place,
            codes::NO_SERVICES,
            "services are to start, but none is kept",
        );
        added.help("name them, as in 'services: {keep: [ssh]}', or write 'init: job-runner'");
    }
    if extract {
        let message = "services cannot start from packages that were never configured";
        let added = report.add(&init.place, codes::SERVICES_UNCONFIGURED, message);
        added.help("write 'bootstrap: configured' under 'base', or 'init: job-runner'");
    }
}

fn check_initrd(recipe: &Recipe, extract: bool, report: &mut Report) {
    let initrd = recipe.kernel.as_ref().and_then(|kernel| kernel.initrd.as_ref());
    let Some(initrd) = initrd.filter(|initrd| initrd.value == Initrd::Debian) else {
        return;
    };
    let root = recipe.image.as_ref().and_then(|image| image.root.as_ref());
    let problem = if extract {
        (
            "Debian's initrd is made when packages are configured",
            "write 'bootstrap: configured' under 'base'",
        )
    } else if root.is_none_or(|root| root.value == RootKind::ReadOnly) {
        (
            "Debian's initrd cannot mount a read-only root",
            "write 'root: writable' under 'image'",
        )
    } else {
        return;
    };
    let (message, help) = problem;
    let added = report.add(&initrd.place, codes::DEBIAN_INITRD, message);
    added.help(format!("{help}, or 'initrd: hpcvm'"));
}
