/* The threaded operations of credfuzz: included by it once. */

#define N_WORKERS 3
enum { CMD_QUIT, CMD_CREDS, CMD_REPORT, CMD_FORK, CMD_EXEC, CMD_SUBTHREAD };
static struct worker {
    pthread_t thread;
    sem_t go, done;
    int cmd;
    char name[16];
} workers[N_WORKERS];

static void sem_down(sem_t *s)
{
    while (sem_wait(s) && errno == EINTR)
        ;
}

static void *sub_main(void *arg)
{
    thread_name = "/sub";
    report("subthread", 0);
    cred_ops(1);
    return arg;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    pthread_t sub;
    for (;;) {
        sem_down(&w->go);
        const char *keep = thread_name;
        thread_name = w->name;
        switch (w->cmd) {
        case CMD_QUIT: thread_name = keep; return NULL;
        case CMD_CREDS: cred_ops(1 + (int)rnd(2)); break;
        case CMD_REPORT: report("thread", 0); break;
        case CMD_FORK:
            switch (rnd(4)) {
            case 0: op_orphan(); break;
            case 1: op_clone_parent(); break;
            default: op_fork(); break;
            }
            break;
        case CMD_EXEC: op_exec(); break;
        case CMD_SUBTHREAD:
            if (pthread_create(&sub, NULL, sub_main, NULL) == 0)
                pthread_join(sub, NULL);
            thread_name = w->name;
            break;
        }
        thread_name = keep;
        sem_post(&w->done);
    }
}

static int start_workers(void)
{
    int n = 1 + (int)rnd(N_WORKERS);
    for (int i = 0; i < n; i++) {
        struct worker *w = &workers[i];
        snprintf(w->name, sizeof w->name, "/t%d", i);
        sem_init(&w->go, 0, 0);
        sem_init(&w->done, 0, 0);
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            say("pthread_create failed");
            exit(117);
        }
    }
    return n;
}

static void order(int i, int cmd)
{
    workers[i].cmd = cmd;
    sem_post(&workers[i].go);
    if (cmd == CMD_QUIT)
        pthread_join(workers[i].thread, NULL);
    else
        sem_down(&workers[i].done);
}

/* Threads with credentials of their own; one may fork, start a thread, or exec (then the process goes on as it). */
static void op_pthreads(void)
{
    int n = start_workers(), turns = 3 + (int)rnd(5);
    say("%d threads", n);
    while (turns-- > 0) {
        int i = (int)rnd((unsigned)n + 1);
        unsigned what = rnd(10);
        if (i == n)
            cred_ops(1);
        else if (what < 5)
            order(i, CMD_CREDS);
        else if (what < 7 && depth < 3)
            order(i, CMD_FORK);
        else if (what == 7)
            order(i, CMD_SUBTHREAD);
        else if (what == 8)
            order(i, CMD_EXEC);
        else
            order(i, CMD_REPORT);
    }
    for (int i = 0; i < n; i++) {
        order(i, CMD_REPORT);
        order(i, CMD_QUIT);
    }
    report("after threads", 0);
}

/* glibc's own calls, which reach every thread. */
static void op_broadcast(void)
{
    int n = start_workers(), calls = 1 + (int)rnd(3);
    say("%d threads, libc calls", n);
    while (calls-- > 0) {
        uint32_t a = random_id(0), b = random_id(0), c = random_id(0);
        gid_t groups[4] = {IDS[rnd(N_IDS - 1)], IDS[rnd(N_IDS - 1)], 7, 3};
        size_t size = rnd(5);
        unsigned k = rnd(10);
        int r = 0;
        static const char *const NAMES[] = {"setuid", "seteuid", "setgid", "setegid", "setresuid",
                                            "setresgid", "setreuid", "setregid", "setgroups", "setgroups"};
        switch (k) {
        case 0: r = setuid(a); break;
        case 1: r = seteuid(a); break;
        case 2: r = setgid(a); break;
        case 3: r = setegid(a); break;
        case 4: r = setresuid(a, b, c); break;
        case 5: r = setresgid(a, b, c); break;
        case 6: r = setreuid(a, b); break;
        case 7: r = setregid(a, b); break;
        default: r = setgroups(size, groups); break;
        }
        show(r ? -errno : 0, "libc %s(%u,%u,%u / %zu)", NAMES[k], a, b, c, size);
        report("main", 0);
        for (int i = 0; i < n; i++)
            order(i, CMD_REPORT);
    }
    for (int i = 0; i < n; i++)
        order(i, CMD_QUIT);
}

/* A thread made by clone(2) alone, unknown to glibc. */
static volatile int clone_tid;
static int clone_flags_now;

static int clone_main(void *arg)
{
    (void)arg;
    thread_name = clone_flags_now & CLONE_THREAD ? "/c" : "/vm";
    report("cloned", 0);
    cred_ops(2 + (int)rnd(2));
    if ((clone_flags_now & CLONE_THREAD) == 0)
        sc1(__NR_exit_group, 9);
    sc1(__NR_exit, 9);
    return 0;
}

static void op_clone_thread(void)
{
    static const int KINDS[] = {
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID,
        CLONE_VM | CLONE_VFORK | SIGCHLD,
        CLONE_VM | SIGCHLD,
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND,
    };
    size_t size = 256 * 1024;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return;
    clone_flags_now = PICK(KINDS);
    clone_tid = 1;
    const char *keep = thread_name;
    int pid = clone(clone_main, stack + size - 64, clone_flags_now, NULL, NULL, NULL, &clone_tid);
    if (pid < 0) {
        thread_name = keep;
        show(-errno, "clone");
    } else if (clone_flags_now & CLONE_THREAD) {
        while (clone_tid)
            sc4(__NR_futex, &clone_tid, FUTEX_WAIT, clone_tid, 0);
        thread_name = keep;
        say("cloned thread ended");
    } else {
        int st = 0;
        while (sc4(__NR_wait4, pid, &st, __WALL, 0) == -EINTR)
            ;
        thread_name = keep;
        say("cloned process ended %d", WIFEXITED(st) ? WEXITSTATUS(st) : -1);
    }
    munmap(stack, size);
    report("after clone", 0);
}

/* The leader of the group ends first and stays a zombie; its other thread goes on, and may exec. */
static void *survivor_main(void *arg)
{
    thread_name = "/s";
    char path[64], text[256], *state = NULL;
    int me = *(int *)arg;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", me);
    for (int tries = 0; tries < 2000; tries++) {
        int fd = open(path, O_RDONLY);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
        if (fd >= 0)
            close(fd);
        text[n > 0 ? n : 0] = 0;
        state = strrchr(text, ')');
        if (n <= 0 || (state && state[2] == 'Z'))
            break;
        usleep(500);
    }
    report("survivor", 0);
    cred_ops(2);
    if (depth < 3)
        op_fork();
    if (one_in(2))
        op_exec();
    report("survivor ends", 0);
    sc1(__NR_exit_group, 6);
    return NULL;
}

static void op_leader_exit(void)
{
    unsigned n = child_count++;
    uint64_t state = rnd64();
    int me = pid_self();
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        static int self;
        parent_pid = me;
        become("l", n, state);
        child_count = 0;
        self = tid_self();
        if (one_in(2))
            cred_ops(1);
        if (pthread_create(&t, NULL, survivor_main, &self))
            sc1(__NR_exit_group, 116);
        sc1(__NR_exit, 8);
    }
    wait_for(pid, "leaderless child");
}
