/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tasks: who they are, and where their paths begin. */
#define _GNU_SOURCE
#include "loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

int task_directory(Loop *self, pid_t tid, bool fresh)
{
	char name[32];
	int at = tid % self->places;

	if (self->tasks[at].fd >= 0) {
		if (self->tasks[at].tid == tid && !fresh)
			return self->tasks[at].fd;
		close(self->tasks[at].fd);
	}
	snprintf(name, sizeof name, self->proc >= 0 ? "%d" : "/proc/%d", tid);
	self->tasks[at].tid = tid;
	self->tasks[at].fd = openat(self->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return self->tasks[at].fd;
}

int open_of_task(Loop *self, const char *name, int flags)
{
	int fd = -1;

	for (int fresh = 0; fresh < 2 && fd < 0; fresh++) {
		fd = task_directory(self, self->notification.pid, fresh);
		if (fd >= 0)
			fd = openat(fd, name, flags | O_CLOEXEC);
	}
	return fd;
}

/* Whether the task's /proc is procfs, and numbers processes as we do: then its "self" is the task's process. */
bool has_our_proc(Loop *self)
{
	struct how how = { O_PATH | O_DIRECTORY | O_CLOEXEC, 0, NO_MAGICLINKS };
	int base = AT_FDCWD, fd;
	char own[16], link[16];
	ssize_t length = -1;
	struct statfs fs;

	if (self->roots_differ) {
		how.resolve |= IN_ROOT;
		base = open_of_task(self, "root", O_PATH | O_DIRECTORY);
		if (base < 0)
			return false;
	}
	fd = syscall(SYS_openat2, base, "/proc", &how, sizeof how);
	if (base >= 0)
		close(base);
	if (fd < 0)
		return false;
	snprintf(own, sizeof own, "%d", getpid());
	if (fstatfs(fd, &fs) == 0 && fs.f_type == PROC_MAGIC)
		length = readlinkat(fd, "self", link, sizeof link);
	close(fd);
	return length == (ssize_t)strlen(own) && memcmp(link, own, length) == 0;
}

/*
 * Whether a relative path begins outside the task's root, and may meet it on its way: there `..` leads nowhere. Where in
 * doubt, true.
 */
bool may_meet_root(Loop *self, const char *own, const char *path)
{
	char root[PATH_SIZE], here[PATH_SIZE];
	ssize_t length, size;
	int fd;

	if (!self->roots_differ || *path == '/' || !strstr(path, ".."))
		return false;
	fd = task_directory(self, self->notification.pid, false);
	length = readlinkat(fd, "root", root, sizeof root);
	size = readlinkat(fd, own, here, sizeof here);
	if (length < 1 || size < length || size == sizeof here)
		return true;
	length -= root[length - 1] == '/'; /* the root is everybody's */
	return memcmp(root, here, length) != 0 || (size > length && here[length] != '/');
}

/* Where a path is resolved from, for `how` to be completed: a descriptor to close, AT_FDCWD for our own root, or -1. */
int base_of(Loop *self, const char *own, bool absolute, struct how *how)
{
	if (self->roots_differ)
		how->resolve |= absolute ? IN_ROOT : BENEATH;
	return self->roots_differ || !absolute ? open_of_task(self, absolute ? "root" : own, O_PATH | O_DIRECTORY) : AT_FDCWD;
}

int open_directory(Loop *self, const char *own, const char *path)
{
	struct how how = { O_PATH | O_DIRECTORY | O_CLOEXEC, 0, NO_MAGICLINKS };
	int base, fd;

	if (!*path)
		return open_of_task(self, own, O_PATH | O_DIRECTORY);
	if (may_meet_root(self, own, path))
		return -1;
	base = base_of(self, own, *path == '/', &how);
	if (base == -1)
		return -1;
	fd = syscall(SYS_openat2, base, path, &how, sizeof how);
	if (base >= 0)
		close(base);
	return fd;
}

bool is_of_group(Loop *self, int32_t tgid)
{
	char name[64];

	snprintf(name, sizeof name, "%s%d/task/%d", self->proc >= 0 ? "" : "/proc/", tgid, (int)self->notification.pid);
	return tgid == (int32_t)self->notification.pid || (tgid > 0 && faccessat(self->proc, name, F_OK, 0) == 0);
}

bool is_alone(Loop *self, pid_t tid)
{
	struct stat st;
	int fd = task_directory(self, tid, false);

	if (fd < 0 || (fstatat(fd, "task", &st, 0) < 0 && (fd = task_directory(self, tid, true)) < 0))
		return false;
	return fstatat(fd, "task", &st, 0) == 0 && st.st_nlink == 3;
}

const struct who *who_of(Loop *self, pid_t tid, uint64_t *number)
{
	struct rlimit limit;

	*number = 0;
	if (!self->untouched) {
		if (prlimit(tid, RLIMIT_RTTIME, NULL, &limit) < 0)
			return NULL;
		if (limit.rlim_cur - self->tag <= UINT32_MAX)
			*number = limit.rlim_cur - self->tag;
	}
	return *number < self->who_size && self->who[*number].known ? &self->who[*number] : NULL;
}
