//! The families, as data.

use super::super::closure::Loaded;
use super::super::loader::Loader;
use super::{gconv, name_services, openssl, pam, scripting};

/// What tells that a program uses a family.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trigger {
    /// A library with a soname that begins so.
    Soname(&'static str),
    /// A file that leaves one of these functions to the C library.
    Imports(&'static [&'static str]),
    /// A file that defines one of these functions: the interpreter of a language.
    Defines(&'static [&'static str]),
}

/// A plug-in as its family names it, and what names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: std::ffi::OsString,
    pub(super) why: String,
}

/// How the members of a family are found, for the file that opens them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Finder {
    /// By this function.
    Code(fn(&Loader<'_>, &Loaded) -> Vec<Candidate>),
    /// All files of these patterns, relative to the folder of the library.
    Beside(&'static [&'static str]),
    /// By this name, as any library.
    Name(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The family; several rows may belong to one.
    pub(super) family: &'static str,
    pub(super) trigger: Trigger,
    pub(super) finder: Finder,
}

const fn beside(family: &'static str, soname: &'static str, patterns: &'static [&'static str]) -> Row {
    Row {
        family,
        trigger: Trigger::Soname(soname),
        finder: Finder::Beside(patterns),
    }
}

const fn imports(family: &'static str, functions: &'static [&'static str], finder: Finder) -> Row {
    Row {
        family,
        trigger: Trigger::Imports(functions),
        finder,
    }
}

/// All rows; at most 64, since a file's rows are kept as bits.
pub(super) const TABLE: &[Row] = &[
    imports("nss", name_services::USERS, Finder::Code(name_services::users)),
    imports("nss", name_services::SHADOW, Finder::Code(name_services::shadow)),
    imports("nss", name_services::NETGROUPS, Finder::Code(name_services::netgroups)),
    imports("nss", name_services::HOSTS, Finder::Code(name_services::hosts)),
    imports("nss", name_services::SERVICES, Finder::Code(name_services::services)),
    // getaddrinfo opens it for names that are not ASCII (glibc inet/idna.c).
    imports("idn", &["getaddrinfo", "getnameinfo"], Finder::Name("libidn2.so.0")),
    imports("gconv", &["iconv_open"], Finder::Code(gconv::modules)),
    // The C library unwinds with it (glibc misc/unwind-link.c).
    imports(
        "unwind",
        &["pthread_cancel", "pthread_exit", "backtrace"],
        Finder::Name("libgcc_s.so.1"),
    ),
    Row {
        family: "pam",
        trigger: Trigger::Soname("libpam.so."),
        finder: Finder::Code(pam::modules),
    },
    Row {
        family: "openssl",
        trigger: Trigger::Soname("libcrypto.so."),
        finder: Finder::Code(openssl::modules),
    },
    Row {
        family: "python",
        trigger: Trigger::Defines(&["PyModule_Create2", "Py_InitModule4", "Py_InitModule4_64"]),
        finder: Finder::Code(scripting::python),
    },
    Row {
        family: "perl",
        trigger: Trigger::Defines(&["Perl_xs_handshake", "Perl_xs_apiversion_bootcheck"]),
        finder: Finder::Code(scripting::perl),
    },
    // Open MPI keeps its components beside its library, or one level up, by major version.
    beside("mpi", "libopen-pal.so.", MPI),
    beside("mpi", "libmpi.so.", MPI),
    beside("mpi", "libpmix.so.", &["pmix*/mca_*.so", "pmix*/lib/pmix/*mca_*.so"]),
    beside("mpi", "libprrte.so.", &["prte*/mca_*.so", "prrte*/mca_*.so"]),
    beside("ucx", "libucs.so.", &["ucx/lib*.so.*"]),
    beside("libfabric", "libfabric.so.", &["libfabric/*.so"]),
    beside("hwloc", "libhwloc.so.", &["hwloc/*.so"]),
    beside(
        "octave",
        "liboctinterp.so.",
        &["../**/*.oct", "octave/**/*.oct", "octave/**/*.mex"],
    ),
    beside(
        "r",
        "libR.so",
        &[
            "../modules/*.so",
            "../library/*/libs/*.so",
            "../../R/site-library/*/libs/*.so",
            "../../../local/lib/R/site-library/*/libs/*.so",
        ],
    ),
    beside("p11-kit", "libp11-kit.so.", &["pkcs11/*.so"]),
    beside("gio", "libgio-2.0.so.", &["gio/modules/*.so"]),
    beside(
        "gdk-pixbuf",
        "libgdk_pixbuf-2.0.so.",
        &["gdk-pixbuf-2.0/*/loaders/*.so"],
    ),
    beside(
        "gtk",
        "libgtk-3.so.",
        &["gtk-3.0/*/immodules/*.so", "gtk-3.0/*/printbackends/*.so"],
    ),
    beside("gstreamer", "libgstreamer-1.0.so.", &["gstreamer-1.0/*.so"]),
    beside("sasl", "libsasl2.so.", &["sasl2/lib*.so.*"]),
    beside("kerberos", "libkrb5.so.", &["krb5/plugins/*/*.so"]),
    beside("kerberos", "libgssapi_krb5.so.", &["gss/*.so"]),
    beside("qt", "libQt5Core.so.", &["qt5/plugins/*/*.so"]),
    beside("qt", "libQt6Core.so.", &["qt6/plugins/*/*.so"]),
    beside("imagemagick", "libMagickCore-", &["ImageMagick-*/modules-*/*/*.so"]),
    beside("mesa", "libgbm.so.", &["dri/*.so", "gbm/*.so"]),
    beside("mesa", "libGLX_mesa.so.", &["dri/*.so"]),
    beside("alsa", "libasound.so.", &["alsa-lib/*.so"]),
    beside("babl", "libbabl-0.1.so.", &["babl-0.1/*.so"]),
    beside("hdf5", "libhdf5", &["hdf5/*/plugins/*.so"]),
];

const MPI: &[&str] = &[
    "openmpi/mca_*.so",
    "openmpi[0-9]*/mca_*.so",
    "openmpi/lib/openmpi*/mca_*.so",
];
