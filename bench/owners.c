/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ever more files that have a fake owner, and what looking at one costs then. usage: owners COUNT...
 * Prints for each count: count, supervisor's memory in KiB, microseconds of a stat of a file without an owner of its own,
 * of files with one, and of a chown of such.
 */
#include "common.h"

static unsigned long seed = 1;

static char *any(char *name, long count)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	sprintf(name, "%lu", (seed >> 33) % count);
	sprintf(name, "%ld/%ld", atol(name) / 1000, atol(name) % 1000);
	return name;
}

int main(int argc, char **argv)
{
	pid_t supervisor = getppid();
	double plain, owned, given;
	char name[64];
	long made = 0;
	struct stat st;

	close(open("plain", O_CREAT | O_WRONLY, 0644));
	for (int step = 1; step < argc; step++) {
		long count = atol(argv[step]);

		for (; made < count; made++) {
			sprintf(name, "%ld", made / 1000);
			if (made % 1000 == 0 && mkdir(name, 0755) < 0)
				return 1;
			sprintf(name, "%ld/%ld", made / 1000, made % 1000);
			if (mknod(name, S_IFREG | 0644, 0) < 0 || lchown(name, 42, 43) < 0)
				return 1;
		}
		BEST(plain, stat("plain", &st));
		printf("%ld %ld %.3f", count, supervisors_memory(supervisor), plain);
		if (count) {
			BEST(owned, (void)(stat(any(name, count), &st) || st.st_uid != 42 ? exit(1) : (void)0));
			BEST(given, (void)(lchown(any(name, count), 42, 43) ? exit(1) : (void)0));
			printf(" %.3f %.3f", owned, given);
		}
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}
