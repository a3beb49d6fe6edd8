/* chown, chmod, sockets, bad arguments and kept descriptors: included by filefuzz once. */

/* In 32 bits the 16-bit and the 32-bit calls, by path and descriptor. */
static void op_chown(void)
{
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at), slot = slots[rnd(4)];
    unsigned u = PICK(OWNERS), g = PICK(OWNERS);
    int follow = one_in(2);
    switch (rnd(8)) {
#ifdef __i386__
    case 0: show(sc3(follow ? 182 : 16, path, u, g), "%schown16(%s, %u, %u)", follow ? "" : "l", shown(path), u, g); break;
    case 1: show(sc3(follow ? 212 : 198, path, u, g), "%schown32(%s, %u, %u)", follow ? "" : "l", shown(path), u, g); break;
    case 2:
        if (slot < 0)
            return;
        show(sc3(one_in(2) ? 95 : 207, slot, u & 0xFFFF, g & 0xFFFF), "fchown(slot, %u, %u)", u & 0xFFFF, g & 0xFFFF);
        break;
#elif defined(__NR_chown)
    case 0: case 1:
        show(sc3(follow ? __NR_chown : __NR_lchown, path, u, g), "%schown(%s, %u, %u)", follow ? "" : "l", shown(path), u, g);
        break;
    case 2:
        if (slot < 0)
            return;
        show(sc3(__NR_fchown, slot, u, g), "fchown(slot, %u, %u)", u, g);
        break;
#endif
    case 3: {
        int fd = (int)sc4(__NR_openat, dirfd, path, O_PATH | (follow ? 0 : O_NOFOLLOW), 0);
        if (fd < 0)
            return;
        if (one_in(3))
            show(sc3(__NR_fchown, fd, u, g), "fchown(O_PATH %s)", shown(path));
        else
            show(sc5(__NR_fchownat, fd, "", u, g, AT_EMPTY_PATH), "fchownat(O_PATH %s, %u, %u)", shown(path), u, g);
        sc1(__NR_close, fd);
        break;
    }
    case 4: {
        char proc[64];
        if (slot < 0 || in_chroot)
            return;
        snprintf(proc, sizeof proc, "/proc/self/fd/%d", slot);
        show(sc5(__NR_fchownat, AT_FDCWD, proc, u, g, 0), "fchownat(proc fd, %u, %u)", u, g);
        break;
    }
    case 5:
        if (slot < 0)
            return;
        show(sc5(__NR_fchownat, slot, "", u, g, AT_EMPTY_PATH), "fchownat(slot empty, %u, %u)", u, g);
        break;
    default:
        show(sc5(__NR_fchownat, dirfd, path, u, g, follow ? 0 : AT_SYMLINK_NOFOLLOW), "fchownat(%s, %s, %u, %u, %d)", at,
             shown(path), u, g, follow);
        break;
    }
    look(dirfd, path, follow);
}

static void op_chmod(void)
{
    const char *at, *path = random_path();
    int dirfd = random_dirfd(&at), slot = slots[rnd(4)], nofollow = one_in(3);
    unsigned mode = mode_for(dirfd, path);
    switch (rnd(6)) {
#ifdef __NR_chmod
    case 0:
        dirfd = AT_FDCWD;
        mode = mode_for(dirfd, path);
        show(sc2(__NR_chmod, path, mode), "chmod(%s, %o)", shown(path), mode);
        break;
#endif
    case 1:
        if (slot < 0)
            return;
        told = fd_stat(slot);
        if (everyone && !told.err && (told.mode & FMT) == 0040000)
            mode |= 0777;
        show(sc2(__NR_fchmod, slot, mode), "fchmod(slot, %o)", mode);
        break;
    case 2:
        show(sc4(452 /* fchmodat2 */, dirfd, path, mode, nofollow ? AT_SYMLINK_NOFOLLOW : 0),
             "fchmodat2(%s, %s, %o, %d)", at, shown(path), mode, nofollow);
        break;
    case 3: {
        int fd = (int)sc4(__NR_openat, dirfd, path, O_PATH | (nofollow ? O_NOFOLLOW : 0), 0);
        if (fd < 0)
            return;
        if (one_in(3))
            show(sc2(__NR_fchmod, fd, mode), "fchmod(O_PATH %s)", shown(path));
        else
            show(sc4(452, fd, "", mode, AT_EMPTY_PATH), "fchmodat2(O_PATH %s, %o)", shown(path), mode);
        sc1(__NR_close, fd);
        break;
    }
    default: show(sc3(__NR_fchmodat, dirfd, path, mode), "fchmodat(%s, %s, %o)", at, shown(path), mode); break;
    }
    look(dirfd, path, 1);
}

static void op_socket(void)
{
    struct sockaddr_un sun;
    const char *path = PICK(NAMES);
    memset(&sun, 0, sizeof sun);
    sun.sun_family = AF_UNIX;
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s%s", one_in(2) ? "d0/" : "", path);
    int type = one_in(2) ? SOCK_STREAM : SOCK_DGRAM;
    long r, fd;
#ifdef __i386__
    if (one_in(2)) {
        long a[3] = {AF_UNIX, type, 0};
        fd = sc2(__NR_socketcall, 1, a);
        long b[3] = {fd, A(&sun), sizeof sun};
        r = sc2(__NR_socketcall, 2, b);
    } else
#endif
    {
        fd = sc3(__NR_socket, AF_UNIX, type, 0);
        r = sc3(__NR_bind, fd, &sun, one_in(2) ? sizeof sun : offsetof(struct sockaddr_un, sun_path) + strlen(sun.sun_path) + 1);
    }
    show(r, "bind(%s)", sun.sun_path);
    sc1(__NR_close, fd);
    look(AT_FDCWD, sun.sun_path, 0);
}

