/*
 * hpcvm's job runner: runs one job in the guest and powers the guest off.
 *
 * As process 1 it replaces the guest's init, so that nothing else is ever started. Started by
 * the guest's own init (`job-runner --service`), it does the same work as one service among
 * others and ends by asking that init to power off.
 *
 * What to run stands on the job disk; standard streams and the control conversation go over
 * virtio-serial ports named hpcvm.control, hpcvm.stdin, hpcvm.stdout and hpcvm.stderr
 * (docs/job-protocol.md). The job gets its streams as pipes, its own session and process
 * group, the caller's numeric user and group.
 */
#include "records.h"
#include "identity.h"
#include "mounts.h"
#include "start.h"
#include "orders.h"

static uint64_t first_until; /* until when the job goes before services; 0 where it does not */

/* The job and what passes its output on become processes like others. */
static void end_precedence(int job_ended)
{
    if (!first_until || (!job_ended && !standard_output.total && !standard_error.total && uptime_ns() < first_until))
        return;
    first_until = 0;
    if (!job_ended)
        give_precedence(job, NO_PRECEDENCE);
    give_precedence(0, NO_PRECEDENCE);
}

static long child_signals = -1;
static int child_changed; /* there may be one to reap */

static void open_child_signals(void)
{
    uint64_t mask = 1ull << (SIGCHLD - 1);
    if (child_signals < 0)
        child_signals = sys(__NR_signalfd4, -1, &mask, 8, O_NONBLOCK | O_CLOEXEC);
}

/* Waits until something can move, at most until the grace time ends. */
static void wait_for_work(void)
{
    struct pollfd fds[8];
    int n = 0, timeout = -1;
#define WATCH(f, e) do { if ((f) >= 0) fds[n++] = (struct pollfd){(int)(f), (e), 0}; } while (0)
    WATCH(control, POLLIN);
    WATCH(child_signals, POLLIN);
    struct stream *streams[2] = {&standard_output, &standard_error};
    for (int i = 0; i < 2; i++) {
        if (streams[i]->start < streams[i]->end)
            WATCH(streams[i]->to, POLLOUT);
        else
            WATCH(streams[i]->from, POLLIN);
    }
    if (standard_input.start < standard_input.end)
        WATCH(standard_input.to, POLLOUT);
    else if (!standard_input.ended)
        WATCH(standard_input.from, POLLIN);
    if (kill_at) {
        uint64_t now = uptime_ns();
        timeout = kill_at <= now ? 0 : kill_at - now > 1000000000u ? 1000 : (int)((uint32_t)(kill_at - now) / 1000000u) + 1;
    }
    if (is_spool_untold() && (timeout < 0 || timeout > 1000))
        timeout = 1000;
    if (first_until && (timeout < 0 || timeout > 50))
        timeout = 50;
    if (sys(__NR_poll, fds, n, timeout) == 0)
        tell_spooled();
    for (int i = 0; i < n; i++)
        if (fds[i].fd == (int)control && fds[i].revents & POLLIN)
            read_orders();
        else if (fds[i].fd == (int)child_signals && fds[i].revents)
            child_changed = 1;
}

/* Reaps every child; returns 1 with the job's wait status when the job was among them. */
static int reap(int *status)
{
    char information[128];
    int ended = 0, one;
    long pid;
    child_changed = 0;
    sys(__NR_read, child_signals, information, sizeof information);
    while ((pid = sys(__NR_wait4, -1, &one, WNOHANG, 0)) > 0)
        if (pid == job) {
            *status = one;
            ended = 1;
        }
    return ended;
}

/*
 * Runs until the job has ended and all it wrote has been passed on. What the job left running
 * in the background is killed with it, as a batch system does; only then can no one hold its
 * streams open.
 */
static int supervise(void)
{
    uint64_t give_up_at = 0;
    open_child_signals();
    first_until = is_service ? uptime_ns() + FIRST_MOMENTS : 0;
    int status = 0, ended = 0, killed = 0;
    while (!ended || standard_output.from >= 0 || standard_error.from >= 0 ||
           standard_output.start < standard_output.end || standard_error.start < standard_error.end) {
        if (child_changed && reap(&status))
            ended = 1;
        if ((ended && !killed) || (kill_at && uptime_ns() >= kill_at)) {
            sys(__NR_kill, is_service ? -job : -1, SIGKILL);
            killed = ended;
            kill_at = 0;
            /* A service's daemon may have left the job's process group: do not wait for its streams. */
            if (killed && is_service)
                kill_at = give_up_at = uptime_ns() + 500000000u;
        }
        if (give_up_at && uptime_ns() >= give_up_at) {
            close_all(&standard_output.from);
            close_all(&standard_error.from);
        }
        pump_out(&standard_output);
        pump_out(&standard_error);
        pump_in();
        end_precedence(ended);
        if (!ended || standard_output.from >= 0 || standard_error.from >= 0 ||
            standard_output.start < standard_output.end || standard_error.start < standard_error.end)
            wait_for_work();
    }
    return status;
}

