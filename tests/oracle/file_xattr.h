/* Extended attributes, access lists, access(2), lengths and times: included by filefuzz once. */
#include <linux/capability.h>
#include <linux/xattr.h>

struct at_args { uint64_t value; uint32_t size, flags; };

static const char *const ATTRS[] = {
    "user.a", "user.b", "trusted.t", "security.x", "security.capability", "system.posix_acl_access",
    "system.posix_acl_default", "user.", "nothing.a", "trusted.",
};

/* An access list of version 2: entries of tag, permissions and id. */
static size_t access_list(unsigned char *out)
{
    static const uint16_t TAGS[] = {1, 2, 2, 4, 8, 0x10, 0x20};
    static const uint32_t IDS[] = {0, 33, 42, 1000, 65536, 0xFFFFFFFFu};
    unsigned named = rnd(3);
    size_t size = 4;
    uint32_t last = 0;
    memcpy(out, (uint32_t[]){one_in(12) ? 3 : 2}, 4);
    for (unsigned i = 0; i < 7; i++) {
        uint16_t tag = TAGS[i], perm = (uint16_t)(everyone ? 7 : rnd(8));
        uint32_t id = 0xFFFFFFFFu;
        if ((tag == 2 && i > named) || (tag == 8 && named < 2) || (tag == 0x10 && !named && one_in(2)))
            continue;
        if (tag == 2 || tag == 8)
            id = tag == 2 && last ? last + 1 : IDS[rnd(one_in(15) ? 6 : 5)];
        last = tag == 2 ? id : 0;
        if (one_in(30))
            continue;
        memcpy(out + size, &tag, 2), memcpy(out + size + 2, &perm, 2), memcpy(out + size + 4, &id, 4);
        size += 8;
    }
    return one_in(20) ? size - 3 : size;
}

static size_t some_value(const char *name, unsigned char *out)
{
    memset(out, 'a' + (int)rnd(26), 64);
    if (!strncmp(name, "system.", 7))
        return access_list(out);
    if (!strcmp(name, "security.capability") && !one_in(8)) {
        unsigned third = one_in(3);
        uint32_t words[6] = {(third ? 0x03000000u : 0x02000000u) | rnd(2), 1u << rnd(20), 0, 0, 0, one_in(4) ? 1000 : 0};
        memcpy(out, words, sizeof words);
        return third ? 24 : 20;
    }
    return rnd(9);
}

static void show_value(long r, const unsigned char *value)
{
    char hex[200];
    int at = 0;
    hex[0] = 0;
    for (long i = 0; i < r && i < 64; i++)
        at += snprintf(hex + at, sizeof hex - (size_t)at, "%02x", value[i]);
    if (r > 0)
        say("  %s", hex);
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* A path to something that is there, mostly. */
static const char *found_path(int dirfd, int follow)
{
    const char *path = random_path();
    for (int tries = 0; tries < 8 && peek(dirfd, path, follow).err; tries++)
        path = random_path();
    return path;
}

/* What a file has, the names in order. */
static void list_names(long r, char *list)
{
    const char *names[40];
    size_t count = 0;
    if (r <= 0)
        return;
    for (char *at = list; at < list + r && count < 40; at += strlen(at) + 1)
        names[count++] = at;
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++)
        say("  has %s", names[i]);
}

static void op_list(void)
{
    static char list[4096];
    const char *at;
    int dirfd = random_dirfd(&at), follow = one_in(2), slot = slots[rnd(4)];
    const char *path = found_path(dirfd, follow);
    size_t size = (size_t[]){sizeof list, sizeof list, 0, 3}[rnd(4)];
    long r;
    memset(list, 0, sizeof list);
    switch (rnd(4)) {
    case 0: r = sc3(__NR_flistxattr, slot, list, size), show(r, "flistxattr(slot, %zu)", size); break;
    case 1: r = sc5(465, dirfd, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, list, size), show(r, "listxattrat(%s, %s, %zu)", at, shown(path), size); break;
    default: r = sc3(follow ? __NR_listxattr : __NR_llistxattr, path, list, size), show(r, "%slistxattr(%s, %zu)", follow ? "" : "l", shown(path), size);
    }
    list_names(size > 3 ? r : 0, list);
}

