/* Seeded random file operations, each followed by questions about the files.
 *
 *   filefuzz SEED DIR MODE [RUN]
 *
 * DIR is an empty directory that everyone may write; with RUN it is the one that run 0 (RUN left out) left behind.  MODE says who acts: root, writer (root that also writes to
 * files with set-id bits), fsuid, euid, full (set-user-id to 1000 for good), mixed (root and 42 in turns) or denied (these, with files of any mode).  Where someone else than root acts, every file and
 * directory is open to all, so that ownership alone decides what is refused.
 */
#include "file_stat.h"
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static int everyone; /* modes stay open to all */
static int nonroot;  /* who acts now is not root */
static int mixed;
static int denied; /* modes are any, and keep others out: what --strict alone does */
static int writes; /* also write to files with set-id bits, which root's CAP_FSETID keeps */
static int slots[4] = {-1, -1, -1, -1};
static int sub_dir[2] = {-1, -1};

static const char *const NAMES[] = {"a", "b", "c", "d0", "d1", "s0", "s1", "u\xc3\xa9", "\xff\xfe n"};
static const unsigned OWNERS[] = {0xFFFFFFFFu, 0xFFFFFFFFu, 0, 0, 1, 33, 42, 1000, 1000, 65534, 65535, 65536, 0xFFFFFFFEu};

/* A path to something, perhaps: plain, nested, through "..", absolute, with a trailing slash, by /proc. */
static const char *random_path(void)
{
    static char bufs[4][512];
    static unsigned turn;
    char *p = bufs[turn++ % 4];
    const char *n = PICK(NAMES), *m = PICK(NAMES), *parent = one_in(2) ? "d0" : "d1";
    switch (rnd(20)) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6: snprintf(p, 512, "%s", n); break;
    case 7: case 8: case 9: snprintf(p, 512, "%s/%s", parent, n); break;
    case 10: snprintf(p, 512, "%s/../%s", parent, n); break;
    case 11: snprintf(p, 512, "./%s", n); break;
    case 12: snprintf(p, 512, "%s/", n); break;
    case 13: snprintf(p, 512, "%s%s/%s", in_chroot ? "" : dir, parent, n); break;
    case 14: snprintf(p, 512, "%s/%s", in_chroot ? "" : dir, n); break;
    case 15: snprintf(p, 512, "%s/%s/%s", n, m, n); break;
    case 16: snprintf(p, 512, "%s//%s/.", parent, n); break;
    case 17:
        if (in_chroot || one_in(3))
            snprintf(p, 512, "../%s", n);
        else if (one_in(2))
            snprintf(p, 512, "/proc/self/cwd/%s", n);
        else
            snprintf(p, 512, "/proc/self/root%s/%s", dir, n);
        break;
    case 18: snprintf(p, 512, "%s/%s/..", parent, n); break;
    default: snprintf(p, 512, "s0/%s", n); break;
    }
    return p;
}

static int random_dirfd(const char **name)
{
    unsigned k = rnd(12);
    *name = "cwd";
    if (k == 0 && sub_dir[0] >= 0) { *name = "fd d0"; return sub_dir[0]; }
    if (k == 1 && sub_dir[1] >= 0) { *name = "fd d1"; return sub_dir[1]; }
    if (k == 2 && one_in(3)) { *name = "fd closed"; return 999; }
    return AT_FDCWD;
}

static unsigned file_mode(void)
{
    static const unsigned MODES[] = {0644, 0600, 0755, 0777, 04755, 02755, 06755, 02644, 04711, 01644, 0, 07777, 06666};
    unsigned m = PICK(MODES);
    return everyone ? (m & 06777) | 0666 : m;
}
static unsigned dir_mode(void)
{
    static const unsigned MODES[] = {0755, 0700, 02755, 02777, 01777, 04755, 0, 0711};
    unsigned m = PICK(MODES);
    return everyone ? (m & 06777) | 0777 : m;
}

static struct attrs peek(int dirfd, const char *path, int follow)
{
    return at_stat(dirfd, path, follow ? 0 : AT_SYMLINK_NOFOLLOW);
}

/* A mode for what is there: directories stay searchable where everyone acts. */
static unsigned mode_for(int dirfd, const char *path)
{
    struct attrs a = peek(dirfd, path, 1);
    return !a.err && (a.mode & FMT) == 0040000 ? dir_mode() : file_mode();
}

