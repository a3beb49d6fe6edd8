/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which file a call means, and whether it is shown as it is. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is not the kernel's to answer: here, if the rule says how, else Python's. */
static enum verdict take(Loop *self, const struct rule *rule, const struct place *place, const struct status *status)
{
	enum verdict verdict = PYTHON;
	struct status now = *status;
	int fd;

	if (rule->form != NOTHING)
		return show(self, rule, place, status);
	if (!gives(self, rule))
		return PYTHON;
	fd = hold(place);
	if (fd < 0)
		return PYTHON;
	if (fd == place->at || is_still(fd, &now))
		verdict = give(self, rule, fd, &now);
	if (fd != place->at)
		close(fd);
	return verdict;
}

/* A file that is seen as it is, and whose set-id bits the rule does not mind, is the kernel's to answer about. */
static enum verdict judge(Loop *self, const struct rule *rule, const struct place *place, const struct status *status)
{
	const uint64_t *args = self->notification.args;

	if (on_proc(self, place, status) && (rule->uid >= 0 || tells_owners(place)))
		return PYTHON;
	if (rule->opens && !rule->parent)
		return keeps_modes(self, place, status, rule->modes) ? PYTHON : THROUGH;
	if (rule->way == OPEN && self->nodes && keeps_modes(self, place, status, DEVICE_BIT))
		return PYTHON;
	if (status->mode & rule->modes)
		return PYTHON;
	if (rule->uid >= 0 && !id_stays(rule, args[rule->uid], status->uid))
		return take(self, rule, place, status);
	if (rule->gid >= 0 && !id_stays(rule, args[rule->gid], status->gid))
		return take(self, rule, place, status);
	if (rule->form != NOTHING && (status->uid == self->hidden_uid || status->gid == self->hidden_gid))
		return take(self, rule, place, status);
	if (rule->real && status->uid != self->own_uid)
		return PYTHON;
	if (rule->owner && !no_override(self, place, status))
		return take(self, rule, place, status);
	if (rule->arguments >= 0 && self->libraries && is_reader(self, place, status, args[rule->arguments] & rule->word, rule->word))
		return PYTHON;
	return THROUGH;
}

/* Whether times are neither shown nor compared: who asks for the ctime makes the next change's finer (Linux 6.13). */
static bool needs_no_times(const struct rule *rule)
{
	return rule->form == NOTHING && rule->arguments < 0;
}

/* As `judge`, of our own descriptor `fd`, which is closed. IS_LINK if it is one, unless it is not to be followed. */
static enum verdict judge_open(Loop *self, const struct rule *rule, int fd, bool follow)
{
	struct place place = { fd, "", 0, needs_no_times(rule) };
	enum verdict verdict = PYTHON;
	struct status status;

	if (status_of(&place, &status) == 0)
		verdict = follow && S_ISLNK(status.mode) ? IS_LINK : judge(self, rule, &place, &status);
	close(fd);
	return verdict;
}

/* Whether the call that has just failed did so because its path leads to nothing, as the kernel will say again. */
static bool names_nothing(void)
{
	return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ENAMETOOLONG;
}

/* Whether this path, which leads nowhere for us, is a link's: it may lead somewhere for the task. */
static bool leads_nowhere(int base, const char *path, const struct how *how)
{
	struct how unfollowed = { how->flags | O_NOFOLLOW, how->mode, how->resolve };
	char name[PATH_SIZE];
	size_t size = strlen(path);
	int error = errno;
	struct status status;
	struct place place;
	bool link = false;

	while (size > 1 && path[size - 1] == '/')
		size--;
	snprintf(name, sizeof name, "%.*s", (int)size, path);
	place = (struct place){ syscall(SYS_openat2, base, name, &unfollowed, sizeof unfollowed), "", 0, true };
	if (place.at >= 0) {
		link = status_of(&place, &status) == 0 && S_ISLNK(status.mode);
		close(place.at);
	}
	errno = error;
	return link;
}

/*
 * `path` names nothing for us. The kernel says best what is wrong with it: unless it leads through procfs, where there
 * may be something for the task. Then the rest of it, without what is not there, is on procfs or ends at a link there.
 */
