# Grid Engine: sge_qmaster on the head, sge_execd on the other nodes. Sourced after common.sh.
#
# What a site would change by qconf is in files that spooldefaults reads before the first start,
# because some thirty calls of qconf would take longer than all the rest.

# Sets lines "KEY VALUE" of a file; every KEY must be there already.
set_keys() {
  local file=$1 line key
  shift
  for line; do
    key=${line%% *}
    grep -qE "^$key[[:space:]]" "$file" || die "Grid Engine knows no '$key' in its ${file##*/}"
    awk -v key="$key" -v line="$line" '$1 == key { print line; next } { print }' "$file" >"$file.new"
    mv "$file.new" "$file"
  done
}

# Seconds as Grid Engine writes them.
hms() { printf '%02d:%02d:%02d' $(($1 / 3600)) $(($1 / 60 % 60)) $(($1 % 60)); }

gridengine_files() {
  local root=$DIR/gridengine resources=/usr/share/gridengine/util/resources name folder
  local conf=$root/conf common=$root/default/common spool=$root/spool
  mkdir -p "$common" "$spool/job_scripts" "$conf"/{exechosts,hosts,cqueues,pes} "$root"/{bin,lib,utilbin}
  ln -s /usr/share/gridengine/util "$root/util"
  for folder in bin lib utilbin; do ln -s "$GRIDENGINE_LIB" "$root/$folder/lx-amd64"; done
  printf '%s\n' "admin_user sgeadmin" "default_domain none" "ignore_fqdn true" "spooling_method classic" \
    "spooling_lib libspoolc" "spooling_params $common;$spool" "binary_path $root/bin" "qmaster_spool_dir $spool" \
    "security_mode none" "listener_threads 2" "worker_threads 2" "scheduler_threads 1" >"$common/bootstrap"
  echo head >"$common/act_qmaster"

  cp /usr/share/gridengine/default-configuration "$conf/global"
  set_keys "$conf/global" "execd_spool_dir /run/gridengine" "mailer /bin/true" "load_report_time 00:00:01" \
    "max_unheard 00:00:20" "reschedule_unknown 00:00:20" \
    "reporting_params accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00" \
    "${GRIDENGINE_CONF[@]}"
  for name in head $(compute_nodes); do echo "hostname $name" >"$conf/hosts/$name"; done
  for name in $(compute_nodes); do
    printf '%s\n' "hostname $name" "load_scaling NONE" "complex_values NONE" "user_lists NONE" "xuser_lists NONE" \
      "projects NONE" "xprojects NONE" "usage_scaling NONE" "report_variables NONE" >"$conf/exechosts/$name"
  done
  printf 'group_name @allhosts\nhostlist %s\n' "$(compute_nodes | paste -sd ' ')" >"$conf/hostgroup"
  for name in smp mpi make; do cp "$resources/pe/$name" "$conf/pes/"; done
  # One slot on each of n nodes.
  cp "$resources/pe/mpi" "$conf/pes/spread"
  set_keys "$conf/pes/spread" "pe_name spread" "allocation_rule 1" "job_is_first_task TRUE"
  cp ci/cluster/lib/queue.conf "$conf/cqueues/main.q"
  set_keys "$conf/cqueues/main.q" "slots $SLOTS" "notify $(hms "$GRIDENGINE_NOTIFY")" \
    "terminate_method $GRIDENGINE_TERMINATE_METHOD" "${GRIDENGINE_QUEUE[@]}"
  chown -R sgeadmin: "$root"
}

gridengine_spool() {
  gridengine_environment
  on head setpriv --reuid sgeadmin --regid sgeadmin --clear-groups sh -euc '
    lib=$1 spool=$2 conf=$3 resources=/usr/share/gridengine/util/resources
    "$lib/spoolinit" classic libspoolc "$spool" init
    set_defaults() { "$lib/spooldefaults" "$@"; }
    set_defaults configuration "$conf/global"
    set_defaults complexes "$resources/centry"
    set_defaults usersets "$resources/usersets"
    set_defaults managers sgeadmin root
    set_defaults adminhosts "$conf/hosts"
    set_defaults submithosts "$conf/hosts"
    set_defaults pes "$conf/pes"
    set_defaults exechosts "$conf/exechosts"
  ' sh "$GRIDENGINE_LIB" "$DIR/gridengine/default/common;$DIR/gridengine/spool" "$DIR/gridengine/conf" \
    >"$DIR/log/gridengine-spool.log" 2>&1 || die "Grid Engine's spool: see $DIR/log/gridengine-spool.log"
}

# Starts the head's daemon, or that of another node.
gridengine_daemon() {
  local log=$DIR/log/gridengine-$1.log daemon=sge_execd
  [ "$1" != head ] || daemon=sge_qmaster
  gridengine_environment
  on "$1" "$GRIDENGINE_LIB/$daemon" >>"$log" 2>&1 || die "$daemon does not start on $1: $(tail -n 1 "$log")"
}

qconf_answers() { on head qconf -sh >/dev/null 2>&1; }

gridengine_start() {
  local conf=$DIR/gridengine/conf name
  gridengine_spool
  gridengine_daemon head
  gridengine_environment
  await "sge_qmaster answers (see $DIR/gridengine/spool/messages)" qconf_answers
  on head sh -euc '
    qconf -Ahgrp "$1/hostgroup"
    qconf -Aq "$1/cqueues/main.q"
    qconf -ssconf | awk -v interval="$2" -v flush="$3" "
      \$1 == \"schedule_interval\" { \$2 = interval }
      \$1 ~ /^flush_(submit|finish)_sec\$/ { \$2 = flush }
      \$1 == \"job_load_adjustments\" { \$2 = \"NONE\" }
      \$1 == \"load_adjustment_decay_time\" { \$2 = \"0:0:0\" }
      \$1 == \"schedd_job_info\" { \$2 = \"true\" }
      { print \$1, \$2 }" >"$1/scheduler"
    qconf -Msconf "$1/scheduler"
  ' sh "$conf" 0:0:2 1 >>"$DIR/log/gridengine-head.log" 2>&1 || die "Grid Engine's queue: see $DIR/log/gridengine-head.log"
  for name in $(compute_nodes); do gridengine_daemon "$name" & done
  wait
}

# Whether node $1, or every node, takes jobs: no state letters in the queue's last column.
gridengine_ready() {
  gridengine_environment
  [ "$(on head qstat -f 2>/dev/null | grep -cE "^main.q@${1:-node[0-9]+} .* lx-amd64 *$")" = "${2:-1}" ]
}