static void op_create(void)
{
    static const int HOW[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_EXCL, O_RDWR | O_EXCL, O_WRONLY | O_TRUNC,
                              O_WRONLY | O_NOFOLLOW};
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at), how = PICK(HOW), slot = (int)rnd(4);
    unsigned mode = file_mode();
    struct attrs a = peek(dirfd, path, 1);
    unsigned kind = a.err ? 0 : a.mode & FMT;
    if (kind == 0020000 || kind == 0060000)
        return; /* a device is never opened: what answers is the machine's */
    if (nonroot || (!a.err && (a.mode & 06000) && !writes))
        how &= ~O_TRUNC;
    if (nonroot && !a.err && (a.mode & 02010) == 02000)
        how &= ~O_ACCMODE; /* the bit goes when it is opened to write, not when it is written to: README.md, Limits */
    long fd;
#ifdef __NR_creat
    if (dirfd == AT_FDCWD && !nonroot && kind != 0010000 && (writes || !(a.mode & 06000) || a.err) && one_in(5)) {
        fd = sc2(__NR_creat, path, mode);
        show_ok(fd, "creat(%s, %o)", shown(path), mode);
    } else
#endif
#ifdef __NR_open
    if (dirfd == AT_FDCWD && one_in(2)) {
        fd = sc3(__NR_open, path, how | O_CREAT | O_NONBLOCK | O_CLOEXEC, mode);
        show_ok(fd, "open(%s, %x, %o)", shown(path), how, mode);
    } else
#endif
    if (one_in(6)) {
        static const unsigned RESOLVE[] = {0, 0, 1 /* NO_XDEV */, 2 /* NO_MAGICLINKS */, 4 /* NO_SYMLINKS */, 8 /* BENEATH */};
        uint64_t wanted[3] = {(unsigned)how | O_CREAT | O_NONBLOCK | O_CLOEXEC, mode & 07777, PICK(RESOLVE)};
        if (wanted[2])
            wanted[1] &= 0777; /* set-id bits are kept of what a supervisor makes itself */
        fd = open_how(dirfd, path, wanted, sizeof wanted);
        show_ok(fd, "openat2(%s, %s, %x, %o, %x)", at, shown(path), how, mode, (unsigned)wanted[2]);
    } else {
        fd = sc4(__NR_openat, dirfd, path, how | O_CREAT | O_NONBLOCK | O_CLOEXEC, mode);
        show_ok(fd, "openat(%s, %s, %x, %o)", at, shown(path), how, mode);
    }
    if (fd < 0)
        return;
    if (!nonroot && !mixed && (how & 3) != O_RDONLY && kind == 0 && (writes || !(mode & 06000)) && one_in(3))
        sc3(__NR_write, fd, "hello world", rnd(11));
    told = fd_stat((int)fd);
    routes = 0;
    fd_routes((int)fd, "created");
    char buf[160];
    text(buf, sizeof buf, &told);
    say("  new fd: %s", buf);
    if (slots[slot] >= 0)
        sc1(__NR_close, slots[slot]);
    slots[slot] = (int)fd;
}

static void op_tmpfile(void)
{
    char proc[64];
    const char *to = random_path(), *in = one_in(3) ? "d0" : ".";
    unsigned mode = file_mode(), owner = PICK(OWNERS);
    int excl = one_in(5) ? O_EXCL : 0;
    long fd = sc4(__NR_openat, AT_FDCWD, in, O_TMPFILE | O_RDWR | excl, mode);
    show_ok(fd, "O_TMPFILE(%s, %o)", in, mode);
    if (fd < 0)
        return;
    if (one_in(2))
        show(sc3(__NR_fchown, fd, owner, PICK(OWNERS)), "fchown tmpfile %u", owner);
    told = fd_stat((int)fd);
    fd_routes((int)fd, "tmpfile");
    char buf[160];
    text(buf, sizeof buf, &told);
    say("  tmpfile: %s", buf);
    snprintf(proc, sizeof proc, "/proc/self/fd/%ld", fd);
    if (!in_chroot && (!nonroot || !(told.mode & 06000)))
        show(sc5(__NR_linkat, AT_FDCWD, proc, AT_FDCWD, to, AT_SYMLINK_FOLLOW), "linkat tmpfile %s", shown(to));
    sc1(__NR_close, fd);
    look(AT_FDCWD, to, 0);
}

