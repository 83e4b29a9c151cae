use std::sync::mpsc::channel;

use super::*;

/// A queue, and a job in it whose tasks run `script`.
fn queued(options: &str, script: &str) -> (tempfile::TempDir, Queue, u64) {
    let folder = tempfile::tempdir().unwrap();
    let wrapper = folder.path().join("wrapper");
    fs::write(&wrapper, format!("#!/bin/sh\n{options}\n{script}\n")).unwrap();
    let queue = Queue::below(&folder.path().join("state"));
    let job = queue.add(&wrapper, folder.path(), false).unwrap();
    (folder, queue, job.job)
}

fn host() -> Host {
    Host::new("/usr/bin:/bin".into(), "/".into())
}

fn text(folder: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn all_tasks_run_and_the_job_is_gone() {
    let options = "#HPCVM -N sum -n 1\n#HPCVM -t 2-8:3%2";
    let (folder, queue, job) = queued(options, "echo $HPCVM_LOCAL_JOB $HPCVM_LOCAL_TASK; echo e >&2");
    assert_eq!(queue.list().unwrap(), "");
    let (tell, messages) = channel();
    serve(&host(), &queue, job, &[], (tell, messages)).unwrap();
    for task in [2, 5, 8] {
        assert_eq!(text(&folder, &format!("sum.o1.{task}")), format!("1 {task}\n"));
        assert_eq!(text(&folder, &format!("sum.e1.{task}")), "e\n");
    }
    assert!(queue.job(job).is_err());
    let again = queue.add(&folder.path().join("wrapper"), folder.path(), false).unwrap();
    assert_eq!(again.job, 2);
}

#[test]
fn a_deleted_job_starts_nothing_more_and_its_tasks_are_told() {
    let (folder, queue, job) = queued(
        "#HPCVM -N trap\n#HPCVM -t 1-9%1",
        "trap 'echo told; exit' TERM; echo up; sleep 60 & wait",
    );
    let (tell, messages) = channel();
    let (host, delete, ours) = (host(), tell.clone(), queue.clone());
    let expected = "1 1 running\n1 2-9 waiting\n";
    let listed = thread::scope(|scope| {
        let served = scope.spawn(move || serve(&host, &ours, job, &[], (tell, messages)));
        // The task may say its word before the job's process has noted that it runs.
        let is_up = || {
            let said = fs::read_to_string(folder.path().join("trap.o1.1"));
            said.is_ok_and(|text| text == "up\n") && queue.list().is_ok_and(|list| list == expected)
        };
        let patience = Instant::now() + Duration::from_secs(30);
        while !is_up() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(10));
        }
        let listed = queue.list();
        // Whatever was found: a job that is not deleted would keep the test waiting.
        fs::write(queue.job_folder(job).join("delete"), "").unwrap();
        delete.send(Deletion::AsWritten).unwrap();
        served.join().unwrap().unwrap();
        listed
    });
    assert_eq!(listed.unwrap(), expected);
    assert_eq!(text(&folder, "trap.o1.1"), "up\ntold\n");
    assert!(!folder.path().join("trap.o1.2").exists());
    assert_eq!(queue.list().unwrap(), "");
}

#[test]
fn a_task_that_takes_too_long_is_told_to_end() {
    let (folder, queue, job) = queued("#HPCVM -N late -W 1", "trap 'echo told; exit' TERM; sleep 60 & wait");
    let (tell, messages) = channel();
    serve(&host(), &queue, job, &[], (tell, messages)).unwrap();
    assert_eq!(text(&folder, "late.o1"), "told\n");
}

#[test]
fn held_jobs_wait_and_can_be_deleted() {
    let (folder, queue, _) = queued("#HPCVM -t 1-3", "true");
    let held = queue.add(&folder.path().join("wrapper"), folder.path(), true).unwrap();
    assert_eq!(queue.list().unwrap(), "2 1-3 held\n");
    queue.release(held.job).unwrap();
    assert_eq!(queue.list().unwrap(), "");
    queue.delete(held.job, None).unwrap();
    assert!(queue.delete(7, None).is_err());
}
