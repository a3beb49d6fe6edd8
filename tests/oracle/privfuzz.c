/* Seeded random calls of many users on what is no file: IPC objects, priorities, names of the host, keys, locks.
 *
 *   privfuzz SEED
 *
 * Each step is a child that becomes somebody and makes some calls; what it makes stays for those that come after it.
 * It must have IPC and UTS namespaces of its own.
 */
#include "common.h"
#include <grp.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

enum { SLOTS = 4, TARGETS = 3, KINDS = 3 };
static const char *const KIND[KINDS] = {"msg", "sem", "shm"};
static const struct user { uint32_t uid, gid, more; } USERS[] = {
    {0, 0, 0}, {0, 0, 0}, {33, 33, 33}, {42, 43, 33}, {1000, 1000, 43}, {0, 42, 42}, {42, 0, 1000},
};
static const uint32_t IDS[] = {0, 33, 42, 43, 1000, 0xFFFFFFFFu};
static const int MODES[] = {0, 0600, 0640, 0660, 0666, 0444, 0222, 0004, 0020};
static struct { int id[KINDS][SLOTS]; } *known; /* shared by all: the kernel's numbers of the objects */
static int target[TARGETS]; /* others' processes */

static long result(long r) { return r < 0 ? -errno : r; }
static long done(long r) { return r < 0 ? -errno : 0; } /* a number that is nobody's business */

static int anybody(const char **name)
{
    static const char *const NAMES[] = {"root's", "33's", "42's"};
    unsigned k = rnd(TARGETS + 2);
    *name = k < TARGETS ? NAMES[k] : k == TARGETS ? "own" : "nobody's";
    return k < TARGETS ? target[k] : k == TARGETS ? (int)getpid() : 0x3FFFFFFF;
}

/* ---------------------------------------------------------------- System V IPC */

static void op_get(void)
{
    unsigned kind = rnd(KINDS), slot = rnd(SLOTS);
    int flags = (int[]){0, IPC_CREAT, IPC_CREAT, IPC_CREAT | IPC_EXCL}[rnd(4)] | PICK(MODES);
    size_t size = (size_t[]){0, 1, 3, 4096, 5000}[rnd(5)];
    key_t key = one_in(6) ? IPC_PRIVATE : (key_t)(7000 + slot);
    int id = kind == 0 ? msgget(key, flags) : kind == 1 ? semget(key, (int)size % 5, flags) : shmget(key, size, flags);
    show(done(id), "%sget(%d, %zu, %o)", KIND[kind], (int)key, size, flags);
    if (id >= 0)
        known->id[kind][slot] = id;
}

static void show_perm(const struct ipc_perm *perm)
{
    say("  %u:%u made by %u:%u mode %o", perm->uid, perm->gid, perm->cuid, perm->cgid, perm->mode & 0777);
}

union semun { int val; struct semid_ds *buf; unsigned short *array; };

static long control(unsigned kind, int id, int command, struct ipc_perm *perm, unsigned long *size)
{
    struct msqid_ds msg;
    struct semid_ds sem;
    struct shmid_ds shm;
    long r;
    memset(&msg, 0, sizeof msg), memset(&sem, 0, sizeof sem), memset(&shm, 0, sizeof shm);
    msg.msg_perm = sem.sem_perm = shm.shm_perm = *perm;
    msg.msg_qbytes = *size;
    r = result(kind == 0   ? msgctl(id, command, &msg)
               : kind == 1 ? semctl(id, 0, command, (union semun){.buf = &sem})
                           : shmctl(id, command, &shm));
    *perm = kind == 0 ? msg.msg_perm : kind == 1 ? sem.sem_perm : shm.shm_perm;
    *size = kind == 0 ? msg.msg_qbytes : kind == 1 ? sem.sem_nsems : shm.shm_segsz;
    return r;
}

