/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs of the scale benches share. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* Best of 200 batches of 20: microseconds a call. */
#define BEST(result, call)                                        \
	do {                                                      \
		result = 1e9;                                     \
		for (int batch = 0; batch < 200; batch++) {       \
			double start = now(), took;               \
			for (int i = 0; i < 20; i++)              \
				call;                             \
			took = (now() - start) / 20;              \
			if (took < result)                        \
				result = took;                    \
		}                                                 \
	} while (0)

/* KiB of memory that the supervisor, whose child the first process is, has in use. */
static long supervisors_memory(pid_t supervisor)
{
	char line[256];
	long found = 0;
	FILE *file;

	snprintf(line, sizeof line, "/proc/%d/status", supervisor);
	file = fopen(line, "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "VmRSS: %ld", &found) == 1)
			break;
	if (file)
		fclose(file);
	return found;
}
