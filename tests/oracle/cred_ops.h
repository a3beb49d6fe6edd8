/* Random credential calls of one task, and the report of what it is told about itself. */
#ifndef ORACLE_CRED_OPS_H
#define ORACLE_CRED_OPS_H
#include "common.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const uint32_t IDS[] = {0, 1, 2, 33, 42, 1000, 65534, 65535, 65536, 100000, 0xFFFFFFFEu, 0xFFFFFFFFu};
#define N_IDS (sizeof IDS / sizeof IDS[0])

/* Capabilities both sides have at the start; the others are neither asked for nor printed. */
static uint64_t cap_mask = 0x1fffeffffffull;
static int extras; /* also compare /proc/self/status and SO_PEERCRED */

/* Numbers that differ by id width: W(setuid) is one of the 16-bit and 32-bit calls on i386. */
#ifdef __i386__
static int narrow;
#define W(name) (narrow ? __NR_##name : __NR_##name##32)
#define WTAG (narrow ? "16" : "32")
static void pick_width(void) { narrow = one_in(3); }
#else
#define narrow 0
#define W(name) __NR_##name
#define WTAG ""
static void pick_width(void) {}
#endif

static uint32_t current_id(int group)
{
    uint32_t id[3] = {0, 0, 0};
#ifdef __i386__
    sc3(group ? __NR_getresgid32 : __NR_getresuid32, &id[0], &id[1], &id[2]);
#else
    sc3(group ? __NR_getresgid : __NR_getresuid, &id[0], &id[1], &id[2]);
#endif
    return id[rnd(3)];
}

static uint32_t random_id(int group)
{
    unsigned k = rnd(10);
    if (k < 3)
        return current_id(group);
    if (k < 5)
        return 0xFFFFFFFFu;
    return PICK(IDS);
}

static uint64_t fnv(const uint32_t *v, long n)
{
    uint64_t h = 1469598103934665603ull;
    for (long i = 0; i < n; i++)
        h = (h ^ v[i]) * 1099511628211ull;
    return h;
}

static void list_text(char *buf, size_t size, const uint32_t *v, long n)
{
    if (n > 12) {
        snprintf(buf, size, "#%ld:%016llx", n, (unsigned long long)fnv(v, n));
        return;
    }
    int at = snprintf(buf, size, "[");
    for (long i = 0; i < n; i++)
        at += snprintf(buf + at, size - (size_t)at, "%s%u", i ? "," : "", v[i]);
    snprintf(buf + at, size - (size_t)at, "]");
}

#define MANY 65540
static uint32_t big_list[MANY];
static uint32_t out_list[MANY];

static uint64_t caps_of(const struct __user_cap_data_struct *d, int which)
{
    uint32_t lo = which == 0 ? d[0].effective : which == 1 ? d[0].permitted : d[0].inheritable;
    uint32_t hi = which == 0 ? d[1].effective : which == 1 ? d[1].permitted : d[1].inheritable;
    return (((uint64_t)hi << 32) | lo) & cap_mask;
}

static uint64_t ambient_set(void)
{
    uint64_t set = 0;
    for (int c = 0; c <= 40; c++)
        if ((cap_mask >> c & 1) && sc5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1)
            set |= 1ull << c;
    return set;
}

static uint64_t bounding_set(void)
{
    uint64_t set = 0;
    for (int c = 0; c <= 40; c++)
        if ((cap_mask >> c & 1) && sc5(__NR_prctl, PR_CAPBSET_READ, c, 0, 0, 0) == 1)
            set |= 1ull << c;
    return set;
}

static void report_status(void);

