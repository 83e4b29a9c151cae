//! OpenSSL: its providers and engines, those that `openssl.cnf` names (config(5ssl)) and those in
//! its own folders, which programs ask for by name.

use std::path::{Path, PathBuf};

use super::super::closure::Loaded;
use super::super::loader::Loader;
use super::table::Candidate;
use super::uses::home;
use super::{conf, glob};

const FILES: [&str; 2] = ["/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf"];

pub(super) fn modules(loader: &Loader<'_>, library: &Loaded) -> Vec<Candidate> {
    let home = home(loader, &library.path);
    let soname = library.object.soname.as_deref().unwrap_or_default().to_string_lossy();
    let version = soname.rsplit(".so.").next().unwrap_or_default();
    let mut found: Vec<Candidate> = Vec::new();
    for pattern in ["ossl-modules/*.so".to_owned(), format!("engines-{version}/*.so")] {
        let there = glob::files(loader.files(), &home, &pattern).into_iter();
        found.extend(there.map(|path| Candidate {
            name: path.into(),
            why: "in the folder of modules".into(),
        }));
    }
    if let Some(file) = FILES
        .iter()
        .map(Path::new)
        .find(|file| loader.files().open(file).is_ok())
    {
        for path in configured(&conf::text(loader, file)) {
            let path = if path.is_absolute() {
                path
            } else {
                home.join("ossl-modules").join(path)
            };
            let named = path.into_os_string();
            match found.iter_mut().find(|known| known.name == named) {
                Some(known) => known.why = file.display().to_string(),
                None => found.push(Candidate {
                    name: named,
                    why: file.display().to_string(),
                }),
            }
        }
    }
    found
}

/// The files that `module` of a provider and `dynamic_path` of an engine name.
fn configured(text: &str) -> Vec<PathBuf> {
    let entries = conf::lines(text).filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let is_module = matches!(key.trim(), "module" | "dynamic_path");
        (is_module && !value.is_empty() && !value.contains('$')).then(|| PathBuf::from(value))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_by_two_keys() {
        let text = "[pkcs11]\n engine_id = x\n dynamic_path = /opt/x.so # engine\n[p]\nmodule=\"y.so\"\n# module = z.so\n\
                    module = $DIR/w.so\n";
        assert_eq!(configured(text), [PathBuf::from("/opt/x.so"), "y.so".into()]);
    }
}
