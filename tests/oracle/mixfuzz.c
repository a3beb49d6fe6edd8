/* Seeded random threads of one process, each with ids, a working directory, a root, descriptors and mounts that may be its
 * own, that act on the same files in turns.
 *
 *   mixfuzz SEED DIR CAPMASK
 *
 * DIR is a directory that everybody may write to, and becomes the root: nothing else can be named. One thread acts at a
 * time: the others wait for it. Statically linked, for there are no libraries.
 */
#include "cred_ops.h"
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { THREADS = 3, FIRST_FD = 60, FDS = 6 };

static const char *const NAMES[] = {"a", "b", "c", "d", "e/x", "e/y", "m/a", "m/b", "n/a", "n/e/x", "e", "l", "../top/a", "./e/../b"};
static const char *const DIRECTORIES[] = {".", "e", "m", "n", "..", "/", "n/e"};
static const unsigned OWNERS[] = {0, 0, 1, 33, 1000, 1000, 65534, 100000, ~0u};
static const unsigned WHO[] = {0, 0, 1, 33, 1000, 1000, 65534};
static const char dir[] = "/top";
static int pairs[2], programs;

static struct worker {
    pthread_t thread;
    sem_t go, done;
    char name[16];
    int over;
} workers[THREADS];

/* ---- which file: a directory's descriptor, and a path --------------------------------------------------------------------- */

struct place { int at, flags; char path[400]; };

/* Some way to name a file; `through`: a link of procfs at the end, which is always followed. */
static struct place some_place(int may_be_open)
{
    struct place p = {AT_FDCWD, 0, ""};
    const char *name = PICK(NAMES);
    int fd = FIRST_FD + (int)rnd(FDS);
    switch (rnd(may_be_open ? 14 : 8)) {
    case 0: snprintf(p.path, sizeof p.path, "%s/%s", dir, name); break;
    case 1: snprintf(p.path, sizeof p.path, "/%s", name); break;
    case 2: p.at = fd; snprintf(p.path, sizeof p.path, "%s", name); break;
    case 3: snprintf(p.path, sizeof p.path, "/proc/thread-self/cwd/%s", name); break;
    case 8: case 9: p.at = fd; p.flags = AT_EMPTY_PATH; break;
    case 10: snprintf(p.path, sizeof p.path, "/proc/self/fd/%d", fd); break;
    case 11: snprintf(p.path, sizeof p.path, "/proc/thread-self/fd/%d", fd); break;
    case 12: snprintf(p.path, sizeof p.path, "/dev/fd/%d", fd); break;
    case 13: snprintf(p.path, sizeof p.path, "/proc/thread-self/root/%s", name); break;
    default: snprintf(p.path, sizeof p.path, "%s", name); break;
    }
    return p;
}

static const char *told(const struct place *p)
{
    static char texts[4][420];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    if (p->at == AT_FDCWD)
        snprintf(text, 420, "%s", p->path);
    else
        snprintf(text, 420, "%d:%s", p->at, p->path);
    return text;
}

static void show_statx(long r, const struct statx *x)
{
    if (is_error(r))
        say("  status %s", err_name(r));
    else
        say("  %o %u:%u links %u rdev %u:%u", x->stx_mode, x->stx_uid, x->stx_gid, S_ISDIR(x->stx_mode) ? 0 : x->stx_nlink,
            x->stx_rdev_major, x->stx_rdev_minor);
}

static void look(const struct place *p, int follow)
{
    struct statx x;
    int flags = p->flags | (follow ? 0 : AT_SYMLINK_NOFOLLOW);
    show_statx(sc5(__NR_statx, p->at, p->path, flags, STATX_BASIC_STATS, &x), &x);
}

/* ---- what is done to files -------------------------------------------------------------------------------------------------- */

static unsigned some_mode(void)
{
    static const unsigned MODES[] = {0644, 0600, 0666, 0777, 0755, 0, 0711, 0070, 0007, 02755, 04755, 06711, 01777, 02777, 02770};
    return PICK(MODES);
}

static void keep_fd(long fd)
{
    int at = FIRST_FD + (int)rnd(FDS);
    if (is_error(fd))
        return;
    sc3(__NR_dup3, fd, at, 0);
    sc1(__NR_close, fd);
    say("  is %d", at);
}

