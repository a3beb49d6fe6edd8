/* The facts about files: included by probe.c once.  Each is run in a process of its own, in an empty directory. */

static int owner_is(const char *path, int flags, unsigned uid, unsigned gid)
{
    struct stat st;
    return fstatat(AT_FDCWD, path, &st, flags) == 0 && st.st_uid == uid && st.st_gid == gid;
}
static int touch(const char *path, mode_t mode)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    return fd >= 0 && fchmod(fd, mode) == 0 && close(fd) == 0;
}
static mode_t mode_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) ? 0 : st.st_mode;
}

FACT(chown) { NEED(touch("f", 0644) && chown("f", 33, 44) == 0 && owner_is("f", 0, 33, 44)); }
FACT(chown_part)
{
    NEED(touch("f", 0644) && chown("f", 42, 43) == 0 && chown("f", 44, -1) == 0 && owner_is("f", 0, 44, 43));
    NEED(chown("f", -1, 45) == 0 && owner_is("f", 0, 44, 45));
}
FACT(fchown)
{
    int fd = open("f", O_CREAT | O_RDWR, 0644);
    struct stat st;
    NEED(fchown(fd, 33, 44) == 0 && fstat(fd, &st) == 0 && st.st_uid == 33 && st.st_gid == 44);
    NEED(owner_is("f", 0, 33, 44));
}
FACT(lchown)
{
    NEED(touch("f", 0644) && symlink("f", "l") == 0 && lchown("l", 33, 44) == 0);
    NEED(owner_is("l", AT_SYMLINK_NOFOLLOW, 33, 44));
}
FACT(lchown_tgt)
{
    NEED(touch("f", 0644) && symlink("f", "l") == 0 && lchown("l", 33, 44) == 0 && owner_is("f", 0, 0, 0));
}
FACT(chown_follow)
{
    NEED(touch("f", 0644) && symlink("f", "l") == 0 && chown("l", 33, 44) == 0 && owner_is("f", 0, 33, 44));
    NEED(owner_is("l", AT_SYMLINK_NOFOLLOW, 0, 0));
}
FACT(fchownat_empty)
{
    NEED(touch("f", 0644));
    int fd = open("f", O_PATH);
    NEED(fchownat(fd, "", 33, 44, AT_EMPTY_PATH) == 0 && owner_is("f", 0, 33, 44));
}
FACT(fstatat_empty)
{
    struct stat st;
    NEED(touch("f", 0644) && chown("f", 33, 44) == 0);
    int fd = open("f", O_PATH);
    NEED(fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && st.st_uid == 33 && st.st_gid == 44);
}
FACT(statx)
{
    struct statx sx;
    NEED(touch("f", 0644) && chown("f", 33, 44) == 0);
    NEED(statx(AT_FDCWD, "f", 0, STATX_UID | STATX_GID, &sx) == 0 && sx.stx_uid == 33 && sx.stx_gid == 44);
}
FACT(rawstatx)
{
    struct statx sx;
    NEED(touch("f", 0644) && chown("f", 33, 44) == 0);
    NEED(sc5(__NR_statx, AT_FDCWD, "f", 0, STATX_BASIC_STATS, &sx) == 0 && sx.stx_uid == 33 && sx.stx_gid == 44);
}
FACT(rawchown)
{
    NEED(touch("f", 0644) && sc5(__NR_fchownat, AT_FDCWD, "f", 33, 44, 0) == 0 && owner_is("f", 0, 33, 44));
}
FACT(newfile_uid)
{
    NEED(chmod(".", 0777) == 0 && setegid(44) == 0 && seteuid(33) == 0 && touch("f", 0644) && owner_is("f", 0, 33, 44));
}

static int made_by_other(int is_dir)
{
    int pid = fork(), st;
    if (pid == 0)
        _exit(setresgid(44, 44, 44) || setresuid(33, 33, 33) || (is_dir ? mkdir("n", 0755) : !touch("n", 0644)));
    return waitpid(pid, &st, 0) == pid && st == 0 && owner_is("n", 0, 33, 44);
}
FACT(newfile_persist) { NEED(chmod(".", 0777) == 0 && made_by_other(0)); }
FACT(mkdir_persist) { NEED(chmod(".", 0777) == 0 && made_by_other(1)); }
FACT(hardlink)
{
    NEED(touch("f", 0644) && link("f", "g") == 0 && chown("g", 33, 44) == 0 && owner_is("f", 0, 33, 44));
}
FACT(rename)
{
    NEED(touch("f", 0644) && chown("f", 33, 44) == 0 && rename("f", "g") == 0 && owner_is("g", 0, 33, 44));
}
FACT(unlink_reuse)
{
    for (int i = 0; i < 20; i++)
        NEED(touch("f", 0644) && owner_is("f", 0, 0, 0) && chown("f", 33, 44) == 0 && unlink("f") == 0);
}
FACT(unlink_reuse_raw)
{
    for (int i = 0; i < 20; i++)
        NEED(touch("f", 0644) && owner_is("f", 0, 0, 0) && chown("f", 33, 44) == 0 &&
             sc3(__NR_unlinkat, AT_FDCWD, "f", 0) == 0);
}
FACT(rename_over)
{
    NEED(touch("f", 0644) && touch("g", 0644) && chown("g", 33, 44) == 0 && rename("f", "g") == 0);
    NEED(owner_is("g", 0, 0, 0));
}

