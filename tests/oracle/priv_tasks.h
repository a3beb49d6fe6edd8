/* Looking into others' processes, mounting, and messages between users: included by privfuzz once.
 *
 * Nothing here may change the machine that the oracle runs on: what would is made wrong on purpose.
 */
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <stddef.h>

static void op_look_into(void)
{
    static char mine[64];
    const char *name;
    int pid = anybody(&name), status;
    unsigned long mask = 1;
    void *head = NULL, *page = mine;
    size_t length = 0;
    struct iovec here = {mine, sizeof mine}, there = {known, 8}; /* mapped by all */
    long fd;
    switch (rnd(9)) {
    case 0: show(sc(__NR_kcmp, pid, getpid(), one_in(8) ? 99 : 1, 0, 0) < 0 ? sc5(__NR_kcmp, pid, getpid(), 99, 0, 0) : 0, "kcmp(%s)", name); break;
    case 1: show(syscall(__NR_process_vm_readv, pid, &here, 1, &there, 1, one_in(10)) < 0 ? -errno : 0, "process_vm_readv(%s)", name); break;
    case 2: show(syscall(__NR_process_vm_writev, pid, &there, 0, &there, 0, 0) < 0 ? -errno : 0, "process_vm_writev(%s, nothing)", name); break;
    case 3: show(sc3(__NR_get_robust_list, pid, &head, &length), "get_robust_list(%s)", name); break;
    case 4: show(syscall(__NR_move_pages, pid, 1, &page, NULL, &status, 0) < 0 ? -errno : 0, "move_pages(%s)", name); break;
    case 5: show(sc4(__NR_migrate_pages, pid, 64, &mask, &mask) < 0 ? sc4(__NR_migrate_pages, pid, 64, &mask, &mask) : 0, "migrate_pages(%s)", name); break;
    case 6:
        fd = sc2(__NR_pidfd_open, pid, 0);
        if (fd >= 0) {
            long got = sc3(438 /* pidfd_getfd */, fd, one_in(4) ? 999 : 1, 0);
            show(done(got < 0 ? -1 : 0) && got < 0 ? got : 0, "pidfd_getfd(%s)", name);
            show(sc4(424, fd, 0, NULL, 0), "pidfd_send_signal(%s)", name);
            close((int)fd);
        }
        break;
    default: {
        char path[40];
        static const char *const FILES[] = {"environ", "maps", "mem", "cwd", "fd", "status", "syscall", "stack", "io", "auxv", "ns/net", "oom_score_adj", "limits"};
        const char *file = PICK(FILES);
        snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
        if (!strcmp(file, "cwd") || !strcmp(file, "ns/net"))
            show(done(readlink(path, mine, sizeof mine)), "readlink(%s's %s)", name, file);
        else {
            fd = open(path, O_RDONLY);
            show(done(fd), "open(%s's %s)", name, file);
            close((int)fd);
        }
    }
    }
}

struct attributes { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; };

static void op_attributes(void)
{
    const char *name;
    int pid = anybody(&name);
    struct sched_param param = {one_in(3)};
    struct attributes attr = {48, (unsigned[]){0, 0, 3, 5, 1, 2, 77}[rnd(7)], 0, (int)rnd(45) - 22, 0, 0, 0, 0};
    if (attr.policy == 1 || attr.policy == 2)
        attr.priority = 1 + rnd(3), attr.nice = 0;
    if (one_in(6))
        attr.flags = one_in(2) ? 1 : 1u << 20;
    if (one_in(8))
        attr.size = one_in(2) ? 20 : 5000;
    switch (rnd(3)) {
    case 0: show(sc2(__NR_sched_setparam, pid, &param), "sched_setparam(%s, %d)", name, param.sched_priority); break;
    case 1:
        show(sc3(__NR_sched_setattr, pid, &attr, one_in(12)), "sched_setattr(%s, %u, %llx, %d, %u)", name, attr.policy, (unsigned long long)attr.flags, attr.nice, attr.priority);
        break;
    default:
        memset(&attr, 0, sizeof attr);
        if (show(sc4(__NR_sched_getattr, pid, &attr, sizeof attr, 0), "sched_getattr(%s)", name) == 0)
            say("  %u %llx %d %u", attr.policy, (unsigned long long)attr.flags, attr.nice, attr.priority);
    }
}

/* The clocks, the log of the kernel, reboot: only what is refused for what it says, or changes nothing. */
static void op_system(void)
{
    struct timespec wrong = {0, 2000000000};
    struct timeval off = {0, -5};
    int swapped[2] = {1, 2};
    switch (rnd(9)) {
    case 0: show(sc2(__NR_clock_settime, one_in(2) ? 0 : 99, &wrong), "clock_settime(wrong)"); break;
    case 1: show(sc2(__NR_clock_settime, 0, BAD_POINTER), "clock_settime(BAD)"); break;
    case 2: show(sc2(__NR_settimeofday, one_in(2) ? (void *)&off : BAD_POINTER, NULL), "settimeofday(wrong)"); break;
    case 3: show(sc3(__NR_syslog, one_in(2) ? 11 : -1, NULL, 0), "syslog(no such)"); break;
    case 4: show(sc3(__NR_syslog, 3, one_in(2) ? NULL : (char *)swapped, one_in(2) ? -1 : 0), "syslog(READ_ALL)"); break;
    case 5: show(sc3(__NR_syslog, 8, NULL, 9), "syslog(level 9)"); break;
    case 6: show(sc4(__NR_reboot, 1, swapped[1], 0, NULL), "reboot(wrong)"); break;
    case 7: show(done(sc3(__NR_syslog, 10, NULL, 0)), "syslog(SIZE_BUFFER)"); break;
    default: show(sc1(__NR_acct, one_in(2) ? "/nonexistent" : "/dev"), "acct()");
    }
}

