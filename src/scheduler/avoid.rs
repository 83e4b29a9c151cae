//! Keeps a task that is to be tried again from the node that failed it.
//!
//! What is asked for stays with the job until it has run. A task that no other node can have would
//! wait for ever, so nothing is asked for unless another is up that is at least as large, and the
//! job's own wishes for nodes are left as they are.

use std::collections::BTreeSet;

use super::interface::Again;
use crate::exec::Invocation;

/// Runs a command and returns what it printed, or why it did not, in words.
pub type Ask<'a> = dyn FnMut(Invocation) -> Result<String, String> + 'a;

/// Slurm's `ExcNodeList` (scontrol(1)). It refuses it for a job that runs, and takes it as soon as
/// that is requeued.
pub(super) fn slurm(again: &Again<'_>, ask: &mut Ask<'_>) -> Result<Invocation, String> {
    let job = again.name('_');
    let told = ask(Invocation::new("scontrol").args(["--oneliner", "show", "job", &job]))?;
    let setting = |name: &str| {
        let mut words = told.split_whitespace();
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.filter(|value| *value != "(null)")
    };
    for name in ["ReqNodeList", "Features", "TresPerNode", "TresPerJob", "TresPerTask"] {
        if let Some(value) = setting(name) {
            return Err(format!("the job has {name}={value}"));
        }
    }
    let mut avoided = BTreeSet::from([again.node.to_owned()]);
    if let Some(list) = setting("ExcNodeList") {
        let names = ask(Invocation::new("scontrol").args(["show", "hostnames", list]))?;
        avoided.extend(names.split_whitespace().map(str::to_owned));
    }
    let partition = setting("Partition").ok_or("scontrol tells no partition")?;
    let nodes = ask(Invocation::new("sinfo").args([
        "--noheader",
        "--Node",
        &format!("--partition={partition}"),
        "--format=%N %c %m %t",
    ]))?;
    let nodes = nodes.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let size = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        // A sign after the word means that it does not answer, is asleep, or is about to be booted.
        let is_up = ["idle", "mix", "alloc", "comp"].contains(&words.next()?);
        (is_up || name == again.node).then_some((name, size))
    });
    another(nodes, again.node, &avoided)?;
    let avoided: Vec<String> = avoided.into_iter().collect();
    Ok(Invocation::new("scontrol").args([
        "update",
        &format!("JobId={job}"),
        &format!("ExcNodeList={}", avoided.join(",")),
    ]))
}

/// Grid Engine's queue list (qalter(1), `sge_types(5)`), which it lets a job that runs change for the
/// next time. It is one for all tasks of an array.
pub(super) fn grid_engine(again: &Again<'_>, ask: &mut Ask<'_>) -> Result<Invocation, String> {
    let told = ask(Invocation::new("qstat").args(["-j", again.job]))?;
    let setting = |name: &str| {
        let mut lines = told.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    if let Some(list) = setting("hard resource_list") {
        let mut wishes = list.split(',').filter_map(|wish| wish.split('=').next());
        if wishes.any(|name| ["hostname", "h", "qname", "q"].contains(&name)) {
            return Err(format!("the job was submitted with -l {list}"));
        }
    }
    let mut avoided = BTreeSet::from([again.node.to_owned()]);
    if let Some(list) = setting("hard_queue_list") {
        let ours = list.strip_prefix("*@!(").and_then(|list| list.strip_suffix(')'));
        let ours = ours.ok_or_else(|| format!("the job was submitted with -q {list}"))?;
        avoided.extend(ours.split('|').map(str::to_owned));
    }
    let names: Vec<&str> = avoided.iter().map(String::as_str).collect();
    let list = format!("*@!({})", names.join("|"));
    let hosts = |answer: &str| -> BTreeSet<String> {
        let instances = answer.split_whitespace();
        instances
            .filter_map(|instance| instance.split_once('@').map(|(_, host)| host.to_owned()))
            .collect()
    };
    let mut select = |states: &[&str]| {
        let answer = ask(Invocation::new("qselect").args(["-q", &list]).args(states));
        // That none are so is a failure to it, of which it says nothing.
        let answer = answer.or_else(|why| if why.is_empty() { Ok(why) } else { Err(why) });
        answer.map(|answer| hosts(&answer))
    };
    let there = select(&[])?;
    // Closed, unheard of, or in error.
    let closed = select(&["-qs", "cdosuACDES"])?;
    let sizes = ask(Invocation::new("qhost"))?;
    let nodes = sizes.lines().filter_map(host_size);
    let open = |name: &str| name == again.node || there.contains(name) && !closed.contains(name);
    another(nodes.filter(|(name, _)| open(name)), again.node, &avoided)?;
    Ok(Invocation::new("qalter").args(["-q", &list, again.job]))
}

/// Processors and memory of a line of qhost(1); a host that is not heard of has neither.
fn host_size(line: &str) -> Option<(String, (u64, u64))> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let &[name, _, processors, .., memory, _, _, _] = words.as_slice() else {
        return None;
    };
    let digits = memory.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    // It writes one digit after the point: 23.5G.
    let (whole, tenths) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = whole.parse::<u64>().ok()? * 10 + tenths.get(..1)?.parse::<u64>().ok()?;
    let shift = match memory.chars().last()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => 0,
    };
    Some((name.to_owned(), (processors.parse().ok()?, number.checked_shl(shift)?)))
}