static void op_open(void)
{
    static const int HOW[] = {O_RDONLY, O_RDWR, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_EXCL, O_PATH, O_PATH | O_NOFOLLOW, O_RDONLY | O_DIRECTORY,
                              O_PATH | O_DIRECTORY, O_TMPFILE | O_RDWR, O_TMPFILE | O_RDWR | O_EXCL, O_RDWR | O_TRUNC, O_CREAT | O_NOFOLLOW};
    struct place p = some_place(1);
    int how = PICK(HOW), mode = (int)some_mode();
    if (how & O_DIRECTORY && one_in(2))
        snprintf(p.path, sizeof p.path, "%s", PICK(DIRECTORIES));
    struct statx x;
    if (!is_error(sc5(__NR_statx, p.at, p.path, 0, STATX_TYPE, &x)) && (S_ISCHR(x.stx_mode) || S_ISBLK(x.stx_mode)))
        how = O_PATH;
    if (strstr(p.path, "fd/"))
        how &= ~O_NOFOLLOW; /* a link of procfs that is held by a descriptor keeps a new owner for a while */
    long fd = show_ok(sc4(__NR_openat, p.at, p.path, how | O_NONBLOCK, mode), "openat(%s, %x, %o)", told(&p), how, mode);
    if (!is_error(fd))
        show_statx(sc5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x), &x);
    keep_fd(fd);
}

static void op_make(void)
{
    struct place p = some_place(0);
    unsigned mode = some_mode();
    switch (rnd(6)) {
    case 0: case 1: show(sc3(__NR_mkdirat, p.at, p.path, mode), "mkdirat(%s, %o)", told(&p), mode); break;
    case 2: show(sc4(__NR_mknodat, p.at, p.path, S_IFREG | mode, 0), "mknodat(%s, reg %o)", told(&p), mode); break;
    case 3: show(sc4(__NR_mknodat, p.at, p.path, S_IFCHR | mode, 0x103), "mknodat(%s, chr %o)", told(&p), mode); break;
    case 4: show(sc4(__NR_mknodat, p.at, p.path, S_IFIFO | mode, 0), "mknodat(%s, fifo %o)", told(&p), mode); break;
    default: show(sc3(__NR_symlinkat, PICK(NAMES), p.at, p.path), "symlinkat(%s)", told(&p)); break;
    }
    look(&p, 0);
}

static void op_owner(void)
{
    struct place p = some_place(1);
    unsigned uid = PICK(OWNERS), gid = PICK(OWNERS), mode = some_mode();
    int fd = FIRST_FD + (int)rnd(FDS), nofollow = one_in(3) ? AT_SYMLINK_NOFOLLOW : 0;
    switch (rnd(6)) {
    case 0: show(sc3(W(fchown), fd, uid, gid), "fchown(%d, %d, %d)", fd, (int)uid, (int)gid); break;
    case 1: show(sc2(__NR_fchmod, fd, mode), "fchmod(%d, %o)", fd, mode); break;
    case 2: show(sc3(__NR_fchmodat, p.at, p.path, mode), "fchmodat(%s, %o)", told(&p), mode); break;
    case 3: show(sc4(452, p.at, p.path, mode, p.flags | nofollow), "fchmodat2(%s, %o, %x)", told(&p), mode, nofollow); break;
    default:
        show(sc5(__NR_fchownat, p.at, p.path, uid, gid, p.flags | nofollow), "fchownat(%s, %d, %d, %x)", told(&p), (int)uid, (int)gid, nofollow);
    }
    look(&p, !nofollow);
}

/* To link a descriptor takes credentials like those that opened it, or this. */
static int may_link_descriptors(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    sc2(__NR_capget, &head, data);
    return data[0].effective >> CAP_DAC_READ_SEARCH & 1;
}

static void op_names(void)
{
    struct place p = some_place(1), q = some_place(0);
    int fd = FIRST_FD + (int)rnd(FDS), flags;
    unsigned what = rnd(8);
    if ((what == 0 && p.flags) || what == 1)
        what = may_link_descriptors() ? what : 3;
    switch (what) {
    case 0: show(sc5(__NR_linkat, p.at, p.path, q.at, q.path, p.flags | (one_in(2) ? AT_SYMLINK_FOLLOW : 0)), "linkat(%s, %s)", told(&p), told(&q)); break;
    case 1: show(sc5(__NR_linkat, fd, "", q.at, q.path, AT_EMPTY_PATH), "linkat(%d, %s, EMPTY)", fd, told(&q)); break;
    case 2: show(sc3(__NR_unlinkat, p.at, p.path, one_in(3) ? AT_REMOVEDIR : 0), "unlinkat(%s)", told(&p)); break;
    case 3: show(sc3(__NR_unlinkat, q.at, q.path, 0), "unlinkat(%s)", told(&q)); break;
    default:
        flags = (int)rnd(5);
        if (flags == 3)
            flags = 0;
        show(sc5(__NR_renameat2, p.at, p.path, q.at, q.path, flags), "renameat2(%s, %s, %d)", told(&p), told(&q), flags);
        p.flags = 0;
        look(&p, 0);
    }
    look(&q, 0);
}

