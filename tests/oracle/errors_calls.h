/* The calls of errors.c: included by it once.  A part is a number of calls; each says whether it changed something. */

struct part {
    const char *name;
    int (*count)(void);
    int (*call)(int index);
};

#ifdef __i386__
#define WIDE(name) __NR_##name##32
#define STAT64 __NR_fstatat64
#else
#define WIDE(name) __NR_##name
#define STAT64 __NR_newfstatat
#endif

/* Whether the path begins so. */
static int names(const char *path, const char *beginning)
{
    return path && path != BAD && !strncmp(path, beginning, strlen(beginning));
}

static char buffer[8192];
static const char *named; /* the path of the call */

#define CHANGES(call, ...) return !is_error(show_ok(call, __VA_ARGS__))
#define ASKS(call, ...) do { show_ok(call, __VA_ARGS__); return 0; } while (0)

/* ------------------------------------------------------------------------------------------------ questions about paths */

static const struct { int flags; const char *name; } STAT_FLAGS[] = {
    {0, "0"}, {AT_SYMLINK_NOFOLLOW, "NOFOLLOW"}, {AT_EMPTY_PATH, "EMPTY"}, {AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, "EMPTY|NOFOLLOW"},
    {AT_NO_AUTOMOUNT, "NO_AUTOMOUNT"}, {AT_SYMLINK_FOLLOW, "FOLLOW"}, {0x2000, "FORCE_SYNC"}, {0x4000, "DONT_SYNC"}, {0x6000, "SYNC_TYPE"},
    {AT_REMOVEDIR, "REMOVEDIR"}, {0x8000, "RECURSIVE"}, {1, "1"}, {-1, "-1"},
};

static void show_stat(long r, const struct stat *st, const char *what, const char *flags)
{
    if (is_error(r))
        say("%s(%s, %s) = %s", what, shown(named), flags, err_name(r));
    else
        say("%s(%s, %s) = %o %u:%u rdev %x", what, shown(named), flags, st->st_mode, st->st_uid, st->st_gid, (unsigned)st->st_rdev);
}

#ifdef __i386__
static void show_stat64(long r, const struct stat64 *st, const char *what, const char *flags)
{
    if (is_error(r))
        say("%s(%s, %s) = %s", what, shown(named), flags, err_name(r));
    else
        say("%s(%s, %s) = %o %u:%u rdev %x", what, shown(named), flags, st->st_mode, st->st_uid, st->st_gid, (unsigned)st->st_rdev);
}
struct old_stat { uint16_t dev, ino, mode, nlink, uid, gid, rdev; uint32_t size, atime, mtime, ctime; };
struct stat32 { uint32_t dev, ino; uint16_t mode, nlink, uid, gid; uint32_t rdev, size, rest[14]; };
#endif