static enum verdict not_found(Loop *self, int base, char *path, struct how *how)
{
	bool found = false, plain;
	struct status status;
	struct place place;
	int fd = -1;
	char *slash;

	if (!names_nothing())
		return PYTHON;
	if (!(how->flags & O_NOFOLLOW)) { /* is there a link, then, that leads to nowhere? */
		how->flags |= O_NOFOLLOW;
		fd = syscall(SYS_openat2, base, path, how, sizeof *how);
		if (fd >= 0) {
			close(fd);
			return PYTHON;
		}
	}
	how->flags &= ~O_NOFOLLOW;
	while (!found && fd < 0) {
		if (!names_nothing())
			return PYTHON;
		for (slash = path + strlen(path); slash > path && slash[-1] == '/'; slash--)
			;
		while (slash > path && slash[-1] != '/')
			slash--;
		if (slash == path)
			return THROUGH;
		*slash = 0;
		if (how->resolve == NO_MAGICLINKS) { /* so far there was none: by its name it is the same directory */
			place = (struct place){ base, path, 0, true };
		} else {
			fd = syscall(SYS_openat2, base, path, how, sizeof *how);
			place = (struct place){ fd, "", 0, true };
		}
		found = (*place.name || fd >= 0) && status_of(&place, &status) == 0;
		if (!found && leads_nowhere(base, path, how))
			return PYTHON;
	}
	plain = found && !on_proc(self, &place, &status);
	if (fd >= 0)
		close(fd);
	return plain ? THROUGH : PYTHON;
}

/*
 * `name` below /proc/TID: a magic link of the task's and at most one plain component. That much the kernel resolves for
 * the task as it does for us, in one call. A last component that is a link and that is to be followed is IS_LINK.
 */
static enum verdict judge_below(Loop *self, const struct rule *rule, const char *name, int flags, bool follow)
{
	struct place place = { -1, name, flags, needs_no_times(rule) };
	bool held = gives_away(self, rule); /* then the file will be needed itself */
	struct status status;
	int fd;

	for (int fresh = 0; fresh < 2; fresh++) {
		place.at = task_directory(self, self->notification.pid, fresh);
		if (place.at < 0)
			return PYTHON;
		if (held) {
			fd = hold(&place);
			if (fd >= 0)
				return judge_open(self, rule, fd, flags && follow);
		} else if (status_of(&place, &status) == 0) {
			if (flags && follow && S_ISLNK(status.mode))
				return IS_LINK;
			return judge(self, rule, &place, &status);
		}
		/* Nothing there; or is this the directory of a former task of the same number? */
	}
	return errno == ENOENT || errno == ENOTDIR ? THROUGH : PYTHON;
}

/* The number N, if the path is /proc/self/fd/N; else -1. */
static int own_descriptor(const char *path)
{
	static const char before[] = "/proc/self/fd/";
	const char *digit = path + sizeof before - 1;
	int number = 0;

	if (strncmp(path, before, sizeof before - 1) != 0 || !*digit || strlen(digit) > 9)
		return -1;
	for (; *digit; digit++) {
		if (*digit < '0' || *digit > '9')
			return -1;
		number = 10 * number + *digit - '0';
	}
	return number;
}

/* As `judge`, of what `path` names: tracee.Files.resolve, for those paths that one call to the kernel resolves. */
static enum verdict judge_path(Loop *self, const struct rule *rule, const char *own, char *path, bool follow)
{
	struct how how = { O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), 0, NO_MAGICLINKS };
	bool absolute = *path == '/';
	char name[PATH_SIZE + 64];
	enum verdict verdict;
	int base, fd = own_descriptor(path);

	if (follow && fd >= 0 && is_alone(self, self->notification.pid) && has_our_proc(self)) {
		snprintf(name, sizeof name, "fd/%d", fd);
		return judge_below(self, rule, name, 0, true);
	}
	if (!absolute && !strchr(path, '/') && strcmp(path, "..") != 0) {
		snprintf(name, sizeof name, "%s/%s", own, path);
		verdict = judge_below(self, rule, name, AT_SYMLINK_NOFOLLOW, follow);
		if (verdict != IS_LINK)
			return verdict;
	}
	if (may_meet_root(self, own, path))
		return PYTHON;
	base = base_of(self, own, absolute, &how);
	if (base == -1)
		return PYTHON;
	fd = syscall(SYS_openat2, base, path, &how, sizeof how);
	verdict = fd >= 0 ? judge_open(self, rule, fd, false) : not_found(self, base, path, &how);
	if (base >= 0)
		close(base);
	return verdict;
}