/* File systems in memory, whose roots are somebody's, and binds of them, in a mount namespace of one's own. */
static void op_mount(void)
{
    char options[60];
    struct stat st;
    unsigned uid = PICK(IDS), gid = PICK(IDS);
    long fd, r = unshare(CLONE_NEWNS) < 0 ? -errno : 0;
    show(r, "unshare(NEWNS)");
    if (r == 0)
        show(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0, "private");
    snprintf(options, sizeof options, "uid=%d,gid=%d,mode=%o", (int)uid, (int)gid, rnd(8) << 9 | 0755);
    switch (rnd(6)) {
    case 0: case 1:
        if (show(mount("none", "/mnt", "tmpfs", one_in(3) ? MS_NOSUID : 0, options) < 0 ? -errno : 0, "mount %s", options) == 0) {
            if (stat("/mnt", &st) == 0)
                say("  %u:%u %o", st.st_uid, st.st_gid, st.st_mode);
            show(done(sc4(__NR_openat, AT_FDCWD, "/mnt/new", O_CREAT | O_EXCL | O_CLOEXEC, 0640)), "a file");
            if (stat("/mnt/new", &st) == 0)
                say("  %u:%u %o", st.st_uid, st.st_gid, st.st_mode);
        }
        break;
    case 2:
        show(done(fd = sc2(430 /* fsopen */, one_in(6) ? "nosuchfs" : "tmpfs", 1)), "fsopen");
        snprintf(options, sizeof options, "%u", uid);
        if (fd >= 0) {
            show(sc5(431, fd, 1, "uid", options, 0), "fsconfig(uid=%s)", options);
            show(sc5(431, fd, 6, 0, 0, 0), "create");
            long top = sc3(432 /* fsmount */, fd, 1, 0);
            show(done(top < 0 ? -1 : 0) ? top : 0, "fsmount");
            if (top >= 0 && fstat((int)top, &st) == 0)
                say("  %u:%u %o", st.st_uid, st.st_gid, st.st_mode);
            if (top >= 0)
                show(sc5(429 /* move_mount */, top, "", AT_FDCWD, "/mnt", 4), "move_mount");
        }
        if (stat("/mnt", &st) == 0)
            say("  %u:%u %o", st.st_uid, st.st_gid, st.st_mode);
        break;
    case 3: show(done(sc3(428 /* open_tree */, AT_FDCWD, "/mnt", one_in(2) ? 1 | O_CLOEXEC : O_CLOEXEC)), "open_tree"); break;
    case 4: show(sc2(__NR_umount2, one_in(2) ? "/nonexistent" : "/usr", one_in(6) ? 0x100 : 0), "umount2(no mount)"); break;
    default: show(sc5(442 /* mount_setattr */, -100, one_in(3) ? "/nonexistent" : "/proc", 0, options, 0), "mount_setattr(size 0)");
    }
}

/* ---------------------------------------------------------------- messages */

enum { BOTH = 2 };
static void show_senders(int fd, int flags)
{
    union { char space[CMSG_SPACE(sizeof(struct ucred))]; struct cmsghdr align; } control[BOTH];
    char data[BOTH][8];
    struct iovec vec[BOTH];
    struct mmsghdr messages[BOTH];
    int many = one_in(2);
    long r;
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BOTH; i++) {
        vec[i] = (struct iovec){data[i], sizeof data[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vec[i], .msg_iovlen = 1, .msg_control = &control[i], .msg_controllen = sizeof control[i]};
    }
    r = many ? recvmmsg(fd, messages, BOTH, flags | MSG_DONTWAIT, NULL) : recvmsg(fd, &messages[0].msg_hdr, flags | MSG_DONTWAIT);
    show(r < 0 ? -errno : r, "%s", many ? "recvmmsg" : "recvmsg");
    for (int i = 0; i < (r < 0 ? 0 : many ? (int)r : 1); i++) {
        struct cmsghdr *c = CMSG_FIRSTHDR(&messages[i].msg_hdr);
        struct ucred *from = c ? (struct ucred *)CMSG_DATA(c) : NULL;
        say("  %s %u:%u flags %x", from && from->pid ? "from" : "nobody", from ? from->uid : 0, from ? from->gid : 0, messages[i].msg_hdr.msg_flags);
    }
}

