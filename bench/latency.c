/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long single calls take. Prints one line each: name, best and median of many short batches, in microseconds a call.
 * Batches are short so that a busy machine leaves some of them alone. usage: latency DIRECTORY [BATCHES]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* A way that cannot do a call says so once, and has no row for it. */
static int failed;
#define MUST(call) (failed |= (call) < 0)

enum { CALLS = 20 };
static int batches = 300;
static double *samples;

/* Library functions, not raw calls: a preloaded library answers only those. */
#define ROW(name, call)                                                                      \
	do {                                                                                 \
		for (int batch = 0; batch < batches; batch++) {                              \
			double start = now();                                                \
			for (int i = 0; i < CALLS; i++) {                                    \
				call;                                                        \
			}                                                                    \
			samples[batch] = (now() - start) / CALLS;                            \
		}                                                                            \
		qsort(samples, batches, sizeof *samples, ascending);                         \
		if (!failed)                                                                 \
			printf("%s %.3f %.3f\n", name, samples[0], samples[batches / 2]);    \
		failed = 0;                                                                  \
		fflush(stdout);                                                              \
	} while (0)

/*
 * A byte to another process on the same processor, and back: two changes of process, as any answer that another process
 * gives must take, be it asked by seccomp, by ptrace or by a socket.
 */
static int there[2], back[2];

static int start_another(void)
{
	cpu_set_t one;
	char byte;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof one, &one) < 0 || pipe(there) < 0 || pipe(back) < 0)
		return -1;
	if (fork() == 0) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1)
			if (write(back[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	return 0;
}

static int hand_over(void)
{
	char byte = 0;

	return write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
	static char bytes[65536];
	char plain[] = "plain", faked[] = "faked", node[] = "node", byte = 0;
	gid_t groups[] = { 1, 2, 3 };
	struct statx stx;
	struct stat st;
	int fd, fake_fd, null;

	if (argc < 2 || chdir(argv[1]) < 0)
		return 2;
	if (argc > 2)
		batches = atoi(argv[2]);
	samples = calloc(batches, sizeof *samples);
	char *absolute = realpath(".", NULL);
	absolute = realloc(absolute, strlen(absolute) + 16);
	strcat(absolute, "/plain");

	fd = open(plain, O_CREAT | O_RDWR, 0644);
	fake_fd = open(faked, O_CREAT | O_RDWR, 0644);
	null = open("/dev/zero", O_RDWR);
	if (fd < 0 || fake_fd < 0 || null < 0)
		return 2;

	ROW("getppid", getppid());
	ROW("read", MUST(read(null, &byte, 1)));
	ROW("write", MUST(write(null, &byte, 1)));
	MUST(pwrite(fd, bytes, sizeof bytes, 0));
	ROW("read-64k", MUST(pread(fd, bytes, sizeof bytes, 0)));
	ROW("write-64k", MUST(pwrite(fd, bytes, sizeof bytes, 0)));
	ROW("openat", close(openat(AT_FDCWD, plain, O_RDONLY)));
	ROW("openat-creat", close(openat(AT_FDCWD, plain, O_RDWR | O_CREAT, 0644)));
	ROW("getuid", (void)getuid());
	ROW("stat", stat(absolute, &st));
	ROW("stat-relative", stat(plain, &st));
	ROW("stat-absent", stat("/usr/lib/absent", &st));
	ROW("lstat", lstat(absolute, &st));
	ROW("fstat", fstat(fd, &st));
	ROW("statx", statx(AT_FDCWD, absolute, 0, STATX_BASIC_STATS, &stx));
	ROW("chmod", chmod(plain, 0644));
	ROW("chown-root", MUST(chown(plain, 0, 0)));
	ROW("fchown-root", MUST(fchown(fd, 0, 0)));

	/* From here on there is something to remember. */
	ROW("chown", MUST(chown(faked, 42, 43)));
	ROW("fchown", MUST(fchown(fake_fd, 42, 43)));
	ROW("stat-overridden", stat(faked, &st));
	ROW("fstat-overridden", fstat(fake_fd, &st));
	ROW("statx-overridden", statx(AT_FDCWD, faked, 0, STATX_BASIC_STATS, &stx));
	ROW("stat-beside", stat(absolute, &st));
	ROW("mknod", unlink(node); MUST(mknod(node, S_IFCHR | 0644, makedev(1, 3))));
	ROW("unlink", unlink(node));
	ROW("setgroups", MUST(setgroups(3, groups)));
	ROW("setresuid", MUST(setresuid(-1, 0, -1)));
	ROW("setuid", MUST(setuid(0)));
	if (setegid(43) < 0 || seteuid(42) < 0)
		return 1;
	ROW("getuid-dropped", (void)getuid());
	ROW("stat-dropped", stat(absolute, &st));
	MUST(start_another());
	ROW("hand-over", MUST(hand_over()));
	return 0;
}