static int call_stat(int i)
{
    named = PATHS[i];
    struct statx x;
#ifdef __i386__
    struct stat64 st;
    struct stat32 mid;
    struct old_stat old;
    show_stat64(sc2(__NR_stat64, named, &st), &st, "stat64", "");
    show_stat64(sc2(__NR_lstat64, named, &st), &st, "lstat64", "");
    long m = sc2(__NR_stat, named, &mid);
    say("stat(%s) = %s %o %u:%u", shown(named), is_error(m) ? err_name(m) : "ok", m ? 0 : mid.mode, m ? 0 : mid.uid, m ? 0 : mid.gid);
    m = sc2(__NR_oldlstat, named, &old);
    if (m != -EOVERFLOW)
        say("oldlstat(%s) = %s %o %u:%u", shown(named), is_error(m) ? err_name(m) : "ok", m ? 0 : old.mode, m ? 0 : old.uid,
            m ? 0 : old.gid);
#define SHOW show_stat64
#else
    struct stat st;
    show_stat(sc2(__NR_stat, named, &st), &st, "stat", "");
    show_stat(sc2(__NR_lstat, named, &st), &st, "lstat", "");
#define SHOW show_stat
#endif
    for (int k = 0; k < N(STAT_FLAGS); k++) {
        int flags = STAT_FLAGS[k].flags;
        SHOW(sc4(STAT64, AT_FDCWD, named, &st, flags), &st, "fstatat", STAT_FLAGS[k].name);
        long r = sc5(__NR_statx, AT_FDCWD, named, flags, STATX_BASIC_STATS, &x);
        if (is_error(r))
            say("statx(%s, %s) = %s", shown(named), STAT_FLAGS[k].name, err_name(r));
        else
            say("statx(%s, %s) = %o %u:%u mask %x", shown(named), STAT_FLAGS[k].name, x.stx_mode, x.stx_uid, x.stx_gid, x.stx_mask & 0x7ff);
    }
    static const unsigned MASKS[] = {0, 1, 2, 4, 8, 0x10, 0x18, 0x7ff, 0x800, 0xfff, 0x80000000u, 0xffffffffu, 0x7fffffffu};
    for (int k = 0; k < N(MASKS); k++) {
        memset(&x, 0, sizeof x);
        long r = sc5(__NR_statx, AT_FDCWD, named, 0, MASKS[k], &x);
        say("statx(%s, mask %x) = %s mode %o %u:%u", shown(named), MASKS[k], is_error(r) ? err_name(r) : "ok", x.stx_mode, x.stx_uid, x.stx_gid);
    }
    show_ok(sc2(__NR_stat, named, BAD), "stat(%s, BAD)", shown(named));
    show_ok(sc4(STAT64, AT_FDCWD, named, BAD, 0), "fstatat(%s, BAD)", shown(named));
    show_ok(sc5(__NR_statx, AT_FDCWD, named, 0, STATX_BASIC_STATS, BAD), "statx(%s, BAD)", shown(named));
    show_ok(sc5(__NR_statx, AT_FDCWD, named, 0, STATX_BASIC_STATS, NULL), "statx(%s, NULL)", shown(named));
    return 0;
}
static int count_paths(void) { return N(PATHS); }

static int call_look(int i)
{
    named = PATHS[i];
    if (refusable() && names(named, "/proc"))
        return 0;
    static const int SIZES[] = {4096, 1, 0, -1};
    for (int k = 0; k < N(SIZES); k++) {
        memset(buffer, 0, 300);
        long r = sc3(__NR_readlink, named, buffer, SIZES[k]);
        show_ok(r, "readlink(%s, %d) %s", shown(named), SIZES[k], strpbrk(buffer, "/[") ? "" : buffer);
    }
    show_ok(sc4(__NR_readlinkat, AT_FDCWD, named, BAD, 4096), "readlinkat(%s, BAD)", shown(named));
    static const int MODES[] = {0, R_OK, W_OK, X_OK, R_OK | W_OK, 7, 8, -1};
    for (int k = 0; k < N(MODES); k++) {
        show_ok(sc2(__NR_access, named, MODES[k]), "access(%s, %d)", shown(named), MODES[k]);
        show_ok(sc4(439, AT_FDCWD, named, MODES[k], AT_EACCESS), "faccessat2(%s, %d, EACCESS)", shown(named), MODES[k]);
    }
    for (int k = 0; k < N(STAT_FLAGS); k++)
        show_ok(sc4(439, AT_FDCWD, named, W_OK, STAT_FLAGS[k].flags), "faccessat2(%s, W_OK, %s)", shown(named), STAT_FLAGS[k].name);
    show_ok(sc2(__NR_statfs, named, buffer), "statfs(%s)", shown(named));
    show_ok(sc1(__NR_chdir, named), "chdir(%s)", shown(named));
    DO(chdir(work));
    DO(chdir("t"));
    long r = sc3(__NR_listxattr, named, buffer, sizeof buffer);
    show(r, "listxattr(%s)", shown(named));
    show(sc3(__NR_llistxattr, named, buffer, 0), "llistxattr(%s, 0)", shown(named));
    show(sc4(__NR_getxattr, named, "user.none", buffer, sizeof buffer), "getxattr(%s, user.none)", shown(named));
    show(sc4(__NR_getxattr, named, "trusted.none", buffer, sizeof buffer), "getxattr(%s, trusted.none)", shown(named));
    show(sc4(__NR_lgetxattr, named, "security.capability", NULL, 0), "lgetxattr(%s, security.capability)", shown(named));
    show(sc4(__NR_getxattr, named, "", buffer, sizeof buffer), "getxattr(%s, empty)", shown(named));
    show(sc4(__NR_getxattr, named, BAD, buffer, sizeof buffer), "getxattr(%s, BAD)", shown(named));
    show(sc4(__NR_getxattr, named, name256, buffer, sizeof buffer), "getxattr(%s, name256)", shown(named));
    return 0;
}

