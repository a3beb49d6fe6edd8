/* Asking for one file's attributes by every route, and printing them once where the routes agree. */
#ifndef ORACLE_FILE_STAT_H
#define ORACLE_FILE_STAT_H
#include "common.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NR_STATX __NR_statx
#define OLD_VALID(dev) (major(dev) < 256 && minor(dev) < 256)
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#define FMT 0170000

/* The attributes compared; err is -errno when the question failed. */
struct attrs {
    long err;
    unsigned mode, uid, gid, nlink;
    uint64_t rdev, size, ino;
};

struct old_stat { uint16_t dev, ino, mode, nlink, uid, gid, rdev; uint32_t size, atime, mtime, ctime; };

#if defined(__i386__)
struct raw_stat {
    uint32_t dev, ino;
    uint16_t mode, nlink, uid, gid;
    uint32_t rdev, size, rest[10];
};
struct raw_stat64 {
    uint64_t dev;
    uint32_t pad0, ino32, mode, nlink, uid, gid;
    uint64_t rdev;
    uint32_t pad3;
    int64_t size;
    uint32_t blksize;
    uint64_t blocks;
    uint32_t times[6];
    uint64_t ino;
} __attribute__((packed));
#define NR_FSTATAT 300 /* fstatat64 */
#elif defined(__x86_64__)
struct raw_stat64 {
    uint64_t dev, ino, nlink;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, blksize, blocks, rest[9];
};
#define NR_FSTATAT __NR_newfstatat
#else
struct raw_stat64 {
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t rdev, pad;
    int64_t size;
    int32_t blksize, pad2;
    int64_t blocks, rest[7];
};
#define NR_FSTATAT __NR_newfstatat
#endif

static struct attrs from64(long r, const struct raw_stat64 *s)
{
    struct attrs a = {r, s->mode, s->uid, s->gid, (unsigned)s->nlink, s->rdev, (uint64_t)s->size, s->ino};
    return a;
}

static struct attrs at_stat(int dirfd, const char *path, int flags)
{
    struct raw_stat64 s;
    memset(&s, 0x5A, sizeof s);
    return from64(sc4(NR_FSTATAT, dirfd, path, &s, flags), &s);
}

static struct attrs at_statx(int dirfd, const char *path, int flags)
{
    struct statx x;
    memset(&x, 0x5A, sizeof x);
    long r = sc5(NR_STATX, dirfd, path, flags, STATX_BASIC_STATS, &x);
    struct attrs a = {r, x.stx_mode, x.stx_uid, x.stx_gid, x.stx_nlink,
                      makedev(x.stx_rdev_major, x.stx_rdev_minor), x.stx_size, x.stx_ino};
    if (r == 0 && (x.stx_mask & STATX_BASIC_STATS) != STATX_BASIC_STATS)
        say("statx mask %x", x.stx_mask);
    return a;
}

static struct attrs plain_stat(int follow, const char *path)
{
    struct raw_stat64 s;
    memset(&s, 0x5A, sizeof s);
#if defined(__i386__)
    return from64(sc2(follow ? 195 : 196, path, &s), &s);
#elif defined(__x86_64__)
    return from64(sc2(follow ? __NR_stat : __NR_lstat, path, &s), &s);
#else
    return from64(sc4(NR_FSTATAT, AT_FDCWD, path, &s, follow ? 0 : AT_SYMLINK_NOFOLLOW), &s);
#endif
}

static struct attrs fd_stat(int fd)
{
    struct raw_stat64 s;
    memset(&s, 0x5A, sizeof s);
#if defined(__i386__)
    return from64(sc2(197, fd, &s), &s);
#else
    return from64(sc2(__NR_fstat, fd, &s), &s);
#endif
}

static int same(const struct attrs *a, const struct attrs *b)
{
    if (a->err || b->err)
        return a->err == b->err;
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->nlink == b->nlink && a->rdev == b->rdev &&
           a->size == b->size && a->ino == b->ino;
}

static void text(char *out, size_t size, const struct attrs *a)
{
    static const char KINDS[] = "?pc?d?b?-?l?s???";
    if (a->err)
        snprintf(out, size, "%s", err_name(a->err));
    else if ((a->mode & FMT) == 0120000) /* the size is the length of a path of this machine */
        snprintf(out, size, "l%05o %u:%u nlink %u", a->mode & 07777, a->uid, a->gid, a->nlink);
    else
        snprintf(out, size, "%c%05o %u:%u nlink %u rdev %u:%u size %llu", KINDS[(a->mode & FMT) >> 12],
                 a->mode & 07777, a->uid, a->gid, a->nlink, major(a->rdev), minor(a->rdev),
                 (unsigned long long)a->size);
}

static char dir[200];
static int in_chroot;