static void op_mkdir(void)
{
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at);
    unsigned mode = dir_mode();
#ifdef __NR_mkdir
    if (dirfd == AT_FDCWD && one_in(2))
        show(sc2(__NR_mkdir, path, mode), "mkdir(%s, %o)", shown(path), mode);
    else
#endif
        show(sc3(__NR_mkdirat, dirfd, path, mode), "mkdirat(%s, %s, %o)", at, shown(path), mode);
    look(dirfd, path, 0);
}

static void op_mknod(void)
{
    static const unsigned KINDS[] = {0010000, 0020000, 0020000, 0060000, 0100000, 0140000, 0, 0040000, 0120000, 0170000};
    static const unsigned DEVS[][2] = {{1, 3}, {1, 5}, {7, 0}, {8, 1}, {5, 1}, {240, 70000}, {255, 255}, {256, 1}, {0, 0}};
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at);
    unsigned kind = PICK(KINDS), mode = kind | file_mode(), d = rnd(9);
    unsigned dev = (DEVS[d][1] & 0xff) | DEVS[d][0] << 8 | (DEVS[d][1] & ~0xffu) << 12;
    if (nonroot && kind == 0020000 && dev == 0)
        dev = 0x103;
#ifdef __NR_mknod
    if (dirfd == AT_FDCWD && one_in(2))
        show(sc3(__NR_mknod, path, mode, dev), "mknod(%s, %o, %x)", shown(path), mode, dev);
    else
#endif
        show(sc4(__NR_mknodat, dirfd, path, mode, dev), "mknodat(%s, %s, %o, %x)", at, shown(path), mode, dev);
    look(dirfd, path, 0);
}

static void op_symlink(void)
{
    char target[600];
    const char *at, *path = one_in(2) ? (one_in(2) ? "s0" : "s1") : random_path(), *to = PICK(NAMES);
    int dirfd = random_dirfd(&at);
    switch (rnd(5)) {
    case 0: snprintf(target, sizeof target, "%s/%s", in_chroot ? "" : dir, to); break;
    case 1: snprintf(target, sizeof target, "d0/%s", to); break;
    case 2: snprintf(target, sizeof target, "../%s", to); break;
    case 3: snprintf(target, sizeof target, "d0"); break;
    default: snprintf(target, sizeof target, "%s", to); break;
    }
#ifdef __NR_symlink
    if (dirfd == AT_FDCWD && one_in(2))
        show(sc2(__NR_symlink, target, path), "symlink(%s, %s)", shown(target), shown(path));
    else
#endif
        show(sc3(__NR_symlinkat, target, dirfd, path), "symlinkat(%s, %s, %s)", shown(target), at, shown(path));
    look(dirfd, path, 0);
}

static void op_link(void)
{
    const char *at, *from = random_path(), *to = random_path();
    int dirfd = random_dirfd(&at), flags = one_in(2) ? AT_SYMLINK_FOLLOW : 0;
    struct attrs a = peek(dirfd, from, flags != 0);
    if (nonroot && (a.err || (a.mode & (FMT | 06666)) != (0100000 | 0666)))
        return; /* the protection of hard links is the machine's setting */
#ifdef __NR_link
    if (dirfd == AT_FDCWD && !flags && one_in(2))
        show(sc2(__NR_link, from, to), "link(%s, %s)", shown(from), shown(to));
    else
#endif
        show(sc5(__NR_linkat, dirfd, from, AT_FDCWD, to, flags), "linkat(%s, %s, %s, %x)", at, shown(from), shown(to),
             flags);
    look(AT_FDCWD, to, 0);
}

static void op_rename(void)
{
    const char *at, *from = random_path(), *to = random_path();
    int dirfd = random_dirfd(&at), flags = one_in(3) ? 1 + (int)rnd(3) * 3 / 2 : 0; /* NOREPLACE, EXCHANGE, WHITEOUT */
#ifdef __NR_rename
    if (dirfd == AT_FDCWD && !flags && one_in(2))
        show(sc2(__NR_rename, from, to), "rename(%s, %s)", shown(from), shown(to));
    else
#endif
        show(sc5(__NR_renameat2, dirfd, from, AT_FDCWD, to, flags), "renameat2(%s, %s, %s, %d)", at, shown(from),
             shown(to), flags);
    look(AT_FDCWD, to, 0);
    if (flags == 4)
        look(dirfd, from, 0);
}