static void op_control(void)
{
    unsigned kind = rnd(KINDS), slot = rnd(SLOTS), k = rnd(9);
    int id = one_in(12) ? -1 : known->id[kind][slot];
    struct ipc_perm perm;
    unsigned long size = 0;
    long r;
    memset(&perm, 0, sizeof perm);
    if (k < 5) {
        r = show(control(kind, id, IPC_STAT, &perm, &size), "%sctl(%u, STAT)", KIND[kind], slot);
        if (r == 0) {
            show_perm(&perm);
            say("  size %lu", size);
        }
    } else if (k < 8) {
        perm.uid = PICK(IDS), perm.gid = PICK(IDS), perm.mode = (unsigned short)PICK(MODES);
        size = (unsigned long[]){0, 100, 16384}[rnd(3)];
        show(control(kind, id, IPC_SET, &perm, &size), "%sctl(%u, SET, %u:%u %o %lu)", KIND[kind], slot, perm.uid,
             perm.gid, perm.mode, kind == 0 ? size : 0);
    } else {
        show(control(kind, id, one_in(3) ? 99 : IPC_RMID, &perm, &size), "%sctl(%u, RMID?)", KIND[kind], slot);
    }
}

/* What is wrong with a call whoever makes it. */
static void op_use_badly(unsigned slot)
{
    struct { long type; char text[8]; } none = {0, "abc"};
    int queue = known->id[0][slot], set = known->id[1][slot], segment = known->id[2][slot];
    int values[] = {-1, 40000};
    unsigned k = rnd(9);
    long r;
    switch (k) {
    case 0: r = result(msgsnd(queue, (void *)16, 1, IPC_NOWAIT)); break;
    case 1: r = result(msgsnd(queue, &none, 4, IPC_NOWAIT)); break;
    case 2: r = result(msgsnd(queue, &none, (size_t)-1, IPC_NOWAIT)); break;
    case 3: r = result(msgrcv(queue, &none, (size_t)-1, 0, IPC_NOWAIT)); break;
    case 4: r = result(msgrcv(queue, &none, 8, 0, MSG_COPY | (one_in(2) ? IPC_NOWAIT | MSG_EXCEPT : 0))); break;
    case 5: r = result(semctl(set, 0, SETVAL, (union semun){.val = PICK(values)})); break;
    case 6: r = result(semctl(set, -1, SETVAL, (union semun){.val = 1})); break;
    case 7: r = shmat(segment, (void *)12345, 0) == (void *)-1 ? -errno : 0; break;
    default: r = shmat(segment, NULL, SHM_REMAP) == (void *)-1 ? -errno : 0; break;
    }
    show(r, "use %u badly: %u", slot, k);
}

static void op_use(void)
{
    unsigned slot = rnd(SLOTS);
    struct { long type; char text[8]; } message = {1, "abc"};
    struct sembuf step = {0, (short)((int)rnd(3) - 1), IPC_NOWAIT};
    void *at;
    long r;
    if (one_in(4)) {
        op_use_badly(slot);
        return;
    }
    switch (rnd(8)) {
    case 0: show(result(msgsnd(known->id[0][slot], &message, 4, IPC_NOWAIT)), "msgsnd(%u)", slot); break;
    case 1: show(result(msgrcv(known->id[0][slot], &message, 8, 0, IPC_NOWAIT)), "msgrcv(%u)", slot); break;
    case 2: show(result(semop(known->id[1][slot], &step, 1)), "semop(%u, %d)", slot, step.sem_op); break;
    case 3: show(result(semctl(known->id[1][slot], 0, GETVAL)), "semctl(%u, GETVAL)", slot); break;
    case 4: show(result(semctl(known->id[1][slot], 0, SETVAL, (union semun){.val = 2})), "semctl(%u, SETVAL)", slot); break;
    case 5: show(result(semctl(known->id[1][slot], 0, GETNCNT)), "semctl(%u, GETNCNT)", slot); break;
    default:
        r = one_in(2) ? SHM_RDONLY : 0;
        at = shmat(known->id[2][slot], NULL, (int)r);
        show(at == (void *)-1 ? -errno : 0, "shmat(%u, %s)", slot, r ? "read" : "write");
        if (at != (void *)-1)
            shmdt(at);
    }
}

static void op_queue(void)
{
    char name[] = "/q0";
    int flags = (int[]){0, O_CREAT, O_CREAT, O_CREAT | O_EXCL}[rnd(4)] | (int[]){O_RDONLY, O_WRONLY, O_RDWR}[rnd(3)];
    int mode = PICK(MODES);
    struct stat st;
    mqd_t queue;
    name[2] = (char)('0' + rnd(SLOTS));
    if (one_in(4)) {
        show(result(mq_unlink(name)), "mq_unlink(%s)", name);
        return;
    }
    queue = mq_open(name, flags, mode, NULL);
    show(done(queue), "mq_open(%s, %o, %o)", name, flags, mode);
    if (queue >= 0 && fstat(queue, &st) == 0) /* a queue is a file */
        say("  %u:%u %o", st.st_uid, st.st_gid, st.st_mode);
    if (queue >= 0)
        close(queue);
}

