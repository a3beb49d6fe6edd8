/* What calls answer to arguments that are wrong, odd or at a limit: every call with every such argument.
 *
 *   errors SEED DIR MASK strict|lax [PART...]
 *
 * SEED chooses one in 67 of the calls, so that as many seeds make them all.  DIR is an empty directory whose
 * subdirectory "ro" is mounted read-only, if there is one.  Each part is made by several actors: root, a user, a user
 * who may become root again, and root without capabilities (of those in MASK, which both sides have).  Files are open to everybody, so that it is owners and
 * arguments that decide.  lax: without the calls whose answer would be a refusal of what a mode, a sticky directory
 * or protected_hardlinks forbids.
 */
#include "common.h"
#include <linux/capability.h>
#include <ftw.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#define BAD ((char *)16)
#define N(array) ((int)(sizeof array / sizeof array[0]))

static char work[512], name255[256], name256[300], path4095[4200], path4096[4200];
static int has_ro, lax, acting;
static uint64_t cap_mask;
static unsigned seed;
#define SEEDS 67

/* ------------------------------------------------------------------------------------------------ the tree */

static void must(long r, const char *what)
{
    if (is_error(r)) {
        say("setting up failed: %s: %s", what, err_name(r));
        sc1(__NR_exit_group, 121);
    }
}
#define DO(call) must((call) == -1 ? -errno : 0, #call)

static void file(const char *name, mode_t mode, int uid, int gid)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0666);
    must(fd < 0 ? -errno : 0, name);
    DO(fchown(fd, (uid_t)uid, (gid_t)gid));
    DO(fchmod(fd, mode));
    close(fd);
}

static int removed(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)at;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

static void remove_tree(void)
{
    DO(chdir(work));
    if (access("t", F_OK) == 0)
        DO(nftw("t", removed, 8, FTW_DEPTH | FTW_PHYS));
}

static void build_tree(void)
{
    remove_tree();
    umask(0);
    DO(mkdir("t", 0777));
    DO(chdir("t"));
    DO(mkdir("d", 0777));
    DO(mkdir("d/sub", 0777));
    file("d/in", 0666, 0, 0);
    DO(mkdir("d1", 0777));
    DO(chown("d1", 1000, 1000));
    file("d1/in", 0666, 1001, 1001);
    DO(mkdir("dsg", 0777));
    DO(chown("dsg", 1001, 44));
    DO(chmod("dsg", 02777));
    DO(mkdir("dt", 0777));
    DO(chown("dt", 1001, 1001));
    DO(chmod("dt", 01777));
    file("dt/theirs", 0666, 1001, 1001);
    file("dt/mine", 0666, 1000, 1000);
    file("f", 0666, 0, 0);
    file("f1", 0666, 1000, 1000);
    file("f1x", 06777, 1000, 1000);
    file("f1g", 06777, 1000, 44);
    file("f2", 06777, 1001, 1001);
    DO(link("f1", "h"));
    DO(symlink("f", "l"));
    DO(symlink("f1", "l1"));
    DO(symlink("d", "ldir"));
    DO(symlink("nowhere", "dang"));
    DO(symlink("nowhere/", "dangs"));
    DO(symlink("loop", "loop"));
    DO(symlink("loopb", "loopa"));
    DO(symlink("loopa", "loopb"));
    DO(symlink("f/", "lslash"));
    DO(mkfifo("p", 0666));
    DO(mknod("c", S_IFCHR | 0666, makedev(1, 3)));
    DO(mknod("b", S_IFBLK | 0666, makedev(240, 7)));
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {AF_UNIX, "s"};
    DO(bind(s, (struct sockaddr *)&a, sizeof a));
    close(s);
    file(name255, 0666, 1000, 1000);
}

