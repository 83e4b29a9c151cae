use super::*;

struct Ground {
    _folder: TempDir,
    templates: Templates,
}

fn ground(limit: Option<Bytes>) -> Ground {
    let folder = tempfile::tempdir().unwrap();
    let cache = NodeCache::at(folder.path()).unwrap();
    Ground {
        templates: Templates::in_cache(&cache, limit).unwrap(),
        _folder: folder,
    }
}

fn key(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

impl Ground {
    fn put(&self, name: &str) {
        let _right = self.templates.try_making(key(name)).unwrap().unwrap();
        let workshop = self.templates.workshop(1).unwrap();
        fs::write(workshop.path().join(MEMORY), vec![1; 8192]).unwrap();
        fs::write(workshop.path().join(STATE), b"state").unwrap();
        fs::write(workshop.path().join("console.log"), b"x").unwrap();
        fs::create_dir(workshop.path().join("share")).unwrap();
        self.templates.adopt(key(name), name, workshop).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.templates.list().into_iter().map(|kept| kept.image).collect();
        names.sort();
        names
    }

    fn litter(&self) -> usize {
        let entries = fs::read_dir(self.templates.root()).unwrap();
        entries.count() - 2
    }
}

#[test]
fn a_template_is_found_again_and_has_its_three_files() {
    let ground = ground(None);
    assert!(ground.templates.find(key("a")).unwrap().is_none());
    ground.put("a");
    let found = ground.templates.find(key("a")).unwrap().unwrap();
    assert_eq!(fs::read_dir(&found.folder).unwrap().count(), 3);
    let mode = fs::metadata(found.folder.join(MEMORY)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
    assert_eq!(ground.litter(), 0);
}

#[test]
fn what_was_touched_is_no_template() {
    let harms: [fn(&Path); 4] = [
        |folder| {
            fs::set_permissions(folder.join(STATE), fs::Permissions::from_mode(0o600)).unwrap();
            File::options()
                .write(true)
                .open(folder.join(STATE))
                .unwrap()
                .set_len(2)
                .unwrap();
        },
        |folder| {
            fs::remove_file(folder.join(STATE)).unwrap();
            fs::write(folder.join(STATE), b"stote").unwrap();
            seal(&folder.join(STATE), 0o400).unwrap();
        },
        |folder| {
            fs::set_permissions(folder.join(MEMORY), fs::Permissions::from_mode(0o600)).unwrap();
            File::options()
                .write(true)
                .open(folder.join(MEMORY))
                .unwrap()
                .set_len(9)
                .unwrap();
        },
        |folder| fs::remove_file(folder.join(RECORD)).unwrap(),
    ];
    for harm in harms {
        let ground = ground(None);
        ground.put("a");
        harm(&ground.templates.folder(key("a")));
        assert!(ground.templates.find(key("a")).unwrap().is_none());
        ground.put("a");
        assert!(ground.templates.find(key("a")).unwrap().is_some());
    }
}

#[test]
fn only_one_launch_makes_a_template() {
    let ground = ground(None);
    let right = ground.templates.try_making(key("a")).unwrap();
    assert!(right.is_some() && ground.templates.try_making(key("a")).unwrap().is_none());
    assert!(ground.templates.try_making(key("b")).unwrap().is_some());
}

#[test]
fn one_that_failed_is_gone_and_not_tried_again_at_once() {
    let ground = ground(None);
    ground.put("a");
    let found = ground.templates.find(key("a")).unwrap().unwrap();
    assert!(!ground.templates.failed_lately(key("a")));
    ground.templates.discard(&found);
    drop(found);
    assert!(ground.templates.find(key("a")).unwrap().is_none() && ground.templates.failed_lately(key("a")));
    ground.put("a");
    assert!(!ground.templates.failed_lately(key("a")));
}

#[test]
fn what_nobody_uses_makes_room_and_what_is_in_use_stays() {
    let ground = ground(Some(Bytes(1)));
    ground.put("used");
    let _used = ground.templates.find(key("used")).unwrap().unwrap();
    ground.put("idle");
    assert_eq!(ground.names(), ["idle", "used"]);
    ground.put("new");
    assert_eq!(ground.names(), ["new", "used"]);
    let in_use: Vec<bool> = ground.templates.list().iter().map(|kept| kept.in_use).collect();
    assert_eq!(in_use.iter().filter(|in_use| **in_use).count(), 1);
}

#[test]
fn templates_are_removed_by_the_start_of_their_names() {
    let ground = ground(None);
    ground.put("a");
    ground.put("b");
    let name = key("a").to_string();
    ground.templates.remove_named(&name[..12]).unwrap();
    assert_eq!(ground.names(), ["b"]);
    let error = ground.templates.remove_named(&name).unwrap_err();
    assert!(matches!(error, TemplateError::Unknown(_)));
}

#[test]
fn a_template_that_cannot_fit_is_not_begun() {
    let ground = ground(None);
    assert!(matches!(
        ground.templates.workshop(u64::MAX),
        Err(TemplateError::Full { .. })
    ));
    assert_eq!(ground.litter(), 0);
}
