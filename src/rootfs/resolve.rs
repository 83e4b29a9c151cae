//! The exact packages a recipe means today: names become versions, digests and pool paths.

use std::collections::BTreeMap;
use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RootfsError;
use super::apt::AptState;
use super::configured::{Tool, bootstrapper};
use super::error::reading;
use super::layout;
use crate::digest::Digest;
use crate::exec::Runner;
use crate::recipe::{Bootstrap, Initrd, Pocket, Recipe};

/// The version of [`Resolution`]'s serialised form.
pub const FORMAT: u32 = 1;

/// One binary package of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The digest of its `.deb`.
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Digest,
    /// The size of its `.deb` in bytes.
    pub size: u64,
    /// The path of its `.deb` below the archive's URI.
    pub filename: String,
    /// Whether Debian calls it essential.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// The pocket it is from; `None` is the suite itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pocket: Option<Pocket>,
}

/// The archive a [`Resolution`] was made from, without its place: any mirror has the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Archive {
    /// Debian's code name.
    pub suite: String,
    /// The components used.
    pub components: Vec<String>,
    /// The pockets used beside the suite.
    pub pockets: Vec<Pocket>,
    /// The architecture.
    pub architecture: crate::architecture::Architecture,
}

/// The exact packages of a tree, and the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resolution {
    /// [`FORMAT`].
    pub version: u32,
    /// What they were resolved from.
    pub archive: Archive,
    /// The newest date of the release files, in seconds since 1970: the time of the whole tree.
    pub epoch: u64,
    /// The tree's packages in an order apt would unpack them in.
    pub packages: Vec<Package>,
    /// The real kernel package; one of `packages` only where the guest makes its own initrd.
    pub kernel: Package,
}

/// Resolves `recipe` with the package lists of `state` as they are: [`AptState::update`] first.
pub fn resolve(runner: &dyn Runner, state: &AptState, recipe: &Recipe) -> Result<Resolution, RootfsError> {
    let mut wanted = recipe.all_packages();
    if recipe.kernel.initrd == Initrd::Debian {
        wanted.push(recipe.kernel.package.clone());
    }
    let helper = merged_usr_helper(recipe);
    wanted.extend(essential_patterns(runner, recipe)?);
    let packages = || match uris(runner, state, &wanted, helper) {
        Err(RootfsError::PackageNotFound { package, .. }) if package == helper.trim_end_matches('-') => {
            described(runner, state, &uris(runner, state, &wanted, "")?)
        }
        listed => described(runner, state, &listed?),
    };
    let kernel = || real_kernel(runner, state, &recipe.kernel.package);
    // Each of apt's programs takes half a second to read the package lists: two at once.
    let (packages, kernel) = rayon::join(packages, kernel);
    Ok(Resolution {
        version: FORMAT,
        archive: Archive {
            suite: recipe.base.suite.clone(),
            components: recipe.base.components.clone(),
            pockets: recipe.base.pockets.clone(),
            architecture: recipe.base.architecture,
        },
        epoch: epoch(state)?,
        packages: packages?,
        kernel: kernel?,
    })
}

/// The packages of these names with the lists of `state` as they are, and on wish what apt would
/// install with them.
pub fn named(
    runner: &dyn Runner,
    state: &AptState,
    names: &[String],
    dependencies: bool,
) -> Result<Vec<Package>, RootfsError> {
    if dependencies {
        return described(runner, state, &uris(runner, state, names, "")?);
    }
    let mut found = Vec::new();
    for name in names {
        found.push(uris_of_one(runner, state, name)?);
    }
    described(runner, state, &found)
}

/// What a configured tree holds besides the recipe's packages and their dependencies.
fn essential_patterns(runner: &dyn Runner, recipe: &Recipe) -> Result<Vec<String>, RootfsError> {
    if recipe.base.bootstrap == Bootstrap::Extract {
        return Ok(Vec::new());
    }
    let mut patterns = vec!["?essential".to_owned()];
    if bootstrapper(runner, recipe.base.bootstrapper)?.0 == Tool::Debootstrap {
        // debootstrap installs these whatever it is told.
        patterns.extend(["apt".to_owned(), "?priority(required)".to_owned()]);
    }
    Ok(patterns)
}

/// Of `usrmerge | usr-is-merged` apt takes the first, which pulls in Perl to convert a tree that
/// needs none: hpcvm's trees are merged from the start. A trailing `-` tells apt not to take it.
fn merged_usr_helper(recipe: &Recipe) -> &'static str {
    match (layout::is_merged(&recipe.base.suite), recipe.base.bootstrap) {
        (false, _) => "",
        (true, Bootstrap::Extract) => "usrmerge-",
        (true, Bootstrap::Configured) => "usr-is-merged",
    }
}

