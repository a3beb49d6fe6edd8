// SPDX-License-Identifier: GPL-2.0-or-later
// Makes calls that a test's engine answers (getuid: 1234, chown: EPERM, mq_open: a descriptor) and prints what it got.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAKED 1234

static int ids(void)
{
	int uid = getuid();
	errno = 0;
	int result = chown("/nonexistent", 1, 1);
	printf("uid %d chown %d %s pid %d\n", uid, result, strerrorname_np(errno), getpid() == (int)syscall(SYS_gettid));
	return 0;
}

static int child_ok(void *unused)
{
	(void)unused;
	return getuid() == FAKED ? 0 : 1;
}

static int storm(int count)
{
	static char stack[65536];
	volatile int good = 0;
	for (volatile int i = 0; i < count; i++) {
		pid_t pid;
		int status;
		if (i % 4 == 0) {
			if (!(pid = fork()))
				_exit(child_ok(NULL));
		} else if (i % 4 == 1) {
			if (!(pid = vfork()))
				_exit(syscall(SYS_getuid) == FAKED ? 0 : 1);
		} else if (i % 4 == 2) {
			pid = clone(child_ok, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
		} else {
			// No signal at its end: the parent waits for it with __WALL.
			pid = clone(child_ok, stack + sizeof stack, 0, NULL);
		}
		if (pid < 0 || waitpid(pid, &status, __WALL) != pid)
			break;
		good += status == 0;
	}
	printf("good %d\n", good);
	return 0;
}

static void *call_often(void *bad)
{
	for (int i = 0; i < 300; i++)
		if (getuid() != FAKED)
			__atomic_fetch_add((int *)bad, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int threads(void)
{
	int bad = 0;
	for (int round = 0; round < 10; round++) {
		pthread_t thread[8];
		for (int i = 0; i < 8; i++)
			pthread_create(&thread[i], NULL, call_often, &bad);
		for (int i = 0; i < 8; i++)
			pthread_join(thread[i], NULL);
	}
	printf("bad %d\n", bad);
	return 0;
}

static void *exec_self(void *unused)
{
	(void)unused;
	execl("/proc/self/exe", "probe", "ids", NULL);
	return NULL;
}

static void exec_thread(void)
{
	pthread_t others[4], thread;
	static int bad;
	for (int i = 0; i < 4; i++)
		pthread_create(&others[i], NULL, call_often, &bad);
	pthread_create(&thread, NULL, exec_self, NULL);
	for (;;)
		getuid();
}

static int exec_fails(void)
{
	execl("/nonexistent", "nonexistent", NULL);
	printf("%s uid %d\n", strerrorname_np(errno), getuid());
	fflush(stdout);
	execl("/proc/self/exe", "probe", "ids", NULL);
	return 1;
}

static volatile int ticks;

static void tick(int signo)
{
	(void)signo;
	ticks++;
}

static void start_ticking(int flags)
{
	struct sigaction action = { .sa_handler = tick, .sa_flags = flags };
	struct itimerval every = { { 0, 1500 }, { 0, 1500 } };
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void stop_ticking(void)
{
	struct itimerval never = { { 0, 0 }, { 0, 0 } };
	setitimer(ITIMER_REAL, &never, NULL);
}

static int signals(void)
{
	int bad = 0, pipes[2];
	char byte = 0;
	start_ticking(SA_RESTART);
	while (ticks < 200)
		bad += getuid() != FAKED;
	// A call that is restarted again and again until it can end.
	if (pipe(pipes) < 0)
		return 1;
	if (!fork()) {
		usleep(30000);
		_exit(write(pipes[1], "x", 1) != 1);
	}
	ssize_t got = read(pipes[0], &byte, 1);
	wait(NULL);
	stop_ticking();
	// A sleep that is stopped and continued goes through restart_syscall.
	struct timespec wanted = { 0, 60 * 1000 * 1000 };
	pid_t sleeper = fork();
	if (!sleeper)
		_exit(nanosleep(&wanted, NULL) == 0 && getuid() == FAKED ? 0 : 1);
	int status;
	usleep(10000);
	kill(sleeper, SIGSTOP);
	waitpid(sleeper, &status, WUNTRACED);
	int stopped = WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
	kill(sleeper, SIGCONT);
	waitpid(sleeper, &status, WCONTINUED);
	int continued = WIFCONTINUED(status);
	waitpid(sleeper, &status, 0);
	printf("bad %d read %zd %c stopped %d continued %d status %d\n", bad, got, byte, stopped, continued, status);
	return 0;
}

static int stops(void)
{
	kill(getpid(), SIGTSTP);
	printf("went on, uid %d\n", getuid());
	return 3;
}

static int daemonizes(void)
{
	if (fork())
		return 7;
	setsid();
	if (fork())
		return 0;
	usleep(150000);
	printf("daemon uid %d\n", getuid());
	return 0;
}

static int get_fd(int flags)
{
	return syscall(SYS_mq_open, "name", flags, 0, NULL);
}

static int count_open(void)
{
	int count = 0;
	for (int i = 0; i < 64; i++)
		count += fcntl(i, F_GETFD) >= 0;
	return count;
}

static int descriptors(void)
{
	int open_before = count_open();
	// Leave a gap: the lowest free number is what a call gives.
	int low = open("/dev/null", O_RDONLY), high = open("/dev/null", O_RDONLY);
	close(low);
	sigset_t before, after;
	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	sigprocmask(SIG_SETMASK, &before, NULL);
	int fd = get_fd(0);
	char text[6] = "";
	ssize_t got = pread(fd, text, 5, 0);
	sigprocmask(SIG_SETMASK, NULL, &after);
	int second = get_fd(O_CLOEXEC);
	printf("fd %d read %zd %s cloexec %d %d low %d mask %d\n", fd == low, got, text, fcntl(fd, F_GETFD),
	       fcntl(second, F_GETFD), second > high, memcmp(&before, &after, 8));
	printf("new %d\n", count_open() - open_before);
	// Under a rain of signals.
	start_ticking(SA_RESTART);
	int bad = 0;
	volatile long keep[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	for (int i = 0; i < 300; i++) {
		int other = get_fd(O_CLOEXEC);
		bad += other != second + 1 || pread(other, text, 5, 0) != 5 || close(other);
	}
	stop_ticking();
	for (int i = 0; i < 8; i++)
		bad += keep[i] != i + 1;
	printf("bad %d ticked %d\n", bad, ticks > 0);
	struct rlimit few = { second + 1, second + 1 };
	setrlimit(RLIMIT_NOFILE, &few);
	int none = get_fd(0);
	printf("full %d %s uid %d\n", none, strerrorname_np(errno), getuid());
	return 0;
}

static int traces(void)
{
	long result = ptrace(PTRACE_TRACEME, 0, 0, 0);
	printf("traceme %ld %s uid %d\n", result, strerrorname_np(errno), getuid());
	return 0;
}

static int sandboxed(void)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_socketpair },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	struct sock_fprog program = { 4, code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 1;
	int fd = get_fd(0);
	printf("%d %s uid %d\n", fd, strerrorname_np(errno), getuid());
	return 0;
}

static void *deep_stack(void *unused)
{
	// The stack just below has never been touched.
	(void)unused;
	return (void *)(long)get_fd(0);
}

static int fresh_stack(void)
{
	pthread_t thread;
	void *fd;
	char text[6] = "";
	pthread_create(&thread, NULL, deep_stack, NULL);
	pthread_join(thread, &fd);
	printf("read %zd %s\n", pread((int)(long)fd, text, 5, 0), text);
	return 0;
}

static void busy(void)
{
	for (int i = 0; i < 3; i++)
		if (!fork())
			break;
	for (;;)
		if (get_fd(O_CLOEXEC) < 0 || getuid() != FAKED) {
			struct rlimit limit;
			getrlimit(RLIMIT_NOFILE, &limit);
			for (int i = 3; i < (int)limit.rlim_cur; i++)
				close(i);
		}
}

static int cost(void)
{
	struct timespec from, to;
	const int count = 20000;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < count; i++)
		syscall(SYS_getuid);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.2f\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / 1e3 / count);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "ids")) return ids();
	if (!strcmp(what, "storm")) return storm(atoi(argv[2]));
	if (!strcmp(what, "threads")) return threads();
	if (!strcmp(what, "exec_thread")) exec_thread();
	if (!strcmp(what, "exec_fails")) return exec_fails();
	if (!strcmp(what, "signals")) return signals();
	if (!strcmp(what, "stops")) return stops();
	if (!strcmp(what, "daemonizes")) return daemonizes();
	if (!strcmp(what, "descriptors")) return descriptors();
	if (!strcmp(what, "fresh_stack")) return fresh_stack();
	if (!strcmp(what, "traces")) return traces();
	if (!strcmp(what, "sandboxed")) return sandboxed();
	if (!strcmp(what, "busy")) busy();
	if (!strcmp(what, "cost")) return cost();
	fprintf(stderr, "probe: what?\n");
	return 2;
}