static void op_remove(void)
{
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at), flags = one_in(3) ? AT_REMOVEDIR : 0;
#ifdef __NR_unlink
    if (dirfd == AT_FDCWD && one_in(2))
        show(sc1(flags ? __NR_rmdir : __NR_unlink, path), "%s(%s)", flags ? "rmdir" : "unlink", shown(path));
    else
#endif
        show(sc3(__NR_unlinkat, dirfd, path, flags), "unlinkat(%s, %s, %x)", at, shown(path), flags);
}

#include "file_owner.h"
#include "file_xattr.h"

static void op_look(void)
{
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at), follow = one_in(2);
    say("look at %s", at);
    look(dirfd, path, follow);
}

static void op_chdir(void)
{
    static const char *const WHERE[] = {"d0", "d1", ".", ".."};
    const char *to = PICK(WHERE);
    long r;
    if (one_in(2)) {
        r = sc1(__NR_chdir, in_chroot ? "/" : dir);
        say("chdir DIR %ld", r);
        return;
    }
    if (!strcmp(to, ".."))
        to = in_chroot ? "/" : dir;
    r = sc1(__NR_chdir, to);
    show(r, "chdir(%s)", shown(to));
}

static void steps(int n);

static void op_process(void)
{
    uint64_t state = rnd64();
    int jail = !nonroot && !in_chroot && !mixed && one_in(2);
    pid_t pid = fork();
    if (pid == 0) {
        rng = state;
        label[strlen(label)] = 'c';
        if (jail) {
            long r = sc1(__NR_chroot, one_in(2) ? "d0" : "d1");
            show(r, "chroot");
            if (r == 0) {
                sc1(__NR_chdir, "/");
                in_chroot = 1;
            }
        }
        steps(6);
        sc1(__NR_exit_group, 0);
    }
    int st = 0;
    waitpid(pid, &st, 0);
    say("child %d", WIFEXITED(st) ? WEXITSTATUS(st) : -1);
}

static void op_switch(void)
{
    if (!mixed)
        return;
    int uid = nonroot ? 0 : 42;
#ifdef __i386__
    long r = nonroot ? sc3(__NR_setresuid32, -1, 0, -1) : 0;
    r |= sc3(__NR_setresgid32, -1, uid, -1);
    r |= nonroot ? 0 : sc3(__NR_setresuid32, -1, uid, -1);
#else
    long r = nonroot ? sc3(__NR_setresuid, -1, 0, -1) : 0;
    r |= sc3(__NR_setresgid, -1, uid, -1);
    r |= nonroot ? 0 : sc3(__NR_setresuid, -1, uid, -1);
#endif
    nonroot = !nonroot;
    say("acting as %d: %ld", uid, r);
}

static void steps(int n)
{
    while (n-- > 0) {
        unsigned k = rnd(100);
        unsigned more = rnd(10);
        if (more < 2) { op_xattr(); continue; }
        if (more == 2) { one_in(2) ? op_access() : one_in(2) ? op_length() : op_times(); continue; }
        if (k < 16) op_create();
        else if (k < 20) op_tmpfile();
        else if (k < 28) op_mkdir();
        else if (k < 38) op_mknod();
        else if (k < 43) op_symlink();
        else if (k < 48) op_link();
        else if (k < 54) op_rename();
        else if (k < 60) op_remove();
        else if (k < 74) op_chown();
        else if (k < 83) op_chmod();
        else if (k < 85) op_socket();
        else if (k < 87) op_bad();
        else if (k < 88) { if (!everyone) say("umask was %lo", sc1(__NR_umask, rnd(2) ? 022 : rnd(0100) * 8)); }
        else if (k < 91) op_chdir();
        else if (k < 93) op_slots();
        else if (k < 95) op_switch();
        else if (k < 96 && label[1] != 'c') op_process();
        else op_look();
    }
}