/* Messages differ, for that is how their senders are known; on a stream the kernel joins those of one sender. */
static void send_as(int fd, unsigned uid, unsigned gid, int many)
{
    union { char space[CMSG_SPACE(sizeof(struct ucred))]; struct cmsghdr align; } control;
    struct ucred mine = {getpid(), uid, gid};
    char texts[BOTH][3] = {"abc", "def"};
    struct iovec vec[BOTH] = {{texts[0], 3}, {texts[1], 3}};
    struct mmsghdr messages[BOTH];
    struct cmsghdr *c;
    int told = !one_in(3); /* of several messages the first */
    memset(messages, 0, sizeof messages), memset(&control, 0, sizeof control);
    for (int i = 0; i < BOTH; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vec[i], .msg_iovlen = 1};
    messages[0].msg_hdr.msg_control = told ? &control : NULL, messages[0].msg_hdr.msg_controllen = told ? sizeof control : 0;
    c = told ? CMSG_FIRSTHDR(&messages[0].msg_hdr) : (struct cmsghdr *)&control;
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_CREDENTIALS, c->cmsg_len = CMSG_LEN(sizeof mine);
    memcpy(CMSG_DATA(c), &mine, sizeof mine);
    if (many)
        show(result(sendmmsg(fd, messages, BOTH, MSG_DONTWAIT | MSG_NOSIGNAL)), "sendmmsg as %d:%d told %d", (int)uid, (int)gid, told);
    else
        show(result(sendmsg(fd, &messages[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL)), "sendmsg as %d:%d told %d", (int)uid, (int)gid, told);
}

static void become(const struct user *user);

/* A listener, and another user who connects and sends; each asks who the other is. */
static void op_post(void)
{
    static const int TYPES[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    int type = PICK(TYPES), on = 1, ends[2], listener = -1, status, passes = !one_in(4);
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    socklen_t length = sizeof own;
    struct ucred peer = {0};
    gid_t groups[8] = {0};
    uint64_t state = rnd64();
    if (type == SOCK_DGRAM || one_in(3)) {
        if (socketpair(AF_UNIX, type, 0, ends))
            exit(8);
    } else {
        listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        if (bind(listener, (struct sockaddr *)&own, sizeof(sa_family_t)) || listen(listener, 3) || getsockname(listener, (struct sockaddr *)&own, &length))
            exit(8);
        ends[0] = -1, ends[1] = socket(AF_UNIX, type, 0);
    }
    if (passes)
        setsockopt(listener < 0 ? ends[0] : listener, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    pid_t pid = fork();
    if (pid == 0) {
        rng = state;
        const struct user *user = &PICK(USERS);
        if (getuid() == 0 && geteuid() == 0)
            become(user);
        snprintf(label + strlen(label), 20, ">%u", getuid());
        if (listener >= 0)
            show(result(connect(ends[1], (struct sockaddr *)&own, length)), "connect");
        send_as(ends[1], one_in(2) ? getuid() : PICK(IDS), one_in(2) ? getgid() : PICK(IDS),
                type != SOCK_STREAM && one_in(2));
        length = sizeof peer;
        show(result(getsockopt(ends[1], SOL_SOCKET, SO_PEERCRED, &peer, &length)), "SO_PEERCRED");
        say("  %d:%d", (int)peer.uid, (int)peer.gid);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (listener >= 0)
        show(done(ends[0] = accept(listener, NULL, NULL)), "accept");
    length = sizeof peer;
    show(result(getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &peer, &length)), "SO_PEERCRED");
    say("  %d:%d", (int)peer.uid, (int)peer.gid);
    length = one_in(4) ? 2 : sizeof groups;
    show(result(getsockopt(ends[0], SOL_SOCKET, 59 /* SO_PEERGROUPS */, groups, &length)), "SO_PEERGROUPS");
    say("  %u bytes, %d", length, length >= 4 && length <= sizeof groups ? (int)groups[0] : -1);
    show_senders(ends[0], one_in(3) ? MSG_PEEK : 0);
    show_senders(ends[0], 0);
    close(ends[0]), close(ends[1]), close(listener);
}

/* Whose signals a file's are. */
static void op_signals_of(void)
{
    const char *name;
    int pid = anybody(&name), ends[2];
    struct f_owner_ex owner = {(int)rnd(4), pid};
    uint32_t ids[2] = {77, 77};
    if (pid == 0x3FFFFFFF && one_in(2))
        owner.pid = 0, name = "none";
    if (pipe(ends))
        exit(8);
    if (one_in(2))
        show(result(fcntl(ends[0], F_SETOWN, owner.pid)), "F_SETOWN(%s)", name);
    else
        show(result(fcntl(ends[0], F_SETOWN_EX, &owner)), "F_SETOWN_EX(%d, %s)", owner.type, name);
    owner.type = 9, owner.pid = 0;
    show(result(fcntl(ends[0], F_GETOWN_EX, &owner)), "F_GETOWN_EX");
    say("  %d %s", owner.type, owner.pid ? owner.pid == pid ? name : "other" : "none");
    show(result(fcntl(ends[0], 17 /* F_GETOWNER_UIDS */, ids)), "F_GETOWNER_UIDS");
    say("  %u %u", ids[0], ids[1]);
    close(ends[0]), close(ends[1]);
}