/* What the task is told about itself.  full: also the sets that need many calls. */
static void report(const char *why, int full)
{
    uint32_t u[3] = {7, 7, 7}, g[3] = {7, 7, 7};
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    char groups[256];
#ifdef __i386__
    sc3(__NR_getresuid32, &u[0], &u[1], &u[2]);
    sc3(__NR_getresgid32, &g[0], &g[1], &g[2]);
    unsigned fu = (unsigned)sc1(__NR_setfsuid32, -1), fg = (unsigned)sc1(__NR_setfsgid32, -1);
    long n = sc2(__NR_getgroups32, MANY, out_list);
#else
    sc3(__NR_getresuid, &u[0], &u[1], &u[2]);
    sc3(__NR_getresgid, &g[0], &g[1], &g[2]);
    unsigned fu = (unsigned)sc1(__NR_setfsuid, -1), fg = (unsigned)sc1(__NR_setfsgid, -1);
    long n = sc2(__NR_getgroups, MANY, out_list);
#endif
    memset(d, 0, sizeof d);
    long cg = sc2(__NR_capget, &h, d);
    if (n >= 0)
        list_text(groups, sizeof groups, out_list, n);
    else
        snprintf(groups, sizeof groups, "%s", err_name(n));
    say("%s uid %u/%u/%u/%u gid %u/%u/%u/%u groups %s", why, u[0], u[1], u[2], fu, g[0], g[1], g[2], fg, groups);
    say("%s caps%s e=%llx p=%llx i=%llx secbits=%ld keep=%ld nnp=%ld slack=%ld", why, cg ? " ERR" : "",
        (unsigned long long)caps_of(d, 0), (unsigned long long)caps_of(d, 1), (unsigned long long)caps_of(d, 2),
        sc5(__NR_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0), sc5(__NR_prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0),
        sc5(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), sc5(__NR_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0));
    if (full)
        say("%s ambient=%llx bounding=%llx", why, (unsigned long long)ambient_set(),
            (unsigned long long)bounding_set());
    if (full && extras)
        report_status();
}

static void op_set_id(void)
{
    unsigned k = rnd(8);
    int group = k & 1;
    uint32_t a = random_id(group), b = random_id(group), c = random_id(group);
    pick_width();
    switch (k) {
    case 0: show(sc1(W(setuid), a), "setuid%s(%u)", WTAG, a); break;
    case 1: show(sc1(W(setgid), a), "setgid%s(%u)", WTAG, a); break;
    case 2: show(sc2(W(setreuid), a, b), "setreuid%s(%u,%u)", WTAG, a, b); break;
    case 3: show(sc2(W(setregid), a, b), "setregid%s(%u,%u)", WTAG, a, b); break;
    case 4: show(sc3(W(setresuid), a, b, c), "setresuid%s(%u,%u,%u)", WTAG, a, b, c); break;
    case 5: show(sc3(W(setresgid), a, b, c), "setresgid%s(%u,%u,%u)", WTAG, a, b, c); break;
    case 6: show_id(sc1(W(setfsuid), a), "setfsuid%s(%u)", WTAG, a); break;
    case 7: show_id(sc1(W(setfsgid), a), "setfsgid%s(%u)", WTAG, a); break;
    }
}

#ifdef HAVE_INT80
static const struct { int nr16, nr32, n; const char *name; } INT80[] = {
    {23, 213, 1, "setuid"}, {46, 214, 1, "setgid"}, {70, 203, 2, "setreuid"}, {71, 204, 2, "setregid"},
    {164, 208, 3, "setresuid"}, {170, 210, 3, "setresgid"}, {138, 215, 1, "setfsuid"}, {139, 216, 1, "setfsgid"},
    {24, 199, 0, "getuid"}, {47, 200, 0, "getgid"}, {49, 201, 0, "geteuid"}, {50, 202, 0, "getegid"},
};
static void op_int80(void)
{
    unsigned k = rnd(sizeof INT80 / sizeof INT80[0]);
    int wide = !one_in(3);
    uint32_t a = random_id(k & 1), b = random_id(k & 1), c = random_id(k & 1);
    long r = sc_int80(wide ? INT80[k].nr32 : INT80[k].nr16, (long)a, (long)b, (long)c);
    if (k >= 6)
        show_id(r, "int80 %s%s(%u)", INT80[k].name, wide ? "32" : "16", a);
    else
        show(r, "int80 %s%s(%u,%u,%u)", INT80[k].name, wide ? "32" : "16", a, b, c);
}
#endif

static void op_get_id(void)
{
    pick_width();
    switch (rnd(7)) {
    case 0: show_id(sc0(W(getuid)), "getuid%s()", WTAG); return;
    case 1: show_id(sc0(W(geteuid)), "geteuid%s()", WTAG); return;
    case 2: show_id(sc0(W(getgid)), "getgid%s()", WTAG); return;
    case 3: show_id(sc0(W(getegid)), "getegid%s()", WTAG); return;
    default: break;
    }
    uint32_t v[3] = {0xAAAAAAAAu, 0xBBBBBBBBu, 0xCCCCCCCCu};
    void *p[3] = {&v[0], &v[1], &v[2]};
    int bad = (int)rnd(5), group = (int)rnd(2);
    if (bad < 3)
        p[bad] = one_in(3) ? NULL : BAD_POINTER;
    show(sc3(group ? W(getresgid) : W(getresuid), p[0], p[1], p[2]), "getres%cid%s(bad %d)", group ? 'g' : 'u', WTAG,
         bad);
    say("  -> %x %x %x", v[0], v[1], v[2]);
}