/* Runs a guest program as root with its standard input or output at a place of a disk. */
static int run_tar(char *const argv[], long disk, uint32_t offset, int as_input)
{
    int status = 0;
    sys(__NR_lseek, disk, offset, SEEK_SET);
    long child = sys(__NR_fork);
    if (child == 0) {
        static char *const envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", 0};
        uint64_t no_signals = 0;
        sys(__NR_rt_sigprocmask, 2, &no_signals, 0, 8);
        sys(__NR_dup2, disk, as_input ? 0 : 1);
        if (!as_input) {
            sys(__NR_chdir, folder);
            sys(NR_SETGROUPS, group_count, groups);
            sys(NR_SETGID, gid);
            sys(NR_SETUID, uid);
        }
        sys(__NR_execve, "/bin/tar", argv, envp);
        sys(__NR_exit, 127);
    }
    if (child < 0 || sys(__NR_wait4, child, &status, 0, 0) < 0)
        return 127;
    return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

static int pack_outputs(void)
{
    static char *argv[264] = {"tar", "--create", "--numeric-owner", "--ignore-failed-read", "--"};
    int n = 5;
    if (!output_count)
        return 0;
    for (int i = 0; i < output_count; i++)
        argv[n++] = outputs[i];
    argv[n] = 0;
    /* What stands on the disk already must have been read before it is written over. */
    tell_spooled();
    return run_tar(argv, result_disk, RESULT_TAR_OFFSET, 0);
}

static void write_result(uint32_t state, uint32_t value, uint32_t packed)
{
    struct result_header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, RESULT_MAGIC, 8);
    header.version = FORMAT_VERSION;
    header.state = state;
    header.value = value;
    header.outputs = packed;
    header.stdout_bytes = standard_output.total;
    header.stderr_bytes = standard_error.total;
    if (result_disk < 0)
        return;
    sys(__NR_lseek, result_disk, 0, SEEK_SET);
    write_all(result_disk, &header, sizeof header);
    sys(__NR_fsync, result_disk);
}

/* Tells the host how it ended, waits until the host has everything, and powers off. */
__attribute__((noreturn)) static void finish(const char *how, uint32_t state, uint32_t value, uint32_t packed)
{
    struct text t = {.length = 0};
    tell_spooled();
    write_result(state, value, packed);
    /* A launcher that knows of nothing more to come need not wait for the power-off. */
    sys(__NR_sync);
    put(&t, how);
    put(&t, " ");
    put_number(&t, uptime_ns());
    put(&t, " ");
    put_number(&t, value);
    put(&t, " ");
    put_number(&t, standard_output.total);
    put(&t, " ");
    put_number(&t, standard_error.total);
    put(&t, " ");
    put_number(&t, packed);
    put(&t, is_service ? "\n" : " synced\n");
    tell(&t);
    while (control >= 0 && !acknowledged) {
        struct pollfd wait = {(int)control, POLLIN, 0};
        /* For as long as it takes: whoever reads the output may be slow, and the VM dies with its launcher. */
        long ready = sys(__NR_poll, &wait, 1, -1);
        if (ready > 0 && wait.revents & POLLIN)
            read_orders();
        else if (ready != -EINTR)
            break;
    }
    power_off();
}

__attribute__((noreturn)) static void refuse(const char *what, const char *name, long error)
{
    complain(what, name, error);
    struct text t = {.length = 0};
    put(&t, "problem ");
    put(&t, what);
    put(&t, " ");
    put(&t, name);
    put(&t, "\n");
    tell(&t);
    finish("refused", 3, (uint32_t)-error, 0);
}

/*
 * Takes what the host has said before the job starts. A restored guest waits for its word: a host
 * that has given it up in the meantime starts the job elsewhere, and it must not run twice.
 */
static void take_early_orders(void)
{
    struct pollfd orders = {(int)control, POLLIN, 0};
    int patience = restored ? -1 : 0;
    while (sys(__NR_poll, &orders, 1, go || stop_asked ? 0 : patience) > 0) {
        if (!(orders.revents & POLLIN))
            power_off();
        read_orders();
    }
}

/* In the child, which shares our memory until then. */
__attribute__((noreturn, noinline)) static void execute_touch(const char *command)
{
    char *const argv[] = {"/bin/sh", "-c", (char *)command, 0};
    uint64_t no_signals = 0;
    long null = sys(__NR_open, "/dev/null", O_RDWR, 0);
    sys(__NR_rt_sigprocmask, 2, &no_signals, 0, 8);
    for (int fd = 0; fd < 3; fd++)
        sys(__NR_dup2, null, fd);
    sys(__NR_execve, argv[0], argv, variables);
    for (;;)
        sys(__NR_exit, 127);
}

/* Runs a shell command whose words nobody needs, so that what it needs is in memory. */
static void touch(const char *command)
{
    long child = fork_in_place();
    if (child == 0)
        execute_touch(command);
    if (child > 0)
        sys(__NR_wait4, child, 0, 0, 0);
}

static void tell_not_waiting(const char *program, const char *problem)
{
    struct text t = {.length = 0};
    put(&t, program);
    put(&t, " cannot be preloaded: ");
    put(&t, problem[0] ? problem : "it does not start");
    tell_text("problem ", t.bytes);
}