static char *PATHS[] = {
    "f", "f1", "f1x", "f1g", "f2", "h", "d", "d1", "dsg", "dt", "d1/in", "dt/theirs", "dt/mine", "l", "l1", "ldir", "dang", "dangs",
    "loop", "loopa", "lslash", "p", "s", "c", "b", "nowhere", "dsg/new", "dt/new", "d1/new",
    "", NULL, BAD, "f/", "f/.", "f/x", "d/", "d/.", "d/..", "d/sub", "d/sub/", "d/sub/..", "l/", "ldir/", "ldir/.", "ldir/in", "dang/",
    "dang/x", "loop/", "loop/x", "loopa/x", "nowhere/", "nowhere/.", "nowhere/x", "p/", "c/", "c/x", ".", "./", "./f", "..//t/f",
    name255, name256, path4095, path4096, "../ro/f", "../ro/d", "../ro/d/", "../ro/new", "../ro/new/", "../ro/l", "../ro/dang",
    "../ro/dang/", "../ro/x", "/proc/self/fd/50", "/proc/self/fd/51", "/proc/self/fd/52", "/proc/self/fd/53", "/proc/self/fd/99",
    "/proc/self/fd/51/in", "/proc/self/fd/50/x", "/proc/thread-self/fd/50", "/proc/self/cwd/f1",
};

static const char *shown(const char *path)
{
    if (path == NULL) return "NULL";
    if (path == BAD) return "BAD";
    if (path == name255) return "name255";
    if (path == name256) return "name256";
    if (path == path4095) return "path4095";
    if (path == path4096) return "path4096";
    return path;
}

/* The descriptors that paths and calls name, in the same places for everybody. */
enum { FD_FILE = 50, FD_DIR, FD_GONE, FD_PIPE, FD_PATH, FD_PATHDIR, FD_PATHLINK, FD_WRITE, FD_SOCKET, FD_RO, FD_MEM, FD_MINE, FD_END };

static void put_at(int fd, int at)
{
    must(fd < 0 ? -errno : 0, "a descriptor");
    must(dup2(fd, at) < 0 ? -errno : 0, "dup2");
    close(fd);
}

static void open_all(void)
{
    int ends[2];
    put_at(open("f", O_RDONLY), FD_FILE);
    put_at(open("d", O_RDONLY), FD_DIR);
    put_at(open("gone", O_CREAT | O_RDWR, 0666), FD_GONE);
    DO(fchown(FD_GONE, 1000, 1000));
    DO(unlink("gone"));
    DO(pipe(ends));
    put_at(ends[0], FD_PIPE);
    close(ends[1]);
    put_at(open("f1", O_PATH), FD_PATH);
    put_at(open("d1", O_PATH), FD_PATHDIR);
    put_at(open("l1", O_PATH | O_NOFOLLOW), FD_PATHLINK);
    put_at(open("f1x", O_WRONLY), FD_WRITE);
    put_at(socket(AF_UNIX, SOCK_STREAM, 0), FD_SOCKET);
    if (has_ro)
        put_at(open("../ro/f", O_RDONLY), FD_RO);
    put_at((int)syscall(SYS_memfd_create, "m", 0), FD_MEM);
    put_at(open("f1x", O_RDONLY), FD_MINE);
}

static const int FDS[] = {FD_FILE, FD_DIR, FD_GONE, FD_PIPE, FD_PATH, FD_PATHDIR, FD_PATHLINK, FD_WRITE, FD_SOCKET, FD_RO, FD_MEM,
                          FD_MINE, 99, -1, -2, AT_FDCWD, INT32_MAX, INT32_MIN};

/* ------------------------------------------------------------------------------------------------ the actors */

enum { ROOT, USER, EFFECTIVE, POWERLESS, ACTORS };
static const char *const ACTOR[] = {"root", "user", "effective", "powerless"};