static void op_xattr(void)
{
    static const char *const ATTRS[] = {"user.a", "trusted.t", "security.capability", "security.x", "system.posix_acl_access", "system.posix_acl_default"};
    static const unsigned SIZES[] = {0, 1, 4, 12, 20, 24, 25, 28, 36, 44, 64};
    struct place p = some_place(1);
    const char *name = PICK(ATTRS);
    unsigned char value[64] = {0}, got[80];
    unsigned size = PICK(SIZES);
    if (!strncmp(name, "system", 6)) { /* ACL_USER_OBJ, one user, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER */
        static const uint16_t TAGS[] = {1, 2, 4, 0x10, 0x20};
        uint32_t version = 2, ids[] = {~0u, WHO[rnd(7)], ~0u, ~0u, ~0u};
        memcpy(value, &version, 4);
        for (unsigned i = 0; i < 5; i++) {
            uint16_t permission = (uint16_t)rnd(8);
            memcpy(value + 4 + 8 * i, &TAGS[i], 2), memcpy(value + 6 + 8 * i, &permission, 2), memcpy(value + 8 + 8 * i, &ids[i], 4);
        }
        size = one_in(4) ? size : 44;
    } else if (!strcmp(name, "security.capability")) {
        uint32_t words[6] = {(one_in(3) ? 0x03000000 : 0x02000000) | rnd(2), 1u << rnd(14), 1u << rnd(14), 0, 0, PICK(WHO)};
        memcpy(value, words, sizeof words);
        size = one_in(4) ? size : words[0] >> 24 == 3 ? 24 : 20;
    }
    switch (rnd(5)) {
    case 0: case 1: {
        struct { uint64_t value; uint32_t size, flags; } args = {(uintptr_t)value, size, one_in(4) ? 1 + rnd(2) : 0};
#define SIX(n, a, b, c, d, e, f) (syscall(n, a, b, c, d, e, f) == -1 ? -errno : 0)
        show(SIX(463, p.at, p.path, p.flags, name, &args, sizeof args), "setxattrat(%s, %s, %u, %u)", told(&p), name, size, args.flags);
        break;
    }
    case 2: {
        struct { uint64_t value; uint32_t size, flags; } args = {(uintptr_t)got, one_in(2) ? 80 : size, 0};
        long r = syscall(464, p.at, p.path, p.flags, name, &args, sizeof args);
        r = r == -1 ? -errno : r;
        show(r, "getxattrat(%s, %s, %u)", told(&p), name, args.size);
        for (long i = 0, n = 0; i < r && args.size && n < 3; i++)
            if (got[i])
                say("  [%ld] %02x", i, got[i]), n++;
        break;
    }
    case 3: show(sc4(466, p.at, p.path, p.flags, name), "removexattrat(%s, %s)", told(&p), name); break;
    default: {
        int fd = FIRST_FD + (int)rnd(FDS);
        show(sc5(__NR_fsetxattr, fd, name, value, size, 0), "fsetxattr(%d, %s, %u)", fd, name, size);
    }
    }
    look(&p, 1);
}

static void op_access(void)
{
    struct place p = some_place(1);
    int how = (int)rnd(8), flags = p.flags | (one_in(2) ? AT_EACCESS : 0);
    show(sc4(439, p.at, p.path, how, flags), "faccessat2(%s, %d, %x)", told(&p), how, flags);
}

/* ---- what a thread has for itself ------------------------------------------------------------------------------------------- */

