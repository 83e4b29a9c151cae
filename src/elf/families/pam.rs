//! PAM: the modules that `/etc/pam.d` names (pam.conf(5)).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::closure::Loaded;
use super::super::loader::Loader;
use super::conf;
use super::table::Candidate;
use super::uses::home;

const FOLDERS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// All modules of all services: which service a program asks for cannot be told from outside.
pub(super) fn modules(loader: &Loader<'_>, library: &Loaded) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let security = home(loader, &library.path).join("security");
    let mut files: Vec<PathBuf> = FOLDERS.iter().flat_map(|folder| services(loader, folder)).collect();
    files.push("/etc/pam.conf".into());
    for file in files {
        let with_service = file.ends_with("pam.conf");
        for line in conf::lines(&conf::text(loader, &file)) {
            let Some(module) = module(&line, with_service) else {
                continue;
            };
            let name: OsString = security.join(module).into();
            if !found.iter().any(|known| known.name == name) {
                found.push(Candidate {
                    name,
                    why: file.display().to_string(),
                });
            }
        }
    }
    found
}

fn services(loader: &Loader<'_>, folder: &str) -> Vec<PathBuf> {
    let mut names = loader.files().list(Path::new(folder)).unwrap_or_default();
    names.sort();
    names.into_iter().map(|name| Path::new(folder).join(name)).collect()
}

/// The module that a line names: `[service] type control module [arguments]`.
fn module(line: &str, with_service: bool) -> Option<String> {
    if line.starts_with('@') {
        return None;
    }
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start();
        let end = match rest.strip_prefix('[') {
            Some(inner) => inner.find(']').map_or(rest.len(), |end| end + 2),
            None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        rest = after;
        word
    };
    if with_service {
        word();
    }
    let kind = word().trim_start_matches('-');
    let control = word();
    let module = word();
    let is_module = matches!(kind, "auth" | "account" | "password" | "session")
        && !matches!(control, "include" | "substack")
        && !module.is_empty();
    is_module.then(|| module.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_modules() {
        for (line, expected) in [
            ("auth required pam_unix.so nullok", Some("pam_unix.so")),
            ("-session\toptional\tpam_systemd.so", Some("pam_systemd.so")),
            ("auth [success=1 default=ignore] pam_unix.so", Some("pam_unix.so")),
            ("auth [success=1 /opt/pam_x.so", None),
            ("account include common-account", None),
            ("@include common-auth", None),
            ("auth required", None),
            ("nonsense x y", None),
        ] {
            assert_eq!(module(line, false).as_deref(), expected, "{line}");
        }
        assert_eq!(module("login auth required /x.so", true).as_deref(), Some("/x.so"));
    }
}
