/* Facts that hold for real root, each tried in a child of its own; one line for each.
 *
 *   probe DIR [STATIC]
 *
 * DIR is an empty directory; STATIC a statically linked build of this program.  A fact marked "strict" asks
 * that a fake non-root user be refused what its fake identity may not do.
 */
#include "common.h"
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static const char *self_path, *static_path;

/* A fact ends its process at the first need that is not met. */
#define FACT(name) static void fact_##name(void)
#define NEED(x) do { if (!(x)) _exit(failed(__LINE__)); } while (0)

static int failed(int line)
{
    fprintf(stderr, "line %d: %s\n", line, strerror(errno));
    return 1;
}

static uint64_t permitted(int effective)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &h, d))
        return ~0ull;
    return effective ? d[0].effective | (uint64_t)d[1].effective << 32 : d[0].permitted | (uint64_t)d[1].permitted << 32;
}
static int ids_are(unsigned r, unsigned e, unsigned s)
{
    uid_t u[3];
    return getresuid(&u[0], &u[1], &u[2]) == 0 && u[0] == r && u[1] == e && u[2] == s;
}
static int drop(unsigned id) { return setgroups(0, NULL) == 0 && setresgid(id, id, id) == 0 && setresuid(id, id, id) == 0; }

/* Run argv; its exit status. */
static int spawn(const char *path, const char *a, const char *b, const char *c)
{
    int st, pid = fork();
    if (pid == 0) {
        execl(path, path, a, b, c, (char *)NULL);
        _exit(99);
    }
    return waitpid(pid, &st, 0) == pid && WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static int status_line(const char *key, const char *want)
{
    char line[512];
    FILE *f = fopen("/proc/self/status", "r");
    int hit = 0;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) {
            char *tail = line + strlen(key);
            tail[strcspn(tail, "\n")] = 0;
            for (size_t n = strlen(tail); n && tail[n - 1] == ' '; n--)
                tail[n - 1] = 0;
            hit = !strcmp(tail + strspn(tail, "\t "), want);
        }
    if (f)
        fclose(f);
    return hit;
}

FACT(uid0) { NEED(ids_are(0, 0, 0) && getgid() == 0 && getegid() == 0); }
FACT(setgroups) { gid_t g[2] = {33, 44}; NEED(setgroups(2, g) == 0); }
FACT(getgroups)
{
    gid_t g[3] = {44, 33, 42}, out[8];
    NEED(setgroups(3, g) == 0 && getgroups(8, out) == 3 && out[0] == 33 && out[1] == 42 && out[2] == 44);
}
FACT(setgroups0) { gid_t out[8]; NEED(setgroups(0, NULL) == 0 && getgroups(8, out) == 0); }
FACT(setresuid) { NEED(setresuid(33, 33, 33) == 0 && getuid() == 33 && geteuid() == 33); }
FACT(getresuid) { NEED(setresuid(1, 2, 3) == 0 && ids_are(1, 2, 3)); }
FACT(getresgid)
{
    gid_t r, e, s;
    NEED(setresgid(1, 2, 3) == 0 && getresgid(&r, &e, &s) == 0 && r == 1 && e == 2 && s == 3);
}
FACT(perm_drop) { NEED(setuid(33) == 0 && setuid(0) == -1 && errno == EPERM && ids_are(33, 33, 33)); }
FACT(eff_swap) { NEED(seteuid(33) == 0 && geteuid() == 33 && seteuid(0) == 0 && geteuid() == 0); }
FACT(setreuid) { NEED(setreuid(33, 42) == 0 && ids_are(33, 42, 42) && setreuid(42, 33) == 0 && ids_are(42, 33, 33)); }
FACT(setfsuid)
{
    NEED(syscall(SYS_setfsuid, 33) == 0 && syscall(SYS_setfsuid, -1) == 33 && geteuid() == 0);
}
FACT(setgid_nocap) { NEED(setuid(33) == 0 && setgid(42) == -1 && errno == EPERM); }
FACT(setgroups_nocap) { gid_t g = 42; NEED(setuid(33) == 0 && setgroups(1, &g) == -1 && errno == EPERM); }
FACT(capdrop) { NEED(permitted(0) != 0 && setuid(33) == 0 && permitted(0) == 0 && permitted(1) == 0); }
FACT(keepcaps)
{
    NEED(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && setuid(33) == 0 && permitted(0) != 0 && permitted(1) == 0);
}

