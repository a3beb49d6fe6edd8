/* Seeded random sequences of credential calls over a tree of processes and threads.
 *
 *   credfuzz SEED DIR CAPMASK [x]
 *
 * DIR is an existing directory that everyone may search; copies of the program with set-id bits and file
 * capabilities are made in it.  CAPMASK (hexadecimal) names the capabilities that may be used and printed.
 * With "x", /proc/self/status is compared too.  The only decisions come from SEED; every task waits for
 * those it starts, so the order of the lines is fixed.
 */
#include "cred_ops.h"
#include <grp.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static char *prog, *dir, *seed_text, *mask_text;
static int root_pid, parent_pid, dead_pid, steps_left, depth, done_fd = -1;
static int bare_fork; /* this process came from a raw fork: glibc's list of threads is stale, use no pthreads */

static void run(void);

static int pid_self(void) { return (int)sc0(__NR_getpid); }
static int tid_self(void) { return (int)sc0(__NR_gettid); }

static void wait_for(int pid, const char *what)
{
    int st = 0;
    long r;
    do
        r = sc4(__NR_wait4, pid, &st, __WALL, 0);
    while (r == -EINTR);
    if (r < 0)
        show(r, "wait %s", what);
    else if (WIFSIGNALED(st))
        say("%s killed by %d", what, WTERMSIG(st));
    else
        say("%s exited %d", what, WEXITSTATUS(st));
    dead_pid = pid;
}

static void finish(void)
{
    static const int CODES[] = {0, 1, 2, 77, 125, 126, 127, 255};
    unsigned k = rnd(20);
    report("end", one_in(4));
    if (label[1] && k == 0)
        sc2(__NR_kill, pid_self(), SIGKILL);
    if (label[1] && k == 1) {
        signal(SIGTERM, SIG_DFL);
        sc2(__NR_kill, pid_self(), SIGTERM);
    }
    sc1(__NR_exit_group, label[1] ? PICK(CODES) : 0);
}

/* In a new process: its own label and generator, fewer steps. */
static void become(const char *mark, unsigned n, uint64_t state)
{
    size_t at = strlen(label);
    snprintf(label + at, sizeof label - at, ".%s%u", mark, n);
    thread_name = "";
    rng = state;
    depth++;
    steps_left = 2 + (int)rnd(depth > 2 ? 3 : 7);
}

static unsigned child_count;

static void child_main(const char *mark, unsigned n, uint64_t state, int parent, int raw)
{
    parent_pid = parent;
    bare_fork |= raw;
    become(mark, n, state);
    child_count = 0;
    report("start", one_in(6));
    run();
    finish();
}

/* ---- exec ------------------------------------------------------------------------------------------------ */

static const struct { const char *name; unsigned uid, gid, mode; int fcap; } COPIES[] = {
    {"plain", 0, 0, 0755, 0},        {"suid0", 0, 0, 04755, 0},          {"suid42", 42, 33, 04755, 0},
    {"sgid33", 42, 33, 02755, 0},    {"both1000", 1000, 100000, 06755, 0}, {"sgidnox", 0, 54321, 02745, 0},
    {"caps", 1000, 0, 0755, 1},      {"capsuid", 1000, 42, 04755, 1},
};
#define N_COPIES (sizeof COPIES / sizeof COPIES[0])
static char copy_path[N_COPIES + 1][256];

static void name_copies(void)
{
    for (unsigned i = 0; i < N_COPIES; i++)
        snprintf(copy_path[i], sizeof copy_path[i], "%s/x_%s", dir, COPIES[i].name);
    snprintf(copy_path[N_COPIES], sizeof copy_path[0], "%s/x_garbage", dir);
}