static int device(mode_t kind)
{
    struct stat st;
    return mknod("n", kind | 0640, makedev(240, 7)) == 0 && lstat("n", &st) == 0 && (st.st_mode & S_IFMT) == kind &&
           (st.st_mode & 07777) == 0640 && st.st_rdev == makedev(240, 7);
}
FACT(mknodc) { NEED(device(S_IFCHR)); }
FACT(mknodb) { NEED(device(S_IFBLK)); }
FACT(mkfifo) { NEED(mkfifo("p", 0640) == 0 && mode_of("p") == (S_IFIFO | 0640)); }
FACT(chmod_suid) { NEED(touch("f", 06755) && mode_of("f") == (S_IFREG | 06755)); }
FACT(chown_clr) { NEED(touch("f", 06755) && chown("f", 33, 44) == 0 && mode_of("f") == (S_IFREG | 0755)); }
FACT(dac)
{
    NEED(touch("f", 0) && chown("f", 33, 44) == 0);
    int fd = open("f", O_RDWR);
    NEED(fd >= 0);
}
FACT(dac_dir)
{
    NEED(mkdir("d", 0700) == 0 && chown("d", 33, 44) == 0 && chmod("d", 0) == 0 && touch("d/f", 0644));
}
FACT(access) { NEED(touch("f", 0) && chown("f", 33, 44) == 0 && access("f", R_OK | W_OK) == 0 && access("f", X_OK) != 0); }
FACT(perm_deny)
{
    NEED(touch("f", 0600) && setresuid(33, 33, 33) == 0);
    NEED(open("f", O_RDONLY) == -1 && errno == EACCES);
}
FACT(access_deny)
{
    NEED(touch("f", 0600) && setresuid(33, 33, 33) == 0);
    NEED(access("f", R_OK) == -1 && errno == EACCES);
}
FACT(chown_deny)
{
    NEED(touch("f", 0666) && setresuid(33, 33, 33) == 0);
    NEED(chown("f", 33, 33) == -1 && errno == EPERM);
}
FACT(chmod_deny)
{
    NEED(touch("f", 0666) && setresuid(33, 33, 33) == 0);
    NEED(chmod("f", 0777) == -1 && errno == EPERM);
}
FACT(sgiddir)
{
    NEED(mkdir("d", 0755) == 0 && chown("d", 0, 44) == 0 && chmod("d", 02755) == 0);
    NEED(touch("d/f", 0644) && owner_is("d/f", 0, 0, 44));
    NEED(mkdir("d/e", 0755) == 0 && owner_is("d/e", 0, 0, 44) && mode_of("d/e") & S_ISGID);
}

static int xattr_kept(const char *name, const void *value, size_t size)
{
    char back[64];
    return touch("f", 0644) && setxattr("f", name, value, size, 0) == 0 &&
           getxattr("f", name, back, sizeof back) == (ssize_t)size && memcmp(back, value, size) == 0;
}
FACT(xcap)
{
    static const uint32_t caps[5] = {0x02000001, 1u << 13, 0, 0, 0};
    NEED(xattr_kept("security.capability", caps, sizeof caps));
}
FACT(xtrusted) { NEED(xattr_kept("trusted.probe", "v", 1)); }
FACT(xsec) { NEED(xattr_kept("security.probe", "v", 1)); }
FACT(acl)
{
    /* version 2: user::rw- user:33:r-- group::r-- mask::r-- other::r-- */
    static const struct { uint16_t tag, perm; uint32_t id; } acl[] = {
        {1, 6, ~0u}, {2, 4, 33}, {4, 4, ~0u}, {16, 4, ~0u}, {32, 4, ~0u}};
    char value[4 + sizeof acl] = {2, 0, 0, 0};
    memcpy(value + 4, acl, sizeof acl);
    NEED(xattr_kept("system.posix_acl_access", value, sizeof value));
}
FACT(hidexattr)
{
    char names[256];
    NEED(touch("f", 0644) && chown("f", 33, 44) == 0 && listxattr("f", names, sizeof names) == 0);
}
