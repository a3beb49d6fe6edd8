/* The calls of errors.c about tasks: included by it once. */

static const unsigned ID[] = {0, 1, 1000, 65534, 65535, 65536, 0x7fffffffu, 0xfffffffeu, ~0u};

static void show_ids(void)
{
    uint32_t u[3] = {9, 9, 9}, g[3] = {9, 9, 9};
    sc3(WIDE(getresuid), &u[0], &u[1], &u[2]);
    sc3(WIDE(getresgid), &g[0], &g[1], &g[2]);
    say("    %u %u %u, %u %u %u", u[0], u[1], u[2], g[0], g[1], g[2]);
}

/* What changes credentials is tried in a child, so that the next call finds the actor as it was. */
static int in_child(void (*call)(int), int i)
{
    int st;
    pid_t pid = fork();
    if (pid == 0) {
        call(i);
        show_ids();
        sc1(__NR_exit_group, 0);
    }
    waitpid(pid, &st, 0);
    if (st)
        say("    ended with %d", st);
    return 0;
}

static void set_ids(int i)
{
    unsigned a = ID[i / 16 % N(ID)], b = ID[(i / 16 + 2) % N(ID)], c = ID[(i / 16 + 4) % N(ID)];
    switch (i % 16) {
    case 0: show(sc1(WIDE(setuid), a), "setuid(%u)", a); break;
    case 1: show(sc1(WIDE(setgid), a), "setgid(%u)", a); break;
    case 2: show(sc2(WIDE(setreuid), a, b), "setreuid(%u, %u)", a, b); break;
    case 3: show(sc2(WIDE(setregid), a, b), "setregid(%u, %u)", a, b); break;
    case 4: show(sc3(WIDE(setresuid), a, b, c), "setresuid(%u, %u, %u)", a, b, c); break;
    case 5: show(sc3(WIDE(setresgid), a, b, c), "setresgid(%u, %u, %u)", a, b, c); break;
    case 6: show_id(sc1(WIDE(setfsuid), a), "setfsuid(%u)", a), show_id(sc1(WIDE(setfsuid), ~0u), "    then"); break;
    case 7: show_id(sc1(WIDE(setfsgid), a), "setfsgid(%u)", a), show_id(sc1(WIDE(setfsgid), ~0u), "    then"); break;
    case 8: show(sc2(WIDE(setreuid), ~0u, a), "setreuid(-1, %u)", a); break;
    case 9: show(sc2(WIDE(setreuid), a, ~0u), "setreuid(%u, -1)", a); break;
    case 10: show(sc3(WIDE(setresuid), ~0u, ~0u, a), "setresuid(-1, -1, %u)", a); break;
    case 11: show(sc3(WIDE(setresgid), ~0u, a, ~0u), "setresgid(-1, %u, -1)", a); break;
#ifdef __i386__
    case 12: show(sc1(__NR_setuid, a), "setuid16(%u)", a); break;
    case 13: show(sc2(__NR_setregid, a, b), "setregid16(%u, %u)", a, b); break;
    case 14: show(sc3(__NR_setresuid, a, b, c), "setresuid16(%u, %u, %u)", a, b, c); break;
    case 15: show_id(sc1(__NR_setfsuid, a), "setfsuid16(%u)", a); break;
#endif
    default: break;
    }
}

static void groups(int i)
{
    static const int SIZES[] = {0, 1, 2, 3, 65536, 65537, -1, INT32_MIN, INT32_MAX};
    static uint32_t list[65540], back[65540];
    int size = SIZES[i / 6 % N(SIZES)];
    list[0] = 9, list[1] = 7, list[2] = 7;
    switch (i % 6) {
    case 0: show(sc2(WIDE(setgroups), size, list), "setgroups(%d)", size); break;
    case 1: show(sc2(WIDE(setgroups), size, BAD), "setgroups(%d, BAD)", size); break;
    case 2: show(sc2(WIDE(getgroups), size, back), "getgroups(%d)", size); break;
    case 3: show(sc2(WIDE(getgroups), size, BAD), "getgroups(%d, BAD)", size); break;
    case 4:
        list[1] = ~0u;
        show(sc2(WIDE(setgroups), size, list), "setgroups(%d, with -1)", size);
        break;
    default:
        sc2(WIDE(setgroups), 3, list);
        show(sc2(WIDE(getgroups), size, back), "getgroups(%d) of three", size);
        say("    %u %u %u", back[0], back[1], back[2]);
        break;
    }
    long n = sc2(WIDE(getgroups), 65536, back);
    say("    %ld: %u %u", n, n > 0 ? back[0] : 0, n > 1 ? back[1] : 0);
}