/// One line of `apt-get --print-uris`.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    uri: String,
    name: String,
    version: String,
}

fn uris(runner: &dyn Runner, state: &AptState, wanted: &[String], helper: &str) -> Result<Vec<Listed>, RootfsError> {
    let mut arguments = vec!["--print-uris", "-y", "-q", "install"];
    arguments.extend(wanted.iter().map(String::as_str));
    arguments.extend(Some(helper).filter(|helper| !helper.is_empty()));
    let said = state.run(runner, "apt-get", &arguments)?.text();
    said.lines().filter(|line| line.starts_with('\'')).map(listed).collect()
}

/// Reads `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE HASH`; the file name has `:` as `%3a`.
fn listed(line: &str) -> Result<Listed, RootfsError> {
    let parsed = || {
        let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
        let file = rest.split(' ').next()?.strip_suffix(".deb")?;
        let (name, rest) = file.split_once('_')?;
        let (version, _architecture) = rest.rsplit_once('_')?;
        Some(Listed {
            uri: uri.to_owned(),
            name: name.to_owned(),
            version: version.replace("%3a", ":").replace("%5f", "_"),
        })
    };
    parsed().ok_or_else(|| malformed("apt's list of packages", line))
}

/// Looks the packages up in the indices, for the digests that `--print-uris` does not give.
fn described(runner: &dyn Runner, state: &AptState, listed: &[Listed]) -> Result<Vec<Package>, RootfsError> {
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = listed.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
    let stanzas = show(runner, state, &names)?;
    let mut by_name: BTreeMap<(&str, &str), &Stanza> = BTreeMap::new();
    for stanza in &stanzas {
        by_name
            .entry((&stanza.package.name, &stanza.package.version))
            .or_insert(stanza);
    }
    listed
        .iter()
        .map(|item| {
            let found = by_name.get(&(item.name.as_str(), item.version.as_str()));
            let stanza = found.ok_or_else(|| malformed("the package index", &format!("{} is missing", item.name)))?;
            Ok(Package {
                pocket: pocket_of(state, &item.uri),
                ..stanza.package.clone()
            })
        })
        .collect()
}

/// The pocket whose archive `uri` is below. `SUITE-updates` shares its pool with the suite itself,
/// so that `None` is as good for it.
fn pocket_of(state: &AptState, uri: &str) -> Option<Pocket> {
    let source = state.source();
    if uri.starts_with(&format!("{}/", source.uri)) {
        return None;
    }
    source
        .pockets
        .iter()
        .find(|(_, base)| uri.starts_with(&format!("{base}/")))
        .map(|(pocket, _)| *pocket)
}

/// A package's stanza: what is kept of it, and its dependencies.
struct Stanza {
    package: Package,
    depends: String,
}

fn show(runner: &dyn Runner, state: &AptState, names: &[String]) -> Result<Vec<Stanza>, RootfsError> {
    let mut arguments = vec!["--no-all-versions", "show"];
    arguments.extend(names.iter().map(String::as_str));
    let said = state.run(runner, "apt-cache", &arguments)?.text();
    let parsed: deb822_fast::Deb822 = said
        .parse()
        .map_err(|error: deb822_fast::Error| malformed("the package index", &error.to_string()))?;
    parsed.iter().map(stanza).collect()
}

fn stanza(fields: &deb822_fast::Paragraph) -> Result<Stanza, RootfsError> {
    let name = fields.get("Package").unwrap_or("?");
    let bad = |field: &str| malformed("the package index", &format!("field {field} of {name}"));
    let field = |field: &str| fields.get(field).map(str::to_owned).ok_or_else(|| bad(field));
    let filename = field("Filename")?;
    if filename.starts_with('/') || filename.split('/').any(|part| part == "..") {
        return Err(bad("Filename"));
    }
    let package = Package {
        name: name.to_owned(),
        version: field("Version")?,
        architecture: field("Architecture")?,
        sha256: field("SHA256")?.parse().map_err(|_| bad("SHA256"))?,
        size: field("Size")?.parse().map_err(|_| bad("Size"))?,
        filename,
        essential: fields.get("Essential") == Some("yes"),
        pocket: None,
    };
    Ok(Stanza {
        package,
        depends: fields.get("Depends").unwrap_or_default().to_owned(),
    })
}

