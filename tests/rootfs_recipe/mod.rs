//! The recipe that the tests of root file systems start from.

use std::collections::BTreeMap;

use hpcvm::architecture::Architecture;
use hpcvm::recipe::{
    Base, Bootstrap, Bootstrapper, Compression, ImageOptions, Init, Initrd, Kernel, Origins, Recipe, RootKind,
    RunDefaults, Wrap,
};
use hpcvm::units::Bytes;

/// A recipe of `packages` on Debian 12 i386, everything else as small as it can be.
pub(crate) fn recipe(bootstrap: Bootstrap, packages: &[&str]) -> Recipe {
    Recipe {
        name: "minimal".into(),
        description: String::new(),
        base: Base {
            suite: "bookworm".into(),
            architecture: Architecture::I386,
            components: vec!["main".into()],
            pockets: Vec::new(),
            mirror: None,
            bootstrap,
            bootstrapper: Bootstrapper::Auto,
        },
        packages: packages.iter().map(|&name| name.to_owned()).collect(),
        keep_services: Vec::new(),
        purge: Vec::new(),
        keep: Vec::new(),
        overlays: Vec::new(),
        files: Vec::new(),
        libraries: None,
        kernel: Kernel {
            package: "linux-image-686".into(),
            modules: Vec::new(),
            wrap: Wrap::Lz4,
            initrd: Initrd::Hpcvm,
            command_line: Vec::new(),
        },
        init: Init::JobRunner,
        image: ImageOptions {
            root: RootKind::ReadOnly,
            compression: Compression::Zstd,
            free_space: Bytes(0),
        },
        run: RunDefaults {
            memory: Bytes::mebibytes(256),
            cpus: 1,
            user: "job".into(),
            environment: BTreeMap::new(),
        },
        warm: hpcvm::recipe::Warm::default(),
        validate: Vec::new(),
        sources: Vec::new(),
        origins: Origins::default(),
    }
}
