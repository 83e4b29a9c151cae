//! What each purge rule removes.

use crate::recipe::PurgeRule;

/// A rule as globs of absolute paths.
pub(super) struct Table {
    /// Files to remove. With a slash at its end: everything below that folder, and the folder
    /// itself and those in it once they are empty.
    pub(super) remove: &'static [&'static str],
    /// Exceptions.
    pub(super) keep: &'static [&'static str],
    /// Globs of packages all of whose files go.
    pub(super) packages: &'static [&'static str],
}

/// Every rule.
#[cfg(test)]
pub(super) const ALL: [PurgeRule; 17] = [
    PurgeRule::Documentation,
    PurgeRule::Manuals,
    PurgeRule::Locales,
    PurgeRule::CharsetConverters,
    PurgeRule::PackageCaches,
    PurgeRule::PackageDatabase,
    PurgeRule::PackageManager,
    PurgeRule::Kernels,
    PurgeRule::Logs,
    PurgeRule::DesktopData,
    PurgeRule::Completions,
    PurgeRule::Terminfo,
    PurgeRule::TimeZones,
    PurgeRule::Development,
    PurgeRule::LibraryTools,
    PurgeRule::Compilers,
    PurgeRule::PythonExtras,
];

/// The table of `rule`.
pub(super) fn table(rule: PurgeRule) -> Table {
    let (remove, keep): (&[&str], &[&str]) = match rule {
        PurgeRule::Documentation => (DOCUMENTATION, &[]),
        PurgeRule::Manuals => (MANUALS, &[]),
        PurgeRule::Locales => (LOCALES, LOCALES_KEPT),
        // The lists of converters stay, for those a recipe keeps.
        PurgeRule::CharsetConverters => (&["/usr/lib/*/gconv/*.so", "/lib/*/gconv/*.so"], &[]),
        PurgeRule::PackageCaches => (PACKAGE_CACHES, &[]),
        PurgeRule::PackageDatabase => (PACKAGE_DATABASE, &["/var/lib/dpkg/status"]),
        // Scripts of System V services are started with it.
        PurgeRule::PackageManager => (PACKAGE_MANAGER, &["/{,usr/}sbin/start-stop-daemon"]),
        PurgeRule::Kernels => (KERNELS, &[]),
        PurgeRule::Logs => (&["/var/log/**"], &[]),
        PurgeRule::DesktopData => (DESKTOP_DATA, &[]),
        PurgeRule::Completions => (COMPLETIONS, &[]),
        PurgeRule::Terminfo => (TERMINFO, TERMINFO_KEPT),
        PurgeRule::TimeZones => (&["/usr/share/zoneinfo/"], TIME_ZONES_KEPT),
        PurgeRule::Development => (DEVELOPMENT, &[]),
        PurgeRule::LibraryTools => (LIBRARY_TOOLS, &[]),
        PurgeRule::Compilers => (&[], &[]),
        PurgeRule::PythonExtras => (PYTHON_EXTRAS, &[]),
    };
    let packages: &[&str] = match rule {
        PurgeRule::PackageManager => PACKAGE_MANAGER_PACKAGES,
        PurgeRule::Compilers => COMPILERS_PACKAGES,
        _ => &[],
    };
    Table { remove, keep, packages }
}

// `ldconfig` is a static program of 1 MB; the cache it makes stays.
const LIBRARY_TOOLS: &[&str] = &[
    "/sbin/ldconfig",
    "/usr/sbin/ldconfig",
    "/usr/bin/localedef",
    "/usr/sbin/iconvconfig",
    "/usr/sbin/zic",
];

// Packages pull them in that compile for their user (`python3-pythran` for SciPy). Their libraries
// for compiled programs (libgcc-s1, libgfortran5, libgomp1, ...) are packages of their own.
const COMPILERS_PACKAGES: &[&str] = &[
    "binutils",
    "binutils-*-linux-gnu*",
    "cpp",
    "cpp-[0-9]*",
    "g++",
    "g++-[0-9]*",
    "gcc",
    "gcc-[0-9]*",
    "gfortran",
    "gfortran-[0-9]*",
    "libgcc-*-dev",
    "libgfortran-*-dev",
    "libstdc++-*-dev",
];

const DOCUMENTATION: &[&str] = &[
    "/usr/share/doc/",
    "/usr/share/doc-base/",
    "/usr/share/gtk-doc/",
    "/usr/share/help/",
    "/usr/share/devhelp/",
    "/usr/share/javadoc/",
    "/usr/share/gnome/help/",
    "/usr/share/perl*/**/*.pod",
    "/usr/share/perl/*/pod/",
];

const MANUALS: &[&str] = &[
    "/usr/share/man/",
    "/usr/local/share/man/",
    "/usr/local/man",
    "/usr/share/info/",
    "/usr/share/groff/",
    "/var/cache/man/**",
    "/usr/lib/python3/dist-packages/**/man/",
];

