# What all scripts of ci/cluster share. Sourced, with the checkout as working directory.
#
# Folder of a cluster:
#   cluster.conf        what it was started with, as bash assignments
#   state/NODE          "PID STARTTIME" of the process whose death ends the node (`switch`: the cluster)
#   etc/                what the nodes have in place of this host's files of the same names
#   commands/           what lies over /usr/bin on the nodes
#   nodes/NODE/         the node's own disk
#   home/USER/          homes of the test users
#   gridengine/ slurm/  configuration, spool and accounting, shared by all nodes
#   log/                what daemons and nodes said

# Where ci/cluster/install unpacks slurm-wlm-torque.
PBS_PACKAGE=${HPCVM_TEST_CACHE:-$PWD/target/test-cache}/packages/slurm-wlm-torque
# Where ci/cluster/install --htcondor makes a Debian with HTCondor.
HTCONDOR_TREE=${HPCVM_TEST_CACHE:-$PWD/target/test-cache}/packages/htcondor
GRIDENGINE_LIB=/usr/lib/gridengine
# Users that only the nodes know.
TEST_USERS=(hpcvm-test-a hpcvm-test-b)
# The cluster's own network, known nowhere outside it.
NETWORK=10.123.0
# Seconds until something that should be a matter of one is held to have failed.
PATIENCE=30

die() { echo "cluster: $*" >&2; exit 1; }

# Becomes root: namespaces, mounts and network interfaces need it. Begins the script anew, from
# where it was called, for paths among its arguments may be relative.
need_root() {
  [ "$(id -u)" != 0 ] || return 0
  cd "${called_from:-.}"
  exec sudo --preserve-env=HPCVM_TEST_CACHE -- "$SELF" "$@"
}
SELF=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
SELF=${SELF%/lib}/${0##*/}

# Reads the configuration of the cluster in folder $1.
load() {
  DIR=$(realpath -e -- "$1" 2>/dev/null) || die "no such folder: $1"
  [ -f "$DIR/cluster.conf" ] || die "no cluster was started in $DIR"
  . "$DIR/cluster.conf"
}

# Prints the start time of process $1 in clock ticks since the boot of this host: with the id it
# names the process for good.
start_time() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "$1" != X ] && echo "${20}"
}

# Prints the process id of node $1, if it runs.
pid_of() {
  local pid start
  { read -r pid start <"$DIR/state/$1"; } 2>/dev/null || return 1
  [ "$(start_time "$pid")" = "$start" ] && echo "$pid"
}

# The nodes that compute, by name.
compute_nodes() { seq -f 'node%.0f' "$NODES"; }

is_node() { [ "$1" = head ] || compute_nodes | grep -qxF -- "$1"; }

# Kills what $1 names in the folder's state, which takes all in its namespaces with it.
kill_holder() {
  local pid
  pid=$(pid_of "$1") || return 0
  kill -KILL "$pid" 2>/dev/null || true
  await "$1 is dead" dead "$pid"
}
dead() { ! start_time "$1" >/dev/null; }

# Repeats a command until it succeeds.
await() {
  local what=$1 end=$((SECONDS + PATIENCE))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || die "waited $PATIENCE s in vain until $what"
    sleep 0.02
  done
}

# Runs a command as root on a node, with the environment of a service; its working directory is /.
on() {
  local pid
  pid=$(pid_of "$1") || die "$1 is down"
  shift
  nsenter --target "$pid" --net --uts --ipc --mount --pid --wdns=/ -- \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "${SERVICE[@]}" "$@"
}

has_gridengine() { [ "$SCHEDULER" = gridengine ] || [ "$SCHEDULER" = both ]; }
has_slurm() { [ "$SCHEDULER" = slurm ] || [ "$SCHEDULER" = pbs ] || [ "$SCHEDULER" = both ]; }
has_htcondor() { [ "$SCHEDULER" = htcondor ]; }

# What commands of Grid Engine need in their environment.
gridengine_environment() {
  SERVICE=(SGE_ROOT="$DIR/gridengine" SGE_CELL=default SGE_QMASTER_PORT=6444 SGE_EXECD_PORT=6445 SGE_ARCH=lx-amd64)
}
SERVICE=()