/* Paths under this machine's directory print without it. */
static const char *shown(const char *path)
{
    static char bufs[4][600];
    static unsigned turn;
    char *p = bufs[turn++ % 4];
    const char *hit = *dir ? strstr(path, dir) : NULL;
    if (hit)
        snprintf(p, 600, "%.*sDIR%s", (int)(hit - path), path, hit + strlen(dir));
    else
        snprintf(p, 600, "%s", path);
    return p;
}

static struct attrs told; /* the first route's answer, which the others must repeat */
static int routes;

static void route(const char *name, struct attrs a)
{
    char buf[160];
    routes++;
    if (same(&told, &a))
        return;
    text(buf, sizeof buf, &a);
    say("  by %s: %s%s", name, buf, !a.err && !told.err && a.ino != told.ino ? " (another inode)" : "");
}

#if defined(__i386__)
static uint16_t low16(unsigned id) { return id > 0xFFFF ? 65534 : (uint16_t)id; }

/* The 1990s variants have narrow fields: right is either the narrowed truth or EOVERFLOW. */
static void old_route(const char *name, long r, unsigned mode, unsigned nlink, unsigned uid, unsigned gid, uint64_t rdev,
                      uint64_t size, int ino_bits)
{
    routes++;
    if (told.err || r) {
        int may_overflow = !told.err && (!OLD_VALID(told.rdev) || (ino_bits < 64 && told.ino >> ino_bits) ||
                                         told.size > 0x7FFFFFFF);
        if (r != told.err && !(may_overflow && r == -EOVERFLOW))
            say("  by %s: %s", name, r ? err_name(r) : "0");
        return;
    }
    if (mode != told.mode || nlink != told.nlink || uid != low16(told.uid) || gid != low16(told.gid) ||
        rdev != told.rdev || size != told.size)
        say("  by %s: %o %u:%u nlink %u rdev %llx size %llu", name, mode, uid, gid, nlink, (unsigned long long)rdev,
            (unsigned long long)size);
}

static void old_routes(int follow, const char *path, int fd)
{
    struct raw_stat s;
    struct old_stat o;
    long r;
    memset(&s, 0, sizeof s), memset(&o, 0, sizeof o);
    r = fd >= 0 ? sc2(108, fd, &s) : sc2(follow ? 106 : 107, path, &s);
    old_route("i386 stat", r, s.mode, s.nlink, s.uid, s.gid, s.rdev, s.size, 32);
    r = fd >= 0 ? sc2(28, fd, &o) : sc2(follow ? 18 : 84, path, &o);
    old_route("oldstat", r, o.mode, o.nlink, o.uid, o.gid, o.rdev, o.size, 16);
}
#else
static void old_routes(int follow, const char *path, int fd) { (void)follow, (void)path, (void)fd; }
#endif

/* Everything that can be asked about a descriptor. */
static void fd_routes(int fd, const char *kind)
{
    char name[64], proc[64];
    snprintf(name, sizeof name, "fstat %s", kind);
    route(name, fd_stat(fd));
    snprintf(name, sizeof name, "fstatat empty %s", kind);
    route(name, at_stat(fd, "", AT_EMPTY_PATH));
    route(name, at_stat(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
    snprintf(name, sizeof name, "statx empty %s", kind);
    route(name, at_statx(fd, "", AT_EMPTY_PATH));
    old_routes(1, "", fd);
    if (!in_chroot) {
        snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
        snprintf(name, sizeof name, "proc fd %s", kind);
        route(name, plain_stat(1, proc));
        route(name, at_stat(AT_FDCWD, proc, 0));
        route(name, at_statx(AT_FDCWD, proc, 0));
    }
}

static int openable(const struct attrs *a)
{
    unsigned kind = a->mode & FMT;
    return a->err == 0 && (kind == 0100000 || kind == 0040000);
}

/* Ask about a path by every route, following a final symbolic link or not. */
static void look(int dirfd, const char *path, int follow)
{
    char buf[160];
    int nofollow = follow ? 0 : AT_SYMLINK_NOFOLLOW;
    told = at_stat(dirfd, path, nofollow);
    routes = 0;
    text(buf, sizeof buf, &told);
    say("  %s%.120s: %s", follow ? "-> " : "", shown(path), buf);
    route("statx", at_statx(dirfd, path, nofollow));
    if (dirfd == AT_FDCWD) {
        route("stat", plain_stat(follow, path));
        old_routes(follow, path, -1);
    }
    int fd = (int)sc4(__NR_openat, dirfd, path, O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), 0);
    if (fd < 0) {
        struct attrs none = {fd, 0, 0, 0, 0, 0, 0, 0};
        route("open O_PATH", none);
    } else {
        fd_routes(fd, "O_PATH");
        sc1(__NR_close, fd);
    }
    if (openable(&told)) {
        fd = (int)sc4(__NR_openat, dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
        if (fd >= 0) {
            fd_routes(fd, "open");
            sc1(__NR_close, fd);
        } else {
            show(fd, "  open");
        }
    }
}
#endif
