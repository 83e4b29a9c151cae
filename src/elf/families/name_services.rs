//! NSS: the modules that `/etc/nsswitch.conf` names (nsswitch.conf(5)).

use std::path::Path;

use super::super::closure::Loaded;
use super::super::loader::Loader;
use super::super::search::glibc_minor;
use super::conf;
use super::table::Candidate;

/// Functions that ask for users and groups.
pub(super) const USERS: &[&str] = &[
    "getpwnam",
    "getpwnam_r",
    "getpwuid",
    "getpwuid_r",
    "getpwent",
    "getpwent_r",
    "setpwent",
    "getgrnam",
    "getgrnam_r",
    "getgrgid",
    "getgrgid_r",
    "getgrent",
    "getgrent_r",
    "setgrent",
    "getgrouplist",
    "initgroups",
    "wordexp",
    "glob",
    "glob64",
    "cuserid",
];
/// Functions that ask for passwords.
pub(super) const SHADOW: &[&str] = &[
    "getspnam",
    "getspnam_r",
    "getspent",
    "getspent_r",
    "setspent",
    "getsgnam",
    "getsgnam_r",
    "getsgent",
    "setsgent",
];
/// Functions that ask for groups of users and hosts.
pub(super) const NETGROUPS: &[&str] = &["innetgr", "setnetgrent", "getnetgrent", "getnetgrent_r"];
/// Functions that ask for hosts and networks.
pub(super) const HOSTS: &[&str] = &[
    "getaddrinfo",
    "getnameinfo",
    "gethostbyname",
    "gethostbyname2",
    "gethostbyname_r",
    "gethostbyname2_r",
    "gethostbyaddr",
    "gethostbyaddr_r",
    "gethostent",
    "gethostent_r",
    "getnetbyname",
    "getnetbyname_r",
    "getnetbyaddr",
    "getnetent",
    "getaddrinfo_a",
];
/// Functions that ask for services, protocols and the like.
pub(super) const SERVICES: &[&str] = &[
    "getservbyname",
    "getservbyname_r",
    "getservbyport",
    "getservbyport_r",
    "getservent",
    "getprotobyname",
    "getprotobyname_r",
    "getprotobynumber",
    "getprotobynumber_r",
    "getprotoent",
    "getrpcbyname",
    "getrpcbynumber",
    "getrpcent",
    "ether_ntohost",
    "ether_hostton",
    "getaliasbyname",
    "getaliasent",
];

pub(super) fn users(loader: &Loader<'_>, libc: &Loaded) -> Vec<Candidate> {
    modules(loader, libc, &["passwd", "group", "initgroups"])
}

pub(super) fn shadow(loader: &Loader<'_>, libc: &Loaded) -> Vec<Candidate> {
    modules(loader, libc, &["shadow", "gshadow"])
}

pub(super) fn netgroups(loader: &Loader<'_>, libc: &Loaded) -> Vec<Candidate> {
    modules(loader, libc, &["netgroup"])
}

pub(super) fn hosts(loader: &Loader<'_>, libc: &Loaded) -> Vec<Candidate> {
    // getaddrinfo looks for the port, too.
    modules(loader, libc, &["hosts", "networks", "services"])
}

pub(super) fn services(loader: &Loader<'_>, libc: &Loaded) -> Vec<Candidate> {
    modules(loader, libc, &["services", "protocols", "rpc", "ethers", "aliases"])
}

const FILE: &str = "/etc/nsswitch.conf";

fn modules(loader: &Loader<'_>, libc: &Loaded, databases: &[&str]) -> Vec<Candidate> {
    let text = conf::text(loader, Path::new(FILE));
    let inside: &[&str] = match glibc_minor(&libc.object) {
        // Moved into the C library by glibc 2.34.
        Some(34..) => &["files", "dns"],
        _ => &[],
    };
    let mut modules: Vec<Candidate> = Vec::new();
    for database in databases {
        let named = services_of(&text, database);
        let (named, by) = match named {
            Some(named) => (named, format!("{FILE}: {database}")),
            None => (default_of(database), format!("{database}, as without {FILE}")),
        };
        for service in named.iter().filter(|service| !inside.contains(&service.as_str())) {
            let name = format!("libnss_{service}.so.2").into();
            if !modules.iter().any(|module| module.name == name) {
                modules.push(Candidate { name, why: by.clone() });
            }
        }
    }
    modules
}

/// The services of a database, without actions such as `[NOTFOUND=return]`; `None` where the
/// file does not name the database.
fn services_of(text: &str, database: &str) -> Option<Vec<String>> {
    let line = conf::lines(text).find_map(|line| {
        let (name, services) = line.split_once(':')?;
        (name.trim() == database).then(|| services.to_owned())
    })?;
    let mut services = Vec::new();
    let mut in_action = false;
    for word in line.replace('[', " [ ").replace(']', " ] ").split_whitespace() {
        match word {
            "[" => in_action = true,
            "]" => in_action = false,
            // What could not be part of a file's name is no service.
            word if !in_action && !word.contains('/') => services.push(word.to_owned()),
            _ => {}
        }
    }
    Some(services)
}

/// What the C library does where nothing is configured (glibc, `nss/nss_database.c`).
fn default_of(database: &str) -> Vec<String> {
    let services: &[&str] = match database {
        "hosts" | "networks" => &["dns", "files"],
        // Only asked where it is configured.
        "initgroups" => &[],
        "netgroup" => &["nis"],
        _ => &["files"],
    };
    services.iter().map(|service| (*service).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_words_outside_brackets() {
        let text = "# passwd: no\npasswd:  files systemd # users\nhosts: files mdns4_minimal [NOTFOUND=return]dns\n\
                    group:files [!SUCCESS = merge] ../x ldap\nempty:\n";
        for (database, expected) in [
            ("passwd", Some(&["files", "systemd"][..])),
            ("hosts", Some(&["files", "mdns4_minimal", "dns"])),
            ("group", Some(&["files", "ldap"])),
            ("empty", Some(&[])),
            ("shadow", None),
        ] {
            let services = services_of(text, database);
            let expected = expected.map(|services| services.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
            assert_eq!(services, expected, "{database}");
        }
    }
}