/* Whether it matters who asks: what is asked is not always granted, to this caller by the kernel alone. */
static bool is_asked_for(const Loop *self, const struct rule *rule)
{
	if (rule->way == ASK)
		return !(self->may & rule->looks);
	return rule->way != FREE && self->caller && self->caller->guarded;
}

/* As `judge`, of what `path` names, of a caller who may not do everything. */
static enum verdict judge_way(Loop *self, const struct rule *rule, const char *own, const char *path, uint32_t flags)
{
	const uint64_t *args = self->notification.args;
	uint64_t opens = rule->way == OPEN ? args[rule->clear_arg] : 0;
	bool real = rule->way == ASK && !(flags & AT_EACCESS), follow = !(flags & AT_SYMLINK_NOFOLLOW) && !(opens & O_NOFOLLOW);
	uint32_t want = rule->way == ENTER ? SEARCHED | IF_DIRECTORY : rule->way == READ || rule->way == OPEN ? TO_READ : 0;
	enum verdict verdict;
	struct status status;
	struct place place;
	int fd;

	if (rule->way == CLOSED || !self->caller)
		return PYTHON;
	if (rule->way == ASK)
		want = args[rule->clear_arg];
	fd = go(self, own, path, follow, self->caller->ids[real ? 0 : 1], want, &status);
	if (fd < 0)
		return fd == NOWHERE ? THROUGH : PYTHON;
	place = (struct place){ .at = fd, .name = "" };
	verdict = rule->way == ASK ? THROUGH : judge(self, rule, &place, &status);
	close(fd);
	return verdict;
}

/* Leave of `path` the directory that its last component is in; false if there is no such component. */
static bool cut_last(char *path)
{
	char *end = path + strlen(path);

	while (end > path && end[-1] == '/')
		*--end = 0;
	while (end > path && end[-1] != '/')
		end--;
	if (!*end || strcmp(end, ".") == 0 || strcmp(end, "..") == 0)
		return false;
	*end = 0;
	return true;
}

/* As `judge`, of the file that the call means. */
enum verdict judge_call(Loop *self, const struct rule *rule)
{
	const struct notification *call = &self->notification;
	uint32_t flags = rule->flags_fixed | (rule->flags >= 0 ? (uint32_t)call->args[rule->flags] : 0);
	int dirfd = rule->dirfd >= 0 ? (int)(uint32_t)call->args[rule->dirfd] : AT_FDCWD;
	char own[32] = "cwd";
	uint64_t address;

	if (flags & ~(uint32_t)(rule->flags_known | rule->flags_fixed))
		return PYTHON;
	if (dirfd != AT_FDCWD)
		snprintf(own, sizeof own, "fd/%d", dirfd);
	*self->path = 0;
	if (rule->path >= 0) {
		address = call->args[rule->path] & rule->word;
		/* A null pointer is an empty path, too, but not to those that change owners. */
		if ((address || !(flags & AT_EMPTY_PATH) || rule->uid >= 0) && peek_path(call->pid, address, self->path) < 0)
			return errno == EFAULT || errno == ENAMETOOLONG ? THROUGH : PYTHON;
		if (!*self->path && !(flags & AT_EMPTY_PATH))
			return THROUGH; /* ENOENT */
		if (rule->parent && !cut_last(self->path))
			return PYTHON;
	}
	if (is_asked_for(self, rule) && (*self->path || rule->way != SEARCH))
		return judge_way(self, rule, own, self->path, flags);
	if (*self->path)
		return judge_path(self, rule, own, self->path, !(flags & AT_SYMLINK_NOFOLLOW));
	return judge_below(self, rule, own, 0, true);
}