/// Whether one of `nodes` that is not to be avoided has as many processors and as much memory as `node`.
fn another(
    nodes: impl Iterator<Item = (String, (u64, u64))>,
    node: &str,
    avoided: &BTreeSet<String>,
) -> Result<(), String> {
    let nodes: Vec<_> = nodes.collect();
    let found = nodes.iter().find(|(name, _)| name == node);
    let &(_, (processors, memory)) = found.ok_or_else(|| format!("{node} is not among the nodes listed"))?;
    let mut others = nodes.iter().filter(|(name, _)| !avoided.contains(name));
    if others.any(|(_, size)| size.0 >= processors && size.1 >= memory) {
        Ok(())
    } else {
        Err(format!("no other node is up that has {node}'s size"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers the questions in their order; returns the command, or why there is none, and what was asked.
    fn plan(
        of: fn(&Again<'_>, &mut Ask<'_>) -> Result<Invocation, String>,
        answers: &[&str],
    ) -> (Result<String, String>, Vec<String>) {
        let again = Again {
            job: "7",
            task: Some(3),
            node: "node1",
        };
        let mut asked = Vec::new();
        let mut answers = answers.iter();
        let plan = of(&again, &mut |invocation| {
            asked.push(invocation.to_string());
            answers
                .next()
                .map(ToString::to_string)
                .ok_or_else(|| "silence".to_owned())
        });
        (plan.map(|invocation| invocation.to_string()), asked)
    }

    #[test]
    fn slurm_is_told_which_nodes_to_leave_out_where_others_are_as_large() {
        let job =
            |with: &str| format!("JobId=9 ArrayJobId=7 ReqNodeList=(null) {with} Partition=main Features=(null)\n");
        let nodes = "node1 2 8192 comp\nnode2 2 8192 mix\nnode3 1 4096 idle\nnode4 2 8192 drain\nnode5 2 8192 idle*\n";
        let (free, has) = (job("ExcNodeList=(null)"), job("ExcNodeList=node[2,4]"));
        let (command, asked) = plan(slurm, &[&free, nodes]);
        assert_eq!(command.unwrap(), "scontrol update JobId=7_3 ExcNodeList=node1");
        assert_eq!(asked[0], "scontrol --oneliner show job 7_3");
        // What the user or an earlier try left out stays out, and then there is none left.
        let larger = "node1 2 8192 drng\nnode2 2 8192 idle\nnode3 2 9000 alloc\n";
        let (command, asked) = plan(slurm, &[&has, "node2\nnode4\n", larger]);
        assert_eq!(
            command.unwrap(),
            "scontrol update JobId=7_3 ExcNodeList=node1,node2,node4"
        );
        assert_eq!(asked[1], "scontrol show hostnames 'node[2,4]'");
        for (answers, why) in [
            (
                &[has.as_str(), "node2\n", nodes][..],
                "no other node is up that has node1's size",
            ),
            (&[&free, "node2 2 8192 idle\n"], "node1 is not among the nodes listed"),
            (
                &["ReqNodeList=node1 ExcNodeList=(null)"],
                "the job has ReqNodeList=node1",
            ),
            (&["Features=gpu"], "the job has Features=gpu"),
            (&["x"], "scontrol tells no partition"),
            (&[], "silence"),
        ] {
            assert_eq!(plan(slurm, answers).0.unwrap_err(), why);
        }
    }

    #[test]
    fn grid_engine_is_told_which_hosts_to_leave_out_where_others_are_as_large() {
        let hosts = "HOSTNAME                ARCH         NCPU NSOC NCOR NTHR  LOAD  MEMTOT  MEMUSE  SWAPTO  SWAPUS\n\
                     ----------------------------------------------------------------------------------------------\n\
                     global                  -               -    -    -    -     -       -       -       -       -\n\
                     node1                   lx-amd64        2    1    2    2  7.60   23.5G    1.4G     0.0     0.0\n\
                     node2                   lx-amd64        2    1    2    2  7.60   23.5G    1.4G     0.0     0.0\n\
                     node3                   lx-amd64        2    1    2    2     -  900.0M       -     0.0       -\n\
                     node4                   -               -    -    -    -     -       -       -       -       -\n";
        let open = "main.q@node2\nmain.q@node3\n";
        let (command, asked) = plan(grid_engine, &["job_number: 7\n", open, "", hosts]);
        assert_eq!(command.unwrap(), "qalter -q '*@!(node1)' 7");
        assert_eq!(asked[2], "qselect -q '*@!(node1)' -qs cdosuACDES");
        let earlier = "hard resource_list:         h_rt=600,mem_free=10M\nhard_queue_list:            *@!(node3)\n";
        let (command, _) = plan(grid_engine, &[earlier, "main.q@node2\n", "", hosts]);
        assert_eq!(command.unwrap(), "qalter -q '*@!(node1|node3)' 7");
        let none = "no other node is up that has node1's size";
        for (answers, why) in [
            (&["x", open, "main.q@node2\n", hosts][..], none),
            (&["x", "main.q@node3\nmain.q@node4\n", "", hosts], none),
            (&["hard_queue_list:   main.q\n"], "the job was submitted with -q main.q"),
            (
                &["hard resource_list:   hostname=node1\n"],
                "the job was submitted with -l hostname=node1",
            ),
            (&["x"], "silence"),
        ] {
            assert_eq!(plan(grid_engine, answers).0.unwrap_err(), why);
        }
    }
}
