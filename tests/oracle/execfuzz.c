/* Seeded random executions: what a program file's owner, mode and capabilities, the mount it is on and the way it is
 * named make of a task's credentials.
 *
 *   execfuzz SEED DIR CAPMASK MODE
 *
 * DIR is a directory that everyone may search; DIR/nosuid is one too, on a mount without set-id bits. MODE "open":
 * every file may be executed by all. MODE "strict": modes are random, too. The program executes copies of itself, which
 * print what they were given; the only decisions come from SEED.
 */
#include "cred_ops.h"
#include <grp.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

extern char **environ;

static const unsigned OWNERS[] = {0, 0, 33, 42, 1000, 100000};
static const char *dir;
static int strict;

static void tell_death_signal(void)
{
    int number = -1;
    show(sc5(__NR_prctl, PR_GET_PDEATHSIG, &number, 0, 0, 0), "death signal");
    say("death signal %d", number);
}

/* ---- in the new program ----------------------------------------------------------------------------------- */

static int shown(const char *name)
{
    snprintf(label, sizeof label, "%s", name);
    report("new", 1);
    say("vector uid %lu/%lu gid %lu/%lu secure %lu", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID),
        getauxval(AT_EGID), getauxval(AT_SECURE));
    for (char **variable = environ; *variable; variable++)
        say("environment %s", *variable);
    show(sc5(__NR_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0), "dumpable");
    tell_death_signal();
    show(sc1(W(setuid), 0), "setuid back");
    return 0;
}

/* ---- the file --------------------------------------------------------------------------------------------- */

static void fill(int out, const char *script)
{
    static char buffer[1 << 16];
    if (script) {
        dprintf(out, "#!%s%s\n", script, one_in(3) ? " -x" : "");
        return;
    }
    int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ssize_t size;
    while ((size = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, (size_t)size) != size)
            exit(119);
    close(in);
}

static void give_capabilities(int file)
{
    static const uint64_t SETS[] = {0, 1ull << CAP_NET_RAW, 1ull << CAP_SETUID | 1ull << CAP_SETGID, 1ull << CAP_CHOWN,
                                    ~0ull, 0xffffffffull};
    uint64_t allowed = cap_mask | 1ull << 63;
    uint64_t permitted = PICK(SETS) & allowed, inheritable = PICK(SETS) & allowed;
    uint32_t words[6] = {0x02000000, (uint32_t)permitted, (uint32_t)inheritable, permitted >> 32, inheritable >> 32, 0};
    size_t size = 20;
    if (one_in(2))
        words[0] |= 1;
    if (one_in(4)) {
        words[0] += 0x01000000;
        words[5] = one_in(2) ? 1000 : 0;
        size = 24;
    }
    long result = fsetxattr(file, "security.capability", words, size, 0);
    say("file capabilities %x p=%llx i=%llx root %u: %s", words[0], (unsigned long long)permitted,
        (unsigned long long)inheritable, words[5], result ? strerrorname_np(errno) : "ok");
}

/* A new file with a random owner, mode and capabilities, or one in memory; an open descriptor of it. */
static int make(char *path, size_t size, const char *name, const char *script, int memory)
{
    const char *place = one_in(5) ? "/nosuid" : "";
    snprintf(path, size, "%s%s/%s", dir, place, name);
    int file = memory ? memfd_create("memory", 0) : open(path, O_CREAT | O_TRUNC | O_RDWR, 0700);
    if (file < 0)
        exit(119);
    fill(file, script);
    unsigned uid = PICK(OWNERS), gid = PICK(OWNERS), mode = 0755;
    if (strict)
        mode = one_in(3) ? 0755 : one_in(2) ? 0711 : rnd(512);
    else if (one_in(3))
        mode = one_in(2) ? 0711 : 0705, gid = 54321;
    mode |= one_in(3) ? 0 : rnd(8) << 9;
    long owned = fchown(file, uid, gid), changed = fchmod(file, mode);
    say("%s%s %s %u:%u %o: %ld %ld", memory ? "memory" : *place ? place + 1 : "file", script ? " script" : "", name, uid, gid,
        mode, owned, changed);
    if (one_in(3))
        give_capabilities(file);
    return file;
}

/* ---- the task --------------------------------------------------------------------------------------------- */

static void raise_ambient(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    static const int SOME[] = {CAP_NET_RAW, CAP_SETUID, CAP_CHOWN, CAP_DAC_OVERRIDE};
    int cap = PICK(SOME);
    sc2(__NR_capget, &head, data);
    data[0].inheritable |= 1u << cap;
    show(sc2(__NR_capset, &head, data), "inherit %d", cap);
    if (one_in(2))
        show(sc5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0), "ambient %d", cap);
}

