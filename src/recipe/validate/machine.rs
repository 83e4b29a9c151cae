//! Kernel, image and the defaults for launching.

use std::collections::BTreeMap;

use super::software::check_package;
use super::{commands, words};
use crate::architecture::Architecture;
use crate::recipe::codes;
use crate::recipe::located::Located;
use crate::recipe::model::{self, List, Size};
use crate::recipe::report::{Report, quoted};
use crate::recipe::resolved::{ImageOptions, Kernel, RootKind, RunDefaults};
use crate::units::{Bytes, GIB, MIB};

/// Below this, Debian's kernel does not start.
const MIN_MEMORY: Bytes = Bytes::mebibytes(32);
/// More than any node has: a slip of the unit.
const MAX_SIZE: Bytes = Bytes(1024 * GIB);
const DEFAULT_MEMORY: Bytes = Bytes::mebibytes(256);
const DEFAULT_FREE_SPACE: Bytes = Bytes(256 * MIB);
/// More than the virtual machines' interrupt controllers are set up for.
const MAX_CPUS: u32 = 64;
const DEFAULT_USER: &str = "job";

pub(super) fn kernel(kernel: model::Kernel, architecture: Architecture, report: &mut Report) -> Kernel {
    let default = match architecture {
        Architecture::I386 => "linux-image-686",
        Architecture::Amd64 => "linux-image-amd64",
    };
    if let Some(package) = &kernel.package {
        check_kernel_package(package, architecture, default, report);
    }
    Kernel {
        package: kernel
            .package
            .map_or_else(|| default.to_owned(), |package| package.value),
        modules: modules(kernel.modules, report),
        wrap: kernel.wrap.map(|wrap| wrap.value).unwrap_or_default(),
        initrd: kernel.initrd.map(|initrd| initrd.value).unwrap_or_default(),
        command_line: command_line(kernel.command_line, report),
    }
}

fn check_kernel_package(package: &model::Word, architecture: Architecture, default: &str, report: &mut Report) {
    let name = &package.value;
    check_package(package, report);
    let foreign = match architecture {
        Architecture::I386 => "amd64",
        Architecture::Amd64 => "686",
    };
    let problem = if !name.starts_with("linux-image-") {
        "is not a kernel package".to_owned()
    } else if name.contains(foreign) {
        format!("is not a kernel for {architecture}")
    } else {
        return;
    };
    let message = format!("{} {problem}", quoted(name));
    let added = report.add(&package.place, codes::KERNEL_PACKAGE, message);
    added.help(format!("take the key out to use '{default}'"));
}

fn modules(modules: List<String>, report: &mut Report) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in modules.unwrap_or_default() {
        if !words::is_module(&word.value) {
            let message = format!("{} is not a module name", quoted(&word.value));
            let added = report.add(&word.place, codes::MODULE_NAME, message);
            added.help("write the name that 'modprobe' takes, without folder and '.ko'");
        }
        if !names.contains(&word.value) {
            names.push(word.value);
        }
    }
    names
}

fn command_line(command_line: List<String>, report: &mut Report) -> Vec<String> {
    let list = command_line.unwrap_or_default();
    for word in &list {
        if word.value.is_empty() || !word.value.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("{} is not one word of the kernel's command line", quoted(&word.value));
            let added = report.add(&word.place, codes::COMMAND_LINE, message);
            added.help("write one list item for each word, without blanks");
        }
    }
    list.into_iter().map(|word| word.value).collect()
}

pub(super) fn image(image: model::Image, report: &mut Report) -> ImageOptions {
    let root = image.root.map(|root| root.value).unwrap_or_default();
    let ignored = match root {
        RootKind::Writable => image
            .compression
            .as_ref()
            .map(|compression| (&compression.place, "compression")),
        RootKind::ReadOnly => image.free_space.as_ref().map(|size| (&size.place, "free-space")),
    };
    if let Some((place, key)) = ignored {
        let kind = match root {
            RootKind::Writable => "writable",
            RootKind::ReadOnly => "read-only",
        };
        let message = format!("'{key}' means nothing for a {kind} root");
        report
            .add(place, codes::NO_EFFECT, message)
            .help("take it out, or change 'root'");
    }
    ImageOptions {
        root,
        compression: image
            .compression
            .map(|compression| compression.value)
            .unwrap_or_default(),
        free_space: image
            .free_space
            .map_or(DEFAULT_FREE_SPACE, |size| bytes(&size, Bytes(0), report)),
    }
}

pub(super) fn run(run: model::Run, report: &mut Report) -> RunDefaults {
    if let Some(user) = run.user.as_ref().filter(|user| !words::is_user(&user.value)) {
        let message = format!("{} is not a user name", quoted(&user.value));
        let added = report.add(&user.place, codes::USER_NAME, message);
        added.help("use up to 32 lower-case letters, digits, '_' and '-', a letter first");
    }
    if let Some(cpus) = run.cpus.as_ref().filter(|cpus| !(1..=MAX_CPUS).contains(&cpus.value)) {
        let message = format!("a guest cannot have {} processors", cpus.value);
        let added = report.add(&cpus.place, codes::CPUS, message);
        added.help(format!("choose from 1 to {MAX_CPUS}"));
    }
    RunDefaults {
        memory: run
            .memory
            .map_or(DEFAULT_MEMORY, |size| bytes(&size, MIN_MEMORY, report)),
        cpus: run.cpus.map_or(1, |cpus| cpus.value),
        user: run.user.map_or_else(|| DEFAULT_USER.to_owned(), |user| user.value),
        environment: run
            .environment
            .map_or_else(BTreeMap::new, |map| commands::environment(map, report)),
    }
}

fn bytes(size: &Located<Size>, least: Bytes, report: &mut Report) -> Bytes {
    let parsed = size.value.0.parse::<Bytes>();
    match parsed {
        Err(_) => {
            let message = format!("{} is not a size", quoted(&size.value.0));
            let added = report.add(&size.place, codes::SIZE, message);
            added.help("write a whole number with K, M, G or T, such as 256M");
        }
        Ok(bytes) if !(least..=MAX_SIZE).contains(&bytes) => {
            let message = format!("{bytes} is not between {least} and {MAX_SIZE}");
            let added = report.add(&size.place, codes::SIZE_RANGE, message);
            let unitless = size.value.0.bytes().all(|byte| byte.is_ascii_digit());
            added.help(if unitless {
                "write the unit: a number alone is bytes, 256M is 256 mebibytes"
            } else {
                "choose a size in this range"
            });
        }
        Ok(_) => {}
    }
    parsed.unwrap_or_default()
}