/* ------------------------------------------------------------------------------------------------ opening */

static const struct { int flags; const char *name; } OPEN_FLAGS[] = {
    {O_RDONLY, "RDONLY"}, {O_WRONLY, "WRONLY"}, {O_RDWR | O_CLOEXEC, "RDWR"}, {O_ACCMODE, "ACCMODE"}, {O_PATH, "PATH"},
    {O_PATH | O_NOFOLLOW, "PATH|NOFOLLOW"}, {O_PATH | O_CREAT, "PATH|CREAT"}, {O_NOFOLLOW, "NOFOLLOW"}, {O_DIRECTORY, "DIRECTORY"},
    {O_RDONLY | O_TRUNC, "RDONLY|TRUNC"}, {O_WRONLY | O_TRUNC, "WRONLY|TRUNC"}, {O_RDONLY | O_CREAT, "RDONLY|CREAT"},
    {O_RDWR | O_CREAT, "RDWR|CREAT"}, {O_RDWR | O_CREAT | O_EXCL, "CREAT|EXCL"}, {O_WRONLY | O_CREAT | O_TRUNC, "CREAT|TRUNC"},
    {O_RDWR | O_CREAT | O_NOFOLLOW, "CREAT|NOFOLLOW"}, {O_RDONLY | O_CREAT | O_DIRECTORY, "CREAT|DIRECTORY"},
    {O_RDWR | O_CREAT | O_DIRECTORY | O_EXCL, "CREAT|DIRECTORY|EXCL"}, {O_RDWR | O_TMPFILE, "TMPFILE"}, {O_RDONLY | O_TMPFILE, "RDONLY|TMPFILE"},
    {O_RDWR | O_TMPFILE | O_CREAT, "TMPFILE|CREAT"}, {O_RDWR | O_TMPFILE | O_EXCL, "TMPFILE|EXCL"}, {O_RDONLY | O_EXCL, "EXCL"},
    {O_RDONLY | O_NOATIME, "NOATIME"}, {O_RDWR | O_CREAT | O_APPEND | O_SYNC, "CREAT|APPEND|SYNC"}, {O_RDWR | O_CREAT | O_ASYNC, "CREAT|ASYNC"},
    {O_RDONLY | O_DIRECT, "DIRECT"}, {0x40000000, "0x40000000"}, {O_RDWR | O_CREAT | 0x40000000, "CREAT|0x40000000"},
};
/* A device to look at is none to open. */
static int is_device(const char *path)
{
    return path && path != BAD && (!strcmp(path, "b") || !strcmp(path, "c"));
}
static int count_open(void) { return N(PATHS) * N(OPEN_FLAGS); }

static int call_open(int i)
{
    named = PATHS[i / N(OPEN_FLAGS)];
    int flags = OPEN_FLAGS[i % N(OPEN_FLAGS)].flags | O_NONBLOCK;
    if (is_device(named) || (refusable() && names(named, "/proc/self/fd/53")))
        return 0;
    long fd = show_ok(sc4(__NR_openat, AT_FDCWD, named, flags, 07654), "openat(%s, %s)", shown(named), OPEN_FLAGS[i % N(OPEN_FLAGS)].name);
    if (is_error(fd))
        return 0;
    if (!(flags & O_PATH))
        say("    flags %lo cloexec %ld", sc3(__NR_fcntl, fd, F_GETFL, 0) & ~(long)0100000, sc3(__NR_fcntl, fd, F_GETFD, 0));
    int writes = !(flags & O_PATH) && !is_error(sc3(__NR_write, fd, "x", 1));
    struct statx x;
    long r = sc5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x);
    say("    %s %o %u:%u links %u", is_error(r) ? err_name(r) : "is", x.stx_mode, x.stx_uid, x.stx_gid, x.stx_nlink);
    sc1(__NR_close, fd);
    return writes || (flags & (O_CREAT | O_TRUNC)) != 0;
}

