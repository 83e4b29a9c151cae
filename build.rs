//! Compiles the small C programs that run inside the guest, for the library to carry along.
//!
//! They are C because they run where no Rust target of this toolchain does: 32-bit code without a
//! C library, partly before there is a kernel. `cc -m32 -nostdlib` needs no multilib packages.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, io};

/// One program of the guest. A new one is one more line in [`PROGRAMS`].
struct Program {
    /// Its name in `OUT_DIR`, for `include_bytes!(concat!(env!("OUT_DIR"), "/NAME"))`.
    name: &'static str,
    /// Its source, from the package's root.
    source: &'static str,
    /// Flags besides [`FLAGS`].
    flags: &'static [&'static str],
    /// Other files it is made of.
    also: &'static [&'static str],
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "kernel-stub.bin",
        source: "src/guest/kernel-stub/stub.c",
        flags: &["-m32", "-march=i686", "-Wl,-T,src/guest/kernel-stub/stub.ld"],
        also: &["src/guest/kernel-stub/lz4.h", "src/guest/kernel-stub/stub.ld"],
    },
    linux_program("init-i386", "overlays/job-runner/src/init.c", I386),
    linux_program("init-amd64", "overlays/job-runner/src/init.c", AMD64),
    held_code("held-i386.bin", HELD_I386),
    held_code("held-amd64.bin", HELD_AMD64),
    linux_program("job-runner-i386", "overlays/job-runner/src/job-runner.c", I386),
    linux_program("job-runner-amd64", "overlays/job-runner/src/job-runner.c", AMD64),
    linux_program("floor-init-i386", "overlays/job-runner/src/floor-init.c", I386),
];

/// What waits in a program that is held; the job runner, which comes later, has it in it.
const fn held_code(name: &'static str, flags: &'static [&'static str]) -> Program {
    Program {
        name,
        source: "overlays/job-runner/src/held.c",
        flags,
        also: &[
            "overlays/job-runner/src/calls.h",
            "overlays/job-runner/src/held.h",
            "overlays/job-runner/src/held.ld",
        ],
    }
}

/// A program that runs under the guest's kernel.
const fn linux_program(name: &'static str, source: &'static str, flags: &'static [&'static str]) -> Program {
    let also = &[
        "overlays/job-runner/src/calls.h",
        "overlays/job-runner/src/description.h",
        "overlays/job-runner/src/disk.h",
        "overlays/job-runner/src/files.h",
        "overlays/job-runner/src/hand-over.h",
        "overlays/job-runner/src/held.h",
        "overlays/job-runner/src/hold.h",
        "overlays/job-runner/src/identity.h",
        "overlays/job-runner/src/interpreter.h",
        "overlays/job-runner/src/job.h",
        "overlays/job-runner/src/libraries.h",
        "overlays/job-runner/src/mounts.h",
        "overlays/job-runner/src/orders.h",
        "overlays/job-runner/src/pipes.h",
        "overlays/job-runner/src/precedence.h",
        "overlays/job-runner/src/records.h",
        "overlays/job-runner/src/reports.h",
        "overlays/job-runner/src/search.h",
        "overlays/job-runner/src/spool.h",
        "overlays/job-runner/src/start.h",
        "overlays/job-runner/src/streams.h",
        "overlays/job-runner/src/sys.h",
        "overlays/job-runner/src/virtualbox.h",
        "overlays/job-runner/src/waiting.h",
    ];
    Program {
        name,
        source,
        flags,
        also,
    }
}

// `asm/unistd.h` of both architectures stands in the multiarch folder of amd64's linux-libc-dev;
// i386's gcc looks for it elsewhere.
const I386: &[&str] = &[
    "-m32",
    "-march=i686",
    "-std=gnu11",
    "-s",
    "-idirafter",
    "/usr/include/x86_64-linux-gnu",
];
const AMD64: &[&str] = &["-m64", "-std=gnu11", "-s"];

const HELD_LAYOUT: &str = "-Wl,-T,overlays/job-runner/src/held.ld";
const HELD_I386: &[&str] = &[
    "-m32",
    "-march=i686",
    "-std=gnu11",
    "-idirafter",
    "/usr/include/x86_64-linux-gnu",
    HELD_LAYOUT,
];
const HELD_AMD64: &[&str] = &["-m64", "-std=gnu11", "-fpie", HELD_LAYOUT];

/// Freestanding, without anything that differs from host to host: no build id, no compiler name,
/// no hardening that a distribution's compiler turns on by itself and that needs a C library.
const FLAGS: &[&str] = &[
    "-static",
    "-nostdlib",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-pic",
    "-no-pie",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-fno-tree-loop-distribute-patterns",
    "-fno-ident",
    "-U_FORTIFY_SOURCE",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",
    "-Werror",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    for program in PROGRAMS {
        for file in program.also.iter().chain([&program.source]) {
            println!("cargo::rerun-if-changed={file}");
        }
        if let Err(reason) = compile(program, &folder) {
            println!("cargo::error=cannot compile {} for the guest: {reason}", program.source);
            exit(1);
        }
    }
}

/// Compiles and links `program` into `folder`; the error tells the user what to install.
fn compile(program: &Program, folder: &Path) -> Result<(), String> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(&compiler)
        .args(FLAGS)
        .args(program.flags)
        // Where `.incbin` finds what was compiled before.
        .arg(format!("-Wa,-I,{}", folder.display()))
        .arg("-o")
        .arg(folder.join(program.name))
        .arg(program.source)
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("the C compiler '{compiler}' is not installed (apt-get install gcc, or set CC)")
            }
            _ => format!("cannot start '{compiler}': {error}"),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let help = if program.flags.contains(&"-m32") && said.contains("-m32") {
        "; it needs a compiler for x86 that knows -m32 (Debian's gcc on amd64 or i386)"
    } else {
        ""
    };
    Err(format!(
        "'{compiler}' failed{help}: {}",
        said.trim().replace('\n', " | ")
    ))
}
