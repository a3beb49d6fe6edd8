/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files, as we reach them, and those of procfs. */
#define _GNU_SOURCE
#include "loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int status_of(const struct place *place, struct status *status)
{
	int flags = place->flags | (*place->name ? 0 : AT_EMPTY_PATH);

	return syscall(SYS_statx, place->at, place->name, flags, place->timeless ? WANTED & ~TIMES : WANTED, status);
}

bool on_proc(Loop *self, const struct place *place, const struct status *status)
{
	uint64_t *known = &self->mounts[status->mount % MOUNTS];
	bool unique = status->mask & UNIQUE_MOUNT, proc;
	struct statfs fs;
	int fd = place->at;

	if (status->dev_major)
		return false; /* a block device of its own */
	if (unique && *known == status->mount)
		return false;
	if (*place->name)
		fd = openat(place->at, place->name, O_PATH | O_CLOEXEC | (place->flags ? O_NOFOLLOW : 0));
	proc = fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type == PROC_MAGIC;
	if (fd >= 0 && fd != place->at)
		close(fd);
	if (unique && !proc)
		*known = status->mount;
	return proc;
}

int hold(const struct place *place)
{
	return *place->name ? openat(place->at, place->name, O_PATH | O_CLOEXEC | (place->flags ? O_NOFOLLOW : 0)) : place->at;
}

/* Whether the descriptor that `hold` gave is of the file that was looked at by name before; its status as of now. */
bool is_still(int fd, struct status *status)
{
	struct place place = { .at = fd, .name = "" };
	struct status before = *status;

	return status_of(&place, status) == 0 && status->ino == before.ino && status->dev_major == before.dev_major &&
	       status->dev_minor == before.dev_minor;
}

/*
 * Whether a file of procfs tells of owners, or may: the name of one of its directories begins with a digit, as a task's,
 * or is that of the tables of System V IPC.
 */
bool tells_owners(const struct place *place)
{
	char link[64], name[PATH_SIZE];
	int fd = hold(place);
	ssize_t length = -1;

	if (fd >= 0) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		length = readlink(link, name, sizeof name);
		if (fd != place->at)
			close(fd);
	}
	if (length < 0 || length == sizeof name)
		return true;
	name[length] = 0;
	for (ssize_t at = 1; at < length; at++)
		if (name[at - 1] == '/' && name[at] >= '0' && name[at] <= '9')
			return true;
	return strstr(name, "/sysvipc/");
}