struct how { uint64_t flags, mode, resolve, more; };
static int call_openat2(int i)
{
    named = PATHS[i % N(PATHS)];
    static const struct { struct how how; int size; const char *name; } HOW[] = {
        {{O_RDWR | O_CREAT, 0640, 0, 0}, 24, "CREAT 0640"}, {{O_RDWR | O_CREAT, 07777, 0, 0}, 24, "CREAT 07777"},
        {{O_RDWR | O_CREAT, 010000, 0, 0}, 24, "CREAT 010000"}, {{O_RDONLY, 0640, 0, 0}, 24, "RDONLY 0640"}, {{O_RDONLY, 0, 0, 0}, 23, "size 23"},
        {{O_RDWR | O_CREAT, 0640, 0, 0}, 0, "size 0"}, {{O_RDWR | O_CREAT, 0640, 0, 0}, 32, "size 32"}, {{O_RDWR | O_CREAT, 0640, 0, 1}, 32, "size 32 and more"},
        {{O_RDWR | O_CREAT, 0640, 0, 0}, 5000, "size 5000"}, {{O_RDWR | O_CREAT | 0x40000000, 0640, 0, 0}, 24, "CREAT 0x40000000"},
        {{O_RDWR, 0, 1, 0}, 24, "NO_XDEV"}, {{O_RDWR, 0, 2, 0}, 24, "NO_MAGICLINKS"},
        {{O_RDWR, 0, 4, 0}, 24, "NO_SYMLINKS"}, {{O_RDWR, 0, 8, 0}, 24, "BENEATH"}, {{O_RDWR, 0, 16, 0}, 24, "IN_ROOT"},
        {{O_RDWR, 0, 24, 0}, 24, "BENEATH|IN_ROOT"}, {{O_RDWR | O_CREAT, 0640, 0, 0}, 25, "size 25"},
        {{O_RDWR | O_CREAT, 0640, 64, 0}, 24, "bad resolve"}, {{O_PATH | O_CREAT, 0, 0, 0}, 24, "PATH|CREAT"},
        {{O_RDWR | O_TMPFILE, 0640, 0, 0}, 24, "TMPFILE"}, {{O_RDWR | O_CREAT | O_DIRECTORY, 0640, 0, 0}, 24, "CREAT|DIRECTORY"},
        {{O_RDWR | O_CREAT | (1ull << 40), 0640, 0, 0}, 24, "CREAT|1<<40"},
        {{O_RDWR | O_CREAT, 0640, 1, 0}, 24, "CREAT NO_XDEV"}, {{O_RDWR | O_CREAT | O_EXCL, 0640, 8, 0}, 24, "EXCL BENEATH"},
        {{O_RDWR | O_CREAT, 0600, 4, 0}, 24, "CREAT NO_SYMLINKS"},
    };
    for (int k = i / N(PATHS); k < N(HOW); k += N(HOW)) {
        if (is_device(named) || names(named, "/proc/self/fd/53"))
            return 0;
        static char area[6000];
        memset(area, 0, sizeof area);
        memcpy(area, &HOW[k].how, sizeof HOW[k].how);
        long fd = show_ok(open_how(AT_FDCWD, named, area, (unsigned long)HOW[k].size), "openat2(%s, %s)", shown(named), HOW[k].name);
        if (is_error(fd))
            return 0;
        sc1(__NR_close, fd);
        return (HOW[k].how.flags & O_CREAT) != 0;
    }
    return 0;
}
static int count_openat2(void) { return N(PATHS) * 25; }

