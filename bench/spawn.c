/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work that makes tasks. usage: spawn exec N | spawn thread N | spawn busy PROCESSES CALLS */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *argument)
{
	return argument;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 0, failed = 0, status;

	if (argc < 3)
		return 2;
	for (int i = 0; i < count; i++) {
		if (strcmp(argv[1], "thread") == 0) {
			pthread_t thread;

			failed |= pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL);
			continue;
		}
		pid_t pid = fork();
		if (pid < 0)
			return 2;
		if (pid == 0) {
			struct stat st;

			if (strcmp(argv[1], "exec") == 0)
				execl("/bin/true", "true", NULL);
			for (int call = 0; argc > 3 && call < atoi(argv[3]); call++)
				failed |= stat("/usr/bin", &st);
			_exit(failed);
		}
		if (strcmp(argv[1], "exec") == 0) {
			waitpid(pid, &status, 0);
			failed |= status;
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
