//! Which Debian archive packages come from.

use std::path::{Path, PathBuf};

use super::RootfsError;
use crate::architecture::Architecture;
use crate::exec::{Invocation, Runner};
use crate::recipe::{Base, Pocket};

/// The keys that sign Debian's archive, from the package `debian-archive-keyring`.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fields asked of `apt-get indextargets`; one that is unset comes back as written here.
const FIELDS: &str = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(ORIGIN)";

/// An archive: where it is, and what of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveSource {
    /// The archive's URI, without a trailing slash.
    pub uri: String,
    /// The suite, such as `bookworm`.
    pub suite: String,
    /// Its components, such as `main`.
    pub components: Vec<String>,
    /// Further pockets, each with the URI of its archive.
    pub pockets: Vec<(Pocket, String)>,
    /// The keyring its signature is checked with.
    pub keyring: PathBuf,
}

impl ArchiveSource {
    /// The archive for `base`: `mirror` if given, else the recipe's own, else the one this host's
    /// apt uses. Security updates always come from the host's own security archive, for their
    /// URI cannot be derived from a mirror's.
    pub fn find(runner: &dyn Runner, base: &Base, mirror: Option<&str>) -> Result<Self, RootfsError> {
        let given = mirror.or(base.mirror.as_deref());
        let host = if given.is_none() || base.pockets.contains(&Pocket::Security) {
            host_sources(runner)?
        } else {
            Vec::new()
        };
        let uri = match given {
            Some(uri) => checked(uri)?,
            None => archive_of(&host, &base.suite).ok_or_else(|| RootfsError::NoArchive {
                suite: base.suite.clone(),
            })?,
        };
        let mut pockets = Vec::new();
        for &pocket in &base.pockets {
            pockets.push(match pocket {
                Pocket::Updates => (pocket, uri.clone()),
                Pocket::Security => (pocket, security_of(&host, &base.suite)?),
            });
        }
        Ok(Self {
            uri,
            suite: base.suite.clone(),
            components: base.components.clone(),
            pockets,
            keyring: KEYRING.into(),
        })
    }

    /// The URI that the pool paths of `pocket` (`None`: the suite itself) are relative to.
    #[must_use]
    pub fn uri_of(&self, pocket: Option<Pocket>) -> &str {
        self.pockets
            .iter()
            .find(|(candidate, _)| Some(*candidate) == pocket)
            .map_or(&self.uri, |(_, uri)| uri)
    }

    /// The `sources.list` (sources.list(5)) for packages of `architecture`. An archive on this
    /// host's own disk that carries no signature is trusted as it is; every other must be signed.
    pub fn sources_list(&self, architecture: Architecture) -> Result<String, RootfsError> {
        let own = std::iter::once((self.suite.clone(), &self.uri));
        let pockets = self
            .pockets
            .iter()
            .map(|(pocket, uri)| (pocket_suite(&self.suite, *pocket), uri));
        let mut text = String::new();
        for (suite, uri) in own.chain(pockets) {
            let trust = if is_unsigned_folder(uri, &suite) {
                "trusted=yes".to_owned()
            } else if self.keyring.exists() {
                format!("signed-by={}", self.keyring.display())
            } else {
                return Err(RootfsError::NoKeyring {
                    path: self.keyring.clone(),
                });
            };
            let components = self.components.join(" ");
            let line = format!("deb [{trust} arch={architecture} target=Packages] {uri} {suite} {components}\n");
            text.push_str(&line);
        }
        Ok(text)
    }
}

/// The suite name of a pocket of `suite`.
#[must_use]
pub fn pocket_suite(suite: &str, pocket: Pocket) -> String {
    match pocket {
        Pocket::Updates => format!("{suite}-updates"),
        Pocket::Security => format!("{suite}-security"),
    }
}

/// Whether `uri` is a folder of this host without a signature for `suite`.
fn is_unsigned_folder(uri: &str, suite: &str) -> bool {
    let Some(folder) = local_folder(uri) else { return false };
    let release = folder.join("dists").join(suite);
    !release.join("InRelease").exists() && !release.join("Release.gpg").exists()
}

/// The folder a `file:` or `copy:` URI names.
#[must_use]
pub fn local_folder(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file:").or_else(|| uri.strip_prefix("copy:"))?;
    let path = path
        .strip_prefix("//")
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    Some(Path::new(path).to_owned())
}

/// `uri` without trailing slashes, if apt can use it.
fn checked(uri: &str) -> Result<String, RootfsError> {
    let known = ["http://", "https://", "file:/", "copy:/"];
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '[' || c == ']';
    if known.iter().any(|scheme| uri.starts_with(scheme)) && !uri.contains(bad) {
        Ok(uri.trim_end_matches('/').to_owned())
    } else {
        Err(RootfsError::InvalidMirror { uri: uri.to_owned() })
    }
}

/// One `main` source of Debian in the host's apt configuration.
struct HostSource {
    uri: String,
    release: String,
}