/* ------------------------------------------------------------------------------------------------ owners and modes */

static const struct { unsigned uid, gid; } IDS[] = {
    {~0u, ~0u}, {0, 0}, {1000, 1000}, {5, ~0u}, {~0u, 5}, {~0u, 1000}, {~0u, 44}, {1000, ~0u}, {1000, 45}, {4000000000u, 4000000000u}, {65534, 65534},
};
static int count_chown(void) { return N(PATHS) * N(IDS); }
/* Who made a pipe is not known then. */
static int is_of_unknown_maker(void) { return refusable() && names(named, "/proc/self/fd/53"); }

static int call_chown(int i)
{
    named = PATHS[i / N(IDS)];
    if (is_of_unknown_maker())
        return 0;
    unsigned u = IDS[i % N(IDS)].uid, g = IDS[i % N(IDS)].gid;
    CHANGES(sc3(WIDE(chown), named, u, g), "chown(%s, %d, %d)", shown(named), (int)u, (int)g);
}
static int call_lchown(int i)
{
    named = PATHS[i / N(IDS)];
    unsigned u = IDS[i % N(IDS)].uid, g = IDS[i % N(IDS)].gid;
    CHANGES(sc3(WIDE(lchown), named, u, g), "lchown(%s, %d, %d)", shown(named), (int)u, (int)g);
}
static int count_fchownat(void) { return N(PATHS) * N(STAT_FLAGS); }
static int call_fchownat(int i)
{
    named = PATHS[i / N(STAT_FLAGS)];
    if (is_of_unknown_maker())
        return 0;
    int k = i % N(STAT_FLAGS);
    CHANGES(sc5(__NR_fchownat, AT_FDCWD, named, ~0u, 44, STAT_FLAGS[k].flags), "fchownat(%s, -1, 44, %s)", shown(named), STAT_FLAGS[k].name);
}
static int call_fchmodat2(int i)
{
    named = PATHS[i / N(STAT_FLAGS)];
    if (is_of_unknown_maker())
        return 0;
    int k = i % N(STAT_FLAGS);
    CHANGES(sc4(452, AT_FDCWD, named, 0751, STAT_FLAGS[k].flags), "fchmodat2(%s, 0751, %s)", shown(named), STAT_FLAGS[k].name);
}
static const unsigned MODES[] = {0, 0777, 0640, 02770, 04711, 06755, 01777, 07777, 0177777, ~0u};
static int count_chmod(void) { return N(PATHS) * N(MODES); }
static int call_chmod(int i)
{
    named = PATHS[i / N(MODES)];
    unsigned m = MODES[i % N(MODES)];
    if (is_of_unknown_maker() || (refusable() && (m & 0111) != 0111))
        return 0; /* or a directory that nobody can search */
    if (i & 1)
        CHANGES(sc2(__NR_chmod, named, m), "chmod(%s, %o)", shown(named), m);
    CHANGES(sc3(__NR_fchmodat, AT_FDCWD, named, m), "fchmodat(%s, %o)", shown(named), m);
}

/* ------------------------------------------------------------------------------------------------ names */

static const struct { unsigned mode; unsigned major, minor; } NODES[] = {
    {0640, 0, 0}, {S_IFREG | 0640, 5, 5}, {S_IFIFO | 0640, 0, 0}, {S_IFSOCK | 0640, 0, 0}, {S_IFCHR | 0640, 1, 3}, {S_IFCHR | 0640, 0, 0},
    {S_IFBLK | 0640, 8, 1}, {S_IFDIR | 0755, 0, 0}, {S_IFLNK | 0777, 0, 0}, {0170000 | 0640, 0, 0}, {0200000 | 0640, 0, 0}, {S_IFREG | 06777, 0, 0},
    {S_IFCHR | 07777, 240, 4095}, {S_IFBLK | 0600, 4095, 1048575},
};
static int count_mknod(void) { return N(PATHS) * N(NODES); }
static int call_mknod(int i)
{
    named = PATHS[i / N(NODES)];
    int k = i % N(NODES);
    unsigned dev = (NODES[k].minor & 0xff) | NODES[k].major << 8 | (NODES[k].minor & ~0xffu) << 12;
    CHANGES(sc3(__NR_mknod, named, NODES[k].mode, dev), "mknod(%s, %o, %u:%u)", shown(named), NODES[k].mode, NODES[k].major, NODES[k].minor);
}