static int keep_only(uint64_t caps)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{(uint32_t)caps, (uint32_t)caps, 0},
                                          {(uint32_t)(caps >> 32), (uint32_t)(caps >> 32), 0}};
    return syscall(SYS_capset, &h, d) == 0;
}
FACT(capset_get) { NEED(keep_only(1u << CAP_CHOWN) && permitted(0) == 1u << CAP_CHOWN && permitted(1) == 1u << CAP_CHOWN); }
FACT(capset_then_setgid) { NEED(keep_only(1u << CAP_CHOWN) && setgid(42) == -1 && errno == EPERM); }
FACT(procstatus)
{
    NEED(setresgid(1, 2, 3) == 0 && setresuid(33, 42, 44) == 0);
    NEED(status_line("Uid:", "33\t42\t44\t42") && status_line("Gid:", "1\t2\t3\t2"));
}
FACT(procstatus_groups) { gid_t g[2] = {44, 33}; NEED(setgroups(2, g) == 0 && status_line("Groups:", "33 44")); }
FACT(procowner)
{
    struct stat st;
    NEED(drop(33) && stat("/proc/self", &st) == 0 && st.st_uid == 33 && st.st_gid == 33);
}
FACT(rawsetuid)
{
#ifdef __i386__
    NEED(sc1(__NR_setuid32, 33) == 0 && (unsigned)sc0(__NR_getuid32) == 33 && sc1(__NR_setuid32, 0) == -EPERM);
#else
    NEED(sc1(__NR_setuid, 33) == 0 && sc0(__NR_getuid) == 33 && sc1(__NR_setuid, 0) == -EPERM);
#endif
}
FACT(peercred)
{
    int sv[2];
    struct ucred c;
    socklen_t n = sizeof c;
    NEED(drop(33) && socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    NEED(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &c, &n) == 0 && c.uid == 33 && c.gid == 33);
}
FACT(scm)
{
    int sv[2], on = 1;
    char byte = 'x', room[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv) == 0 && setsockopt(sv[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    struct ucred c = {getpid(), 33, 44};
    memset(room, 0, sizeof room);
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_CREDENTIALS, h->cmsg_len = CMSG_LEN(sizeof c);
    memcpy(CMSG_DATA(h), &c, sizeof c);
    NEED(sendmsg(sv[0], &m, 0) == 1);
    m.msg_controllen = sizeof room;
    NEED(recvmsg(sv[1], &m, 0) == 1 && (h = CMSG_FIRSTHDR(&m)) != NULL);
    memcpy(&c, CMSG_DATA(h), sizeof c);
    NEED(c.uid == 33 && c.gid == 44 && c.pid == getpid());
}
static char claim_room[CMSG_SPACE(sizeof(struct ucred))];
static struct msghdr claim_of(struct iovec *iov, unsigned id)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 1, .msg_control = claim_room, .msg_controllen = sizeof claim_room};
    struct ucred c = {getpid(), id, id};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_CREDENTIALS, h->cmsg_len = CMSG_LEN(sizeof c);
    memcpy(CMSG_DATA(h), &c, sizeof c);
    return m;
}
FACT(scm_again)
{
    int sv[2];
    char byte = 'x', before[sizeof claim_room];
    struct iovec iov = {&byte, 1};
    NEED(drop(33) && socketpair(AF_UNIX, SOCK_DGRAM, 0, sv) == 0);
    struct msghdr m = claim_of(&iov, 33);
    memcpy(before, claim_room, sizeof before);
    for (int i = 0; i < 3; i++)
        NEED(sendmsg(sv[0], &m, 0) == 1 && memcmp(before, claim_room, sizeof before) == 0);
    m = claim_of(&iov, 0);
    NEED(sendmsg(sv[0], &m, 0) == -1 && errno == EPERM);
}
static void on_alarm(int signo) { (void)signo; }
FACT(scm_restart)
{
    int sv[2], st, pid;
    char bytes[512] = {0};
    struct iovec iov = {bytes, sizeof bytes};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    NEED(drop(33) && socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    struct msghdr m = claim_of(&iov, 33);
    while (send(sv[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    NEED((pid = fork()) >= 0);
    if (pid == 0) {
        close(sv[0]);
        usleep(200000);
        while (read(sv[1], bytes, sizeof bytes) > 0)
            ;
        _exit(0);
    }
    close(sv[1]);
    NEED(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    NEED(sendmsg(sv[0], &m, 0) == sizeof bytes && setitimer(ITIMER_REAL, &never, NULL) == 0);
    close(sv[0]);
    NEED(waitpid(pid, &st, 0) == pid && st == 0);
}
FACT(fork)
{
    int st, pid;
    NEED(setresuid(33, 42, 0) == 0 && (pid = fork()) >= 0);
    if (pid == 0)
        _exit(!ids_are(33, 42, 0));
    NEED(waitpid(pid, &st, 0) == pid && st == 0);
}
FACT(exec_keep) { NEED(drop(33) && spawn(self_path, "--ids", "33", "33") == 0); }
FACT(exec_keep_static) { NEED(drop(33) && spawn(static_path, "--ids", "33", "33") == 0); }

static int copy_self(const char *to, unsigned uid, mode_t mode)
{
    char buf[65536];
    ssize_t n;
    int in = open(self_path, O_RDONLY), out = open(to, O_CREAT | O_WRONLY, 0700);
    while ((n = read(in, buf, sizeof buf)) > 0)
        if (write(out, buf, (size_t)n) != n)
            return 0;
    int ok = n == 0 && fchown(out, uid, uid) == 0 && fchmod(out, mode) == 0;
    close(in), close(out);
    return ok;
}
FACT(suid_exec)
{
    NEED(copy_self("suid", 0, 04755) && copy_self("suid42", 42, 04755) && chmod(".", 0755) == 0 && drop(33));
    NEED(spawn("./suid", "--ids", "33", "0") == 0 && spawn("./suid42", "--ids", "33", "42") == 0);
}
FACT(auxv) { NEED(setresgid(44, 44, 44) == 0 && setresuid(33, 33, 33) == 0 && spawn(self_path, "--auxv", "33", "44") == 0); }

static void *raw_drop(void *arg)
{
    (void)arg;
#ifdef __i386__
    long r = sc3(__NR_setresuid32, 33, 33, 33);
#else
    long r = sc3(__NR_setresuid, 33, 33, 33);
#endif
    return r == 0 && ids_are(33, 33, 33) ? NULL : "failed";
}
static void *libc_drop(void *arg)
{
    (void)arg;
    return setresuid(33, 33, 33) == 0 ? NULL : "failed";
}
static int in_thread(void *(*body)(void *))
{
    pthread_t t;
    void *r = "no thread";
    return pthread_create(&t, NULL, body, NULL) == 0 && pthread_join(t, &r) == 0 && r == NULL;
}
FACT(thread) { NEED(in_thread(raw_drop) && ids_are(0, 0, 0)); }
FACT(nptl) { NEED(in_thread(libc_drop) && ids_are(33, 33, 33)); }
FACT(vfork)
{
    int st, pid = vfork();
    if (pid == 0) {
        execl(self_path, self_path, "--ids", "0", "0", (char *)NULL);
        _exit(99);
    }
    NEED(waitpid(pid, &st, 0) == pid && st == 0);
}
FACT(clone3)
{
    uint64_t args[8] = {0, 0, 0, 0, SIGCHLD, 0, 0, 0};
    int st;
    NEED(setresuid(33, 42, 0) == 0);
    long pid = sc2(435, args, sizeof args);
    if (pid == 0)
        _exit(!ids_are(33, 42, 0));
    NEED(pid > 0 && waitpid((int)pid, &st, 0) == pid && st == 0);
}
FACT(fresh)
{
    int st, pid = fork();
    if (pid == 0)
        _exit(!drop(33));
    NEED(waitpid(pid, &st, 0) == pid && st == 0 && spawn(self_path, "--ids", "0", "0") == 0);
}
FACT(chroot) { NEED(mkdir("root", 0755) == 0 && mkdir("root/in", 0755) == 0 && chroot("root") == 0 && access("/in", F_OK) == 0); }
FACT(mount)
{
    NEED(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    NEED(mkdir("m", 0755) == 0 && mount("none", "m", "tmpfs", 0, NULL) == 0);
}
FACT(hostname)
{
    char name[65];
    NEED(unshare(CLONE_NEWUTS) == 0 && sethostname("probe", 5) == 0 && gethostname(name, 65) == 0 && !strcmp(name, "probe"));
}
FACT(nice) { errno = 0; NEED(setpriority(PRIO_PROCESS, 0, -5) == 0 && getpriority(PRIO_PROCESS, 0) == -5); }
FACT(bind80)
{
    /* any low port that is free will do */
    int fd = socket(AF_INET, SOCK_STREAM, 0), ok = 0;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (int port = 80; port < 90 && !ok; port++) {
        a.sin_port = htons((uint16_t)port);
        ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
        if (!ok && errno != EADDRINUSE)
            break;
    }
    NEED(ok);
}
FACT(exit)
{
    int st, pid = fork();
    if (pid == 0)
        _exit(77);
    NEED(waitpid(pid, &st, 0) == pid && WIFEXITED(st) && WEXITSTATUS(st) == 77);
    if ((pid = fork()) == 0)
        pause();
    NEED(kill(pid, SIGTERM) == 0 && waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
}
FACT(strace)
{
    int st, pid = fork(), stops = 0;
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(1);
        raise(SIGSTOP);
        getppid();
        _exit(5);
    }
    NEED(waitpid(pid, &st, 0) == pid && WIFSTOPPED(st));
    while (ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0 && waitpid(pid, &st, 0) == pid && WIFSTOPPED(st))
        stops++;
    NEED(stops >= 3 && WIFEXITED(st) && WEXITSTATUS(st) == 5);
}
FACT(killperm)
{
    int pid = fork();
    if (pid == 0)
        _exit(!(setresuid(33, 33, 33) == 0 && kill(getppid(), 0) == -1 && errno == EPERM));
    int st;
    NEED(waitpid(pid, &st, 0) == pid && st == 0);
}

#include "probe_facts.h"

static const struct { const char *name; void (*run)(void); int strict; } FACTS[] = {
#define F(n) {#n, fact_##n, 0}
#define STRICT(n) {#n, fact_##n, 1}
    F(uid0), F(setgroups), F(getgroups), F(setgroups0), F(setresuid), F(getresuid), F(getresgid), F(perm_drop),
    F(eff_swap), F(setreuid), F(setfsuid), F(setgid_nocap), F(setgroups_nocap), F(capdrop), F(keepcaps),
    F(capset_get), F(capset_then_setgid), F(procstatus), F(procstatus_groups), F(procowner), F(rawsetuid),
    F(peercred), F(scm), F(scm_again), F(scm_restart), F(fork), F(exec_keep), F(exec_keep_static), F(suid_exec),
    F(auxv), F(thread), F(nptl),
    F(vfork), F(clone3), F(fresh), F(chown), F(chown_part), F(fchown), F(lchown), F(lchown_tgt), F(chown_follow),
    F(fchownat_empty), F(fstatat_empty), F(statx), F(rawstatx), F(rawchown), F(newfile_uid), F(newfile_persist),
    F(mkdir_persist), F(hardlink), F(rename), F(unlink_reuse), F(unlink_reuse_raw), F(rename_over), F(mknodc),
    F(mknodb), F(mkfifo), F(chmod_suid), F(chown_clr), F(dac), F(dac_dir), F(access), STRICT(perm_deny),
    F(access_deny), F(chown_deny), F(chmod_deny), F(sgiddir), F(xcap), F(xtrusted), F(xsec), F(acl),
    F(hidexattr), F(chroot), F(mount), F(hostname), F(nice), F(bind80), F(exit), F(strace), F(killperm),
};
#define N_FACTS (sizeof FACTS / sizeof FACTS[0])

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--ids")) {
        unsigned r = (unsigned)atoi(argv[2]), e = (unsigned)atoi(argv[3]);
        return !(getuid() == r && geteuid() == e);
    }
    if (argc == 4 && !strcmp(argv[1], "--auxv")) {
        unsigned long u = (unsigned long)atoi(argv[2]), g = (unsigned long)atoi(argv[3]);
        return !(getauxval(AT_UID) == u && getauxval(AT_EUID) == u && getauxval(AT_GID) == g && getauxval(AT_EGID) == g);
    }
    if (argc < 2 || argc > 3 || chdir(argv[1])) {
        fprintf(stderr, "usage: probe DIR [STATIC]\n");
        return 2;
    }
    self_path = argv[0];
    static_path = argc == 3 ? argv[2] : argv[0];
    umask(022);
    int passed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < N_FACTS; i++) {
        int st = 0;
        fflush(stdout);
        int pid = fork();
        if (pid == 0) {
            alarm(10);
            if (mkdir(FACTS[i].name, 0755) || chdir(FACTS[i].name))
                _exit(98);
            FACTS[i].run();
            _exit(0);
        }
        int good = pid > 0 && waitpid(pid, &st, 0) == pid && st == 0;
        passed += good;
        printf("%s %s%s\n", good ? "pass" : "FAIL", FACTS[i].name, FACTS[i].strict ? " (strict)" : "");
    }
    printf("%d of %d\n", passed, (int)N_FACTS);
    return passed != (int)N_FACTS;
}
