use std::os::unix::fs::PermissionsExt as _;

use super::super::store::Templates;
use super::*;

/// A folder as its owner leaves it, with one template.
struct Ground {
    folder: tempfile::TempDir,
    key: Digest,
}

fn ground() -> Ground {
    let folder = tempfile::tempdir().unwrap();
    let key = Digest::of(b"a");
    let templates = Templates::for_site(&folder.path().join("site")).unwrap();
    let _right = templates.try_making(key).unwrap().unwrap();
    let workshop = templates.workshop(1).unwrap();
    for file in ["ram", "state"] {
        fs::write(workshop.path().join(file), file).unwrap();
    }
    templates.adopt(key, "minimal-i386", workshop).unwrap();
    Ground { folder, key }
}

impl Ground {
    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn template(&self) -> PathBuf {
        self.site().join("templates").join(self.key.to_string())
    }

    fn open(&self) -> Result<Option<SiteTemplates>, TemplateError> {
        SiteTemplates::open(&self.site(), None, &self.folder.path().join("notes"))
    }

    fn find(&self) -> Result<Option<Template>, TemplateError> {
        self.open()?.unwrap().find(self.key)
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn all_may_read_a_sites_templates_and_nobody_writes_them() {
    let ground = ground();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&ground.site()), mode(&ground.template())), (0o755, 0o755));
    for entry in fs::read_dir(ground.template()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o444);
    }
    let found = ground.find().unwrap().unwrap();
    assert_eq!(found.folder, fs::canonicalize(ground.template()).unwrap());
    assert_eq!(ground.open().unwrap().unwrap().list()[0].image, "minimal-i386");
    let nowhere = SiteTemplates::open(&ground.folder.path().join("none"), None, Path::new("/none"));
    assert!(nowhere.unwrap().is_none());
}

#[test]
fn what_others_could_have_changed_is_refused() {
    type Harm = fn(&Ground);
    let harms: [(Harm, &str); 6] = [
        (|ground| set_mode(&ground.site(), 0o775), "mode 0775"),
        (|ground| set_mode(ground.folder.path(), 0o777), "mode 0777"),
        (|ground| set_mode(&ground.site().join("templates"), 0o757), "mode 0757"),
        (|ground| set_mode(&ground.template(), 0o1777), "mode 1777"),
        (|ground| set_mode(&ground.template().join("ram"), 0o464), "mode 0464"),
        (|ground| set_mode(&ground.template().join("state"), 0o446), "mode 0446"),
    ];
    for (harm, why) in harms {
        let ground = ground();
        assert!(ground.find().unwrap().is_some());
        harm(&ground);
        let error = ground.find().unwrap_err();
        assert!(matches!(error, TemplateError::Untrusted { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn others_are_trusted_only_where_they_are_named() {
    if !rustix::process::getuid().is_root() {
        // Only root gives files away.
        return;
    }
    let ground = ground();
    for path in [ground.site(), ground.template(), ground.template().join("ram")] {
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        let open = |owner| SiteTemplates::open(&ground.site(), owner, Path::new("/none"));
        let found = |owner| open(owner).and_then(|site| site.unwrap().find(ground.key));
        assert!(found(Some(12345)).unwrap().is_some(), "{}", path.display());
        for owner in [None, Some(12346)] {
            let error = found(owner).unwrap_err().to_string();
            assert!(error.ends_with("it belongs to user 12345"), "{error}");
        }
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
}

#[test]
fn one_that_failed_stays_and_is_not_tried_again_until_it_is_made_anew() {
    let ground = ground();
    let site = ground.open().unwrap().unwrap();
    assert!(!site.failed_lately(ground.key));
    // Times of folders are looked at by the second.
    site.note_failure(ground.key);
    assert!(site.failed_lately(ground.key) && site.find(ground.key).unwrap().is_some());
    let note = File::open(site.note(ground.key)).unwrap();
    note.set_modified(SystemTime::now() - Duration::from_mins(1)).unwrap();
    assert!(!site.failed_lately(ground.key), "it is newer than the failure");
}
