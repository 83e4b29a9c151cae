# Slurm: munged and slurmctld on the head, slurmd on the other nodes. Sourced after common.sh.

slurm_files() {
  local root=$DIR/slurm plugins=/usr/lib/x86_64-linux-gnu/slurm-wlm
  mkdir -p "$root"/{etc,state} "$DIR/log"
  install -d -m 711 "$root/munge"
  install -d -m 700 "$root/key"
  head -c 1024 /dev/urandom >"$root/key/munge.key"
  chmod 600 "$root/key/munge.key"
  # One munged is enough: its socket is on the file system that all nodes share.
  printf '%s\n' ClusterName=simulated SlurmctldHost=head SlurmUser=root SlurmdUser=root \
    AuthType=auth/munge CredType=cred/munge AuthInfo=socket=/run/munge/munge.socket.2 \
    "StateSaveLocation=$root/state" SlurmdSpoolDir=/run/slurmd \
    SlurmctldPidFile=/run/slurmctld.pid SlurmdPidFile=/run/slurmd.pid \
    "SlurmctldLogFile=$DIR/log/slurmctld.log" "SlurmdLogFile=$DIR/log/slurmd-%n.log" \
    "ProctrackType=proctrack/$SLURM_PROCTRACK" TaskPlugin=task/none MpiDefault=none \
    SelectType=select/cons_tres SelectTypeParameters=CR_CPU_Memory DefMemPerCPU=512 \
    SchedulerType=sched/backfill SchedulerParameters=batch_sched_delay=0,bf_interval=1 \
    JobCompType=jobcomp/filetxt "JobCompLoc=$DIR/log/slurm-jobs.txt" \
    ReturnToService=2 SlurmdParameters=config_overrides PropagateResourceLimits=NONE \
    "KillWait=$SLURM_KILL_WAIT" SlurmdTimeout=10 RequeueExit=99 "${SLURM_CONF_LINES[@]}" \
    "NodeName=node[1-$NODES] CPUs=$SLOTS RealMemory=$((SLOTS * 4096)) State=UNKNOWN" \
    "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP LLN=YES" >"$root/etc/slurm.conf"
  [ "$SLURM_PROCTRACK" != cgroup ] ||
    printf '%s\n' CgroupPlugin=cgroup/v1 CgroupMountpoint=/run/cgroup CgroupAutomount=no >"$root/etc/cgroup.conf"
  [ "$SCHEDULER" != pbs ] || echo "required $plugins/spank_pbs.so" >"$root/etc/plugstack.conf"
}

# Starts the head's daemons, or that of another node.
slurm_daemon() {
  local log=$DIR/log/slurm-$1.log
  if [ "$1" = head ]; then
    on head munged --force --key-file="$DIR/slurm/key/munge.key" --socket=/run/munge/munge.socket.2 \
      --pid-file=/run/munged.pid --seed-file=/run/munged.seed --log-file="$DIR/log/munged.log" >>"$log" 2>&1 ||
      die "munged does not start: $(tail -n 1 "$log")"
    on head slurmctld >>"$log" 2>&1 || die "slurmctld does not start: $(tail -n 2 "$log" | paste -sd ' ')"
  else
    on "$1" slurmd >>"$log" 2>&1 || die "slurmd does not start on $1: $(tail -n 2 "$log" | paste -sd ' ')"
  fi
}

slurm_start() {
  local name
  slurm_daemon head
  for name in $(compute_nodes); do slurm_daemon "$name" & done
  wait
}

# Whether node $1, or every node, takes jobs.
slurm_ready() {
  [ "$(on head sinfo --noheader --states=idle,mixed,allocated ${1:+--nodes="$1"} --format=%D 2>/dev/null | awk "{ n += \$1 } END { print n + 0 }")" = "${2:-1}" ]
}