fn host_sources(runner: &dyn Runner) -> Result<Vec<HostSource>, RootfsError> {
    let ask = Invocation::new("apt-get").args(["indextargets", "--format", FIELDS, "Created-By: Packages"]);
    let said = runner.run(&ask)?.text();
    Ok(said.lines().filter_map(host_source).collect())
}

/// Reads one line of [`FIELDS`]. Until its lists were fetched a source has no origin; then its
/// suite's name must be one of Debian's.
fn host_source(line: &str) -> Option<HostSource> {
    let fields: Vec<&str> = line.split('|').collect();
    let &[uri, release, component, _signed_by, origin] = fields.as_slice() else {
        return None;
    };
    let suite = release.split(['-', '/']).next().unwrap_or(release);
    let debian = origin == "Debian" || (origin == "$(ORIGIN)" && is_debian_suite(suite));
    (component == "main" && debian).then(|| HostSource {
        uri: uri.trim_end_matches('/').to_owned(),
        release: release.to_owned(),
    })
}

fn is_debian_suite(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "buster",
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "duke",
        "sid",
        "oldoldstable",
        "oldstable",
        "stable",
        "testing",
        "unstable",
    ];
    NAMES.contains(&name)
}

/// The archive that has `suite` for the host, else the one of the host's own suite.
fn archive_of(host: &[HostSource], suite: &str) -> Option<String> {
    let plain = |source: &&HostSource| !source.release.contains("security") && !source.release.contains('/');
    let same = host.iter().find(|source| source.release == suite);
    same.or_else(|| host.iter().filter(plain).find(|source| !source.release.contains('-')))
        .or_else(|| host.iter().find(plain))
        .map(|source| source.uri.clone())
}

fn security_of(host: &[HostSource], suite: &str) -> Result<String, RootfsError> {
    let exact = pocket_suite(suite, Pocket::Security);
    host.iter()
        .find(|source| source.release == exact)
        .or_else(|| host.iter().find(|source| source.release.ends_with("-security")))
        .map(|source| source.uri.clone())
        .ok_or_else(|| RootfsError::NoSecurityArchive {
            suite: suite.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Scripted;
    use crate::recipe::{Bootstrap, Bootstrapper};

    const HOST: &str = "http://example.org/other/|stable|main|/key|Other\n\
        http://example.org/debian/|bookworm|contrib|$(SIGNED_BY)|Debian\n\
        http://example.org/debian/|bookworm|main|$(SIGNED_BY)|Debian\n\
        http://example.org/debian/|bookworm-updates|main|$(SIGNED_BY)|Debian\n\
        http://example.org/security/|bookworm-security|main|$(SIGNED_BY)|$(ORIGIN)\n";

    fn base(mirror: Option<&str>, pockets: &[Pocket]) -> Base {
        Base {
            suite: "trixie".into(),
            architecture: Architecture::I386,
            components: vec!["main".into()],
            pockets: pockets.to_vec(),
            mirror: mirror.map(str::to_owned),
            bootstrap: Bootstrap::Extract,
            bootstrapper: Bootstrapper::Auto,
        }
    }

    #[test]
    fn the_host_is_asked_only_where_nothing_is_given() {
        let host = Scripted::answering([Scripted::says(HOST)]);
        let found = ArchiveSource::find(&host, &base(None, &[Pocket::Updates]), None).unwrap();
        assert_eq!(found.uri, "http://example.org/debian");
        assert_eq!(found.uri_of(Some(Pocket::Updates)), found.uri);
        let host = Scripted::default();
        let recipe = base(Some("https://example.org/recipe/"), &[]);
        assert_eq!(
            ArchiveSource::find(&host, &recipe, None).unwrap().uri,
            "https://example.org/recipe"
        );
        let found = ArchiveSource::find(&host, &recipe, Some("file:///srv/debian")).unwrap();
        assert_eq!(found.uri, "file:///srv/debian");
        assert!(host.seen().is_empty());
    }

    #[test]
    fn security_updates_are_the_hosts_or_none() {
        let host = Scripted::answering([Scripted::says(HOST)]);
        let recipe = base(Some("http://example.org/d"), &[Pocket::Security]);
        let found = ArchiveSource::find(&host, &recipe, None).unwrap();
        assert_eq!(found.uri_of(Some(Pocket::Security)), "http://example.org/security");
        let error = ArchiveSource::find(&Scripted::default(), &recipe, None).unwrap_err();
        assert!(matches!(error, RootfsError::NoSecurityArchive { .. }), "{error}");
        let error = ArchiveSource::find(&Scripted::default(), &base(None, &[]), None).unwrap_err();
        assert!(matches!(error, RootfsError::NoArchive { .. }), "{error}");
    }

    #[test]
    fn a_mirror_cannot_smuggle_words_into_sources_list() {
        for bad in ["", "example.org", "http://a b", "http://a\ndeb x", "ftp://a", "file:x"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn local_uris_are_folders() {
        for uri in ["file:/srv/d", "file:///srv/d", "copy:/srv/d", "copy:///srv/d"] {
            assert_eq!(local_folder(uri), Some("/srv/d".into()), "{uri}");
        }
        assert_eq!(local_folder("http://example.org/d"), None);
    }
}