static void op_ids(void)
{
    unsigned uid = PICK(WHO), gid = PICK(WHO);
    uint32_t groups[] = {PICK(WHO), PICK(WHO)};
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    static const int SOME[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_SYS_ADMIN, CAP_MKNOD, CAP_SETFCAP, CAP_SYS_CHROOT};
    int cap = PICK(SOME);
    switch (rnd(8)) {
    case 0: show(sc3(W(setresuid), -1, uid, -1), "setresuid(-1, %u, -1)", uid); break;
    case 1: show(sc3(W(setresuid), -1, 0, -1), "setresuid(-1, 0, -1)"); break;
    case 2: show(sc3(W(setresgid), -1, gid, -1), "setresgid(-1, %u, -1)", gid); break;
    case 3: show(sc2(W(setgroups), 2, groups), "setgroups(%u, %u)", groups[0], groups[1]); break;
    case 4: show_id(sc1(W(setfsuid), uid), "setfsuid(%u)", uid); break;
    case 5: show_id(sc1(W(setfsgid), gid), "setfsgid(%u)", gid); break;
    case 6:
        sc2(__NR_capget, &head, data);
        data[0].effective = one_in(2) ? data[0].effective & ~(1u << cap) : data[0].permitted;
        show(sc2(__NR_capset, &head, data), "capset without %d", cap);
        break;
    default: show(sc3(W(setresuid), one_in(2) ? 0 : -1, uid, one_in(4) ? uid : 0), "setresuid(?, %u, ?)", uid);
    }
}

static void op_apart(void)
{
    static const int WHAT[] = {CLONE_FS, CLONE_FS, CLONE_FILES, CLONE_FILES, CLONE_NEWNS, CLONE_FS | CLONE_FILES};
    int what = PICK(WHAT);
    if (what == CLONE_NEWNS && !one_in(3))
        what = CLONE_FS;
    show(sc1(__NR_unshare, what), "unshare(%x)", what);
}

static void op_where(void)
{
    const char *to = PICK(DIRECTORIES);
    int fd = FIRST_FD + (int)rnd(FDS);
    switch (rnd(6)) {
    case 0: show(sc1(__NR_fchdir, fd), "fchdir(%d)", fd); break;
    case 1: show(sc1(__NR_chdir, dir), "chdir(DIR)"); break;
    case 2:
        if (one_in(3))
            show(sc1(__NR_chroot, one_in(2) ? "." : to), "chroot(%s)", to);
        break;
    case 3: {
        unsigned mask = PICK(((unsigned[]){0, 022, 077, 0277}));
        show(sc1(__NR_umask, mask), "umask(%o)", mask);
        break;
    }
    default: show(sc1(__NR_chdir, to), "chdir(%s)", to);
    }
}

static void op_mount(void)
{
    static const char *const OPTIONS[] = {"", "mode=755", "mode=1777,uid=33", "uid=1000,gid=33,mode=2775", "size=1m"};
    char options[40];
    const char *on = one_in(2) ? "m" : "n";
    snprintf(options, sizeof options, "%s", PICK(OPTIONS));
    switch (rnd(5)) {
    case 0: case 1: show(sc5(__NR_mount, "none", on, "tmpfs", one_in(3) ? MS_NOSUID : 0, options), "mount tmpfs on %s, %s", on, options); break;
    case 2: show(sc5(__NR_mount, one_in(2) ? "e" : ".", on, NULL, MS_BIND | (one_in(2) ? MS_REC : 0), NULL), "bind on %s", on); break;
    case 3: show(sc5(__NR_mount, NULL, on, NULL, MS_REMOUNT | MS_BIND | (one_in(2) ? MS_RDONLY : 0), NULL), "remount %s", on); break;
    default: show(sc2(__NR_umount2, on, MNT_DETACH), "umount %s", on);
    }
    struct place p = {AT_FDCWD, 0, ""};
    strcpy(p.path, on);
    look(&p, 1);
}

/* A descriptor that goes from one thread's table to another's. */
static void op_pass(void)
{
    int fd = FIRST_FD + (int)rnd(FDS);
    char byte = 0, space[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (one_in(2)) {
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
        say("send %d: %s", fd, sendmsg(pairs[0], &message, MSG_DONTWAIT) < 0 ? strerrorname_np(errno) : "ok");
        return;
    }
    ssize_t size = recvmsg(pairs[1], &message, MSG_DONTWAIT);
    struct cmsghdr *head = size < 0 ? NULL : CMSG_FIRSTHDR(&message);
    say("receive: %s", size < 0 ? strerrorname_np(errno) : "ok");
    if (head) {
        struct statx x;
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
        show_statx(sc5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x), &x);
        keep_fd(fd);
    }
}

/* ---- other processes -------------------------------------------------------------------------------------------------------- */

static int shown(const char *name)
{
    snprintf(label, sizeof label, "%s", name);
    report("new", 1);
    say("vector uid %lu/%lu gid %lu/%lu secure %lu", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID), getauxval(AT_EGID),
        getauxval(AT_SECURE));
    return 0;
}