static void op_setgroups(void)
{
    static const int SIZES[] = {0, 0, 1, 1, 2, 3, 5, 8, 12, 13, 40, 1000, 65535, 65536, 65537, -1, INT32_MIN};
    int size = PICK(SIZES);
    char text[256];
    pick_width();
    int fill = size < 0 || size > 65536 ? 0 : size;
    for (int i = 0; i < fill; i++)
        big_list[i] = fill > 100 ? rnd(200000) : one_in(30) ? 0xFFFFFFFFu : IDS[rnd(N_IDS - 1)];
    if (fill > 1 && one_in(2))
        big_list[fill - 1] = big_list[0];
    if (narrow)
        for (int i = 0; i < fill; i++) {
            uint16_t half = (uint16_t)big_list[i];
            memcpy((char *)big_list + 2 * i, &half, 2);
        }
    list_text(text, sizeof text, big_list, narrow ? fill / 2 : fill);
    switch (rnd(8)) {
    case 0: show(sc2(W(setgroups), size, BAD_POINTER), "setgroups%s(%d, bad)", WTAG, size); return;
    case 1: show(sc2(W(setgroups), size, NULL), "setgroups%s(%d, NULL)", WTAG, size); return;
    default: show(sc2(W(setgroups), size, big_list), "setgroups%s(%d, %s)", WTAG, size, text); return;
    }
}

/* A list that starts readable and ends in a page that is not there. */
static void op_straddle(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return;
    munmap(page + 4096, 4096);
    uint32_t *list = (uint32_t *)(void *)(page + 4096 - 8);
    list[0] = 5, list[1] = 4;
    pick_width();
    int size = (int)rnd(4) + (narrow ? 2 : 0);
    show(sc2(W(setgroups), size, list), "setgroups%s(%d, straddling)", WTAG, size);
    if (!narrow) {
        show(sc3(W(getresuid), list, list + 1, list + 2), "getresuid(straddling)");
        say("  -> %u %u", list[0], list[1]);
    }
    struct __user_cap_header_struct *h = (void *)(page + 4096 - 4);
    h->version = _LINUX_CAPABILITY_VERSION_3;
    show(sc2(__NR_capget, h, big_list), "capget(straddling header)");
    munmap(page, 4096);
}

static void op_getgroups(void)
{
    static const int SIZES[] = {0, 0, 1, 2, 3, 8, 1000, 65536, 65537, -1, INT32_MIN, INT32_MAX};
    static const char readonly[64] = "x";
    int size = PICK(SIZES);
    char text[256];
    pick_width();
    switch (rnd(6)) {
    case 0: show(sc2(W(getgroups), size, BAD_POINTER), "getgroups%s(%d, bad)", WTAG, size); return;
    case 1: show(sc2(W(getgroups), size, NULL), "getgroups%s(%d, NULL)", WTAG, size); return;
    case 2: show(sc2(W(getgroups), size, readonly), "getgroups%s(%d, readonly)", WTAG, size); return;
    default: break;
    }
    memset(out_list, 0xEE, 4 * 16);
    long n = show(sc2(W(getgroups), size, out_list), "getgroups%s(%d)", WTAG, size);
    if (n >= 0 && size > 0) {
        list_text(text, sizeof text, out_list, narrow ? n / 2 : n);
        say("  -> %s", text);
    }
}

static uint64_t random_caps(uint64_t base)
{
    static const uint64_t SETS[] = {0, ~0ull, 1ull << CAP_SETUID, 1ull << CAP_SETGID,
                                    (1ull << CAP_SETUID) | (1ull << CAP_SETGID) | (1ull << CAP_SETPCAP),
                                    1ull << CAP_CHOWN, 0xffffffffull, 1ull << 63};
    switch (rnd(5)) {
    case 0: return base & cap_mask;
    case 1: return base & ~(1ull << rnd(41)) & cap_mask;
    case 2: return base & rnd64() & cap_mask;
    case 3: return (base | 1ull << rnd(64)) & (cap_mask | ~((1ull << 41) - 1));
    default: return PICK(SETS) & (cap_mask | ~((1ull << 41) - 1));
    }
}

static const uint32_t VERSIONS[] = {_LINUX_CAPABILITY_VERSION_3, _LINUX_CAPABILITY_VERSION_3,
                                    _LINUX_CAPABILITY_VERSION_3, _LINUX_CAPABILITY_VERSION_2,
                                    _LINUX_CAPABILITY_VERSION_1, 0, 0x12345678};

