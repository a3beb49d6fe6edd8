/* Seeded random user namespaces: processes that make them, map ids into them, join each other's, and what they are told
 * and may do there.
 *
 *   spacefuzz SEED DIR CAPMASK
 *
 * DIR is a directory that everybody may write to. What is written to an id map is never judged by write(2)'s result, only
 * by what the map is afterwards (README.md, Limits). One process acts at a time: the others wait for it.
 */
#include "cred_ops.h"
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { FILES = 6, DEEPEST = 3 };

static const unsigned OWNERS[] = {0, 0, 1, 5, 1000, 1001, 65534, 100000, 100005, 100042};
static const char *dir;
static const char *self;
static int depth, programs;
static pid_t family[DEEPEST + 1]; /* by depth: who is to be asked about */

static void play(int steps);

/* ---- files ------------------------------------------------------------------------------------------------ */

static const char *file_name(unsigned number)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/f%u", dir, number);
    return path;
}

static void look(unsigned number)
{
    struct stat st;
    const char *path = file_name(number);
    int error = (one_in(2) ? lstat : stat)(path, &st);
    if (error)
        say("f%u: %s", number, strerrorname_np(errno));
    else
        say("f%u: %u:%u %o", number, st.st_uid, st.st_gid, st.st_mode);
}

static void op_file(void)
{
    unsigned number = rnd(FILES), uid = one_in(3) ? ~0u : PICK(OWNERS), gid = one_in(3) ? ~0u : PICK(OWNERS);
    unsigned mode = rnd(8) << 9 | 0755;
    switch (rnd(6)) {
    case 0: show(sc3(W(lchown), file_name(number), uid, gid), "chown f%u %d:%d", number, (int)uid, (int)gid); break;
    case 1: {
        int fd = (int)show_ok(sc4(__NR_openat, AT_FDCWD, file_name(number), O_RDONLY, 0), "open f%u", number);
        if (fd >= 0)
            show(sc3(W(fchown), fd, uid, gid), "fchown f%u %d:%d", number, (int)uid, (int)gid);
        close(fd);
        break;
    }
    case 2: show(sc2(__NR_chmod, file_name(number), mode), "chmod f%u %o", number, mode); break;
    case 3:
        show(sc1(__NR_unlink, file_name(number)), "unlink f%u", number);
        show_ok(sc4(__NR_openat, AT_FDCWD, file_name(number), O_CREAT | O_EXCL | O_CLOEXEC, 0755), "create f%u", number);
        break;
    case 4: show(sc2(__NR_access, file_name(number), rnd(8)), "access f%u", number); break;
    default: show(sc4(__NR_mknodat, AT_FDCWD, file_name(number), one_in(2) ? S_IFIFO | 0666 : S_IFCHR | 0666, 0x103),
                  "mknod f%u", number);
    }
    look(number);
}

/* ---- what is told ----------------------------------------------------------------------------------------- */

static void tell(pid_t pid, const char *whose, const char *name)
{
    char path[64], line[256], all[1024] = "";
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "r");
    if (!file) {
        say("%s of %s: %s", name, whose, strerrorname_np(errno));
        return;
    }
    while (fgets(line, sizeof line, file)) {
        char words[256] = "";
        if (!strcmp(name, "status") && strncmp(line, "Uid", 3) && strncmp(line, "Gid", 3) && strncmp(line, "Groups", 6))
            continue;
        for (char *word = strtok(line, " \t\n"); word; word = strtok(NULL, " \t\n"))
            snprintf(words + strlen(words), sizeof words - strlen(words), "%s ", word);
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s| ", words);
    }
    fclose(file);
    say("%s of %s: %s", name, whose, all);
}

static void op_tell(void)
{
    static const char *const NAMES[] = {"status", "uid_map", "gid_map", "setgroups"};
    int other = (int)rnd(depth + 1);
    char whose[16], path[64];
    snprintf(whose, sizeof whose, "%d", other);
    tell(family[other], whose, PICK(NAMES));
    snprintf(path, sizeof path, "/proc/%d", family[other]);
    struct stat st;
    if (!stat(path, &st))
        say("/proc of %d: %u:%u", other, st.st_uid, st.st_gid);
}

