/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ends of signal handlers: remainroot.handlers.interruption, where there is nothing to mend. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The stack pointer of the task that waits for us, from /proc/TID/syscall: its last word but one. */
static bool stack_pointer(Loop *self, uint64_t *pointer)
{
	char text[256], *last;
	ssize_t got = -1;
	int fd = open_of_task(self, "syscall", O_RDONLY);

	if (fd < 0)
		return false;
	got = read(fd, text, sizeof text - 1);
	close(fd);
	if (got <= 0)
		return false;
	text[got] = 0;
	last = strrchr(text, ' ');
	if (!last)
		return false; /* "running": it has not come to rest */
	*last = 0;
	last = strrchr(text, ' ');
	if (!last)
		return false;
	*pointer = strtoull(last + 1, NULL, 16);
	return true;
}

void count_missed(Loop *self)
{
	if (self->last && self->notification.id != self->last + 1)
		self->missed++;
	self->last = self->notification.id;
}

/*
 * Whether the task has returned from handlers often enough since notifications were last missing. More than once, for
 * the call may have been interrupted in the handler before the last.
 */
static bool has_been_looked_at(Loop *self)
{
	pid_t tid = self->notification.pid;
	uint32_t at = tid & (TASKS - 1);

	if (self->interruptible)
		return false;
	if (!self->missed)
		return true;
	if (self->returns[at].tid != tid || self->returns[at].missed != self->missed) {
		self->returns[at].tid = tid;
		self->returns[at].missed = self->missed;
		self->returns[at].looked = 0;
	}
	return self->returns[at].looked++ >= LOOKS;
}

bool nothing_interrupted(Loop *self, const struct rule *rule)
{
	uint64_t pointer, result = 0;
	ssize_t size = rule->word == -1 ? 8 : 4; /* a 64-bit ABI's words are not masked */

	if (has_been_looked_at(self))
		return true;
	return stack_pointer(self, &pointer) &&
	       peek(self->notification.pid, pointer + rule->result, &result, size) == size &&
	       result != ((uint64_t)-EINTR & (uint64_t)rule->word);
}