static int count_names(void) { return N(PATHS) * 22; }
static int call_names(int i)
{
    named = PATHS[i / 22];
    const char *p = shown(named);
    struct sockaddr_un a = {AF_UNIX, ""};
    long r;
    int links = i % 22 == 9 || i % 22 == 11 || i % 22 == 12;
    if (refusable() && (links || names(named, "dt/mine") || names(named, "dt/theirs")))
        return 0;
    switch (i % 22) {
    case 0: CHANGES(sc2(__NR_mkdir, named, 0755), "mkdir(%s, 0755)", p);
    case 1: CHANGES(sc2(__NR_mkdir, named, 07777), "mkdir(%s, 07777)", p);
    case 2: CHANGES(sc1(__NR_rmdir, named), "rmdir(%s)", p);
    case 3: CHANGES(sc1(__NR_unlink, named), "unlink(%s)", p);
    case 4: CHANGES(sc3(__NR_unlinkat, AT_FDCWD, named, AT_REMOVEDIR), "unlinkat(%s, REMOVEDIR)", p);
    case 5: CHANGES(sc3(__NR_unlinkat, AT_FDCWD, named, 1), "unlinkat(%s, 1)", p);
    case 6: CHANGES(sc2(__NR_symlink, "target", named), "symlink(target, %s)", p);
    case 7: CHANGES(sc2(__NR_symlink, "", named), "symlink(empty, %s)", p);
    case 8: CHANGES(sc2(__NR_symlink, named, "new"), "symlink(%s, new)", p);
    case 9: CHANGES(sc2(__NR_link, named, "new"), "link(%s, new)", p);
    case 10: CHANGES(sc2(__NR_link, "f1", named), "link(f1, %s)", p);
    case 11: CHANGES(sc5(__NR_linkat, AT_FDCWD, named, AT_FDCWD, "new", AT_SYMLINK_FOLLOW), "linkat(%s, new, FOLLOW)", p);
    case 12: CHANGES(sc5(__NR_linkat, AT_FDCWD, named, AT_FDCWD, "new", AT_SYMLINK_NOFOLLOW), "linkat(%s, new, NOFOLLOW)", p);
    case 13: CHANGES(sc2(__NR_rename, named, "new"), "rename(%s, new)", p);
    case 14: CHANGES(sc2(__NR_rename, "f1", named), "rename(f1, %s)", p);
    case 15: CHANGES(sc2(__NR_rename, "d1", named), "rename(d1, %s)", p);
    case 16: CHANGES(sc5(__NR_renameat2, AT_FDCWD, "f1", AT_FDCWD, named, 1), "renameat2(f1, %s, NOREPLACE)", p);
    case 17: CHANGES(sc5(__NR_renameat2, AT_FDCWD, "f1", AT_FDCWD, named, 2), "renameat2(f1, %s, EXCHANGE)", p);
    case 18: CHANGES(sc5(__NR_renameat2, AT_FDCWD, "f1", AT_FDCWD, named, 8), "renameat2(f1, %s, 8)", p);
    case 19: CHANGES(sc2(__NR_truncate, named, 3), "truncate(%s, 3)", p);
    case 20:
        if (names(named, "/proc"))
            return 0;
        CHANGES(sc4(__NR_utimensat, AT_FDCWD, named, NULL, AT_SYMLINK_NOFOLLOW), "utimensat(%s, NULL, NOFOLLOW)", p);
    default:
        if (!named || named == BAD || strlen(named) >= sizeof a.sun_path)
            return 0;
        strcpy(a.sun_path, named);
        if (!*named)
            return 0; /* an abstract name */
#ifdef __i386__
        r = -1;
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        r = bind(s, (struct sockaddr *)&a, sizeof a) ? -errno : 0;
#else
        long s = sc3(__NR_socket, AF_UNIX, SOCK_STREAM, 0);
        r = sc3(__NR_bind, s, &a, sizeof a);
#endif
        show(r, "bind(%s)", p);
        sc1(__NR_close, s);
        return !is_error(r);
    }
}