/* ---------------------------------------------------------------- priorities */

static void op_priority(void)
{
    const char *name;
    int pid = anybody(&name), value = (int)rnd(45) - 22, which = (int)rnd(4) ? PRIO_PROCESS : (int)rnd(4);
    struct sched_param param = {0};
    int policy = (int[]){SCHED_OTHER, SCHED_BATCH, SCHED_FIFO, SCHED_RR, 77}[rnd(5)];
    struct timespec slice = {7, 7};
    long r;
    switch (rnd(7)) {
    case 0: case 1:
        if (which != PRIO_PROCESS && which != 3)
            which = PRIO_PROCESS;
        show(result(setpriority((unsigned)which, (id_t)pid, value)), "setpriority(%d, %s, %d)", which, name, value);
        break;
    case 2:
        errno = 0;
        r = getpriority(PRIO_PROCESS, (id_t)pid);
        show(errno ? -errno : 0, "getpriority(%s)", name);
        say("  %ld", r);
        break;
    case 3: case 4:
        param.sched_priority = policy == SCHED_FIFO || policy == SCHED_RR ? (int)rnd(101) : one_in(5);
        if (one_in(4))
            policy |= SCHED_RESET_ON_FORK;
        show(result(sched_setscheduler(pid, policy, &param)), "sched_setscheduler(%s, %x, %d)", name, policy,
             param.sched_priority);
        break;
    case 5:
        r = show(result(sched_getscheduler(pid)), "sched_getscheduler(%s)", name);
        if (show(result(sched_getparam(pid, &param)), "sched_getparam(%s)", name) == 0)
            say("  %d", param.sched_priority);
        if ((r & 3) == SCHED_FIFO || (r & 3) == SCHED_RR) {
            show(result(sched_rr_get_interval(pid, &slice)), "sched_rr_get_interval(%s)", name);
            say("  %ld.%09ld", (long)slice.tv_sec, slice.tv_nsec);
        }
        break;
    default:
        value = (int)rnd(5) << 13 | (int)rnd(9);
        if (one_in(2))
            show(sc3(__NR_ioprio_set, 1, pid, value), "ioprio_set(%s, %x)", name, value);
        else
            show(sc2(__NR_ioprio_get, 1, pid), "ioprio_get(%s)", name);
    }
}

static void op_process(void)
{
    const char *name;
    int pid = anybody(&name);
    uint64_t limit[2] = {77, 77};
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    switch (rnd(5)) {
    case 0: show(sc2(__NR_kill, pid, 0), "kill(%s)", name); break;
    case 1: show(sc3(__NR_tgkill, pid, pid, 0), "tgkill(%s)", name); break;
    case 2: show(sc3(__NR_rt_sigqueueinfo, pid, 0, &info), "rt_sigqueueinfo(%s)", name); break;
    case 3: show(sc4(__NR_rt_tgsigqueueinfo, pid, pid, 0, &info), "rt_tgsigqueueinfo(%s)", name); break;
    default: /* not root: the one that is the oracle may be without CAP_SYS_RESOURCE */
        if (getuid() != 0)
            show(sc4(__NR_prlimit64, pid, RLIMIT_CORE, NULL, limit), "prlimit64(%s)", name);
    }
}

/* ---------------------------------------------------------------- the rest */

static void op_lock(void)
{
    static char area[3 * 4096] __attribute__((aligned(4096)));
    size_t size = (size_t[]){0, 1, 4096, 8192}[rnd(4)];
    int flags = (int)rnd(9);
    switch (rnd(5)) {
    case 0: show(result(mlock(area + rnd(2) * 100, size)), "mlock(%zu)", size); break;
    case 1: show(sc3(__NR_mlock2, area, size, flags & 3), "mlock2(%zu, %d)", size, flags & 3); break;
    case 2: show(sc2(__NR_mlock, -4096L, 8192), "mlock(round the end)"); break;
    case 3: show(result(mlockall(flags & ~MCL_FUTURE)), "mlockall(%d)", flags & ~MCL_FUTURE); break;
    default: show(result(munlockall()), "munlockall()");
    }
}

