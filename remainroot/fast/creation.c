/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device nodes: handlers.creation.mknod, by root in an ordinary directory, for a store that is a table. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PERMISSIONS = 0777, NODE_OF_NULL = 0x103 /* 1:3 */ };

bool makes_device(const struct rule *rule, const uint64_t *args)
{
	uint32_t kind;

	if (rule->node < 0)
		return false;
	kind = (uint32_t)args[rule->node] & S_IFMT;
	return kind == S_IFBLK || (kind == S_IFCHR && (uint32_t)args[rule->node + 1] != 0);
}

/* The task's umask, from /proc/TID/status; or -1. The file is kept open: who makes one node makes many. */
static int umask_of(Loop *self)
{
	static const char before[] = "\nUmask:\t";
	pid_t tid = self->notification.pid;
	char text[512], *found; /* it stands in the third line */
	ssize_t got = -1;

	if (self->umask.fd >= 0 && self->umask.tid == tid)
		got = pread(self->umask.fd, text, sizeof text - 1, 0); /* nothing is left to read there of a dead task */
	if (got <= 0) {
		if (self->umask.fd >= 0)
			close(self->umask.fd);
		self->umask.tid = tid;
		self->umask.fd = open_of_task(self, "status", O_RDONLY);
		if (self->umask.fd < 0)
			return -1;
		got = pread(self->umask.fd, text, sizeof text - 1, 0);
		if (got <= 0)
			return -1;
	}
	text[got] = 0;
	found = strstr(text, before);
	return found ? (int)strtol(found + sizeof before - 1, NULL, 8) : -1;
}

/* Whether the directory has no list that says who may what of the files made in it: acl(5). */
static bool has_no_default_list(int directory)
{
	static const char attribute[] = "system.posix_acl_default";
	struct { /* struct xattr_args */
		uint64_t value;
		uint32_t size, flags;
	} none = { 0, 0, 0 };
	char name[32];
	long size;

	/* getxattrat (Linux 6.13) refuses O_PATH descriptors, but not names below them. */
	size = syscall(SYS_getxattrat, directory, ".", 0, attribute, &none, sizeof none);
	if (size < 0 && errno == ENOSYS) {
		snprintf(name, sizeof name, "/proc/self/fd/%d", directory);
		size = getxattr(name, attribute, NULL, 0);
	}
	return size < 0 && (errno == ENODATA || errno == EOPNOTSUPP);
}

/* Whether what is made in this directory is root's, and has the mode that the umask leaves it. */
static bool is_ordinary(Loop *self, int directory)
{
	struct place place = { directory, "", 0, true };
	struct identity identity;
	struct status status;
	struct owner owner;

	if (status_of(&place, &status) < 0 || on_proc(self, &place, &status))
		return false;
	if (!owner_of(self, &place, &status, &owner, &identity) || (status.mode | owner.mode) & S_ISGID)
		return false;
	return has_no_default_list(directory);
}

/* Record that the new file `name` is shown as this device. Were it another by the second look, no file would match. */
static bool record(Loop *self, int directory, const char *name, uint32_t mode, uint32_t dev)
{
	struct place place = { directory, name, AT_SYMLINK_NOFOLLOW, true };
	struct entry entry = { .mode = mode };
	struct identity identity;
	struct status status;

	if (status_of(&place, &status) < 0 || !S_ISREG(status.mode) || !identity_of(directory, name, place.flags, &identity))
		return false;
	entry.dev = gnu_dev_makedev(status.dev_major, status.dev_minor);
	entry.ino = status.ino;
	entry.rdev = gnu_dev_makedev(dev >> 8 & 0xFFF, (dev & 0xFF) | (dev >> 12 & 0xFFF00));
	return owners_put(self->owners, &entry, &identity);
}

/* In this directory, unless anything is in the way. */
static enum verdict make_in(Loop *self, const struct rule *rule, int directory, const char *name)
{
	const struct notification *call = &self->notification;
	uint32_t mode = (uint32_t)call->args[rule->node];
	int mask, previous, failed;

	if (!is_ordinary(self, directory))
		return PYTHON;
	mask = umask_of(self);
	if (mask < 0 || ask_listener(self->listener, ID_VALID, (void *)&call->id) < 0)
		return PYTHON;
	mode &= ~(uint32_t)(mask & PERMISSIONS);
	previous = umask(0);
	failed = mknodat(directory, name, S_IFREG | (mode & ~(uint32_t)S_IFMT), 0);
	umask(previous);
	if (failed)
		return PYTHON;
	if (record(self, directory, name, mode, (uint32_t)call->args[rule->node + 1]))
		return ANSWERED;
	unlinkat(directory, name, 0);
	return PYTHON;
}

enum verdict make_device(Loop *self, const struct rule *rule)
{
	const struct notification *call = &self->notification;
	int dirfd = rule->dirfd >= 0 ? (int)(uint32_t)call->args[rule->dirfd] : AT_FDCWD, directory;
	char name[PATH_SIZE + 1], own[32] = "cwd", *end;
	enum verdict verdict;

	if (!(self->may & (uint32_t)rule->give) || !self->owners)
		return PYTHON;
	if ((uint32_t)call->args[rule->node] & (S_ISUID | S_ISGID))
		return PYTHON;
	if (!self->readable_nodes && (uint32_t)call->args[rule->node + 1] != NODE_OF_NULL)
		return PYTHON; /* the first that is not as empty as what stands for it */
	if (peek_path(call->pid, call->args[rule->path] & rule->word, self->path) < 0)
		return PYTHON;
	end = strrchr(self->path, '/');
	end = end ? end + 1 : self->path;
	if (!*end || strcmp(end, ".") == 0 || strcmp(end, "..") == 0)
		return PYTHON;
	strcpy(name, end);
	*end = 0;
	if (dirfd != AT_FDCWD)
		snprintf(own, sizeof own, "fd/%d", dirfd);
	directory = open_directory(self, own, self->path);
	if (directory < 0)
		return PYTHON;
	verdict = make_in(self, rule, directory, name);
	close(directory);
	return verdict;
}