static void show_capget(int pid, const char *who)
{
    struct __user_cap_header_struct h = {PICK(VERSIONS), pid};
    struct __user_cap_data_struct d[2];
    memset(d, 0, sizeof d);
    uint32_t asked = h.version;
    void *data = one_in(8) ? NULL : one_in(8) ? BAD_POINTER : (void *)d;
    void *head = one_in(12) ? BAD_POINTER : (void *)&h;
    const char *kind = head != &h ? "bad header" : !data ? "NULL" : data != d ? "bad data" : "ok";
    show(sc2(__NR_capget, head, data), "capget(%x, %s, %s)", asked, who, kind);
    say("  -> version %x e=%llx p=%llx i=%llx", h.version, (unsigned long long)caps_of(d, 0),
        (unsigned long long)caps_of(d, 1), (unsigned long long)caps_of(d, 2));
}

static void op_caps(int self)
{
    if (one_in(3)) {
        static const int BAD_PIDS[] = {-1, INT32_MIN, 0x7FFFFFFF};
        if (one_in(3)) {
            int pid = PICK(BAD_PIDS);
            show_capget(pid, pid < 0 ? "negative" : "absent");
        } else {
            show_capget(one_in(2) ? 0 : self, "self");
        }
        return;
    }
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    memset(d, 0, sizeof d);
    sc2(__NR_capget, &h, d);
    uint64_t p0 = caps_of(d, 1), p = one_in(2) ? p0 : random_caps(p0);
    uint64_t e = one_in(3) ? p : random_caps(caps_of(d, 0)), i = random_caps(one_in(2) ? p : caps_of(d, 2));
    /* What the other side may hold beyond the mask stays, so that it never decides which set is the larger. */
    uint64_t held = ((uint64_t)d[1].permitted << 32 | d[0].permitted) & ~cap_mask;
    uint64_t hidden_p = p & cap_mask ? held : 0, hidden_e = e & cap_mask ? hidden_p : 0;
    e |= hidden_e, p |= hidden_p;
    d[0].effective = (uint32_t)e, d[1].effective = (uint32_t)(e >> 32);
    d[0].permitted = (uint32_t)p, d[1].permitted = (uint32_t)(p >> 32);
    d[0].inheritable = (uint32_t)i, d[1].inheritable = (uint32_t)(i >> 32);
    h.version = PICK(VERSIONS);
    uint32_t asked = h.version;
    static const int PIDS[] = {0, 0, 0, 0, -1, 0x7FFFFFFF, -7};
    int which = (int)rnd(8), pid = which == 7 ? self : PIDS[which];
    void *data = one_in(12) ? (one_in(2) ? NULL : BAD_POINTER) : (void *)d;
    void *head = one_in(16) ? BAD_POINTER : (void *)&h;
    h.pid = pid;
    show(sc2(__NR_capset, head, data), "capset(%x, pid %s, %s, e=%llx p=%llx i=%llx)", asked,
         which == 7 ? "self" : pid == 0 ? "0" : pid < 0 ? "negative" : "absent",
         head != &h ? "bad header" : data != d ? "bad data" : "ok", (unsigned long long)(e & ~held), (unsigned long long)(p & ~held),
         (unsigned long long)i);
    say("  -> version %x", h.version);
}

static int random_cap(void)
{
    static const int ODD[] = {41, 42, 63, 64, 99, -1};
    if (one_in(6))
        return PICK(ODD);
    for (;;) {
        int c = (int)rnd(41);
        if (cap_mask >> c & 1)
            return c;
    }
}