/* Descriptors kept open while their names are renamed, replaced or removed. */
static void op_slots(void)
{
    for (int i = 0; i < 4; i++) {
        if (slots[i] < 0)
            continue;
        char buf[160];
        told = fd_stat(slots[i]);
        text(buf, sizeof buf, &told);
        say("  slot %d: %s", i, buf);
        fd_routes(slots[i], "slot");
    }
}

static void op_bad(void)
{
    static char long_path[6000];
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct raw_stat64 s;
    struct statx x;
    const char *n = PICK(NAMES);
    size_t len = strlen(n);
    if (page == MAP_FAILED)
        return;
    munmap(page + 4096, 4096);
    char *edge = page + 4096 - len - 1; /* the name ends with the page */
    memcpy(edge, n, len + 1);
    switch (rnd(16)) {
    case 0: show(sc4(NR_FSTATAT, AT_FDCWD, BAD_POINTER, &s, 0), "fstatat(bad path)"); break;
    case 1: show(sc4(NR_FSTATAT, AT_FDCWD, n, BAD_POINTER, 0), "fstatat(%s, bad buffer)", n); break;
    case 2: show(sc4(NR_FSTATAT, AT_FDCWD, n, &s, 0x40000000), "fstatat(%s, bad flags)", n); break;
    case 3: show(sc4(NR_FSTATAT, AT_FDCWD, "", &s, 0), "fstatat(empty)"); break;
    case 4: {
        static const int FLAGS[] = {0x6000, 0x40000, 0, 0};
        static const unsigned MASKS[] = {STATX_BASIC_STATS, STATX_BASIC_STATS, 0x80000000u, 0};
        unsigned k = rnd(4);
        show(sc5(NR_STATX, AT_FDCWD, n, FLAGS[k], MASKS[k], &x), "statx(%s, bad %u)", n, k);
        break;
    }
    case 5: show(sc5(NR_STATX, AT_FDCWD, n, 0, STATX_BASIC_STATS, BAD_POINTER), "statx(%s, bad buffer)", n); break;
    case 6:
        memset(long_path, 'x', sizeof long_path - 1);
        show(sc4(NR_FSTATAT, AT_FDCWD, long_path, &s, 0), "fstatat(long)");
        show(sc5(__NR_fchownat, AT_FDCWD, long_path, 1, 1, 0), "fchownat(long)");
        show(sc3(__NR_fchmodat, AT_FDCWD, long_path, 0666), "fchmodat(long)");
        show(sc4(__NR_mknodat, AT_FDCWD, long_path, 0020666, 1), "mknodat(long)");
        break;
    case 7: case 8: {
        /* "./././a": 4095 bytes still pass, 4096 do not */
        size_t total = one_in(2) ? 4095 : 4096;
        size_t at = 0;
        while (at + 2 + len <= total) {
            memcpy(long_path + at, "./", 2);
            at += 2;
        }
        while (at + len < total)
            long_path[at++] = '/';
        memcpy(long_path + at, n, len + 1);
        show(sc4(NR_FSTATAT, AT_FDCWD, long_path, &s, 0), "fstatat(%zu bytes to %s)", total, n);
        show(sc5(__NR_fchownat, AT_FDCWD, long_path, 33, 44, 0), "fchownat(%zu bytes to %s)", total, n);
        break;
    }
    case 9: show(sc5(__NR_fchownat, AT_FDCWD, BAD_POINTER, 1, 1, 0), "fchownat(bad path)"); break;
    case 10: show(sc5(__NR_fchownat, AT_FDCWD, n, 1, 1, 0x40000000), "fchownat(%s, bad flags)", n); break;
    case 11: show(sc5(__NR_fchownat, 999, "", 1, 1, AT_EMPTY_PATH), "fchownat(closed, empty)"); break;
    case 12: show(sc3(__NR_fchown, 999, 1, 1), "fchown(closed)"); break;
    case 13:
        show(sc4(NR_FSTATAT, AT_FDCWD, edge, &s, 0), "fstatat(%s at the end of a page)", n);
        show(sc5(__NR_fchownat, AT_FDCWD, edge, 5, 6, 0), "fchownat(%s at the end of a page)", n);
        look(AT_FDCWD, edge, 1);
        edge[len] = 'x';
        show(sc4(NR_FSTATAT, AT_FDCWD, edge, &s, 0), "fstatat(runs off its page)");
        show(sc5(__NR_fchownat, AT_FDCWD, edge, 5, 6, 0), "fchownat(runs off its page)");
        show(sc3(__NR_fchmodat, AT_FDCWD, edge, 0666), "fchmodat(runs off its page)");
        show(sc4(__NR_mknodat, AT_FDCWD, edge, 0020666, 0x103), "mknodat(runs off its page)");
        break;
    case 14:
        show(sc5(__NR_fchownat, AT_FDCWD, "", 1, 1, 0), "fchownat(empty)");
        show(sc3(__NR_fchmodat, AT_FDCWD, "", 0666), "fchmodat(empty)");
        show(sc4(__NR_mknodat, AT_FDCWD, "", 0020666, 0x103), "mknodat(empty)");
        break;
    default: {
        /* the buffer straddles the end of its page */
        show(sc4(NR_FSTATAT, AT_FDCWD, n, page + 4096 - 20, 0), "fstatat(%s, straddling buffer)", n);
        show(sc5(NR_STATX, AT_FDCWD, n, 0, STATX_BASIC_STATS, page + 4096 - 20), "statx(%s, straddling buffer)", n);
        break;
    }
    }
    munmap(page, 4096);
}