static void op_host(void)
{
    char name[80];
    size_t length = (size_t[]){0, 1, 5, 64, 65}[rnd(5)];
    struct utsname told;
    memset(name, 'a' + (int)rnd(26), sizeof name);
    switch (rnd(4)) {
    case 0: show(sc2(__NR_sethostname, one_in(6) ? BAD_POINTER : name, length), "sethostname(%zu)", length); break;
    case 1: show(sc2(__NR_setdomainname, name, one_in(8) ? -1L : (long)length), "setdomainname(%zu)", length); break;
    default:
        show(sc1(__NR_uname, &told), "uname()");
        say("  %s %s", told.nodename, told.domainname);
    }
}

static void op_key(void)
{
    int uid = (int)PICK(IDS), ring = (int[]){-1, -2, -3, -9}[rnd(4)];
    char text[100] = "";
    long key = sc3(__NR_keyctl, 22, uid, ring);
    show(key < 0 ? key : 0, "keyctl(GET_PERSISTENT, %d, %d)", uid, ring);
    if (key < 0)
        return;
    show(sc4(__NR_keyctl, 6, key, text, sizeof text), "keyctl(DESCRIBE)");
    say("  %s", text);
}

static void op_refused(void)
{
    static const char *const PATHS[] = {"/nonexistent", "/dev", "/proc/self/status", "/dev/null"};
    const char *path = PICK(PATHS);
    switch (rnd(4)) {
    case 0: show(sc2(__NR_swapon, path, 0), "swapon(%s)", path); break;
    case 1: show(sc1(__NR_swapoff, path), "swapoff(%s)", path); break;
    case 2: show(sc2(446, -1, one_in(2)), "landlock_restrict_self()"); break;
    default: show(sc2(__NR_setns, -1, 0), "setns()");
    }
}

#include "priv_tasks.h"

/* ---------------------------------------------------------------- the course of it */

static void become(const struct user *user)
{
    gid_t groups[1] = {user->more};
    setgroups(user->uid || user->gid ? 1 : 0, groups);
    if (setresgid(user->gid, user->gid, user->gid) || setresuid(user->uid, user->uid, user->uid))
        exit(9);
}

static void step(unsigned number, uint64_t state)
{
    const struct user *user;
    rng = state;
    user = &PICK(USERS);
    snprintf(label, sizeof label, "%u/%u:%u", number, user->uid, user->gid);
    become(user);
    for (unsigned left = 3 + rnd(6); left; left--)
        switch (rnd(18)) {
        case 12: case 13: op_look_into(); break;
        case 14: op_attributes(); break;
        case 15: one_in(2) ? op_system() : op_signals_of(); break;
        case 16: op_mount(); break;
        case 17: op_post(); break;
        case 0: case 1: op_get(); break;
        case 2: case 3: op_control(); break;
        case 4: case 5: op_use(); break;
        case 6: op_queue(); break;
        case 7: op_process(); break;
        case 8: op_lock(); break;
        case 9: op_host(); break;
        case 10: one_in(2) ? op_key() : op_refused(); break;
        default: op_priority();
        }
    exit(0);
}

int main(int argc, char **argv)
{
    static const struct user OWNERS[TARGETS] = {{0, 0, 0}, {33, 33, 33}, {42, 43, 33}};
    int status, ready[2];
    char byte;
    if (argc < 2 || pipe(ready))
        return 2;
    rng = strtoull(argv[1], NULL, 10) * 1000003;
    setvbuf(stdout, NULL, _IONBF, 0);
    umask(022);
    known = mmap(NULL, sizeof *known, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(known, -1, sizeof *known);
    for (int at = 0; at < TARGETS; at++) {
        target[at] = fork();
        if (target[at] == 0) {
            become(&OWNERS[at]);
            if (write(ready[1], "", 1) != 1)
                exit(9);
            close(ready[0]), close(ready[1]);
            for (;;)
                pause();
        }
        if (read(ready[0], &byte, 1) != 1)
            return 9;
    }
    close(ready[0]), close(ready[1]);
    for (unsigned number = 0; number < 40; number++) {
        uint64_t state = rnd64();
        pid_t pid = fork();
        if (pid == 0)
            step(number, state);
        if (waitpid(pid, &status, 0) != pid || status)
            say("step %u ended with %x", number, status);
    }
    for (int at = 0; at < TARGETS; at++)
        kill(target[at], SIGKILL);
    return 0;
}
