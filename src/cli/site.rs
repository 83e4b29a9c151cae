//! What a site or a user settles once for all commands: `site.yaml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::environment::Environment;
use crate::diagnostic::{Blame, Problem};

/// The whole machine's file.
const SITE_FILE: &str = "/etc/hpcvm/site.yaml";
/// The most that is read of one.
const LONGEST: u64 = 64 * 1024;

/// What a site file says. Of the user's and the machine's, what the user's says counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Site {
    /// The folder of the shared library repository.
    #[serde(default)]
    pub(super) libraries: Option<PathBuf>,
    /// The folder of templates for warm starts that the site has made.
    #[serde(default)]
    pub(super) templates: Option<PathBuf>,
    /// The number of the user to whom those belong, if not root.
    #[serde(default)]
    pub(super) templates_owner: Option<u32>,
}

/// A site file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub(super) struct SiteError {
    path: PathBuf,
    why: String,
}

impl Problem for SiteError {
    fn code(&self) -> &'static str {
        "HV0906"
    }

    fn blame(&self) -> Blame {
        Blame::User
    }

    fn help(&self) -> Option<String> {
        Some(
            "it may have the keys `libraries`, the absolute path of the shared library repository, `templates`, that of the \
             site's templates for warm starts, and `templates-owner`, the number of the user to whom those belong"
                .to_owned(),
        )
    }
}

impl Site {
    /// Reads the user's file (`$XDG_CONFIG_HOME/hpcvm/site.yaml`) and the machine's.
    pub(super) fn read(environment: &Environment) -> Result<Self, SiteError> {
        let configuration = environment.get("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || Some(Path::new(environment.get("HOME")?).join(".config"));
        let configuration = configuration.filter(|folder| folder.is_absolute()).or_else(home);
        let user = match configuration {
            Some(folder) => Self::of_file(&folder.join("hpcvm/site.yaml"))?,
            None => Self::default(),
        };
        let machine = match (&user.libraries, &user.templates) {
            (Some(_), Some(_)) => return Ok(user),
            _ => Self::of_file(Path::new(SITE_FILE))?,
        };
        // Whom a file trusts with templates has to do with those that it names.
        let (templates, templates_owner) = match user.templates {
            None => (machine.templates, user.templates_owner.or(machine.templates_owner)),
            named => (named, user.templates_owner),
        };
        Ok(Self {
            libraries: user.libraries.or(machine.libraries),
            templates,
            templates_owner,
        })
    }

    fn of_file(path: &Path) -> Result<Self, SiteError> {
        let wrong = |why: String| SiteError {
            path: path.to_owned(),
            why,
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(file) if file.len() > LONGEST => return Err(wrong("it is too long".to_owned())),
            _ => {}
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let site: Self = serde_yaml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        for (key, folder) in [("libraries", &site.libraries), ("templates", &site.templates)] {
            if folder.as_ref().is_some_and(|folder| !folder.is_absolute()) {
                return Err(wrong(format!("`{key}` must be an absolute path")));
            }
        }
        Ok(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_file_is_read() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("hpcvm");
        fs::create_dir(&folder).unwrap();
        let environment = Environment::of(&[("XDG_CONFIG_HOME", home.path().to_str().unwrap())]);
        let read = |text: &str| {
            fs::write(folder.join("site.yaml"), text).unwrap();
            Site::read(&environment)
        };
        let site = read("libraries: /srv/libs\n").unwrap();
        assert_eq!(site.libraries, Some("/srv/libs".into()));
        let site = read("templates: /srv/t\ntemplates-owner: 7\n").unwrap();
        assert_eq!((site.templates, site.templates_owner), (Some("/srv/t".into()), Some(7)));
        for (text, why) in [
            ("libraries: libs\n", "absolute"),
            ("templates: libs\n", "`templates` must be an absolute"),
            ("templates-owner: me\n", "templates-owner"),
            ("library: /x\n", "library"),
            ("libraries: [\n", "site.yaml"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