/* Starts the programs that are to wait for the job; one that cannot is no reason not to save the guest. */
static void start_waiting(void)
{
    char problem[400];
    open_pipes();
    give_pipes(&job_pipes, uid, gid);
    for (int i = 0; i < held_count; i++) {
        problem[0] = 0;
        if (!start_held(to_be_held[i], &job_pipes, variables, problem, sizeof problem))
            tell_not_waiting(to_be_held[i], problem);
    }
    problem[0] = 0;
    if (preload_words &&
        !start_interpreter(preload_words, preload_length, &job_pipes, variables, problem, sizeof problem))
        tell_not_waiting(preload_words, problem);
}

/* Until the host of a restored guest says what the job is, or that it stands on the disk. */
static void wait_for_job_order(void)
{
    while (!job_announced) {
        struct pollfd orders = {(int)control, POLLIN, 0};
        sys(__NR_poll, &orders, 1, -1);
        if (orders.revents & POLLIN)
            read_orders();
        else
            sleep_ms(1);
    }
}

/*
 * Gets ready to be saved, and returns in each guest that was restored from what was saved. Nothing
 * of any job is in memory until then.
 */
static void serve_as_template(void)
{
    long error = 0;
    int status;
    const char *problem = read_job();
    if (problem)
        refuse(problem, "", 0);
    add_entropy();
    configure_network();
    open_streams();
    /* A disk is the same in every copy; a folder of the host could not be saved. */
    if (libraries.kind == LIBRARIES_DISK && (problem = mount_libraries(&error)))
        refuse("cannot mount the shared libraries:", problem, error);
    look_for_machine_id();
    foresee();
    for (int i = 0; i < touch_count; i++)
        touch(touches[i]);
    start_waiting();
    others_ran |= is_service;
    keep_open();
    /* Those of what ran until now, none of which is a job's. */
    open_child_signals();
    reap(&status);
    sys(__NR_sync);
    give_precedence(0, PRECEDENCE_OF_THE_RUNNER);
    tell_event("waiting", "");
    wait_for_job_order();
    restored = 1;
    tell_event("resumed", "");
    seed = 0;
    seed_length = 0;
    variable_count = 0;
}

static void prepare(void)
{
    long error = 0;
    const char *problem;
    if (!is_service)
        mount_kernel_file_systems();
    long fd = sys(__NR_open, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
    write_all(fd, "-1000", 5);
    sys(__NR_close, fd);
    control = open_port("hpcvm.control");
    struct text began = {.length = 0};
    if (init_began) {
        put(&began, " init ");
        put(&began, init_began);
    }
    tell_event("ready", began.bytes);
    if ((problem = find_disks()))
        refuse(problem, "", 0);
    if (is_template(job_disk))
        serve_as_template();
    if ((problem = read_job()))
        refuse(problem, "", 0);
    take_identity();
    if (libraries.kind && !libraries_mounted && (problem = mount_libraries(&error)))
        refuse("cannot mount the shared libraries:", problem, error);
    if ((problem = mount_shares(&error)))
        refuse("cannot mount the shared folder", problem, error);
    if (scratch && each_entry("/sys/class/block", mount_if_scratch, 0) != 1)
        refuse("cannot mount the scratch disk at", scratch, 0);
    if (has_input) {
        forget_if_restored(job_disk);
        static char *const argv[] = {"tar", "--extract", "--preserve-permissions", "--numeric-owner", "--directory=/", 0};
        int status = run_tar(argv, job_disk, input_offset, 1);
        if (status)
            refuse("the guest's tar could not unpack the input files:", "see the console", -status);
    }
}

__attribute__((noreturn, used)) static void start(long *stack)
{
    uint64_t child_mask = 1ull << (SIGCHLD - 1) | 1ull << (SIGPIPE - 1);
    static struct failure failure;
    char **words = (char **)(stack + 1);
    is_service = stack[0] > 1 && same(words[1], "--service");
    for (char **variable = words + stack[0] + 1; *variable; variable++)
        if (starts_with(*variable, "HPCVM_INIT="))
            init_began = *variable + 11;
    sys(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, &child_mask, 0, 8);
    standard_input.to = standard_output.from = standard_error.from = -1;
    standard_input.from = standard_output.to = standard_error.to = -1;
    prepare();
    open_streams();
    take_early_orders();
    give_precedence(0, PRECEDENCE_OF_THE_RUNNER);
    if (stop_asked)
        finish("stopped", 3, 0, 0);
    job = start_job(&failure);
    if (job < 0) {
        static const char *const steps[] = {"noidentity", "nofolder", "nocommand"};
        if (failure.interpreter[0])
            tell_text("interpreter ", failure.interpreter);
        finish(steps[failure.step], 3, (uint32_t)-job, 0);
    }
    tell_event("started", "");
    drop_waiting();
    int status = supervise();
    uint32_t packed = (uint32_t)pack_outputs();
    if (status & 0x7f)
        finish("signal", 2, status & 0x7f, packed);
    finish("exit", 1, status >> 8 & 0xff, packed);
}