static void become(const char *mode)
{
    gid_t groups[2] = {33, 1000};
    long r = 0;
    if (!strcmp(mode, "root") || writes)
        return;
    everyone = !denied;
    umask(everyone ? 0 : 022);
    if (!strcmp(mode, "mixed") || denied) {
        mixed = 1;
        return;
    }
    nonroot = 1;
#ifdef __i386__
#define N(name) __NR_##name##32
#else
#define N(name) __NR_##name
#endif
    if (!strcmp(mode, "fsuid")) {
        sc1(N(setfsgid), 1000);
        sc1(N(setfsuid), 1000);
    } else if (!strcmp(mode, "euid")) {
        r |= sc3(N(setresgid), -1, 1000, -1);
        r |= sc3(N(setresuid), -1, 1000, -1);
    } else if (!strcmp(mode, "full")) {
        r |= sc2(N(setgroups), 2, groups);
        r |= sc3(N(setresgid), 1000, 1000, 1000);
        r |= sc3(N(setresuid), 1000, 1000, 1000);
    } else {
        exit(2);
    }
    say("became %s: %ld", mode, r);
}

/* Work five levels down, so that ".." and symbolic links cannot leave DIR. */
static int go_down(const char *top, int again)
{
    umask(0);
    for (int i = 0; i < 5; i++)
        if ((!again && mkdir("p", 0777)) || chdir("p"))
            return 0;
    return snprintf(dir, sizeof dir, "%s/p/p/p/p/p", top) < (int)sizeof dir;
}

/* A starting set: files of several owners. */
static void begin(void)
{
    int fd = open("a", O_CREAT | O_RDWR, 0666);
    close(fd);
    fd = open("b", O_CREAT | O_RDWR, 0666);
    show(sc3(__NR_fchown, fd, 1000, 1000), "start fchown b");
    show(sc2(__NR_fchmod, fd, everyone ? 06777 : 06755), "start fchmod b");
    close(fd);
    show(sc5(__NR_fchownat, AT_FDCWD, "d1", 42, 33, 0), "start chown d1");
    show(sc3(__NR_fchmodat, AT_FDCWD, "d1", 02777), "start chmod d1");
    static const struct { const char *path; unsigned mode, uid, gid; } START[] = {
        {"c", 0100666, 42, 33}, {"d0/a", 0106777, 42, 1000}, {"d0/b", 0100666, 0, 33}, {"d1/a", 0102766, 1000, 42},
        {"d1/c", 0010666, 1000, 1000}, {"u\xc3\xa9", 0100666, 100000, 0xFFFFFFFEu},
    };
    for (unsigned i = 0; i < sizeof START / sizeof START[0]; i++) {
        sc4(__NR_mknodat, AT_FDCWD, START[i].path, START[i].mode & FMT, 0);
        show(sc5(__NR_fchownat, AT_FDCWD, START[i].path, START[i].uid, START[i].gid, 0), "start chown %s", START[i].path);
        show(sc3(__NR_fchmodat, AT_FDCWD, START[i].path, START[i].mode & 07777), "start chmod %s", START[i].path);
        look(AT_FDCWD, START[i].path, 0);
    }
}

int main(int argc, char **argv)
{
    int run = argc == 5 ? atoi(argv[4]) : 0;
    if (argc < 4 || argc > 5 || chdir(argv[2]) || !go_down(argv[2], run)) {
        fprintf(stderr, "usage: filefuzz SEED DIR root|writer|fsuid|euid|full|mixed|denied [RUN]\n");
        return 2;
    }
    rng = strtoull(argv[1], NULL, 0) * 0x2545F4914F6CDD1Dull + 7 + (uint64_t)run * 0x9E3779B97F4A7C15ull;
    umask(022);
    writes = !strcmp(argv[3], "writer");
    denied = !strcmp(argv[3], "denied");
    everyone = !writes && !denied && strcmp(argv[3], "root") != 0;
    if (everyone)
        umask(0);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "d1" : "d0";
        if (!run)
            sc3(__NR_mkdirat, AT_FDCWD, name, 0777);
        sub_dir[i] = (int)sc4(__NR_openat, AT_FDCWD, name, O_RDONLY | O_DIRECTORY, 0);
    }
    if (run)
        say("run %d", run);
    else
        begin();
    become(argv[3]);
    steps(80);
    for (unsigned i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        look(AT_FDCWD, NAMES[i], 0);
        look(AT_FDCWD, NAMES[i], 1);
    }
    return 0;
}
