//! Which schedulers a host has.

use serde::Serialize;

use super::kind::Kind;

/// A scheduler whose commands are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Which one.
    pub kind: Kind,
    /// Whether the environment says that it is meant.
    pub configured: bool,
}

/// The schedulers whose commands `has_program` finds, those first that the environment names.
#[must_use]
pub fn detect(has_program: &dyn Fn(&str) -> bool, has_variable: &dyn Fn(&str) -> bool) -> Vec<Found> {
    let found = |kind: &Kind| {
        let signs = kind.scheduler().signs();
        let is_there = signs.programs.iter().all(|program| has_program(program));
        let is_another = signs.not.iter().any(|program| has_program(program));
        (is_there && !is_another && *kind != Kind::Local).then(|| Found {
            kind: *kind,
            configured: has_variable(signs.variable),
        })
    };
    let mut all: Vec<Found> = Kind::ALL.iter().filter_map(found).collect();
    // Stable: among equals the order of `Kind::ALL` stays.
    all.sort_by_key(|found| !found.configured);
    all
}

/// The scheduler to use where none is named: the first found, or else this machine.
#[must_use]
pub fn choose(found: &[Found]) -> Kind {
    found.first().map_or(Kind::Local, |first| first.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_tell_schedulers_apart() {
        let cases: [(&[&str], &[&str], Kind); 7] = [
            (&[], &[], Kind::Local),
            (&["qsub", "qconf", "qstat"], &[], Kind::GridEngine),
            (&["sbatch", "squeue", "scancel"], &[], Kind::Slurm),
            // Slurm's own commands for users of PBS.
            (
                &["sbatch", "squeue", "scancel", "qsub", "pbsnodes", "qstat"],
                &[],
                Kind::Slurm,
            ),
            (&["qsub", "pbsnodes", "qstat"], &[], Kind::Pbs),
            // Both are installed: the environment says which is meant.
            (
                &["qsub", "qconf", "qstat", "sbatch", "squeue", "scancel"],
                &["SLURM_CONF"],
                Kind::Slurm,
            ),
            (&["bsub", "bjobs", "bkill"], &[], Kind::Lsf),
        ];
        for (programs, variables, expected) in cases {
            let found = detect(&|name| programs.contains(&name), &|name| variables.contains(&name));
            assert_eq!(choose(&found), expected, "{programs:?} {variables:?}");
        }
    }
}
