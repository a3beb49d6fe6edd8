/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which file a call means, and whether it is shown as it is. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

int status_of(const struct place *place, struct status *status)
{
	int flags = place->flags | (*place->name ? 0 : AT_EMPTY_PATH);

	return syscall(SYS_statx, place->at, place->name, flags, WANTED, status);
}

int task_directory(Loop *self, pid_t tid, bool fresh)
{
	char name[32];
	int at = tid % TASKS;

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

/* Whether the store knows nothing of this file, for certain. */
static bool no_override(Loop *self, const struct place *place, const struct status *status)
{
	uint64_t dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	uint32_t ids[2];

	if (self->store_empty)
		return true;
	if (self->owners)
		return !owners_find(self->owners, dev, status->ino) && !keys_hold(self->keys, dev, status->ino);
	if (self->carried)
		return carried_owner(self, place, status, ids) == NONE;
	return self->complete && !keys_hold(self->keys, dev, status->ino);
}

/* An id that the call asks for. */
static uint32_t wanted_id(const struct rule *rule, uint64_t argument)
{
	uint32_t id = (uint32_t)argument;

	if (rule->narrow) {
		id &= 0xFFFF;
		if (id == 0xFFFF)
			id = KEEP;
	}
	return id;
}

/* Whether it is root's, or none, and the file's is root's too: then nothing changes hands. */
static bool id_stays(const struct rule *rule, uint64_t argument, uint32_t now)
{
	uint32_t id = wanted_id(rule, argument);

	return now == 0 && (id == KEEP || id == 0);
}

int hold(const struct place *place)
{
	return *place->name ? openat(place->at, place->name, O_PATH | O_CLOEXEC | (place->flags ? O_NOFOLLOW : 0)) : place->at;
}

/* Whether the descriptor that `hold` gave is of the file that was looked at by name before; its status as of now. */
static bool is_still(int fd, struct status *status)
{
	struct place place = { fd, "", 0 };
	struct status before = *status;

	return status_of(&place, status) == 0 && status->ino == before.ino && status->dev_major == before.dev_major &&
	       status->dev_minor == before.dev_minor;
}

/*
 * Its identity is asked for last: a file that has an entry was there when the call was made, so what had its number since
 * then, and has its identity now, is that file.
 */
bool owner_of(Loop *self, const struct place *place, const struct status *status, struct owner *owner,
	      struct identity *identity)
{
	uint64_t dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	const struct entry *entry = NULL;
	enum carried carried;
	uint32_t ids[2];

	owner->uid = status->uid == self->hidden_uid ? 0 : status->uid;
	owner->gid = status->gid == self->hidden_gid ? 0 : status->gid;
	owner->mode = status->mode;
	owner->rdev = gnu_dev_makedev(status->rdev_major, status->rdev_minor);
	owner->kept = false;
	if (self->carried) {
		carried = carried_owner(self, place, status, ids);
		owner->kept = carried == CARRIED;
		if (owner->kept && ids[0] != KEEP)
			owner->uid = ids[0];
		if (owner->kept && ids[1] != KEEP)
			owner->gid = ids[1];
		return carried != UNCERTAIN;
	}
	if (self->owners && !self->store_empty)
		entry = owners_find(self->owners, dev, status->ino);
	if (!entry)
		return no_override(self, place, status);
	if (keys_hold(self->keys, dev, status->ino))
		return false; /* it has attributes, too */
	if (!identity_of(place->at, place->name, place->flags, identity) || !owners_match(entry, identity))
		return false; /* another file had the number */
	owner->uid = entry->uid;
	owner->gid = entry->gid;
	if (entry->mode)
		owner->mode = entry->mode;
	if ((owner->mode & S_IFMT) != (status->mode & S_IFMT))
		owner->rdev = entry->rdev;
	owner->kept = true;
	return true;
}

/* The same as stat(2) has it. */
static struct stat stat_of(const struct status *status)
{
	const uint64_t *times = status->times; /* of access, birth, change, modification: seconds, nanoseconds */

	return (struct stat){
		.st_dev = gnu_dev_makedev(status->dev_major, status->dev_minor),
		.st_ino = status->ino,
		.st_nlink = status->links,
		.st_mode = status->mode,
		.st_uid = status->uid,
		.st_gid = status->gid,
		.st_rdev = gnu_dev_makedev(status->rdev_major, status->rdev_minor),
		.st_size = status->size,
		.st_blksize = status->block_size,
		.st_blocks = status->blocks,
		.st_atim = { times[0], (uint32_t)times[1] },
		.st_ctim = { times[4], (uint32_t)times[5] },
		.st_mtim = { times[6], (uint32_t)times[7] },
	};
}

/*
 * What statx(2) says of the file that `before` is of, as the call asks for it. Where it asks for what stat(2) tells, that is
 * known, but for the mount's number: it was asked for the unique one.
 */
static bool extend(Loop *self, const struct rule *rule, const struct place *place, const struct status *before,
		   struct status *extended)
{
	const uint64_t *args = self->notification.args;
	uint32_t mask = args[rule->mask], sync = rule->flags >= 0 ? args[rule->flags] & SYNC_TYPE : 0;
	bool plain = mask == BASIC && !sync && (before->mask & WANTED) == WANTED;
	struct mount *mount = &self->numbers[before->mount % MOUNTS];
	int flags = place->flags | (*place->name ? 0 : AT_EMPTY_PATH);
	struct status after;

	if (plain && mount->unique == before->mount) {
		*extended = *before;
		extended->mask ^= UNIQUE_MOUNT | MOUNT;
		extended->mount = mount->number;
		return true;
	}
	memset(extended, 0, sizeof *extended);
	if (sync == SYNC_TYPE || mask & UINT32_C(0x80000000) ||
	    syscall(SYS_statx, place->at, place->name, flags | sync, mask, extended) < 0 ||
	    extended->ino != before->ino || extended->dev_major != before->dev_major || extended->dev_minor != before->dev_minor)
		return false;
	if (plain && extended->mask & MOUNT && status_of(place, &after) == 0 && after.mount == before->mount)
		*mount = (struct mount){ before->mount, extended->mount };
	return true;
}

/* Tell the task who the file belongs to: handlers.status. For statx(2), which may be asked again, it may be another by now. */
static enum verdict show(Loop *self, const struct rule *rule, const struct place *place, const struct status *before)
{
	enum { WHOSE = 0x1b }; /* STATX_TYPE, _MODE, _UID, _GID */
	const struct notification *call = &self->notification;
	struct status now = *before, extended;
	struct identity identity;
	struct owner owner;
	const void *answer;
	struct stat plain;
	size_t size;

	if (rule->form == STAT) {
		if ((now.mask & BASIC) != BASIC)
			return PYTHON;
		plain = stat_of(&now);
	} else {
		if (!extend(self, rule, place, before, &extended) || (extended.mask & WHOSE) != WHOSE)
			return PYTHON;
		now.uid = extended.uid;
		now.gid = extended.gid;
		now.mode = extended.mode;
	}
	if (!owner_of(self, place, &now, &owner, &identity))
		return PYTHON;
	if (rule->form == STAT) {
		plain.st_uid = owner.uid;
		plain.st_gid = owner.gid;
		plain.st_mode = owner.mode;
		plain.st_rdev = owner.rdev;
		answer = &plain;
		size = sizeof plain;
	} else {
		extended.uid = owner.uid;
		extended.gid = owner.gid;
		extended.mode = owner.mode;
		extended.rdev_major = gnu_dev_major(owner.rdev);
		extended.rdev_minor = gnu_dev_minor(owner.rdev);
		answer = &extended;
		size = sizeof extended;
	}
	if (ioctl(self->listener, ID_VALID, &call->id) < 0)
		return PYTHON; /* gone, and its number may be another's */
	return poke(call->pid, call->args[rule->buffer] & rule->word, answer, size) ? ANSWERED : PYTHON;
}

/* Give the file that we hold to whom the call says: handlers.owners, where no mode changes and nobody may object. */
static enum verdict give(Loop *self, const struct rule *rule, int fd, const struct status *status)
{
	const struct notification *call = &self->notification;
	uint32_t uid = wanted_id(rule, call->args[rule->uid]), gid = wanted_id(rule, call->args[rule->gid]);
	struct entry entry = { .ino = status->ino };
	struct place place = { fd, "", 0 };
	struct identity identity;
	struct owner owner;
	bool is_own;
	char link[32];
	struct stat st;

	if (!(self->may & (S_ISDIR(status->mode) ? rule->give_directory : rule->give)))
		return PYTHON;
	if (!S_ISDIR(status->mode) && status->mode & (S_ISUID | S_ISGID))
		return PYTHON;
	if (rule->path < 0) { /* a descriptor opened with O_PATH is refused; others are known by their link's mode */
		snprintf(link, sizeof link, "fd/%d", (int)(uint32_t)call->args[rule->dirfd]);
		if (fstatat(task_directory(self, call->pid, false), link, &st, AT_SYMLINK_NOFOLLOW) < 0 || !(st.st_mode & 0600))
			return PYTHON;
	}
	if (!owner_of(self, &place, status, &owner, &identity) || owner.mode != status->mode)
		return PYTHON;
	if (self->owners && !owner.kept && !identity_of(fd, "", 0, &identity))
		return PYTHON;
	entry.dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	entry.uid = uid == KEEP ? owner.uid : uid;
	entry.gid = gid == KEEP ? owner.gid : gid;
	if (ioctl(self->listener, ID_VALID, &call->id) < 0)
		return PYTHON; /* gone: another's path may have been read */
	/* The real change of nothing: what cannot be changed refuses it, and ctime moves. */
	if (fchownat(fd, "", KEEP, KEEP, AT_EMPTY_PATH) < 0)
		return PYTHON;
	is_own = entry.uid == (status->uid == self->hidden_uid ? 0 : status->uid) &&
		 entry.gid == (status->gid == self->hidden_gid ? 0 : status->gid);
	if (!self->owners)
		return carry_owner(fd, entry.uid, entry.gid, is_own) ? ANSWERED : PYTHON;
	if (is_own)
		owners_remove(self->owners, entry.dev, entry.ino);
	else if (!owners_put(self->owners, &entry, &identity))
		return PYTHON;
	return ANSWERED;
}

/* Whether the call changes owners that we can keep. */
static bool gives(Loop *self, const struct rule *rule)
{
	return rule->give && (self->owners ? !self->store_empty : self->carried);
}

/* Whether it gives the file to somebody else than root. */
static bool gives_away(Loop *self, const struct rule *rule)
{
	const uint64_t *args = self->notification.args;

	return gives(self, rule) && !(id_stays(rule, args[rule->uid], 0) && id_stays(rule, args[rule->gid], 0));
}

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

/*
 * Whether a file of procfs tells of owners, or may: the name of one of its directories begins with a digit, as a task's,
 * or is that of the tables of System V IPC.
 */
static bool tells_owners(const struct place *place)
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

/* Whether the store may keep one of these bits for the file. */
static bool keeps_modes(Loop *self, const struct place *place, const struct status *status, uint32_t bits)
{
	struct identity identity;
	struct owner owner;

	return !owner_of(self, place, status, &owner, &identity) || (owner.kept && owner.mode & bits);
}

/* A file that is seen as it is, and whose set-id bits the rule does not mind, is the kernel's to answer about. */
static enum verdict judge(Loop *self, const struct rule *rule, const struct place *place, const struct status *status)
{
	const uint64_t *args = self->notification.args;

	if (on_proc(self, place, status) && tells_owners(place))
		return PYTHON;
	if (rule->opens && !rule->parent)
		return keeps_modes(self, place, status, rule->modes) ? PYTHON : THROUGH;
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

/* As `judge`, of our own descriptor `fd`, which is closed. IS_LINK if it is one, unless it is not to be followed. */
static enum verdict judge_open(Loop *self, const struct rule *rule, int fd, bool follow)
{
	struct place place = { fd, "", 0 };
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
			place = (struct place){ base, path, 0 };
		} else {
			fd = syscall(SYS_openat2, base, path, how, sizeof *how);
			if (fd < 0)
				continue;
			place = (struct place){ fd, "", 0 };
		}
		found = status_of(&place, &status) == 0;
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
	struct place place = { -1, name, flags };
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

/* Whether the task's /proc is procfs, and numbers processes as we do: then its "self" is the task's process. */
static bool has_our_proc(Loop *self)
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

/* Where a path is resolved from, for `how` to be completed: a descriptor to close, AT_FDCWD for our own root, or -1. */
static int base_of(Loop *self, const char *own, bool absolute, struct how *how)
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
	base = base_of(self, own, *path == '/', &how);
	if (base == -1)
		return -1;
	fd = syscall(SYS_openat2, base, path, &how, sizeof how);
	if (base >= 0)
		close(base);
	return fd;
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
	base = base_of(self, own, absolute, &how);
	if (base == -1)
		return PYTHON;
	fd = syscall(SYS_openat2, base, path, &how, sizeof how);
	verdict = fd >= 0 ? judge_open(self, rule, fd, false) : not_found(self, base, path, &how);
	if (base >= 0)
		close(base);
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
	if (*self->path)
		return judge_path(self, rule, own, self->path, !(flags & AT_SYMLINK_NOFOLLOW));
	return judge_below(self, rule, own, 0, true);
}
