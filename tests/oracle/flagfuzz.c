/* Seeded random changes of the flags of chattr(1), and what flagged files are refused.
 *
 *   flagfuzz SEED DIR MODE
 *
 * MODE says who acts: root, fsuid (1000, with root's other ids) or full (set-user-id to 1000 for good).  Writing,
 * renaming and removing are not tried: the shim does not refuse them.
 */
#include "common.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define FILE_GETATTR 468
#define FILE_SETATTR 469
struct attr { uint64_t xflags; uint32_t extsize, nextents, projid, cowextsize, more; };

static const char *const NAMES[] = {"a", "b", "d", "c", "l", "p"};
static int nonroot;

/* The bits that both sides know: immutable, append-only, no dump, no atime, sync. */
#define KNOWN (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL)
#define XKNOWN (FS_XFLAG_IMMUTABLE | FS_XFLAG_APPEND | FS_XFLAG_NODUMP | FS_XFLAG_NOATIME | FS_XFLAG_SYNC)

static unsigned some(unsigned of)
{
    unsigned bits = 0;
    for (unsigned bit = 1; bit; bit <<= 1)
        if ((of & bit) && one_in(3))
            bits |= bit;
    return bits;
}

static void look(const char *name)
{
    struct statx x;
    struct stat st;
    memset(&x, 0, sizeof x);
    long r = sc5(__NR_statx, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x);
    r |= lstat(name, &st);
    say("  %s: %ld %o %u:%u attributes %llx of %llx", name, r, x.stx_mode, x.stx_uid, x.stx_gid,
        (unsigned long long)x.stx_attributes & 0x70, (unsigned long long)x.stx_attributes_mask & 0x70);
    if (st.st_mode != x.stx_mode || st.st_uid != x.stx_uid)
        say("  stat differs");
}

static void op_iflags(const char *name, int fd)
{
    unsigned flags[2] = {0, 0x5A5A5A5A};
    long r = sc3(__NR_ioctl, fd, FS_IOC_GETFLAGS, flags);
    show(r, "GETFLAGS %s %x %x", name, flags[0] & KNOWN, flags[1]);
    if (r || one_in(2))
        return;
    flags[0] = (flags[0] & ~KNOWN) | some(KNOWN);
    r = sc3(__NR_ioctl, fd, FS_IOC_SETFLAGS, one_in(12) ? BAD_POINTER : flags);
    show(r, "SETFLAGS %s %x", name, flags[0] & KNOWN);
}

static void op_fsxattr(const char *name, int fd)
{
    struct fsxattr fsx;
    memset(&fsx, 0x5A, sizeof fsx);
    long r = sc3(__NR_ioctl, fd, FS_IOC_FSGETXATTR, one_in(12) ? BAD_POINTER : &fsx);
    if (r)
        show(r, "FSGETXATTR %s", name);
    else
        say("FSGETXATTR %s %x %u %u %u", name, fsx.fsx_xflags & XKNOWN, fsx.fsx_extsize, fsx.fsx_projid, fsx.fsx_cowextsize);
    if (r || one_in(2))
        return;
    fsx.fsx_xflags = some(XKNOWN);
    show(sc3(__NR_ioctl, fd, FS_IOC_FSSETXATTR, &fsx), "FSSETXATTR %s %x", name, fsx.fsx_xflags);
}

static void op_attr(const char *name, int fd)
{
    static const int FLAGS[] = {0, 0, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW};
    static const int SIZES[] = {24, 24, 28, 20, 5000};
    struct attr a;
    int flags = PICK(FLAGS), size = PICK(SIZES), empty = one_in(4);
    memset(&a, 0x5A, sizeof a);
    long r = sc5(FILE_GETATTR, empty ? fd : AT_FDCWD, empty ? "" : name, &a, size, empty ? flags | AT_EMPTY_PATH : flags);
    if (r)
        show(r, "file_getattr %s %x %d", name, flags, size);
    else
        say("file_getattr %s %x %u %u %u", name, (unsigned)a.xflags & XKNOWN, a.projid, a.cowextsize, size > 24 ? a.more : 0);
    if (r || one_in(2))
        return;
    a.xflags = some(XKNOWN);
    a.more = one_in(3);
    r = sc5(FILE_SETATTR, empty ? fd : AT_FDCWD, empty ? "" : name, &a, size, empty ? flags | AT_EMPTY_PATH : flags);
    show(r, "file_setattr %s %x %d", name, (unsigned)a.xflags, size);
}

static void op_change(const char *name)
{
    unsigned uid = one_in(2) ? 1000 : 42;
    switch (rnd(5)) {
    case 0: show(sc5(__NR_fchownat, AT_FDCWD, name, one_in(3) ? -1u : uid, 33, 0), "chown %s", name); break;
    case 1: show(sc3(__NR_fchmodat, AT_FDCWD, name, one_in(2) ? 0777 : 0666), "chmod %s", name); break;
    case 2: show(sc5(__NR_setxattr, name, "user.x", "1", 1, 0), "setxattr user.x %s", name); break;
    case 3: show(sc5(__NR_setxattr, name, "trusted.x", "1", 1, 0), "setxattr trusted.x %s", name); break;
    default: show(sc2(__NR_removexattr, name, "trusted.x"), "removexattr trusted.x %s", name); break;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 || chdir(argv[2])) {
        fprintf(stderr, "usage: flagfuzz SEED DIR root|fsuid|full\n");
        return 2;
    }
    rng = strtoull(argv[1], NULL, 0) * 0x2545F4914F6CDD1Dull + 11;
    umask(0);
    close(open("a", O_CREAT | O_RDWR, 0666));
    close(open("b", O_CREAT | O_RDWR, 0666));
    sc3(__NR_mkdirat, AT_FDCWD, "d", 0777);
    sc4(__NR_mknodat, AT_FDCWD, "c", 0020666, 0x103);
    sc3(__NR_symlinkat, "a", AT_FDCWD, "l");
    sc4(__NR_mknodat, AT_FDCWD, "p", 0010666, 0);
    show(sc5(__NR_fchownat, AT_FDCWD, "b", 1000, 1000, 0), "chown b");
    pid_t pid = fork();
    if (pid == 0) {
        if (strcmp(argv[3], "root")) {
            nonroot = 1;
            show(strcmp(argv[3], "full") ? (long)(setfsgid(1000), setfsuid(1000)) : setresgid(1000, 1000, 1000), "become");
            if (!strcmp(argv[3], "full"))
                show(setresuid(1000, 1000, 1000), "become");
        }
        for (int i = 0; i < 150; i++) {
            const char *name = PICK(NAMES);
            int fd = one_in(8) ? open(name, O_PATH) : open(name, strcmp(name, "c") ? O_RDONLY | O_NONBLOCK : O_PATH);
            switch (rnd(5)) {
            case 0: case 1: op_iflags(name, fd); break;
            case 2: op_fsxattr(name, fd); break;
            case 3: op_attr(name, fd); break;
            default: op_change(name); break;
            }
            look(name);
            close(fd);
        }
        return 0;
    }
    int st = 0;
    waitpid(pid, &st, 0);
    say("child %d", WIFEXITED(st) ? WEXITSTATUS(st) : -1);
    for (unsigned i = 0; i < 3; i++) {
        int fd = open(NAMES[i], O_RDONLY), none = 0;
        show(sc3(__NR_ioctl, fd, FS_IOC_SETFLAGS, &none), "clear %s", NAMES[i]);
        look(NAMES[i]);
        close(fd);
    }
    return 0;
}