const LOCALES: &[&str] = &[
    "/usr/share/locale/",
    "/usr/share/i18n/",
    "/usr/lib/locale/",
    "/usr/share/locale-langpack/",
];

const LOCALES_KEPT: &[&str] = &[
    "/usr/share/locale/{C,POSIX}*/**",
    "/usr/share/i18n/locales/{C,POSIX,i18n,i18n_ctype}",
    "/usr/share/i18n/charmaps/UTF-8.gz",
    "/usr/lib/locale/{C,POSIX}*/**",
];

const PACKAGE_CACHES: &[&str] = &[
    "/var/cache/apt/**",
    "/var/lib/apt/**",
    "/var/cache/debconf/**",
    "/var/cache/apt-show-versions/",
    "/var/backups/**",
];

const PACKAGE_DATABASE: &[&str] = &[
    "/var/lib/dpkg/",
    "/var/lib/pam/",
    "/var/lib/ucf/",
    "/var/lib/systemd/deb-systemd-*/",
    "/var/lib/shells.state",
    "/usr/share/base-passwd/",
    "/usr/share/base-files/",
    "/usr/share/pam-configs/",
];

const PACKAGE_MANAGER: &[&str] = &[
    "/etc/apt/",
    "/etc/dpkg/",
    "/etc/debconf.conf",
    "/etc/cron.daily/{apt-compat,dpkg}",
    "/etc/logrotate.d/{apt,dpkg,alternatives}",
    "/usr/lib/apt/",
    "/usr/lib/dpkg/",
    "/usr/share/debconf/",
    "/usr/share/dpkg/",
    "/usr/share/perl5/{Debconf,Debian}/",
];

const PACKAGE_MANAGER_PACKAGES: &[&str] = &[
    "apt",
    "apt-utils",
    "aptitude*",
    "cdebconf",
    "debconf*",
    "debian-archive-keyring",
    "dpkg",
    "dpkg-dev",
    "libapt-pkg*",
    "libdebconfclient0",
    "libdpkg-perl",
    "ucf",
    "usr-is-merged",
    "usrmerge",
];

const KERNELS: &[&str] = &[
    "/boot/{vmlinuz,vmlinux,initrd.img,System.map,config}*",
    "/{vmlinuz,initrd.img}*",
    "/lib/modules/",
    "/usr/lib/modules/",
    "/usr/src/linux-*/",
    "/usr/lib/linux-*/",
    "/etc/initramfs-tools/",
    "/usr/share/initramfs-tools/",
    "/var/lib/initramfs-tools/",
];

const DESKTOP_DATA: &[&str] = &[
    "/usr/share/app-install/",
    "/usr/share/appdata/",
    "/usr/share/applications/",
    "/usr/share/apport/",
    "/usr/share/bug/",
    "/usr/share/icons/",
    "/usr/share/linda/",
    "/usr/share/lintian/",
    "/usr/share/menu/",
    "/usr/share/metainfo/",
    "/usr/share/pixmaps/",
    "/usr/share/reportbug/",
    "/usr/share/sounds/",
    "/usr/share/themes/",
];

const COMPLETIONS: &[&str] = &[
    "/etc/bash_completion",
    "/etc/bash_completion.d/",
    "/usr/share/bash-completion/",
    "/usr/share/fish/vendor_completions.d/",
    "/usr/share/zsh/vendor-completions/",
    "/usr/share/zsh/site-functions/",
];

const TERMINFO: &[&str] = &[
    "/lib/terminfo/",
    "/usr/lib/terminfo/",
    "/usr/share/terminfo/",
    "/usr/share/tabset/",
];

const TERMINFO_KEPT: &[&str] = &[
    "/**/terminfo/*/{ansi,dumb,linux,screen,screen-256color,tmux,tmux-256color,vt100,vt102,vt220,xterm,xterm-256color}",
];

const TIME_ZONES_KEPT: &[&str] = &["/usr/share/zoneinfo/{,Etc/}{UTC,GMT}", "/usr/share/zoneinfo/tzdata.zi"];

const DEVELOPMENT: &[&str] = &[
    "/usr/include/",
    "/usr/lib/**/*.{a,la}",
    "/usr/lib/*/*crt*.o",
    "/usr/lib/**/pkgconfig/",
    "/usr/share/pkgconfig/",
    "/usr/share/aclocal/",
    "/usr/lib/**/cmake/",
];

const PYTHON_EXTRAS: &[&str] = &[
    "/usr/lib/python*/**/__pycache__/",
    "/usr/lib/python*/__pycache__/",
    "/usr/share/**/__pycache__/",
    "/usr/lib/python3.*/{test,idlelib,turtledemo}/",
    "/usr/lib/python3.*/{lib2to3,ctypes,distutils,tkinter,unittest,sqlite3}/{test,tests}/",
    "/usr/lib/python3/dist-packages/**/{test,tests}/",
    "/usr/share/python3/",
];
