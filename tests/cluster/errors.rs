//! What can go wrong around a job is told where its owner looks: at submission, or in the job's error output.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::harness::{HEAD, Options, ROOT, Scheduler, USER_A, text, wait_until};
use super::site::{BOTH, Site};

#[track_caller]
fn refused(site: &Site, options: &[&str], status: i32, code: &str) -> String {
    let line = [&["submit"], options, &["minimal-i386", "--", "true"]].concat();
    let output = site.hpcvm(&line);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{options:?}: {said}");
    assert!(said.contains(&format!("error[{code}]")), "{options:?}: {said}");
    said
}

/// The folders of all jobs.
fn folders(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.cluster.home(USER_A).join(".hpcvm"));
    entries.map_or_else(|_| Vec::new(), |all| all.flatten().map(|entry| entry.path()).collect())
}

/// Submits a job that waits, does something to its folder, lets it run, and returns its error output.
fn after(site: &Site, scheduler: &str, name: &str, spoil: impl Fn(&PathBuf)) -> String {
    let before = folders(site);
    let options = ["--hold", "--retries", "0", "--name", name];
    let job = site.submit(scheduler, &options, "true");
    let folder = folders(site)
        .into_iter()
        .find(|folder| !before.contains(folder))
        .unwrap();
    spoil(&folder);
    let release = match scheduler {
        "slurm" => format!("scontrol release {job}"),
        _ => format!("qrls {job}"),
    };
    site.cluster.shell(USER_A, HEAD, &release);
    let file = format!("{name}.e{job}");
    wait_until(&format!("{file} has an error"), || site.file(&file).contains("error["));
    site.file(&file)
}

#[test]
fn errors_of_submission_and_slot_are_told() {
    let test = "errors_of_submission_and_slot_are_told";
    let Some(site) = Site::start_or_skip(test, &Options::new(Scheduler::Both).nodes(1)) else {
        return;
    };
    let said = refused(&site, &["--scheduler", "lsf"], 122, "HV5001");
    assert!(said.contains("bsub is not installed"), "{said}");
    let said = refused(
        &site,
        &["--scheduler", "slurm", "--vms-per-slot", "4", "--slot-memory", "256M"],
        120,
        "HV5040",
    );
    assert!(said.contains("4 "), "{said}");
    assert_eq!(
        folders(&site),
        [""; 0].map(PathBuf::from),
        "what is refused leaves nothing"
    );

    for scheduler in BOTH {
        let said = after(&site, scheduler, &format!("gone-{scheduler}"), |folder| {
            fs::remove_file(folder.join("job.json")).unwrap();
        });
        assert!(said.contains("HV5020"), "{said}");
        let said = after(&site, scheduler, &format!("newer-{scheduler}"), |folder| {
            let path = folder.join("job.json");
            let newer = fs::read_to_string(&path).unwrap().replacen(": 1,", ": 1000,", 1);
            fs::write(&path, newer).unwrap();
        });
        assert!(said.contains("HV5022"), "{said}");
        let away = site.store().with_extension("away");
        let said = after(&site, scheduler, &format!("moved-{scheduler}"), |_| {
            fs::rename(site.store(), &away).unwrap();
        });
        fs::rename(&away, site.store()).unwrap();
        assert!(said.contains("HV5070"), "{said}");
    }
    cache(&site);

    // The image is damaged.
    let image = fs::read_dir(site.store().join("images"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let kernel = image.join("kernel");
    let sound = fs::read(&kernel).unwrap();
    fs::set_permissions(&kernel, fs::Permissions::from_mode(0o644)).unwrap();
    let mut damaged = sound.clone();
    damaged[5000] ^= 1;
    fs::write(&kernel, damaged).unwrap();
    refused(&site, &["--scheduler", "slurm"], 121, "HV5061");
    fs::write(&kernel, sound).unwrap();

    // The schedulers themselves are gone.
    site.cluster
        .shell(ROOT, HEAD, "pkill -KILL sge_qmaster; pkill -KILL slurmctld");
    let before = folders(&site).len();
    for scheduler in BOTH {
        refused(&site, &["--scheduler", scheduler], 122, "HV5002");
    }
    // What was known before is listed all the same.
    let listed = site.hpcvm(&["ps", "--scheduler", "gridengine"]);
    assert!(text(&listed.stderr).contains("error[HV5002]"), "{listed:?}");
    assert!(text(&listed.stdout).contains("gone-"), "{listed:?}");
    assert_eq!(folders(&site).len(), before, "what was not taken leaves nothing");
}

/// The node's cache: a disk that is full, and an entry that is damaged.
fn cache(site: &Site) {
    let mount = "mkdir /var/tmp/small && mount -t tmpfs -o size=4m,mode=1777 tmpfs /var/tmp/small";
    site.cluster.shell(ROOT, "node1", mount);
    let options = [
        "--stage",
        "always",
        "--retries",
        "0",
        "--name",
        "full",
        "--node-cache",
        "/var/tmp/small",
    ];
    let job = site.submit("slurm", &options, "true");
    site.wait_for_state("slurm", &job, "1 with 122");
    let said = site.file(&format!("full.e{job}"));
    assert!(said.contains("error[HV4503]"), "{said}");
    // Where output goes, there is no room either: the job's own status counts for nothing then.
    let options = ["--native", "-o /dev/full", "--retries", "0", "--name", "unwritten"];
    let job = site.submit("gridengine", &options, "echo lost");
    site.wait_for_state("gridengine", &job, "1 with 122");
    let said = site.file(&format!("unwritten.e{job}"));
    assert!(
        said.contains("error[HV4303]") && said.contains("No space left"),
        "{said}"
    );
    let left = site.cluster.shell(ROOT, "node1", "find /var/tmp/small -size +64k");
    assert_eq!(left, "", "nothing half-copied stays");

    let staged = |name: &str| {
        let options = ["--stage", "always", "--timing-log", "--wait", "--name", name];
        let job = site.submit("slurm", &options, "echo here");
        assert_eq!(site.file(&format!("{name}.o{job}")), "here\n");
        let told = site.said(&["explain", &site.key("slurm")]);
        told.lines()
            .find(|line| line.contains("the image was"))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(staged("first").contains("brought to the node"));
    assert!(staged("second").contains("on the node already"));
    let damage = "for file in /var/tmp/hpcvm-cache-*/images/*/kernel; do chmod u+w $file; echo x >>$file; done";
    site.cluster.shell(USER_A, "node1", damage);
    assert!(staged("third").contains("brought to the node"));
}