static void op_others(void)
{
    int other = (int)rnd(depth + 1);
    char path[64];
    switch (rnd(4)) {
    case 0: show(sc2(__NR_kill, family[other], 0), "kill %d", other); break;
    case 1: show(sc3(__NR_setpriority, PRIO_PROCESS, family[other], 5), "setpriority %d", other); break;
    case 2: show_capget(family[other], "family"); break;
    default:
        snprintf(path, sizeof path, "/proc/%d/ns/user", family[other]);
        int fd = (int)show_ok(sc4(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), "namespace of %d", other);
        if (fd >= 0)
            show(sc2(__NR_setns, fd, one_in(3) ? 0 : CLONE_NEWUSER), "join %d", other);
        close(fd);
        report("joined", 1);
    }
}

static void op_socket(int peer)
{
    struct ucred ids = {-1, 7, 7};
    socklen_t size = sizeof ids;
    gid_t groups[64];
    if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &ids, &size))
        say("peer: %s", strerrorname_np(errno));
    else
        say("peer: %u:%u", ids.uid, ids.gid);
    size = sizeof groups;
    if (getsockopt(peer, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
        say("peer's groups: %s", strerrorname_np(errno));
    else
        for (unsigned at = 0; at < size / sizeof *groups; at++)
            say("peer's group: %u", groups[at]);
}

/* ---- new programs ----------------------------------------------------------------------------------------- */

static int shown(const char *name)
{
    snprintf(label, sizeof label, "%s", name);
    report("new", 1);
    say("vector uid %lu/%lu gid %lu/%lu secure %lu", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID),
        getauxval(AT_EGID), getauxval(AT_SECURE));
    return 0;
}

static void op_exec(void)
{
    static char buffer[1 << 16];
    char path[300], *argv[] = {path, "--new", label, NULL};
    snprintf(path, sizeof path, "%s/program-%s-%d", dir, label, programs++);
    int in = open(self, O_RDONLY | O_CLOEXEC), out = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0755);
    ssize_t size;
    if (in < 0 || out < 0) {
        say("program: %s", strerrorname_np(errno));
        close(in), close(out);
        return;
    }
    while ((size = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, (size_t)size) != size)
            exit(119);
    close(in), close(out);
    unsigned uid = PICK(OWNERS), gid = PICK(OWNERS), mode = one_in(2) ? 0755 : one_in(2) ? 04755 : 06755;
    show(sc3(W(lchown), path, uid, gid), "program %u:%u", uid, gid);
    show(sc2(__NR_chmod, path, mode), "program %o", mode);
    pid_t pid = fork();
    if (pid == 0) {
        show(sc3(__NR_execve, path, argv, (char *[]){NULL}), "exec");
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    unlink(path);
}

/* ---- namespaces ------------------------------------------------------------------------------------------- */

static void put_text(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    say("open %s: %s", name, fd < 0 ? strerrorname_np(errno) : "ok");
    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        ;
    close(fd);
}

static void put_map(pid_t pid, const char *name, unsigned own)
{
    static const unsigned INSIDE[] = {0, 0, 5, 1000}, OUTSIDE[] = {0, 1000, 100000, 100000}, COUNTS[] = {1, 1, 10, 1000};
    char text[200];
    unsigned inside = PICK(INSIDE), outside = PICK(OUTSIDE), count = PICK(COUNTS);
    if (one_in(2))
        outside = own, count = 1;
    int size = snprintf(text, sizeof text, "%u %u %u", inside, outside, count);
    if (one_in(3))
        snprintf(text + size, sizeof text - (size_t)size, "\n%u %u 20\n", 2000 + rnd(2), one_in(2) ? 100100 : 1001);
    say("map %s: %.12s", name, text);
    put_text(pid, name, text);
}