static void make_copies(void)
{
    static char buf[1 << 16];
    /* cap_net_raw, cap_setgid permitted and effective; cap_chown inheritable */
    static const uint32_t vfs_caps[5] = {0x02000001, (1u << 13) | (1u << 6), 1u << 0, 0, 0};
    for (unsigned i = 0; i <= N_COPIES; i++) {
        int in = open(i < N_COPIES ? "/proc/self/exe" : "/dev/null", O_RDONLY);
        int out = open(copy_path[i], O_CREAT | O_EXCL | O_WRONLY, 0700);
        ssize_t n = 0;
        if (in < 0 || out < 0) {
            say("cannot copy: %s", strerror(errno));
            exit(119);
        }
        while ((n = read(in, buf, sizeof buf)) > 0)
            if (write(out, buf, (size_t)n) != n)
                exit(119);
        if (i == N_COPIES && write(out, "\177ELF garbage", 12) != 12)
            exit(119);
        close(in);
        unsigned uid = i < N_COPIES ? COPIES[i].uid : 1000, gid = i < N_COPIES ? COPIES[i].gid : 1000;
        unsigned mode = i < N_COPIES ? COPIES[i].mode : 06755;
        int r1 = fchown(out, uid, gid), r2 = fchmod(out, mode), r3 = 0;
        if (i < N_COPIES && COPIES[i].fcap)
            r3 = fsetxattr(out, "security.capability", vfs_caps, sizeof vfs_caps, 0);
        if (r1 || r2 || r3)
            say("copy %u: %d %d %d", i, r1, r2, r3);
        close(out);
    }
}

static int go_on;

