/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many tasks, and many calls.
 * usage: crowd alive TASKS      so many tasks at once, each with ids of its own: what calls cost
 *        crowd bomb TASKS TIMES all of a fork bomb's tasks alive at once, each of which must find its own ids
 *        crowd soak MILLIONS    so many calls, and the supervisor's memory after each million
 */
#include "common.h"

#include <signal.h>
#include <sys/wait.h>

/* Fork `count` children that take the ids first + number, run `check` there, tell `ready` and wait for their end. */
static int start(int count, int first, int ready, int wait_for)
{
	for (int number = 0; number < count; number++) {
		pid_t pid = fork();
		char byte = 0;

		if (pid < 0)
			return number;
		if (pid)
			continue;
		uid_t uid = 1 + (first + number) % 1000;
		if (setresgid(uid + 1, uid + 1, uid + 1) || setresuid(uid, uid, uid))
			byte = 1;
		if (write(ready, &byte, 1) < 0)
			_exit(2);
		/* A pipe whose other end is closed: all are released at once. */
		if (read(wait_for, &byte, 1) < 0)
			_exit(2);
		_exit(getuid() != uid || geteuid() != uid || getgid() != uid + 1 || setuid(0) == 0);
	}
	return count;
}

static int await(int count, int ready)
{
	int failed = 0;
	char byte;

	for (int number = 0; number < count; number++)
		if (read(ready, &byte, 1) != 1 || byte)
			failed++;
	return failed;
}

/* `count` tasks alive at once in `groups` branches; how many failed. `meanwhile` is done while all are there. */
static int crowd(int count, int groups, void (*meanwhile)(void))
{
	int ready[2], hold[2], failed = 0, status;

	if (pipe(ready) < 0 || pipe(hold) < 0)
		return count;
	for (int group = 0; group < groups; group++) {
		pid_t pid = fork();
		if (pid == 0) {
			int mine = count / groups, started;

			close(hold[1]);
			started = start(mine, group * mine, ready[1], hold[0]);
			failed = mine - started;
			/* Tell of those that could not be started, too: nobody waits for ever. */
			for (char byte = 1; started < mine; started++)
				if (write(ready[1], &byte, 1) < 0)
					_exit(255);
			while (wait(&status) > 0)
				failed += status != 0;
			_exit(failed > 254 ? 254 : failed);
		}
		if (pid < 0)
			return count;
	}
	close(hold[0]);
	failed += await(count / groups * groups, ready[0]);
	if (meanwhile)
		meanwhile();
	close(hold[1]);
	while (wait(&status) > 0)
		failed += WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	close(ready[0]);
	close(ready[1]);
	return failed;
}

static void calls(void)
{
	struct stat st;
	double best;

	BEST(best, (void)getuid());
	printf("getuid %.3f\n", best);
	BEST(best, stat("plain", &st));
	printf("stat %.3f\n", best);
	BEST(best, stat("owned", &st));
	printf("stat-overridden %.3f\n", best);
	BEST(best, (void)!chown("owned", 42, 43));
	printf("chown %.3f\n", best);
	BEST(best, (void)!setegid(0));
	printf("setegid %.3f\n", best);
}

static int soak(int millions, pid_t supervisor)
{
	struct stat st;

	printf("0 %ld\n", supervisors_memory(supervisor));
	for (int million = 1; million <= millions; million++) {
		for (int turn = 0; turn < 100000; turn++) {
			(void)getuid();
			if (stat("plain", &st) || stat("owned", &st) || stat("absent", &st) == 0)
				return 1;
			if (seteuid(1 + turn % 500) || geteuid() != (uid_t)(1 + turn % 500) || seteuid(0))
				return 1;
			if (chown("owned", turn % 500, 43) || stat("owned", &st) || st.st_uid != (uid_t)(turn % 500))
				return 1;
			(void)getgid();
		}
		printf("%d %ld\n", million, supervisors_memory(supervisor));
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	pid_t supervisor = getppid();
	int count = argc > 2 ? atoi(argv[2]) : 0, failed = 0;

	if (argc < 3)
		return 2;
	close(open("plain", O_CREAT | O_WRONLY, 0644));
	close(open("owned", O_CREAT | O_WRONLY, 0644));
	if (chown("owned", 42, 43))
		return 2;
	if (strcmp(argv[1], "soak") == 0)
		return soak(count, supervisor);
	if (strcmp(argv[1], "alive") == 0) {
		setbuf(stdout, NULL);
		if (count > 1)
			return crowd(count - 1, 1, calls) != 0;
		calls();
		return 0;
	}
	printf("0 0 %ld\n", supervisors_memory(supervisor));
	for (int turn = 1; argc > 3 && turn <= atoi(argv[3]); turn++) {
		fflush(stdout);
		failed = crowd(count, 10, NULL);
		printf("%d %d %ld\n", turn, failed, supervisors_memory(supervisor));
	}
	return failed != 0;
}
