# HTCondor: collector, negotiator and schedd on the head, startd on the other nodes. Sourced after common.sh.
#
# Debian 12 does not have it: the nodes' root is a Debian 13, an overlay of each node's own over
# what `ci/cluster/install --htcondor` made.

htcondor_files() {
  local root=$DIR/htcondor
  mkdir -p "$root"
  printf '%s\n' "CONDOR_HOST = head" "DEFAULT_DOMAIN_NAME = simulated" "UID_DOMAIN = simulated" \
    "FILESYSTEM_DOMAIN = simulated" "TRUST_UID_DOMAIN = True" "ENABLE_IPV6 = False" "USE_SHARED_PORT = False" \
    "ALLOW_READ = *" "ALLOW_WRITE = *" "ALLOW_DAEMON = *" "ALLOW_NEGOTIATOR = *" \
    "ALLOW_ADMINISTRATOR = root@*, condor@*" "SEC_DEFAULT_AUTHENTICATION = OPTIONAL" \
    "SEC_DEFAULT_AUTHENTICATION_METHODS = FS, CLAIMTOBE" "SEC_DEFAULT_ENCRYPTION = OPTIONAL" \
    "SEC_DEFAULT_INTEGRITY = OPTIONAL" "NUM_CPUS = $SLOTS" "MEMORY = $((SLOTS * 4096))" "NUM_SLOTS = $SLOTS" \
    "START = TRUE" "SUSPEND = FALSE" "PREEMPT = FALSE" "KILL = FALSE" "WANT_SUSPEND = FALSE" "WANT_VACATE = TRUE" \
    "RANK = 0" "RUNBENCHMARKS = False" "BASE_CGROUP =" "NEGOTIATOR_INTERVAL = 2" "NEGOTIATOR_MIN_INTERVAL = 1" \
    "NEGOTIATOR_CYCLE_DELAY = 1" "SCHEDD_INTERVAL = 2" "SCHEDD_MIN_INTERVAL = 1" "UPDATE_INTERVAL = 5" \
    "UPDATE_OFFSET = 0" >"$root/50-cluster.config"
  # By default each job has a /tmp of its own, which would hide a shared folder that lies there.
  case $DIR in /tmp/* | /var/tmp/*) echo "MOUNT_UNDER_SCRATCH =" >>"$root/50-cluster.config" ;; esac
}

# What passwd and group of the nodes begin with.
htcondor_etc() { cp "$HTCONDOR_TREE/etc/passwd" "$HTCONDOR_TREE/etc/group" "$DIR/etc/"; }

htcondor_daemon() {
  local log=$DIR/log/htcondor-$1.log daemons="MASTER, STARTD"
  [ "$1" != head ] || daemons="MASTER, COLLECTOR, NEGOTIATOR, SCHEDD"
  on "$1" sh -euc '
    for folder in /var/spool/condor /var/lib/condor/execute /var/log/condor /run/condor /run/lock/condor; do
      install -d -o condor -g condor "$folder"
    done
    cp "$1/50-cluster.config" /etc/condor/config.d/
    echo "DAEMON_LIST = $2" >/etc/condor/config.d/60-node.config
    exec condor_master -pidfile /run/condor/master.pid
  ' sh "$DIR/htcondor" "$daemons" >>"$log" 2>&1 || die "condor_master does not start on $1: $(tail -n 1 "$log")"
}

htcondor_start() {
  local name
  htcondor_daemon head
  for name in $(compute_nodes); do htcondor_daemon "$name" & done
  wait
}

# Whether all slots of node $1, or of every node, are known.
htcondor_ready() {
  [ "$(on head condor_status -autoformat Machine 2>/dev/null | grep -cE "^${1:-node[0-9]+}(\.|$)")" = $((SLOTS * ${2:-1})) ]
}