/* may_stick: no_new_privs cannot be taken back, so only tasks that end soon may set it. */
static void op_prctl(int may_stick)
{
    static const long SECBITS[] = {0, 1, 2, 3, 4, 5, 12, 15, 16, 17, 32, 48, 64, 0x40, 0x80, 0xc0, 255, 256, 0x30f, -1};
    static const long SMALL[] = {0, 1, 1, 2, -1};
    long a, b = 0;
    int c;
    switch (rnd(13)) {
    case 0: case 1:
        a = PICK(SMALL);
        show(sc5(__NR_prctl, PR_SET_KEEPCAPS, a, 0, 0, 0), "prctl(SET_KEEPCAPS, %ld)", a);
        break;
    case 2: show(sc5(__NR_prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0), "prctl(GET_KEEPCAPS)"); break;
    case 3: case 4:
        a = PICK(SECBITS);
        show(sc5(__NR_prctl, PR_SET_SECUREBITS, a, 0, 0, 0), "prctl(SET_SECUREBITS, %ld)", a);
        break;
    case 5: show(sc5(__NR_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0), "prctl(GET_SECUREBITS)"); break;
    case 6:
        c = random_cap();
        show(sc5(__NR_prctl, PR_CAPBSET_READ, c, 0, 0, 0), "prctl(CAPBSET_READ, %d)", c);
        break;
    case 7:
        c = random_cap();
        show(sc5(__NR_prctl, PR_CAPBSET_DROP, c, 0, 0, 0), "prctl(CAPBSET_DROP, %d)", c);
        break;
    case 8: case 9:
        c = random_cap();
        a = (long)rnd(6);
        b = one_in(10);
        if (a == PR_CAP_AMBIENT_CLEAR_ALL)
            c = one_in(5) ? c : 0;
        show(sc5(__NR_prctl, PR_CAP_AMBIENT, a, c, b, 0), "prctl(CAP_AMBIENT, %ld, %d, %ld)", a, c, b);
        break;
    case 10:
        a = PICK(SMALL), b = one_in(4);
        if (a == 1 && b == 0 && !may_stick)
            a = 2;
        show(sc5(__NR_prctl, PR_SET_NO_NEW_PRIVS, a, b, 0, 0), "prctl(SET_NO_NEW_PRIVS, %ld, %ld)", a, b);
        break;
    case 11:
        b = one_in(3);
        show(sc5(__NR_prctl, PR_GET_NO_NEW_PRIVS, b, 0, 0, 0), "prctl(GET_NO_NEW_PRIVS, %ld)", b);
        break;
    default:
        a = PICK(SMALL);
        if (one_in(2))
            show(sc5(__NR_prctl, PR_SET_DUMPABLE, a, 0, 0, 0), "prctl(SET_DUMPABLE, %ld)", a);
        show(sc5(__NR_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0), "prctl(GET_DUMPABLE)");
        break;
    }
}

/* One soft limit that a supervisor may use for its own book-keeping must still read as the task set it. */
static void op_rlimit(void)
{
    uint64_t lim[2] = {77, 77};
    static const int WHICH[] = {15 /* RTTIME */, 15, 7 /* NOFILE */, 4 /* CORE */};
    int res = PICK(WHICH);
    show(sc4(__NR_prlimit64, 0, res, NULL, lim), "prlimit64(0, %d)", res);
    say("  -> soft %llx hard %llx", (unsigned long long)lim[0], (unsigned long long)lim[1]);
    if (res == 15 && one_in(2)) {
        uint64_t set[2] = {one_in(3) ? lim[1] : 1000 + rnd(9), lim[1]};
        show(sc4(__NR_prlimit64, 0, res, set, NULL), "prlimit64(0, RTTIME, soft=%llx)", (unsigned long long)set[0]);
    }
    struct rlimit old;
    memset(&old, 0, sizeof old);
#ifdef __i386__
    show(sc2(__NR_ugetrlimit, res, &old), "ugetrlimit(%d)", res);
#else
    show(sc2(__NR_getrlimit, res, &old), "getrlimit(%d)", res);
#endif
    say("  -> soft %lx hard %lx", (unsigned long)old.rlim_cur, (unsigned long)old.rlim_max);
}

static void report_status(void)
{
    char buf[8192], *line, *save = NULL;
    int fd = (int)sc4(__NR_openat, AT_FDCWD, "/proc/self/status", O_RDONLY, 0);
    if (fd < 0) {
        show(fd, "open status");
        return;
    }
    /* as stdio does before it reads: a supervisor that catches no read(2) may step in here */
#ifdef __i386__
    sc2(__NR_fstat64, fd, buf);
#else
    sc2(__NR_fstat, fd, buf);
#endif
    long n = sc3(__NR_read, fd, buf, sizeof buf - 1);
    sc1(__NR_close, fd);
    buf[n > 0 ? n : 0] = 0;
    for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned long long set;
        if (sscanf(line, "Cap%*3s %llx", &set) == 1)
            say("status %.6s %llx", line, set & cap_mask);
        else if (!strncmp(line, "Uid:", 4) || !strncmp(line, "Gid:", 4) || !strncmp(line, "NoNewPrivs:", 11))
            say("status %s", line);
        else if (!strncmp(line, "Groups:", 7) && strlen(line) < 200)
            say("status %s", line);
    }
}
#endif
