//! What a program loads that it does not name as needed, on roots made for it.

use std::fs;
use std::path::Path;

use crate::fixtures::{Machine, Workshop, compiler};
use hpcvm::elf::closure::Closure;
use hpcvm::elf::families::{Certainty, Use, reached, uses};
use hpcvm::elf::file_system::FolderFiles;
use hpcvm::elf::loader::{Loader, Settings};

/// (family, path or name of a plug-in that is not there)
type Plugins = Vec<(&'static str, String)>;

struct Case {
    name: &'static str,
    /// Body of the program.
    code: &'static str,
    needs: &'static [&'static str],
    /// Libraries: (path, needs).
    libraries: &'static [(&'static str, &'static [&'static str])],
    /// (path, text)
    texts: &'static [(&'static str, &'static str)],
    expected: &'static [(&'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        name: "name services of the databases that are asked",
        code: "int getpwnam(); void f(void) { getpwnam(); }",
        needs: &[],
        libraries: &[
            ("lib/libnss_files.so.2", &[]),
            ("lib/libnss_ldap.so.2", &["libldap.so"]),
            ("opt/libldap.so", &[]),
        ],
        texts: &[
            (
                "etc/nsswitch.conf",
                "passwd: files ldap [NOTFOUND=return] gone\nhosts: files dns\n",
            ),
            ("etc/ld.so.conf", "/opt\n"),
        ],
        expected: &[
            ("nss", "/lib/libnss_files.so.2"),
            ("nss", "/lib/libnss_ldap.so.2"),
            ("nss", "libnss_gone.so.2"),
        ],
    },
    Case {
        name: "converters of iconv",
        code: "int iconv_open(); void f(void) { iconv_open(); }",
        needs: &[],
        libraries: &[
            ("lib/gconv/A.so", &["libJIS.so"]),
            ("lib/gconv/libJIS.so", &[]),
            ("lib/gconv/B.so", &[]),
        ],
        texts: &[(
            "lib/gconv/gconv-modules",
            "module A// INTERNAL A 1\nmodule INTERNAL C// C 1\n",
        )],
        expected: &[("gconv", "/lib/gconv/A.so"), ("gconv", "/lib/gconv/C.so")],
    },
    Case {
        name: "threads that are cancelled",
        code: "int pthread_cancel(); void f(void) { pthread_cancel(); }",
        needs: &[],
        libraries: &[("lib/libgcc_s.so.1", &[])],
        texts: &[],
        expected: &[("unwind", "/lib/libgcc_s.so.1")],
    },
    Case {
        name: "PAM and what its modules bring in",
        code: "void f(void) {}",
        needs: &["libpam.so.0"],
        libraries: &[
            ("lib/libpam.so.0", &[]),
            ("lib/security/pam_x.so", &["libcrypto.so.3"]),
            ("lib/libcrypto.so.3", &[]),
            ("lib/ossl-modules/legacy.so", &[]),
        ],
        texts: &[
            (
                "etc/pam.d/login",
                "@include common\nauth [success=1 default=ignore] pam_x.so # x\n",
            ),
            ("etc/pam.d/common", "-session optional pam_gone.so\n"),
            ("etc/ssl/openssl.cnf", "[p]\nmodule = /opt/p11.so\n"),
        ],
        expected: &[
            ("pam", "/lib/security/pam_gone.so"),
            ("pam", "/lib/security/pam_x.so"),
            ("openssl", "/lib/ossl-modules/legacy.so"),
            ("openssl", "/opt/p11.so"),
        ],
    },
    Case {
        name: "components of Open MPI",
        code: "void f(void) {}",
        needs: &["libopen-pal.so.40"],
        libraries: &[
            ("lib/libopen-pal.so.40", &[]),
            ("lib/openmpi/lib/openmpi3/mca_btl_tcp.so", &["libopen-pal.so.40"]),
            ("lib/openmpi/lib/openmpi3/other.so", &[]),
        ],
        texts: &[],
        expected: &[("mpi", "/lib/openmpi/lib/openmpi3/mca_btl_tcp.so")],
    },
    Case {
        name: "modules of Python",
        code: "void f(void) {}",
        needs: &["libpython3.11.so.1.0"],
        libraries: &[
            ("lib/python3.11/lib-dynload/_x.cpython-311-i386-linux-gnu.so", &[]),
            ("lib/python3/dist-packages/n/y.abi3.so", &[]),
            ("lib/python3/dist-packages/n/z.cpython-310-i386-linux-gnu.so", &[]),
            ("lib/python3.11/plain.so", &[]),
        ],
        texts: &[],
        expected: &[
            ("python", "/lib/python3.11/lib-dynload/_x.cpython-311-i386-linux-gnu.so"),
            ("python", "/lib/python3.11/plain.so"),
            ("python", "/lib/python3/dist-packages/n/y.abi3.so"),
        ],
    },
    Case {
        name: "modules of Perl",
        code: "void Perl_xs_handshake(void) {}",
        needs: &[],
        libraries: &[("usr/lib/perl5/auto/X/X.so", &[]), ("usr/lib/perl5/X/not.so", &[])],
        texts: &[],
        expected: &[("perl", "/usr/lib/perl5/auto/X/X.so")],
    },
    Case {
        name: "names among strings",
        code: "int dlopen(); const char *a = \"libreal.so.1\", *b = \"x libno.so\";
               void f(void) { dlopen(a); dlopen(\"libgone.so\"); dlopen(\"/lib/libreal.so.1\"); dlopen(b); }",
        needs: &[],
        libraries: &[("lib/libreal.so.1", &[])],
        texts: &[],
        expected: &[
            ("dlopen", "/lib/libreal.so.1"),
            ("dlopen", "libgone.so"),
            ("dlopen", "/lib/libreal.so.1"),
        ],
    },
];

/// A C library that has no name services inside; its loader; and what the case says.
fn build(machine: Machine, case: &Case) -> Workshop {
    let workshop = Workshop::new();
    workshop.library(machine, "lib/libc.so.6", &[], &[]);
    workshop.library(machine, "lib/ld-linux.so.2", &[], &[]);
    for (path, needs) in case.libraries {
        let flags: &[&str] = if path.contains("gconv") {
            &["-Wl,-rpath,$ORIGIN"]
        } else {
            &[]
        };
        workshop.library(machine, path, needs, flags);
    }
    let python = "void PyModule_Create2(void) {}";
    workshop.source(
        machine,
        "lib/libpython3.11.so.1.0",
        python,
        &["-shared", "-Wl,-soname,libpython3.11.so.1.0"],
    );
    for (path, text) in case.texts {
        let path = workshop.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let needs: Vec<&str> = case.needs.iter().copied().chain(["libc.so.6"]).collect();
    workshop.program_from(machine, "bin/program", case.code, &needs, &["-Wl,-export-dynamic"]);
    workshop
}

fn plugins(uses: &[Use]) -> Plugins {
    let members = uses
        .iter()
        .flat_map(|used| used.members.iter().map(move |member| (used.family, member)));
    let names = members.map(|(family, member)| {
        let path = member.path().map_or_else(|| member.name.clone().into(), Path::to_owned);
        (family, path.display().to_string())
    });
    names.collect()
}

#[test]
fn families_are_found_in_the_tree() {
    if !compiler() {
        return;
    }
    for case in CASES {
        let workshop = build(Machine::I386, case);
        let files = FolderFiles::new(&workshop.root);
        let loader = Loader::new(
            &files,
            Settings {
                working_folder: "/".into(),
                ..Settings::default()
            },
        );
        let closure = Closure::of(&loader, Path::new("/bin/program")).unwrap();
        let uses = uses(&loader, &closure);
        let expected: Plugins = case
            .expected
            .iter()
            .map(|(family, path)| (*family, (*path).into()))
            .collect();
        let mut found = plugins(&uses);
        found.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(found, expected, "{}", case.name);
        for used in &uses {
            assert_eq!(
                used.certainty == Certainty::Possible,
                used.family == "dlopen",
                "{}",
                case.name
            );
        }
        let reached = reached(&closure, &uses);
        for (family, path) in &expected {
            // What is there is reached, with what it needs itself; what is not is not.
            let there = workshop.path(path.trim_start_matches('/')).is_file();
            assert_eq!(reached.contains_key(Path::new(path)), there, "{family} {path}");
        }
        let needed = ["/opt/libldap.so", "/lib/gconv/libJIS.so", "/lib/libcrypto.so.3"];
        for path in needed
            .iter()
            .filter(|path| workshop.path(path.trim_start_matches('/')).exists())
        {
            assert!(reached.contains_key(Path::new(path)), "{}: {path}", case.name);
        }
    }
}