static int count_xattrs(void) { return N(PATHS) * 12; }
static int call_xattrs(int i)
{
    named = PATHS[i / 12];
    const char *p = shown(named);
    if (refusable() && names(named, "/proc/self/fd/53"))
        return 0;
    switch (i % 12) {
    case 0: CHANGES(sc5(__NR_setxattr, named, "trusted.a", "v", 1, 0), "setxattr(%s, trusted.a)", p);
    case 1: CHANGES(sc5(__NR_setxattr, named, "trusted.a", "v", 1, 2), "setxattr(%s, trusted.a, REPLACE)", p);
    case 2: CHANGES(sc5(__NR_setxattr, named, "trusted.a", "v", 1, 4), "setxattr(%s, trusted.a, 4)", p);
    case 3: CHANGES(sc5(__NR_setxattr, named, "security.a", "v", 1, 1), "setxattr(%s, security.a, CREATE)", p);
    case 4: CHANGES(sc5(__NR_lsetxattr, named, "trusted.a", BAD, 1, 0), "lsetxattr(%s, trusted.a, BAD)", p);
    case 5: CHANGES(sc5(__NR_lsetxattr, named, "trusted.a", buffer, 70000, 0), "lsetxattr(%s, trusted.a, 70000)", p);
    case 6: CHANGES(sc5(__NR_lsetxattr, named, "trusted.b", "v", 1, 0), "lsetxattr(%s, trusted.b)", p);
    case 7: CHANGES(sc5(__NR_setxattr, named, name256, "v", 1, 0), "setxattr(%s, name256)", p);
    case 8: CHANGES(sc5(__NR_setxattr, named, "nonsense.a", "v", 1, 0), "setxattr(%s, nonsense.a)", p);
    case 9: CHANGES(sc2(__NR_removexattr, named, "trusted.a"), "removexattr(%s, trusted.a)", p);
    case 10: CHANGES(sc2(__NR_lremovexattr, named, "security.capability"), "lremovexattr(%s, security.capability)", p);
    default: CHANGES(sc5(__NR_setxattr, named, "security.capability", "v", 1, 0), "setxattr(%s, security.capability)", p);
    }
}

/* ------------------------------------------------------------------------------------------------ descriptors */