static void op_exec(void)
{
    char path[400], *argv[] = {path, "--new", label, NULL};
    struct place p = some_place(1);
    int way = (int)rnd(4);
    snprintf(path, sizeof path, "/p%d", programs++ % 3);
    pid_t pid = one_in(2) ? fork() : (pid_t)sc5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        if (way == 0) /* what is no program: never run, for its text may be anything */
            show(sc5(__NR_execveat, p.at, p.path, argv, (char *[]){NULL}, p.flags), "execveat(%s)", told(&p));
        else
            show(sc3(__NR_execve, path, argv, (char *[]){NULL}), "execve");
        _exit(3);
    }
    int status = -1;
    waitpid(pid, &status, __WALL);
    say("ended %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void play(int steps);

static void op_child(void)
{
    uint64_t childs = rnd64();
    if (strlen(label) > 4)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        rng = childs;
        strcat(label, "c");
        report("child", 1);
        play(8);
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    say("child %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void play(int steps)
{
    while (steps-- > 0) {
        pick_width();
        switch (rnd(20)) {
        case 0: case 1: case 2: op_open(); break;
        case 3: case 4: op_make(); break;
        case 5: case 6: case 7: op_owner(); break;
        case 8: case 9: op_names(); break;
        case 10: case 11: op_xattr(); break;
        case 12: op_access(); break;
        case 13: case 14: op_ids(); break;
        case 15: one_in(2) ? op_apart() : op_where(); break;
        case 16: op_where(); break;
        case 17: op_mount(); break;
        case 18: one_in(2) ? op_exec() : op_pass(); break;
        default: one_in(3) ? op_child() : op_pass();
        }
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        while (sem_wait(&w->go) && errno == EINTR)
            ;
        thread_name = w->name;
        if (w->over)
            return NULL;
        play(1 + (int)rnd(4));
        thread_name = "";
        sem_post(&w->done);
    }
}

static void make_programs(const char *program)
{
    static char buffer[1 << 16];
    char path[400];
    for (int number = 0; number < 3; number++) {
        int in = open(program, O_RDONLY | O_CLOEXEC), out;
        ssize_t size;
        snprintf(path, sizeof path, "p%d", number);
        out = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0755);
        while ((size = read(in, buffer, sizeof buffer)) > 0)
            if (write(out, buffer, (size_t)size) != size)
                exit(119);
        unsigned uid = PICK(WHO), gid = PICK(WHO), mode = 0755 | rnd(8) << 9;
        if (fchown(out, uid, gid) || fchmod(out, mode))
            exit(118);
        say("program %d: %u:%u %o", number, uid, gid, mode);
        close(in), close(out);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--new"))
        return shown(argv[2]);
    if (argc != 4 || chdir(argv[2]))
        return 2;
    rng = strtoull(argv[1], NULL, 10) * 7919 + 13;
    cap_mask = strtoull(argv[3], NULL, 16);
    umask(0);
    make_programs("/proc/self/exe");
    /* None of the mounts is seen elsewhere. */
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mkdir("proc", 0755) ||
        mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL) || mkdir("dev", 0755) || symlink("/proc/self/fd", "dev/fd") || chroot(".") ||
        mkdir("/top", 0777) || chdir("/top") || mkdir("e", 0777) || mkdir("m", 0777) || mkdir("n", 0777) ||
        socketpair(AF_UNIX, SOCK_DGRAM, 0, pairs))
        return 117;
    for (int number = 0; number < 4; number++) {
        int fd = open((char[]){(char)('a' + number), 0}, O_CREAT | O_RDWR, some_mode());
        if (fd < 0 || fchown(fd, PICK(WHO), PICK(WHO)) || dup2(fd, FIRST_FD + number) < 0)
            return 116;
        close(fd);
    }
    for (int number = 0; number < THREADS; number++) {
        struct worker *w = &workers[number];
        snprintf(w->name, sizeof w->name, "/%d", number);
        if (sem_init(&w->go, 0, 0) || sem_init(&w->done, 0, 0) || pthread_create(&w->thread, NULL, work, w))
            return 115;
    }
    for (int turn = 0; turn < 60; turn++) {
        unsigned who = rnd(THREADS + 1);
        if (who == THREADS) {
            play(1);
            continue;
        }
        sem_post(&workers[who].go);
        while (sem_wait(&workers[who].done) && errno == EINTR)
            ;
    }
    for (int number = 0; number < THREADS; number++) {
        workers[number].over = 1;
        sem_post(&workers[number].go);
        pthread_join(workers[number].thread, NULL);
    }
    return 0;
}