static void pointers(int i)
{
    uint32_t v[3] = {5, 5, 5};
    void *p[3] = {&v[0], &v[1], &v[2]};
    p[i % 3] = i / 3 % 2 ? NULL : BAD;
    int group = i / 6 % 2;
    show(sc3(group ? WIDE(getresgid) : WIDE(getresuid), p[0], p[1], p[2]), "getres%cid(%d is bad)", group ? 'g' : 'u', i % 3);
    say("    %u %u %u", v[0], v[1], v[2]);
}

static const unsigned VERSIONS[] = {_LINUX_CAPABILITY_VERSION_1, _LINUX_CAPABILITY_VERSION_2, _LINUX_CAPABILITY_VERSION_3, 0, ~0u, 0x20080523};

static void capabilities(int i)
{
    unsigned version = VERSIONS[i % N(VERSIONS)];
    int k = i / N(VERSIONS);
    pid_t other = 0;
    if (k % 10 >= 8 && (other = fork()) == 0) {
        pause();
        _exit(0);
    }
    static const int PIDS[] = {0, 0, 0, 0, -1, INT32_MIN, INT32_MAX, 0, 0, 0};
    struct __user_cap_header_struct h = {version, other ? other : PIDS[k % 10]};
    struct __user_cap_data_struct d[2] = {{0, 0, 0}, {0, 0, 0}};
    const char *who = other ? "a child" : h.pid == 0 ? "self" : h.pid < 0 ? "negative" : "nobody";
    switch (k % 10) {
    case 0: show(sc2(__NR_capget, &h, d), "capget(%x)", version); break;
    case 1: show(sc2(__NR_capget, &h, NULL), "capget(%x, NULL)", version); break;
    case 2: show(sc2(__NR_capget, &h, BAD), "capget(%x, BAD)", version); break;
    case 3: show(sc2(__NR_capset, &h, BAD), "capset(%x, BAD)", version); break;
    case 7: show(sc2(__NR_capset, &h, NULL), "capset(%x, NULL)", version); break;
    case 9: show(sc2(__NR_capset, &h, d), "capset(%x, %s)", version, who); break;
    default: show(sc2(__NR_capget, &h, d), "capget(%x, %s)", version, who); break;
    }
    uint32_t low = (uint32_t)cap_mask, high = (uint32_t)(cap_mask >> 32);
    say("    version now %x; %x %x %x, %x", h.version, d[0].effective & low, d[0].permitted & low, d[0].inheritable & low,
        d[1].permitted & high);
    show(sc2(__NR_capget, BAD, d), "capget(BAD)");
    show(sc2(__NR_capset, BAD, d), "capset(BAD)");
    if (other)
        kill(other, SIGKILL), waitpid(other, NULL, 0);
}

static void control(int i)
{
    static const int OPTIONS[] = {PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP,
                                  PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_GET_TIMERSLACK};
    static const long ARGUMENTS[] = {0, 1, 2, 3, 8, 16, 32, 40, 41, 63, 64, 255, 256, -1, 0x10000};
    int option = OPTIONS[i % N(OPTIONS)];
    long a = ARGUMENTS[i / N(OPTIONS) % N(ARGUMENTS)];
    if ((option == PR_CAPBSET_READ || option == PR_CAPBSET_DROP) && a == 41)
        return;
    show(sc5(__NR_prctl, option, a, 0, 0, 0), "prctl(%d, %ld)", option, a);
    show(sc5(__NR_prctl, option, a, 1, 0, 0), "prctl(%d, %ld, 1)", option, a);
    show(sc5(__NR_prctl, option, a, 0, 0, 7), "prctl(%d, %ld, 0, 0, 7)", option, a);
    for (int k = 0; k < N(OPTIONS); k++)
        if (strchr("\3\7\33\47", OPTIONS[k]))
            say("    %d: %ld", OPTIONS[k], sc5(__NR_prctl, OPTIONS[k], 0, 0, 0, 0));
}

