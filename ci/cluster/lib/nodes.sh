# Making, booting and clearing away the nodes of a cluster. Sourced after common.sh.

# Writes what the nodes have in place of the host's own files.
write_etc() {
  mkdir -p "$DIR/etc"
  {
    echo "127.0.0.1 localhost"
    echo "$NETWORK.254 head"
    for number in $(seq "$NODES"); do echo "$NETWORK.$number node$number"; done
  } >"$DIR/etc/hosts"
  sed -E 's/^(passwd|group|shadow|gshadow|hosts):.*/\1: files/' /etc/nsswitch.conf >"$DIR/etc/nsswitch.conf"
  if has_htcondor; then htcondor_etc; else cp /etc/passwd /etc/group "$DIR/etc/"; fi
  local id=61000 user
  for user in "${TEST_USERS[@]}"; do
    id=$((id + 1))
    while getent passwd "$id" >/dev/null || getent group "$id" >/dev/null; do id=$((id + 1)); done
    echo "$user:x:$id:$id:user of a simulated cluster:$DIR/home/$user:/bin/bash" >>"$DIR/etc/passwd"
    echo "$user:x:$id:" >>"$DIR/etc/group"
    install -d -m 700 -o "$id" -g "$id" "$DIR/home/$user"
  done
}

# Lists the commands in /usr/bin of the Debian packages $@.
commands_of() { dpkg-query -L "$@" 2>/dev/null | sed -n 's,^/usr/bin/\([^/]*\)$,\1,p'; }

# Makes the folder that lies over /usr/bin: commands of schedulers that the cluster does not have
# are not to be found on its nodes.
write_commands() {
  local name
  mkdir -p "$DIR/commands"
  while read -r name; do
    if ! has_gridengine; then
      mknod "$DIR/commands/$name" c 0 0 # says "not there" to overlayfs
    elif [ -e "$GRIDENGINE_LIB/$name" ]; then
      # Debian's is a shell script that costs 0.1 s and then starts this one.
      ln -s "$GRIDENGINE_LIB/$name" "$DIR/commands/$name"
    fi
  done < <(commands_of gridengine-common gridengine-client gridengine-exec gridengine-master)
  if ! has_slurm; then
    while read -r name; do mknod "$DIR/commands/$name" c 0 0; done < <(commands_of slurm-client)
  fi
  if [ "$SCHEDULER" = pbs ]; then
    for name in "$PBS_PACKAGE"/usr/bin/*; do
      rm -f "$DIR/commands/${name##*/}"
      cp "$name" "$DIR/commands/"
    done
  fi
}

# Starts the process table and the network of the cluster; $@ is what to start it through.
start_switch() {
  mkdir -p "$DIR/state"
  "$@" unshare --mount --net --ipc --uts --pid --fork --kill-child --propagation private \
    "$PWD/ci/cluster/lib/switch" "$DIR" </dev/null >"$DIR/log/switch.log" 2>&1 &
  local child=$!
  await "the cluster's network is there" switch_is_up "$child"
}
switch_is_up() {
  pid_of switch >/dev/null && return
  ! dead "$1" || die "the cluster's network could not be made: $(tail -n 1 "$DIR/log/switch.log")"
  return 1
}

# Boots a node and plugs it in. What nodes before it left on its disk is still there.
boot() {
  local name=$1 number=254 switch pid
  [ "$name" = head ] || number=${name#node}
  switch=$(pid_of switch) || die "the cluster in $DIR is not running"
  mkdir -p "$DIR/nodes/$name/slurmd" "$DIR/nodes/$name/gridengine"
  [ -d "$DIR/nodes/$name/var-tmp" ] || mkdir -m 1777 "$DIR/nodes/$name/var-tmp"
  [ ! -d "$DIR/gridengine" ] || chown sgeadmin: "$DIR/nodes/$name/gridengine"
  [ -z "$FREEZER" ] || mkdir -p "$FREEZER/$name"
  rm -f "$DIR/state/$name"
  # Through a shell, for nsenter itself would wait outside until the node is down.
  nsenter --target "$switch" --mount --ipc --uts --pid --wdns=/ -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c 'log=$1; shift; setsid "$@" </dev/null >"$log" 2>&1 &' sh "$DIR/log/$name.log" \
    unshare --net --uts --ipc --mount --pid --fork --kill-child --propagation private \
    "$PWD/ci/cluster/lib/node" "$DIR" "$name"
  await "$name is up (see $DIR/log/$name.log)" is_up "$name"
  pid=$(pid_of "$name")
  # Only the network is entered, so that the process id still means the node.
  nsenter --target "$switch" --net sh -c "ip link del $name 2>/dev/null
    ip link add $name type veth peer name eth0 netns $pid && ip link set $name master nodes up"
  nsenter --target "$pid" --net sh -c "ip address add $NETWORK.$number/24 dev eth0 && ip link set eth0 up"
}

is_up() { pid_of "$1" >/dev/null; }

# Makes a control group for the cluster where Slurm is to follow processes by it; prints its path.
# Groups of clusters that nobody stopped are removed: the process of their network is in them no longer.
make_freezer() {
  local root old
  root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)freezer(,|$)/ { print $2; exit }' /proc/mounts)
  [ -n "$root" ] || die "--slurm-proctrack cgroup needs the freezer controller of cgroup v1, and this host has not mounted it"
  for old in "$root"/hpcvm-cluster-*/; do
    [ -n "$(find "$old" -maxdepth 0 -mmin +1 2>/dev/null)" ] && [ -z "$(cat "$old/cgroup.procs" 2>/dev/null)" ] || continue
    find "$old" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  mktemp -d "$root/hpcvm-cluster-XXXXXXXX"
}

# Removes control groups that a cluster left; only empty ones can be.
remove_freezer() {
  [ -n "$FREEZER" ] && [ -d "$FREEZER" ] || return 0
  await "the control group $FREEZER is empty" freezer_gone
}
freezer_gone() {
  find "$FREEZER" -depth -type d -exec rmdir {} + 2>/dev/null
  [ ! -d "$FREEZER" ]
}

# Lets frozen processes of node $1, or of all nodes, go on: they could not even die.
thaw() {
  [ -n "$FREEZER" ] && [ -d "$FREEZER/$1" ] || return 0
  find "$FREEZER/$1" -name freezer.state -execdir sh -c 'echo THAWED >freezer.state' \;
}