static int count_fds(void) { return N(FDS) * 24; }
static int call_fds(int i)
{
    int fd = FDS[i / 24];
    struct statx x;
    long r;
    if ((refusable() && i % 24 == 23) || (acting != ROOT && i % 24 == 20))
        return 0; /* to link a descriptor takes credentials like those that opened it */
    if (((refusable() && fd == FD_PIPE) || (acting != ROOT && fd == FD_SOCKET)) && i % 24 >= 7 && i % 24 <= 14)
        return 0; /* who made them is not known */
    switch (i % 24) {
    case 0:
#ifdef __i386__
        r = sc2(__NR_fstat64, fd, buffer);
#else
        r = sc2(__NR_fstat, fd, buffer);
#endif
        show(r, "fstat(%d)", fd);
        return 0;
    case 1:
        r = sc5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x);
        say("statx(%d) = %s %o %u:%u", fd, is_error(r) ? err_name(r) : "ok", is_error(r) ? 0 : x.stx_mode, is_error(r) ? 0 : x.stx_uid,
            is_error(r) ? 0 : x.stx_gid);
        return 0;
    case 2: ASKS(sc5(__NR_statx, fd, NULL, AT_EMPTY_PATH, STATX_BASIC_STATS, &x), "statx(%d, NULL, EMPTY)", fd);
    case 3: ASKS(sc4(STAT64, fd, NULL, buffer, AT_EMPTY_PATH), "fstatat(%d, NULL, EMPTY)", fd);
    case 4: ASKS(sc4(STAT64, fd, "in", buffer, 0), "fstatat(%d, in)", fd);
    case 5: ASKS(sc4(STAT64, fd, "", buffer, 0), "fstatat(%d, empty)", fd);
    case 6: ASKS(sc4(STAT64, fd, "/dev", buffer, 0), "fstatat(%d, /dev)", fd);
    case 7: CHANGES(sc3(WIDE(fchown), fd, ~0u, 44), "fchown(%d, -1, 44)", fd);
    case 8: CHANGES(sc3(WIDE(fchown), fd, ~0u, ~0u), "fchown(%d, -1, -1)", fd);
    case 9: CHANGES(sc3(WIDE(fchown), fd, 7, 7), "fchown(%d, 7, 7)", fd);
    case 10: CHANGES(sc2(__NR_fchmod, fd, 06751), "fchmod(%d, 06751)", fd);
    case 11: CHANGES(sc5(__NR_fchownat, fd, "", ~0u, 44, AT_EMPTY_PATH), "fchownat(%d, empty, -1, 44, EMPTY)", fd);
    case 12: CHANGES(sc5(__NR_fchownat, fd, NULL, ~0u, 44, AT_EMPTY_PATH), "fchownat(%d, NULL, -1, 44, EMPTY)", fd);
    case 13: CHANGES(sc5(__NR_fchownat, fd, "in", ~0u, 44, 0), "fchownat(%d, in, -1, 44)", fd);
    case 14: CHANGES(sc4(452, fd, "", 0751, AT_EMPTY_PATH), "fchmodat2(%d, empty, 0751, EMPTY)", fd);
    case 15: CHANGES(sc3(__NR_fchmodat, fd, "in", 0751), "fchmodat(%d, in, 0751)", fd);
    case 16: CHANGES(sc3(__NR_mkdirat, fd, "new", 0751), "mkdirat(%d, new)", fd);
    case 17: CHANGES(sc4(__NR_mknodat, fd, "new", S_IFCHR | 0600, 259), "mknodat(%d, new, c 1 3)", fd);
    case 18: CHANGES(sc4(__NR_openat, fd, "new", O_CREAT | O_WRONLY, 0600), "openat(%d, new, CREAT)", fd);
    case 19: CHANGES(sc3(__NR_symlinkat, "to", fd, "new"), "symlinkat(%d, new)", fd);
    case 20: CHANGES(sc5(__NR_linkat, fd, "", AT_FDCWD, "new", AT_EMPTY_PATH), "linkat(%d, empty, new, EMPTY)", fd);
    case 21: CHANGES(sc5(__NR_fsetxattr, fd, "trusted.a", "v", 1, 0), "fsetxattr(%d, trusted.a)", fd);
    case 22: ASKS(sc3(__NR_flistxattr, fd, buffer, sizeof buffer), "flistxattr(%d)", fd);
    default: ASKS(sc4(439, fd, "", W_OK, AT_EMPTY_PATH), "faccessat2(%d, empty, W_OK, EMPTY)", fd);
    }
}

#include "errors_tasks.h"

static const struct part PARTS[] = {
    {"stat", count_paths, call_stat}, {"look", count_paths, call_look}, {"open", count_open, call_open}, {"openat2", count_openat2, call_openat2},
    {"chown", count_chown, call_chown}, {"lchown", count_chown, call_lchown}, {"fchownat", count_fchownat, call_fchownat},
    {"fchmodat2", count_fchownat, call_fchmodat2}, {"chmod", count_chmod, call_chmod}, {"mknod", count_mknod, call_mknod},
    {"names", count_names, call_names}, {"xattrs", count_xattrs, call_xattrs}, {"fds", count_fds, call_fds}, {"tasks", count_tasks, call_tasks},
};