static void act_as(int actor)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    gid_t groups[] = {44, 45};
    switch (actor) {
    case ROOT: return;
    case USER:
        DO(setgroups(2, groups));
        DO(setresgid(1000, 1000, 1000));
        DO(setresuid(1000, 1000, 1000));
        return;
    case EFFECTIVE:
        DO(setegid(1000));
        DO(seteuid(1000));
        return;
    case POWERLESS:
        must(sc2(__NR_capset, &h, none), "capset");
        return;
    }
}

/* Whether a call is left out that only a shim that is strict refuses. */
static int refusable(void) { return lax && acting != ROOT; }

static struct { int next; } *shared;

/* ------------------------------------------------------------------------------------------------ what is printed */

static const char *const WATCHED[] = {
    "f", "f1", "f1x", "f1g", "f2", "h", "d", "d1", "dsg", "dt", "d1/in", "dt/theirs", "dt/mine", "l", "l1", "ldir", "dang", "dangs", "nowhere", "dsg/new",
    "dt/new", "d1/new", "p", "s", "c", "b", "d/in", "d/sub", "d/new", "new", "../ro/f", "../ro/d", "../ro/new", name255,
};
static char at_first[N(WATCHED)][80];

static void look_at(int i, char *text)
{
    struct statx x;
    long r = sc5(__NR_statx, AT_FDCWD, WATCHED[i], AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x);
    if (is_error(r))
        snprintf(text, 80, "%s", err_name(r));
    else
        snprintf(text, 80, "%o %u:%u links %u rdev %u:%u", x.stx_mode, x.stx_uid, x.stx_gid, x.stx_nlink, x.stx_rdev_major, x.stx_rdev_minor);
}

/* What is not as it was in the new tree. */
static void show_changes(void)
{
    char now[80];
    for (int i = 0; i < N(WATCHED); i++) {
        look_at(i, now);
        if (strcmp(now, at_first[i]))
            say("    %s: %s", shown(WATCHED[i]), now);
    }
}

#include "errors_calls.h"

/* Each line of a table is called in turn by a child that acts; whatever changes something is followed by a new tree. */
static void run_part(const struct part *part, int actor)
{
    snprintf(label, sizeof label, "%s", ACTOR[actor]);
    acting = actor;
    shared->next = 0;
    int fresh = 0;
    while (shared->next < part->count()) {
        if (!fresh)
            build_tree();
        int before = shared->next, st;
        pid_t pid = fork();
        if (pid == 0) {
            open_all();
            act_as(actor);
            for (;;) {
                int i = shared->next++;
                if (i >= part->count())
                    sc1(__NR_exit_group, 0);
                if ((unsigned)i % SEEDS != seed % SEEDS)
                    continue;
                if (part->call(i)) {
                    show_changes();
                    sc1(__NR_exit_group, 1);
                }
            }
        }
        waitpid(pid, &st, 0);
        fresh = st == 0;
        if (!WIFEXITED(st) || WEXITSTATUS(st) > 1) {
            say("%s %d: ended with %d", part->name, before, st);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 5 || chdir(argv[2]) || !getcwd(work, sizeof work))
        return 2;
    seed = (unsigned)atoi(argv[1]);
    cap_mask = strtoull(argv[3], NULL, 16);
    lax = !strcmp(argv[4], "lax");
    memset(name255, 'n', 255);
    memset(name256, 'n', 256);
    for (int i = 0; i < 4096; i++)
        path4096[i] = path4095[i] = i % 2 ? '/' : '.';
    path4095[4094] = path4096[4095] = 'f';
    path4095[4095] = 0;
    has_ro = access("ro", F_OK) == 0;
    build_tree();
    for (int i = 0; i < N(WATCHED); i++)
        look_at(i, at_first[i]);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int p = 0; p < N(PARTS); p++) {
        int wanted = argc == 5;
        for (int i = 5; i < argc; i++)
            wanted |= !strcmp(argv[i], PARTS[p].name);
        for (int actor = 0; wanted && actor < ACTORS; actor++)
            run_part(&PARTS[p], actor);
    }
    remove_tree();
    return 0;
}