static void map_ids(pid_t pid, unsigned uid, unsigned gid)
{
    if (one_in(3))
        put_text(pid, "setgroups", one_in(5) ? "allow" : "deny");
    if (!one_in(8))
        put_map(pid, "uid_map", uid);
    if (!one_in(8))
        put_map(pid, "gid_map", gid);
    tell(pid, "mapped", "uid_map");
    tell(pid, "mapped", "gid_map");
    tell(pid, "mapped", "setgroups");
}

static void wait_for(int fd)
{
    char byte;
    if (read(fd, &byte, 1) != 1)
        exit(118);
}

/* A child, in a namespace of its own or not, which plays while we wait. */
static void op_child(void)
{
    int ready[2], go[2], sockets[2], way = (int)rnd(4), by_parent = one_in(2);
    unsigned uid = (unsigned)geteuid(), gid = (unsigned)getegid();
    uint64_t childs = rnd64();
    if (depth == DEEPEST || pipe(ready) || pipe(go) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
        return;
    say("child, way %d, mapped by %s", way, by_parent ? "parent" : "itself");
    long made = way == 1 ? sc5(__NR_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) : fork();
    if (made < 0) {
        show(made, "clone");
    } else if (made == 0) {
        rng = childs;
        snprintf(label + strlen(label), sizeof label - strlen(label), ".%d", way);
        family[++depth] = getpid();
        if (way > 1)
            show(sc1(__NR_unshare, CLONE_NEWUSER), "unshare");
        report("born", 1);
        look(rnd(FILES));
        if (way && !by_parent)
            map_ids(getpid(), uid, gid);
        if (write(ready[1], "", 1) != 1)
            exit(118);
        wait_for(go[0]);
        report("mapped", 1);
        op_socket(sockets[0]);
        play(12);
        _exit(0);
    } else {
        family[depth + 1] = (pid_t)made;
        wait_for(ready[0]);
        if (way && by_parent)
            map_ids((pid_t)made, uid, gid);
        if (write(go[1], "", 1) != 1)
            exit(118);
        int status;
        waitpid((pid_t)made, &status, 0);
        say("ended: %d", status);
    }
    for (int side = 0; side < 2; side++)
        close(ready[side]), close(go[side]), close(sockets[side]);
}

static void play(int steps)
{
    while (steps-- > 0) {
        pick_width();
        switch (rnd(12)) {
        case 0: case 1: op_set_id(); break;
        case 2: op_setgroups(); break;
        case 3: op_caps(1); break;
        case 4: op_prctl(1); break;
        case 5: case 6: op_file(); break;
        case 7: op_tell(); break;
        case 8: op_others(); break;
        case 9: op_exec(); break;
        case 10: look(rnd(FILES)); break;
        default: op_child();
        }
        if (one_in(4))
            report("now", one_in(2));
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--new"))
        return shown(argv[2]);
    if (argc != 4)
        return 2;
    rng = strtoull(argv[1], NULL, 10) * 7919 + 11;
    self = "/proc/self/exe";
    dir = argv[2];
    cap_mask = strtoull(argv[3], NULL, 16);
    umask(0);
    family[0] = getpid();
    for (unsigned number = 0; number < FILES; number++) {
        int fd = open(file_name(number), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
        if (fd < 0 || fchown(fd, PICK(OWNERS), PICK(OWNERS)))
            exit(119);
        close(fd);
    }
    for (unsigned round = 0; round < 6; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            rng ^= round * 0x9E3779B97F4A7C15ull;
            snprintf(label, sizeof label, "%u", round);
            family[0] = getpid();
            if (one_in(2)) {
                unsigned id = PICK(OWNERS);
                show(sc3(W(setresgid), id, id, id), "gids %u", id);
                show(sc3(W(setresuid), id, id, id), "uids %u", id);
                /* Else its files in procfs are root's, and no map of its children can be written. */
                if (!one_in(5))
                    show(sc5(__NR_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable");
            }
            play(10);
            op_child();
            _exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        say("round %u: %d", round, status);
        rnd64();
    }
    return 0;
}
