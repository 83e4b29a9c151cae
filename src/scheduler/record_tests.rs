use std::os::unix::fs::PermissionsExt;

use super::*;

fn record(kind: Kind, job: &str) -> Record {
    Record {
        version: VERSION,
        scheduler: kind,
        job: JobId::new(job).unwrap(),
        name: "sim".to_owned(),
        tasks: "1-8".parse().ok(),
        vms_per_slot: 1,
        image: "minimal@0123".to_owned(),
        digest: Digest::of(b"image"),
        command: "true".to_owned(),
        submitted: jiff::Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn jobs_are_found_again_and_forgotten_with_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::below(&folder.path().join("state"));
    assert!(registry.jobs().unwrap().is_empty());
    let mut made = Vec::new();
    for (kind, job) in [(Kind::Slurm, "10"), (Kind::Slurm, "9"), (Kind::GridEngine, "9")] {
        let job_folder = JobFolder::create(folder.path()).unwrap();
        let record = record(kind, job);
        job_folder.keep_record(&record).unwrap();
        registry.add(&record, &job_folder).unwrap();
        made.push(job_folder);
    }
    let order: Vec<String> = registry
        .jobs()
        .unwrap()
        .iter()
        .map(|(r, _)| r.job.to_string())
        .collect();
    assert_eq!(order, ["9", "9", "10"]);
    assert!(matches!(registry.find("9", None), Err(RecordError::Ambiguous { .. })));
    assert_eq!(registry.find("9", Some(Kind::Slurm)).unwrap().1, made[1]);
    made.remove(1).discard();
    assert_eq!(registry.find("9", None).unwrap().1, made[1]);
    assert_eq!(registry.find("7", None).unwrap_err().code(), "HV5030");
}

#[test]
fn a_job_s_folder_is_for_the_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (job, other) = (
        JobFolder::create(folder.path()).unwrap(),
        JobFolder::create(folder.path()).unwrap(),
    );
    assert_ne!(job, other);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(job.path()), 0o700);
    assert_eq!(mode(&folder.path().join(".hpcvm")), 0o700);
    assert_eq!(mode(&job.keep_script(b"x").unwrap()), 0o600);
    assert!(job.path().file_name().unwrap().len() >= 12);
}

#[test]
fn statuses_and_tries_are_kept_by_task() {
    let folder = tempfile::tempdir().unwrap();
    let job = JobFolder::create(folder.path()).unwrap();
    assert!(job.statuses().unwrap().is_empty());
    for task in [2, 1] {
        let status = TaskStatus {
            task,
            status: 3,
            node: "node1".to_owned(),
            vms: vec![0, 3],
            error: None,
        };
        job.keep_status(&status).unwrap();
    }
    let tasks: Vec<u32> = job.statuses().unwrap().iter().map(|status| status.task).collect();
    assert_eq!(tasks, [1, 2]);
    assert_eq!(
        [
            job.count_try(1).unwrap(),
            job.count_try(1).unwrap(),
            job.count_try(2).unwrap()
        ],
        [0, 1, 0]
    );
}