/// Follows a meta package such as `linux-image-686` to the package that holds the kernel.
fn real_kernel(runner: &dyn Runner, state: &AptState, name: &str) -> Result<Package, RootfsError> {
    let mut name = name.to_owned();
    for _ in 0..4 {
        let found = show(runner, state, std::slice::from_ref(&name))?.into_iter().next();
        let Some(stanza) = found else { break };
        match kernel_dependency(&stanza.depends) {
            Some(next) => name = next,
            None if state.source().pockets.is_empty() => return Ok(stanza.package),
            None => {
                let candidate = uris_of_one(runner, state, &name)?;
                return Ok(Package {
                    pocket: pocket_of(state, &candidate.uri),
                    ..stanza.package
                });
            }
        }
    }
    Err(malformed(
        "the kernel package",
        &format!("{name} leads to no kernel image"),
    ))
}

/// The version of one package that apt would install, without its dependencies.
fn uris_of_one(runner: &dyn Runner, state: &AptState, name: &str) -> Result<Listed, RootfsError> {
    let arguments = ["--print-uris", "-qq", "download", name];
    let said = state.run(runner, "apt-get", &arguments)?.text();
    let line = said.lines().find(|line| line.starts_with('\''));
    listed(line.ok_or_else(|| RootfsError::PackageNotFound {
        package: name.to_owned(),
        suite: state.suite(),
    })?)
}

/// The kernel image in the first alternative of some dependency.
fn kernel_dependency(depends: &str) -> Option<String> {
    depends
        .split(',')
        .filter_map(|group| group.split('|').next()?.split_whitespace().next())
        .find(|name| name.starts_with("linux-image-"))
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
}

/// The newest `Date` of the release files fetched.
fn epoch(state: &AptState) -> Result<u64, RootfsError> {
    let mut newest = None;
    for path in state.release_files()? {
        let text = fs::read_to_string(&path).map_err(reading(&path))?;
        let date = text.lines().find_map(|line| line.strip_prefix("Date: "));
        let what = || path.display().to_string();
        let date = date.ok_or_else(|| malformed(&what(), "no Date"))?;
        newest = newest.max(Some(release_date(date).ok_or_else(|| malformed(&what(), date))?));
    }
    newest.ok_or_else(|| malformed("the archive", "it has no release file"))
}

/// Reads `Sat, 11 Jul 2026 10:16:37 UTC`.
fn release_date(text: &str) -> Option<u64> {
    let text = text.trim().replace("UTC", "+0000");
    let time = jiff::fmt::rfc2822::parse(&text).ok()?;
    u64::try_from(time.timestamp().as_second()).ok()
}

fn malformed(what: &str, why: &str) -> RootfsError {
    RootfsError::Malformed {
        what: what.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_lines_are_read() {
        let line =
            "'http://example.org/pool/t/libattr1_2.5.1-4_i386.deb' libattr1_1%3a2.5.1-4_i386.deb 22348 MD5Sum:26d8";
        let item = listed(line).unwrap();
        assert_eq!((item.name.as_str(), item.version.as_str()), ("libattr1", "1:2.5.1-4"));
        for bad in ["", "'http://x", "'u' a.deb 1 h", "'u' a_b_c.udeb 1 h"] {
            assert!(listed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn release_dates_are_seconds() {
        assert_eq!(release_date("Sat, 11 Jul 2026 10:16:37 UTC"), Some(1_783_764_997));
        assert_eq!(release_date("yesterday"), None);
    }

    #[test]
    fn a_meta_package_leads_to_its_kernel() {
        let cases = [
            (
                "linux-image-6.1.0-50-686 (= 6.1.176-1)",
                Some("linux-image-6.1.0-50-686"),
            ),
            (
                "kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool",
                None,
            ),
            ("", None),
        ];
        for (depends, kernel) in cases {
            assert_eq!(kernel_dependency(depends).as_deref(), kernel, "{depends}");
        }
    }

    #[test]
    fn an_index_that_lies_is_refused() {
        let good = "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSize: 3\nSHA256: ";
        let digest = Digest::of(b"").to_string();
        let parse = |text: String| {
            let parsed: deb822_fast::Deb822 = text.parse().unwrap();
            parsed.iter().map(stanza).next().unwrap()
        };
        assert!(parse(format!("{good}{digest}\n")).is_ok());
        assert!(parse(format!("{good}12\n")).is_err());
        assert!(parse(format!("{good}{digest}\n").replace("pool/", "../")).is_err());
    }
}