static void ambient(int i)
{
    static const long ACTIONS[] = {0, 1, 2, 3, 4, 5, -1};
    static const long CAPS[] = {0, 7, 40, 64, -1, 1000};
    long action = ACTIONS[i % N(ACTIONS)], cap = CAPS[i / N(ACTIONS) % N(CAPS)];
    show(sc5(__NR_prctl, PR_CAP_AMBIENT, action, cap, 0, 0), "ambient(%ld, %ld)", action, cap);
    show(sc5(__NR_prctl, PR_CAP_AMBIENT, action, cap, 1, 0), "ambient(%ld, %ld, 1)", action, cap);
    show(sc5(__NR_prctl, PR_CAP_AMBIENT, action, cap, 0, 1), "ambient(%ld, %ld, 0, 1)", action, cap);
}

static void others(int i)
{
    static const int PIDS[] = {0, -1, INT32_MIN + 1, INT32_MAX, 4194304};
    int pid = PIDS[i % N(PIDS)];
    char area[128] = {0};
    struct rlimit limit = {10, 5};
    memset(area, 0, sizeof area);
    switch (i / N(PIDS)) {
    case 0: show(sc2(__NR_getpriority, 0, pid), "getpriority(0, %d)", pid); break;
    case 1: show(sc2(__NR_getpriority, 3, pid), "getpriority(3, %d)", pid); break;
    case 2: show(sc3(__NR_setpriority, 0, pid, 0), "setpriority(0, %d, 0)", pid); break;
    case 3: show(sc3(__NR_setpriority, -1, pid, 0), "setpriority(-1, %d, 0)", pid); break;
    case 4: show(sc3(__NR_setpriority, 0, pid, 100), "setpriority(0, %d, 100)", pid), show(sc2(__NR_getpriority, 0, 0), "    then"); break;
    case 5: show(sc3(__NR_setpriority, 0, pid, -100), "setpriority(0, %d, -100)", pid), show(sc2(__NR_getpriority, 0, 0), "    then"); break;
    case 6: show(sc2(__NR_sched_getparam, pid, area), "sched_getparam(%d)", pid); break;
    case 7: show(sc2(__NR_sched_getparam, pid, NULL), "sched_getparam(%d, NULL)", pid); break;
    case 8: show(sc2(__NR_sched_getparam, pid, BAD), "sched_getparam(%d, BAD)", pid); break;
    case 9: show(sc1(__NR_sched_getscheduler, pid), "sched_getscheduler(%d)", pid); break;
    case 10: show(sc3(__NR_sched_setscheduler, pid, 0, area), "sched_setscheduler(%d, 0)", pid); break;
    case 11: show(sc3(__NR_sched_setscheduler, pid, 77, area), "sched_setscheduler(%d, 77)", pid); break;
    case 12: show(sc3(__NR_sched_setscheduler, pid, -1, area), "sched_setscheduler(%d, -1)", pid); break;
    case 13: show(sc3(__NR_sched_setscheduler, pid, 1, NULL), "sched_setscheduler(%d, 1, NULL)", pid); break;
    case 14: show(sc3(__NR_sched_setscheduler, pid, 1, BAD), "sched_setscheduler(%d, 1, BAD)", pid); break;
    case 15: show(sc3(__NR_sched_setscheduler, pid, 1, area), "sched_setscheduler(%d, 1, 0)", pid); break;
    case 16: *(int *)area = 100; show(sc3(__NR_sched_setscheduler, pid, 1, area), "sched_setscheduler(%d, 1, 100)", pid); break;
    case 17: *(int *)area = 5; show(sc3(__NR_sched_setscheduler, pid, 0, area), "sched_setscheduler(%d, 0, 5)", pid); break;
    case 18: *(int *)area = 5; show(sc2(__NR_sched_setparam, pid, area), "sched_setparam(%d, 5)", pid); break;
    case 19: show(sc2(__NR_sched_setparam, pid, NULL), "sched_setparam(%d, NULL)", pid); break;
    case 20: show(sc2(__NR_sched_setparam, pid, BAD), "sched_setparam(%d, BAD)", pid); break;
    case 21: *(int *)area = 48; show(sc3(__NR_sched_setattr, pid, area, 0), "sched_setattr(%d)", pid); break;
    case 22: *(int *)area = 48; show(sc3(__NR_sched_setattr, pid, area, 1), "sched_setattr(%d, flags 1)", pid); break;
    case 23: *(int *)area = 47; show(sc3(__NR_sched_setattr, pid, area, 0), "sched_setattr(%d, size 47) %d", pid, *(int *)area); break;
    case 24: *(int *)area = 5000; show(sc3(__NR_sched_setattr, pid, area, 0), "sched_setattr(%d, size 5000) %d", pid, *(int *)area); break;
    case 25: show(sc3(__NR_sched_setattr, pid, NULL, 0), "sched_setattr(%d, NULL)", pid); break;
    case 26: show(sc4(__NR_sched_getattr, pid, area, 48, 0), "sched_getattr(%d, 48) %d", pid, *(int *)area); break;
    case 27: show(sc4(__NR_sched_getattr, pid, area, 47, 0), "sched_getattr(%d, 47)", pid); break;
    case 28: show(sc4(__NR_sched_getattr, pid, area, 5000, 0), "sched_getattr(%d, 5000)", pid); break;
    case 29: show(sc4(__NR_sched_getattr, pid, area, 48, 1), "sched_getattr(%d, flags 1)", pid); break;
    case 30: show(sc4(__NR_sched_getattr, pid, BAD, 48, 0), "sched_getattr(%d, BAD)", pid); break;
    case 31: show(sc2(__NR_ioprio_get, 1, pid), "ioprio_get(1, %d)", pid); break;
    case 32: show(sc2(__NR_ioprio_get, 9, pid), "ioprio_get(9, %d)", pid); break;
    case 33: show(sc3(__NR_ioprio_set, 1, pid, 1 << 13 | 4), "ioprio_set(1, %d, RT 4)", pid), show(sc2(__NR_ioprio_get, 1, 0), "    then"); break;
    case 34: show(sc3(__NR_ioprio_set, 1, pid, 1 << 13 | 9), "ioprio_set(1, %d, RT 9)", pid); break;
    case 35: show(sc3(__NR_ioprio_set, 1, pid, 5 << 13), "ioprio_set(1, %d, class 5)", pid); break;
    case 36: show(sc3(__NR_ioprio_set, 1, pid, 3), "ioprio_set(1, %d, 3)", pid); break;
    case 37: show(sc3(__NR_ioprio_set, 1, pid, 3 << 13), "ioprio_set(1, %d, IDLE)", pid), show(sc2(__NR_ioprio_get, 1, 0), "    then"); break;
    case 38: show(sc3(__NR_sched_setaffinity, pid, 0, area), "sched_setaffinity(%d, 0)", pid); break;
    case 39: show(sc3(__NR_sched_setaffinity, pid, 8, area), "sched_setaffinity(%d, none)", pid); break;
    case 40: show(sc3(__NR_sched_setaffinity, pid, 8, BAD), "sched_setaffinity(%d, BAD)", pid); break;
    case 41: show(sc4(__NR_prlimit64, pid, 99, NULL, NULL), "prlimit(%d, 99)", pid); break;
    case 42: show(sc4(__NR_prlimit64, pid, 7, NULL, area), "prlimit(%d, NOFILE)", pid); break;
    case 43: show(sc4(__NR_prlimit64, pid, 7, NULL, BAD), "prlimit(%d, NOFILE, BAD)", pid); break;
    case 44: show(sc4(__NR_prlimit64, pid, 7, BAD, NULL), "prlimit(%d, NOFILE = BAD)", pid); break;
    case 45: ((uint64_t *)area)[0] = 10, ((uint64_t *)area)[1] = 5; show(sc4(__NR_prlimit64, pid, 7, area, NULL), "prlimit(%d, NOFILE 10/5)", pid); break;
    case 46: ((uint64_t *)area)[0] = 5, ((uint64_t *)area)[1] = 5; show(sc4(__NR_prlimit64, pid, 15, area, area), "prlimit(%d, RTTIME 5/5) %llu", pid, *(unsigned long long *)area); break;
    case 47: ((uint64_t *)area)[0] = 10, ((uint64_t *)area)[1] = 5; show(sc4(__NR_prlimit64, pid, 15, area, NULL), "prlimit(%d, RTTIME 10/5)", pid); break;
    case 48: show(sc4(__NR_prlimit64, pid, 15, BAD, NULL), "prlimit(%d, RTTIME = BAD)", pid); break;
    case 49: show(sc4(__NR_prlimit64, pid, 15, NULL, BAD), "prlimit(%d, RTTIME, BAD)", pid); break;
    case 50: show(sc2(__NR_setrlimit, 15, &limit), "setrlimit(RTTIME 10/5)"); break;
    case 51: show(sc2(__NR_setrlimit, 15, BAD), "setrlimit(RTTIME, BAD)"); break;
    case 52: show(sc2(__NR_getrlimit, 15, BAD), "getrlimit(RTTIME, BAD)"); break;
    case 53: show(sc2(__NR_setrlimit, 99, &limit), "setrlimit(99)"); break;
    case 54: limit.rlim_max = 10; show(sc2(__NR_setrlimit, 15, &limit), "setrlimit(RTTIME 10/10)"); sc2(__NR_getrlimit, 15, &limit); say("    %ld %ld", (long)limit.rlim_cur, (long)limit.rlim_max); break;
    case 55: if (pid > 0) show(sc2(__NR_kill, pid, 0), "kill(%d, 0)", pid); break;
    case 56: if (pid > 0) show(sc2(__NR_kill, pid, 65), "kill(%d, 65)", pid); break;
    case 57: show(sc2(__NR_kill, sc0(__NR_getpid), 65), "kill(self, 65)"); break;
    case 58: show(sc2(__NR_kill, sc0(__NR_getpid), -1), "kill(self, -1)"); break;
    case 59: show(sc2(__NR_kill, sc0(__NR_getpid), 0), "kill(self, 0)"); break;
    case 60: if (pid != 0) show(sc2(__NR_tkill, pid, 0), "tkill(%d, 0)", pid); break;
    case 61: show(sc2(__NR_tkill, sc0(__NR_gettid), 65), "tkill(self, 65)"); break;
    case 62: show(sc3(__NR_tgkill, pid, sc0(__NR_gettid), 0), "tgkill(%d, self, 0)", pid); break;
    case 63: show(sc3(__NR_tgkill, sc0(__NR_getpid), pid, 0), "tgkill(self, %d, 0)", pid); break;
    case 64: show(sc3(__NR_rt_sigqueueinfo, pid, 0, area), "rt_sigqueueinfo(%d)", pid); break;
    case 65: if (pid != 0) show(sc3(__NR_rt_sigqueueinfo, pid, 0, BAD), "rt_sigqueueinfo(%d, BAD)", pid); break;
    case 66: show(sc4(424, FDS[i % N(PIDS)], 0, NULL, 0), "pidfd_send_signal(a file)"); break;
    case 67: show(sc4(424, 99, 0, NULL, 0), "pidfd_send_signal(99)"); break;
    case 68: { long p = sc2(434, sc0(__NR_getpid), 0); show(sc4(424, p, 0, NULL, 1), "pidfd_send_signal(flags 1)"); show(sc4(424, p, 0, NULL, 99), "pidfd_send_signal(flags 99)"); show(sc4(424, p, 65, NULL, 0), "pidfd_send_signal(65)"); show(sc4(424, p, 0, BAD, 0), "pidfd_send_signal(BAD)"); } break;
    case 69: show(sc1(__NR_chroot, pid ? "nowhere" : (char *)NULL), "chroot(%d)", pid); break;
    case 70: if (!refusable()) show(sc1(__NR_chroot, pid ? "f" : "d"), "chroot(%d)", pid); break;
    case 71: show(sc1(__NR_unshare, pid), "unshare(%d)", pid); break;
    default: break;
    }
}

#define SET_IDS (16 * N(ID))
#define GROUPS (6 * 9)
#define POINTERS 12
#define CAPABILITIES (10 * N(VERSIONS))
#define CONTROL (11 * 15)
#define AMBIENT (7 * 6)
#define OTHERS (5 * 71)
static int count_tasks(void) { return SET_IDS + GROUPS + POINTERS + CAPABILITIES + CONTROL + AMBIENT + OTHERS; }
static int call_tasks(int i)
{
    if (i < SET_IDS) return in_child(set_ids, i);
    if ((i -= SET_IDS) < GROUPS) return in_child(groups, i);
    if ((i -= GROUPS) < POINTERS) return in_child(pointers, i);
    if ((i -= POINTERS) < CAPABILITIES) return in_child(capabilities, i);
    if ((i -= CAPABILITIES) < CONTROL) return in_child(control, i);
    if ((i -= CONTROL) < AMBIENT) return in_child(ambient, i);
    return in_child(others, i - AMBIENT);
}