static void op_xattr(void)
{
    unsigned char value[96];
    const char *at, *path, *name = ATTRS[one_in(6) ? 7 + rnd(3) : rnd(7)];
    int dirfd = random_dirfd(&at), follow = one_in(2), slot = slots[rnd(4)], how = (int[]){0, 0, 0, XATTR_CREATE, XATTR_REPLACE, 8}[rnd(6)];
    int at_flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
    size_t size = some_value(name, value);
    path = found_path(dirfd, follow);
    struct at_args args = {(uintptr_t)value, (uint32_t)size, (uint32_t)how};
    struct attrs a = peek(dirfd, path, follow);
    long r;
    if (everyone && !a.err && (a.mode & FMT) == 0040000 && !strcmp(name, "system.posix_acl_default"))
        return; /* what is made in it would not be open to all */
    if (one_in(4)) {
        op_list();
        return;
    }
    switch (rnd(9)) {
    case 0: show(sc5(__NR_setxattr, path, name, value, size, how), "setxattr(%s, %s, %zu, %d)", shown(path), name, size, how); break;
    case 1: show(sc5(__NR_lsetxattr, path, name, value, size, how), "lsetxattr(%s, %s, %zu, %d)", shown(path), name, size, how); break;
    case 2: show(sc5(__NR_fsetxattr, slot, name, value, size, how), "fsetxattr(slot, %s, %zu, %d)", name, size, how); break;
    case 3:
        r = sc(463, A(dirfd), A(path), at_flags, A(name), A(&args));
        if (r == -EINVAL) /* the size of the arguments is the sixth argument, which sc() leaves 0 */
            show(syscall(463, dirfd, path, at_flags, name, &args, sizeof args) < 0 ? -errno : 0, "setxattrat(%s, %s, %s, %zu, %d)", at, shown(path), name, size, how);
        break;
    case 4: show(sc2(follow ? __NR_removexattr : __NR_lremovexattr, path, name), "%sremovexattr(%s, %s)", follow ? "" : "l", shown(path), name); break;
    case 5:
        if (one_in(2))
            show(sc2(__NR_fremovexattr, slot, name), "fremovexattr(slot, %s)", name);
        else
            show(sc4(466, dirfd, path, at_flags, name), "removexattrat(%s, %s, %s)", at, shown(path), name);
        break;
    default:
        memset(value, 0, sizeof value);
        size = (size_t[]){sizeof value, sizeof value, 0, 2}[rnd(4)];
        args.size = (uint32_t)size, args.flags = 0;
        if (one_in(3))
            r = show(sc4(__NR_fgetxattr, slot, name, value, size), "fgetxattr(slot, %s, %zu)", name, size);
        else if (one_in(3)) {
            r = syscall(464, dirfd, path, at_flags, name, &args, sizeof args);
            r = show(r < 0 ? -errno : r, "getxattrat(%s, %s, %s, %zu)", at, shown(path), name, size);
        } else
            r = show(sc4(follow ? __NR_getxattr : __NR_lgetxattr, path, name, value, size), "%sgetxattr(%s, %s, %zu)", follow ? "" : "l", shown(path), name, size);
        show_value(size > 2 ? r : 0, value);
        return;
    }
    look(dirfd, path, follow);
}

static void op_access(void)
{
    static const int FLAGS[] = {0, AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EACCESS | AT_SYMLINK_NOFOLLOW, 1};
    const char *at;
    int dirfd = random_dirfd(&at), mode = (int)rnd(one_in(20) ? 16 : 8), flags = PICK(FLAGS), slot = slots[rnd(4)];
    const char *path = found_path(dirfd, 1);
    struct attrs a = peek(dirfd, path, 1);
    if (!a.err && ((a.mode & FMT) == 0020000 || (a.mode & FMT) == 0060000))
        mode &= ~X_OK; /* of a node that is only remembered the kernel is asked, and it is never one to execute */
    switch (rnd(4)) {
#ifdef __NR_access
    case 0: show(sc2(__NR_access, path, mode), "access(%s, %d)", shown(path), mode); break;
#endif
    case 1: show(sc3(__NR_faccessat, dirfd, path, mode), "faccessat(%s, %s, %d)", at, shown(path), mode); break;
    case 2: show(sc4(439, slot, "", mode, AT_EMPTY_PATH | flags), "faccessat2(slot, %d, %x)", mode, flags); break;
    default: show(sc4(439, dirfd, path, mode, flags), "faccessat2(%s, %s, %d, %x)", at, shown(path), mode, flags);
    }
}

/* A length takes set-id bits and capabilities of a file away, as writing does. */
static void op_length(void)
{
    const char *path = found_path(AT_FDCWD, 1);
    int slot = slots[rnd(4)], length = (int)rnd(5000) - 2;
    struct attrs a = peek(AT_FDCWD, path, 1);
    unsigned kind = a.err ? 0 : a.mode & FMT;
    if (kind == 0020000 || kind == 0060000 || (!a.err && (a.mode & 06000) && !writes))
        return;
    if (one_in(3) && slot >= 0) {
        a = fd_stat(slot);
        if (!a.err && (a.mode & 06000) == 0)
            show(sc2(__NR_ftruncate, slot, length), "ftruncate(slot, %d)", length);
        return;
    }
    show(sc2(__NR_truncate, path, length), "truncate(%s, %d)", shown(path), length);
    look(AT_FDCWD, path, 1);
}

static void op_times(void)
{
    struct timespec given[2] = {{1000000000, 5}, {1100000000, 7}};
    struct timeval old[2] = {{1000000000, 5}, {1100000000, 7}};
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at), nofollow = one_in(2) ? AT_SYMLINK_NOFOLLOW : 0, slot = slots[rnd(4)];
    struct statx x;
    long r;
    if (nonroot && !denied)
        return; /* whose times one may set is told with --strict */
    for (int i = 0; i < 2; i++)
        if (one_in(3))
            given[i].tv_nsec = one_in(2) ? UTIME_NOW : UTIME_OMIT;
    switch (rnd(5)) {
#ifdef __NR_utimes
    case 0: show(sc2(__NR_utimes, path, one_in(3) ? NULL : old), "utimes(%s)", shown(path)); break;
    case 1: show(sc3(__NR_futimesat, dirfd, path, one_in(3) ? NULL : old), "futimesat(%s, %s)", at, shown(path)); break;
    case 2: show(sc2(__NR_utime, path, one_in(3) ? NULL : &given[0].tv_sec), "utime(%s)", shown(path)); break;
#endif
    case 3: show(futimens(slot, one_in(4) ? NULL : given) < 0 ? -errno : 0, "futimens(slot)"); break;
    default:
        r = utimensat(dirfd, path, one_in(4) ? NULL : given, nofollow) < 0 ? -errno : 0;
        show(r, "utimensat(%s, %s, %ld, %ld, %x)", at, shown(path), given[0].tv_nsec, given[1].tv_nsec, nofollow);
        if (r || sc5(NR_STATX, dirfd, path, nofollow, STATX_BASIC_STATS, &x))
            return;
        if (given[1].tv_nsec == 7 && x.stx_mtime.tv_sec == 1100000000)
            say("  is of then");
    }
}