/* Some state to execute in. */
static void prepare(void)
{
    static const long SECUREBITS[] = {1, 2, 4, 5, 16, 17, 64, 0x2f};
    gid_t groups[3] = {PICK(OWNERS), PICK(OWNERS), 7};
    if (one_in(3))
        show(setgroups(rnd(4), groups), "groups");
    if (one_in(4))
        show(sc5(__NR_prctl, PR_SET_SECUREBITS, PICK(SECUREBITS), 0, 0, 0), "securebits");
    if (one_in(5))
        show(sc5(__NR_prctl, PR_CAPBSET_DROP, one_in(2) ? CAP_NET_RAW : CAP_SETUID, 0, 0, 0), "bound");
    if (one_in(3))
        raise_ambient();
    if (!one_in(4)) {
        unsigned gid = PICK(OWNERS), uid = PICK(OWNERS);
        show(sc3(W(setresgid), gid, one_in(4) ? PICK(OWNERS) : gid, one_in(4) ? PICK(OWNERS) : gid), "gids");
        if (one_in(5))
            show(sc5(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep");
        show(sc3(W(setresuid), uid, one_in(4) ? PICK(OWNERS) : uid, one_in(4) ? PICK(OWNERS) : uid), "uids");
        if (one_in(4))
            raise_ambient();
    }
    if (one_in(6))
        show(sc5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    if (one_in(6))
        show(sc5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), "not dumpable");
}

enum { BY_PATH, BY_LINK, BY_HARD_LINK, BY_DESCRIPTOR, BY_PATH_DESCRIPTOR, BY_PROC, BY_DIRECTORY, BY_NAME, WAYS };

static void execute(const char *path, int file, int way)
{
    char through[300], *argv[] = {(char *)path, "--new", label, NULL};
    char *envp[] = {"PLAIN=1", "LD_LIBRARY_PATH=/nowhere", "TMPDIR=/nowhere", "LOCPATH=/nowhere", "LD_BIND_NOW=1", NULL};
    const char *name = strrchr(path, '/') + 1;
    long result;
    switch (way) {
    case BY_LINK:
    case BY_HARD_LINK:
        snprintf(through, sizeof through, "%s/%s", dir, way == BY_LINK ? "symbolic" : "hard");
        result = sc3(__NR_execve, through, argv, envp);
        break;
    case BY_DESCRIPTOR: result = sc5(__NR_execveat, file, "", argv, envp, AT_EMPTY_PATH); break;
    case BY_PATH_DESCRIPTOR: {
        int fd = (int)sc4(__NR_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
        result = sc5(__NR_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
        break;
    }
    case BY_PROC:
        snprintf(through, sizeof through, "/proc/self/fd/%d", file);
        result = sc3(__NR_execve, through, argv, envp);
        break;
    case BY_DIRECTORY: {
        snprintf(through, sizeof through, "%.*s", (int)(name - path), path);
        int fd = (int)sc4(__NR_openat, AT_FDCWD, through, O_PATH | O_DIRECTORY, 0);
        result = sc5(__NR_execveat, fd, name, argv, envp, one_in(2) ? AT_SYMLINK_NOFOLLOW : 0);
        break;
    }
    case BY_NAME:
        snprintf(through, sizeof through, "%.*s", (int)(name - path), path);
        sc1(__NR_chdir, through);
        if (one_in(2))
            result = sc3(__NR_execve, name, argv, envp);
        else
            result = sc5(__NR_execveat, AT_FDCWD, name, argv, envp, 0);
        break;
    default: result = sc3(__NR_execve, path, argv, envp);
    }
    show(result, "exec");
    tell_death_signal();
    report("after", 0);
}

static void once(unsigned number)
{
    char path[300], inner[300], link[300];
    snprintf(label, sizeof label, "%u", number);
    int memory = one_in(6), is_script = !memory && one_in(5), way = (int)rnd(WAYS);
    /* Busy text, and what an earlier file of that name left. */
    snprintf(link, sizeof link, "file%u", number);
    int interpreter = -1;
    if (is_script) {
        snprintf(inner, sizeof inner, "inner%u", number);
        char name[300];
        snprintf(name, sizeof name, "%s", inner);
        interpreter = make(inner, sizeof inner, name, NULL, 0);
        close(interpreter);
    }
    int file = make(path, sizeof path, link, is_script ? inner : NULL, memory);
    if (memory) {
        way = one_in(2) ? BY_DESCRIPTOR : BY_PROC;
    } else {
        int writable = file;
        file = open(path, O_RDONLY | (one_in(2) ? O_CLOEXEC : 0));
        close(writable);
        snprintf(link, sizeof link, "%s/symbolic", dir);
        unlink(link);
        if (symlink(path, link))
            exit(119);
        snprintf(link, sizeof link, "%s/hard", dir);
        unlink(link);
        if (way == BY_HARD_LINK && linkat(AT_FDCWD, path, AT_FDCWD, link, 0))
            way = BY_PATH;
        if ((way == BY_DESCRIPTOR || way == BY_PROC) && one_in(3) && !is_script) {
            unlink(path);
            say("unlinked");
        }
    }
    say("way %d", way);
    uint64_t childs = rnd64();
    pid_t pid = fork();
    if (pid == 0) {
        rng = childs;
        prepare();
        /* Of plain root the interpreter's set-id bits are not looked for: README.md, Limits. */
        if (is_script)
            setgroups(1, (gid_t[]){7});
        if (!one_in(3))
            show(sc5(__NR_prctl, PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0), "set death signal");
        report("before", 0);
        execute(path, file, way);
        _exit(3);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        say("killed by %d", WTERMSIG(status));
    else
        say("exited %d", WEXITSTATUS(status));
    close(file);
    unlink(path);
    if (is_script)
        unlink(inner);
}

int main(int argc, char **argv)
{
    for (int at = 1; at + 1 < argc && at < 4; at++)
        if (!strcmp(argv[at], "--new"))
            return shown(argv[at + 1]);
    if (argc != 5)
        return 2;
    rng = strtoull(argv[1], NULL, 10) * 7919 + 5;
    dir = argv[2];
    cap_mask = strtoull(argv[3], NULL, 16);
    strict = !strcmp(argv[4], "strict");
    umask(0);
    if (setgroups(0, NULL))
        return 9;
    for (unsigned number = 0; number < 25; number++)
        once(number);
    return 0;
}