/* Replace the process by the program, which goes on with the same sequence; returns the error. */
static long exec_self(const char *path, int how)
{
    char state[32], steps[16], deep[16], pids[64], fds[32];
    snprintf(state, sizeof state, "%llx", (unsigned long long)rnd64());
    snprintf(steps, sizeof steps, "%d", steps_left);
    snprintf(deep, sizeof deep, "%d", depth);
    snprintf(pids, sizeof pids, "%d/%d/%d", root_pid, parent_pid, dead_pid);
    snprintf(fds, sizeof fds, "%d/%u", done_fd, child_count);
    char *argv[] = {prog, "--cont", seed_text, dir, mask_text, extras ? "x" : "-", state, steps, deep, label, pids, fds, NULL};
    char *envp[] = {NULL};
    if (how == 1) {
        int fd = (int)sc4(__NR_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
        long r = sc5(__NR_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
        sc1(__NR_close, fd);
        return r;
    }
    if (how == 2)
        return sc3(__NR_execve, path, BAD_POINTER, envp);
    if (how == 3)
        return sc5(__NR_execveat, AT_FDCWD, path, argv, envp, 0);
    return sc3(__NR_execve, path, argv, envp);
}

static void op_exec(void)
{
    unsigned k = one_in(3) ? 0 : rnd(N_COPIES + 1);
    const char *path = one_in(4) ? prog : copy_path[k];
    int how = one_in(4) ? 1 : one_in(6) ? 2 : one_in(6) ? 3 : 0;
    if (one_in(12))
        path = one_in(2) ? "/proc/self/no-such-file" : dir;
    const char *base = path == dir ? "dir" : path == prog ? "prog" : strrchr(path, '/');
    say("exec %s how %d", base, how);
    show(exec_self(path, how), "exec %s", base);
    report("after failed exec", 0);
}

/* ---- calls between processes ------------------------------------------------------------------------------ */

static cpu_set_t cpus;
static long cpus_len;

static int no_caps(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    memset(d, 0, sizeof d);
    return sc2(__NR_capget, &h, d) == 0 && caps_of(d, 0) == 0;
}

static void poke(int pid, const char *who)
{
    static const int SIGNALS[] = {0, 0, SIGCONT, SIGURG, 65, -1};
    int sig = PICK(SIGNALS);
    uint64_t lim[2] = {0, 0};
    switch (rnd(11)) {
    case 0: case 1: show(sc2(__NR_kill, pid, sig), "kill(%s, %d)", who, sig); break;
    case 2: show(sc3(__NR_tgkill, pid, pid, sig), "tgkill(%s, %d)", who, sig); break;
    case 3: show(sc2(__NR_tkill, pid, sig), "tkill(%s, %d)", who, sig); break;
    case 4: show(sc3(__NR_setpriority, PRIO_PROCESS, pid, 5), "setpriority(%s)", who); break;
    case 5: show_ok(sc2(__NR_getpriority, PRIO_PROCESS, pid), "getpriority(%s)", who); break;
    case 6: show(sc3(__NR_sched_setaffinity, pid, cpus_len, &cpus), "sched_setaffinity(%s)", who); break;
    case 7: show_ok(sc3(__NR_sched_getaffinity, pid, sizeof cpus, &cpus), "sched_getaffinity(%s)", who); break;
    case 8:
        if (no_caps())
            show(sc4(__NR_prlimit64, pid, 4, NULL, lim), "prlimit64(%s)", who);
        break;
    case 9: {
        int fd = (int)sc2(434 /* pidfd_open */, pid, 0);
        show_ok(fd, "pidfd_open(%s)", who);
        if (fd >= 0) {
            show(sc4(424 /* pidfd_send_signal */, fd, sig, NULL, 0), "pidfd_send_signal(%s, %d)", who, sig);
            sc1(__NR_close, fd);
        }
        break;
    }
    default: show_capget(pid, who); break;
    }
}

static void op_poke(void)
{
    switch (rnd(5)) {
    case 0: poke(root_pid, "first"); break;
    case 1: poke(parent_pid, "parent"); break;
    case 2: poke(pid_self(), "self"); break;
    case 3: if (dead_pid) poke(dead_pid, "dead"); break;
    default: poke(0x7FFFFFF0, "absent"); break;
    }
}

/* ---- one credential call ---------------------------------------------------------------------------------- */

static void cred_op(void)
{
    unsigned k = rnd(40);
#ifdef HAVE_INT80
    if (one_in(25)) {
        op_int80();
        return;
    }
#endif
    if (k < 16) op_set_id();
    else if (k < 19) op_get_id();
    else if (k < 22) op_setgroups();
    else if (k < 25) op_getgroups();
    else if (k < 26) op_straddle();
    else if (k < 30) op_caps(pid_self());
    else if (k < 35) op_prctl(depth > 0);
    else if (k < 36) op_rlimit();
    else op_poke();
}

static void cred_ops(int n)
{
    while (n-- > 0) {
        cred_op();
        if (one_in(2))
            report("now", one_in(8));
    }
}

/* ---- processes --------------------------------------------------------------------------------------------- */

static void sleep_on(int fd)
{
    char c;
    while (sc3(__NR_read, fd, &c, 1) == -EINTR)
        ;
}
static void wake(int fd) { sc3(__NR_write, fd, "x", 1); }

static void make_pipe(int *fds)
{
    if (sc2(__NR_pipe2, fds, 0) < 0)
        sc1(__NR_exit_group, 118);
}
static void drop_pipe(int *fds)
{
    sc1(__NR_close, fds[0]);
    sc1(__NR_close, fds[1]);
}

struct clone3_args { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; };

static void op_fork(void)
{
    unsigned n = child_count++;
    uint64_t state = rnd64();
    int me = pid_self(), kind = (int)rnd(6);
    long pid;
    if (kind < 2) {
        pid = fork();
    } else if (kind == 2) {
#ifdef __NR_fork
        pid = sc0(__NR_fork);
#else
        pid = sc2(__NR_clone, SIGCHLD, 0);
#endif
    } else if (kind == 3) {
        pid = sc5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    } else {
        struct clone3_args a;
        memset(&a, 0, sizeof a);
        a.flags = kind == 5 ? CLONE_VFORK : one_in(2) ? CLONE_FILES : 0;
        a.exit_signal = SIGCHLD;
        pid = sc2(435 /* clone3 */, &a, sizeof a);
    }
    if (pid == 0)
        child_main("f", n, state, me, kind >= 2);
    if (pid < 0)
        show(pid, "fork %d", kind);
    else
        wait_for((int)pid, "child");
}

/* vfork: the child may change its own credentials; it leaves by exec or exit. */
static void op_vfork(void)
{
    uint64_t keep = rng;
    int k = (int)rnd(3), uid = (int)IDS[rnd(N_IDS - 1)], way = (int)rnd(3);
    char old[sizeof label];
    int keep_steps = steps_left, keep_parent = parent_pid, keep_depth = depth;
    unsigned n = child_count++, count = child_count;
    memcpy(old, label, sizeof old);
    int me = pid_self();
    pid_t pid = vfork();
    if (pid == 0) {
        parent_pid = me;
        become("v", n, keep ^ 0x5555);
        child_count = 0;
        if (k == 0)
            show(sc3(W(setresuid), uid, uid, uid), "vfork setresuid(%u)", (unsigned)uid);
        else if (k == 1)
            show(sc1(W(setgid), uid), "vfork setgid(%u)", (unsigned)uid);
        if (way < 2)
            show(exec_self(way == 0 ? prog : copy_path[rnd(N_COPIES)], 0), "vfork exec");
        sc1(__NR_exit, 3);
    }
    memcpy(label, old, sizeof old);
    steps_left = keep_steps, parent_pid = keep_parent, child_count = count, depth = keep_depth, rng = keep + 1;
    wait_for(pid, "vfork child");
    report("after vfork", 0);
}

/* A child whose parent is gone; it prints, then closes the pipe that its grandparent reads. */
static void op_orphan(void)
{
    int go[2], done[2];
    unsigned n = child_count++;
    uint64_t state = rnd64();
    int hop = (int)rnd(3), me = pid_self(), execs = one_in(3);
    make_pipe(go);
    make_pipe(done);
    pid_t a = fork();
    if (a == 0) {
        rng = state;
        if (hop == 1)
            cred_ops(2);
        pid_t b = fork();
        if (b == 0) {
            sc1(__NR_close, go[1]);
            sc1(__NR_close, done[0]);
            sleep_on(go[0]);
            parent_pid = me;
            done_fd = done[1];
            become("o", n, state + 1);
            child_count = 0;
            report("orphan", 1);
            if (execs)
                show(exec_self(prog, 0), "orphan exec");
            run();
            finish();
        }
        if (hop == 2)
            cred_ops(2);
        sc1(__NR_exit_group, 4);
    }
    wait_for(a, "middle");
    sc1(__NR_close, done[1]);
    wake(go[1]);
    sleep_on(done[0]);
    drop_pipe(go);
    sc1(__NR_close, done[0]);
    say("orphan gone");
}

/* A grandchild made our child by CLONE_PARENT. */
static void op_clone_parent(void)
{
    int back[2], go[2];
    unsigned n = child_count++;
    uint64_t state = rnd64();
    int me = pid_self(), kid = 0, raw3 = one_in(2);
    make_pipe(back);
    make_pipe(go);
    pid_t m = fork();
    if (m == 0) {
        rng = state;
        label[strlen(label) - 1] += 0;
        cred_ops(1 + (int)rnd(2));
        long c;
        if (raw3) {
            struct clone3_args a;
            memset(&a, 0, sizeof a);
            a.flags = CLONE_PARENT;
            a.exit_signal = 0;
            c = sc2(435, &a, sizeof a);
        } else {
            c = sc5(__NR_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        }
        if (c == 0) {
            sc1(__NR_close, go[1]);
            sleep_on(go[0]);
            drop_pipe(back);
            child_main("p", n, state + 1, me, 1);
        }
        kid = (int)c;
        sc3(__NR_write, back[1], &kid, sizeof kid);
        cred_ops(1);
        sc1(__NR_exit_group, 5);
    }
    wait_for(m, "maker");
    sc3(__NR_read, back[0], &kid, sizeof kid);
    wake(go[1]);
    if (kid > 0)
        wait_for(kid, "clone-parent child");
    else
        show(kid, "clone(CLONE_PARENT)");
    drop_pipe(back);
    drop_pipe(go);
}

/* A helper forked before its parent changes: each pokes the other, and the helper keeps what it had. */
static void op_duo(void)
{
    int to[2], from[2];
    unsigned n = child_count++;
    uint64_t state = rnd64();
    int me = pid_self(), execs = one_in(4);
    make_pipe(to);
    make_pipe(from);
    pid_t h = fork();
    if (h == 0) {
        uint64_t mine = rng;
        parent_pid = me;
        become("h", n, state);
        child_count = 0;
        rng = mine ^ 0x77;
        if (one_in(2))
            cred_ops(2);
        wake(from[1]);
        sleep_on(to[0]);
        report("helper", 1);
        for (int i = 0; i < 3; i++)
            poke(me, "parent");
        cred_ops(2);
        for (int i = 0; i < 2; i++)
            poke(me, "parent");
        if (execs) {
            drop_pipe(to);
            drop_pipe(from);
            show(exec_self(prog, 0), "helper exec");
        }
        if (depth < 3)
            op_fork();
        finish();
    }
    sleep_on(from[0]);
    for (int i = 0; i < 2; i++)
        poke(h, "helper");
    cred_ops(1 + (int)rnd(3));
    for (int i = 0; i < 3; i++)
        poke(h, "helper");
    wake(to[1]);
    wait_for(h, "helper");
    drop_pipe(to);
    drop_pipe(from);
    report("after helper", 0);
}

#include "cred_threads.h"

static void run(void)
{
    for (; steps_left > 0; steps_left--) {
        unsigned k = rnd(depth == 0 ? 60 : 100);
        if (depth >= 3 || k >= 40) {
            cred_ops(1);
            continue;
        }
        if (k < 10) op_fork();
        else if (k < 14) op_vfork();
        else if (k < 18) op_exec();
        else if (k < 21) op_orphan();
        else if (k < 23) op_clone_parent();
        else if (k < 27) op_duo();
        else if (k < 30) op_clone_thread();
        else if (bare_fork) cred_ops(1);
        else if (k < 34) op_pthreads();
        else if (k < 37) op_broadcast();
        else op_leader_exit();
    }
}

int main(int argc, char **argv)
{
    if (argc == 12 && !strcmp(argv[1], "--cont")) {
        prog = argv[0], seed_text = argv[2], dir = argv[3], mask_text = argv[4];
        extras = argv[5][0] == 'x';
        rng = strtoull(argv[6], NULL, 16);
        steps_left = atoi(argv[7]) - 1;
        depth = atoi(argv[8]);
        snprintf(label, sizeof label, "%s", argv[9]);
        sscanf(argv[10], "%d/%d/%d", &root_pid, &parent_pid, &dead_pid);
        sscanf(argv[11], "%d/%u", &done_fd, &child_count);
        cap_mask = strtoull(mask_text, NULL, 16);
        go_on = 1;
    } else if (argc == 4 || argc == 5) {
        prog = argv[0], seed_text = argv[1], dir = argv[2], mask_text = argv[3];
        extras = argc == 5 && argv[4][0] == 'x';
        rng = strtoull(seed_text, NULL, 0) * 0x2545F4914F6CDD1Dull + 1;
        cap_mask = strtoull(mask_text, NULL, 16);
        root_pid = parent_pid = pid_self();
        steps_left = 12;
        umask(022);
    } else {
        fprintf(stderr, "usage: credfuzz SEED DIR CAPMASK [x]\n");
        return 2;
    }
    cpus_len = sc3(__NR_sched_getaffinity, 0, sizeof cpus, &cpus);
    name_copies();
    if (go_on) {
        say("auxv uid %lu euid %lu gid %lu egid %lu secure %lu", getauxval(AT_UID), getauxval(AT_EUID),
            getauxval(AT_GID), getauxval(AT_EGID), getauxval(AT_SECURE));
        report("after exec", one_in(3));
    } else {
        make_copies();
        report("start", 1);
    }
    run();
    finish();
    return 0;
}
