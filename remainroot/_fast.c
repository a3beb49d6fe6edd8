/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hot path, compiled: remainroot works the same without this module (see remainroot/quick.py and remainroot/libc.py).
 *
 * Loop  takes the place of the two ioctls of the notify engine. It sends the last answer, receives the next
 *       notification, and answers by itself, without the interpreter, the calls whose rule says how: almost all of them
 *       are let through to the kernel, the rest are of files whose owners are in a table. A rule comes from the call's
 *       declaration; nothing here knows a system call by name or number, nor what a fake id means. What cannot be
 *       decided with certainty is handed to Python, which decides it all over again: an answer given here is never
 *       other than Python's, only sooner. What it knows of files is in _files.h.
 *
 * The rest are what remainroot/libc.py does by ctypes, under the same names and with the same errors.
 */
#define _GNU_SOURCE
#include "_files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif

/* ---------------------------------------------------------------- kernel interfaces, whatever the headers are */

struct notification { /* struct seccomp_notif */
	uint64_t id;
	uint32_t pid, flags;
	int32_t nr;
	uint32_t arch;
	uint64_t instruction_pointer, args[6];
};

struct response { /* struct seccomp_notif_resp */
	uint64_t id;
	int64_t value;
	int32_t error;
	uint32_t flags;
};

struct how { /* struct open_how */
	uint64_t flags, mode, resolve;
};

struct status { /* struct statx, as far as it is read here */
	uint32_t mask, block_size;
	uint64_t attributes;
	uint32_t links, uid, gid;
	uint16_t mode, unused;
	uint64_t ino, size, blocks, known_attributes;
	uint64_t times[8];
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mount, rest[13];
};

enum {
	WANTED = 0x7ff | 0x4000, /* STATX_BASIC_STATS | STATX_MNT_ID_UNIQUE */
	UNIQUE_MOUNT = 0x4000,
	NO_MAGICLINKS = 0x02, /* RESOLVE_... */
	BENEATH = 0x08,
	IN_ROOT = 0x10,
	FLAG_CONTINUE = 1,
	PROC_MAGIC = 0x9FA0,
	SYNC_TYPE = 0x6000, /* AT_STATX_SYNC_TYPE */
};

/* What a call fills in: Quick.form. */
enum { NOTHING, STAT, STATX };


#define RECV _IOC(_IOC_READ | _IOC_WRITE, '!', 0, sizeof(struct notification))
#define SEND _IOC(_IOC_READ | _IOC_WRITE, '!', 1, sizeof(struct response))
#define ID_VALID _IOC(_IOC_WRITE, '!', 2, sizeof(uint64_t))
#define TAG (UINT64_C(1) << 62) /* remainroot.tasks: the number of a state is its task's soft RLIMIT_RTTIME less this */
#define KEEP UINT32_MAX
#define PATH_SIZE 4096
#define PAGE 4096

/* ---------------------------------------------------------------- other tasks' memory */

/* Up to `size` bytes at `address` of `tid`: how many, or -1 and errno. Stops where memory does. */
static ssize_t peek(pid_t tid, uint64_t address, void *buffer, size_t size)
{
	uint64_t first = PAGE - (address & (PAGE - 1));
	struct iovec local = { buffer, size };
	struct iovec remote[2] = {
		{ (void *)(uintptr_t)address, size < first ? size : first },
		{ (void *)(uintptr_t)(address + first), size < first ? 0 : size - first },
	};

	return process_vm_readv(tid, &local, 1, remote, remote[1].iov_len ? 2 : 1, 0);
}

/* Write all of it at `address` of `tid`. */
static bool poke(pid_t tid, uint64_t address, const void *data, size_t size)
{
	struct iovec local = { (void *)data, size }, remote = { (void *)(uintptr_t)address, size };

	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/* The string at `address` and its NUL, in a buffer of PATH_SIZE: its length, or -1 and errno as getname() has it. */
static ssize_t peek_path(pid_t tid, uint64_t address, char *path)
{
	size_t rest = PAGE - (address & (PAGE - 1));
	const char *end;
	ssize_t got;

	/* Paths are short and rarely cross a page: ask for little first. */
	got = peek(tid, address, path, rest < 256 ? rest : 256);
	if (got > 0 && (end = memchr(path, 0, got)))
		return end - path;
	if (got > 0 || errno == EFAULT) {
		got = peek(tid, address, path, PATH_SIZE);
		if (got > 0 && (end = memchr(path, 0, got)))
			return end - path;
		if (got >= 0)
			errno = got == PATH_SIZE ? ENAMETOOLONG : EFAULT;
	}
	return -1;
}

static PyTypeObject *keys_type, *owners_type;

/* ---------------------------------------------------------------- the loop's data */

/* How one system call may be answered here: remainroot.quick.Quick says what each field means. -1: there is no such argument. */
struct rule {
	int64_t arch, nr, word, narrow, id, surely, likely, clear_arg, clear_bits, clear_indirect, clear_too_arg, clear_too_bits;
	int64_t path, dirfd, flags, flags_known, flags_fixed, parent, modes, owner, uid, gid, name;
	int64_t buffer, form, mask, give, give_directory, changes, list, used;
};

/* What a numbered state means. */
struct who {
	uint32_t ids[4];
	uint32_t powers;
	int dumpable;
	bool known;
};

enum { LISTED = 16 }; /* how long a list of ids may be to be remembered */

/* What a call that changes a state made of one. A numbered state never changes, so this stays true. */
struct change {
	uint64_t number, arch, nr, args[3]; /* the question */
	uint32_t list[LISTED];
	uint64_t after; /* the answer */
	int64_t value;
	int32_t error;
	bool known;
};

enum { RULES = 2048, TASKS = 64, MOUNTS = 64, CHANGES = 256 };

typedef struct {
	PyObject_HEAD
	int listener;
	struct rule *rules; /* open addressing */
	size_t rules_used;
	struct who *who;
	size_t who_size;
	/* conditions */
	uint32_t powers; /* those that count now; 0: everything is Python's */
	bool untouched, roots_differ, store_empty;
	uint32_t hidden_uid, hidden_gid;
	Keys *keys, *carriers; /* files with an override or attribute; devices (inode 0) whose files carry theirs themselves */
	bool complete; /* what is not among the keys has none */
	Owners *owners; /* all overrides there are, and the keys are of attributes alone; or NULL */
	PyObject *xattrs; /* bytes: what the names of those attributes begin with, each with its NUL */
	/*
	 * A mount of procfs that only we have, so that what is kept open keeps nobody from unmounting /proc. Where none can
	 * be had (-1) nobody there can unmount anything either: it takes the same capability, or other mounts lock it.
	 */
	int proc;
	PyObject *special; /* bytes: what the names of attributes that are always Python's begin with */
	/* caches: of neither can an entry become wrong, for the kernel hands out neither a second time */
	struct {
		pid_t tid;
		int fd;
	} tasks[TASKS]; /* /proc/TID, an O_PATH descriptor; that of a dead task finds nothing more */
	uint64_t mounts[MOUNTS]; /* unique ids of mounts that are not procfs */
	struct change changes[CHANGES];
	struct change asked; /* what Python has been asked, to be remembered with its answer: if `asking` */
	bool asking;
	struct response response;
	struct notification notification;
	uint32_t may; /* the powers of the task whose call that is, as far as they count now */
	char path[PATH_SIZE + 1];
} Loop;

static struct rule *rule_of(Loop *self, uint32_t arch, uint32_t nr)
{
	uint32_t at = (nr * 31 ^ arch * 7 ^ nr >> 20) & (RULES - 1);

	while (self->rules[at].used && (self->rules[at].nr != nr || self->rules[at].arch != arch))
		at = (at + 1) & (RULES - 1);
	return &self->rules[at];
}

/* Who `tid` is, NULL where only Python can tell. */
static const struct who *who_of(Loop *self, pid_t tid, uint64_t *number)
{
	struct rlimit limit;

	*number = 0;
	if (!self->untouched) {
		if (prlimit(tid, RLIMIT_RTTIME, NULL, &limit) < 0)
			return NULL;
		if (limit.rlim_cur >= TAG && limit.rlim_cur < 2 * TAG)
			*number = limit.rlim_cur - TAG;
	}
	return *number < self->who_size && self->who[*number].known ? &self->who[*number] : NULL;
}

/* ---------------------------------------------------------------- which file, and whether it is shown as it is */

enum verdict { PYTHON, THROUGH, IS_LINK, ANSWERED /* 0 */ };

/* A file: what `name` is below our descriptor `at`, or `at` itself where `name` is empty. */
struct place {
	int at;
	const char *name;
	int flags; /* 0 or AT_SYMLINK_NOFOLLOW */
};

static int status_of(const struct place *place, struct status *status)
{
	int flags = place->flags | (*place->name ? 0 : AT_EMPTY_PATH);

	return syscall(SYS_statx, place->at, place->name, flags, WANTED, status);
}

/* /proc/TID as an O_PATH descriptor of ours, or -1; `fresh`: not the one remembered. */
static int task_directory(Loop *self, pid_t tid, bool fresh)
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

/* Whether the file lies on procfs, where /proc/self and modes of access are not the same for us. Where in doubt, true. */
static bool on_proc(Loop *self, const struct place *place, const struct status *status)
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

/* Whether the file has none of the extended attributes that the store writes overrides in. */
static bool no_xattr(Loop *self, const struct place *place)
{
	const char *wanted = PyBytes_AS_STRING(self->xattrs), *end = wanted + PyBytes_GET_SIZE(self->xattrs), *name, *want;
	char path[PATH_SIZE + 64], names[1024];
	ssize_t got;

	/* listxattrat (Linux 6.13) refuses O_PATH descriptors, but not names below them. */
	got = -1;
	errno = ENOSYS;
	if (*place->name)
		got = syscall(SYS_listxattrat, place->at, place->name, place->flags, names, sizeof names);
	if (got < 0 && errno == ENOSYS) {
		snprintf(path, sizeof path, *place->name ? "/proc/self/fd/%d/%s" : "/proc/self/fd/%d", place->at, place->name);
		got = place->flags ? llistxattr(path, names, sizeof names) : listxattr(path, names, sizeof names);
	}
	if (got < 0)
		return false;
	for (name = names; name < names + got; name += strlen(name) + 1)
		for (want = wanted; want < end; want += strlen(want) + 1)
			if (strncmp(name, want, strlen(want)) == 0)
				return false;
	return true;
}

/* Whether the store knows nothing of this file, for certain. */
static bool no_override(Loop *self, const struct place *place, const struct status *status)
{
	uint64_t dev = gnu_dev_makedev(status->dev_major, status->dev_minor);

	if (self->store_empty)
		return true;
	if (self->owners)
		return !owners_find(self->owners, dev, status->ino) && !keys_hold(self->keys, dev, status->ino);
	if ((S_ISREG(status->mode) || S_ISDIR(status->mode)) && status->uid == 0 && keys_hold(self->carriers, dev, 0))
		return no_xattr(self, place);
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

/* Who a file belongs to, as everybody sees it, and whether the table says so. */
struct owner {
	uint64_t rdev;
	uint32_t uid, gid, mode;
	bool kept;
};

/* The file that the place means, as a descriptor of ours (to close where it is another than the place's); or -1. */
static int hold(const struct place *place)
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
 * world.World.owner of the file with this status, if that is certain. Its identity is asked for last: a file that has an
 * entry was there when the call was made, so what had its number since then, and has its identity now, is that file.
 */
static bool owner_of(Loop *self, const struct place *place, const struct status *status, struct owner *owner,
		     struct identity *identity)
{
	uint64_t dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	const struct entry *entry = NULL;

	owner->uid = status->uid == self->hidden_uid ? 0 : status->uid;
	owner->gid = status->gid == self->hidden_gid ? 0 : status->gid;
	owner->mode = status->mode;
	owner->rdev = gnu_dev_makedev(status->rdev_major, status->rdev_minor);
	owner->kept = false;
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

/* Tell the task who the file belongs to: handlers.status. Its numbers are those of `before`, or it is another by now. */
static enum verdict show(Loop *self, const struct rule *rule, const struct place *place, const struct status *before)
{
	enum { WHOSE = 0x1b }; /* STATX_TYPE, _MODE, _UID, _GID */
	const struct notification *call = &self->notification;
	uint32_t sync = rule->flags >= 0 ? call->args[rule->flags] & SYNC_TYPE : 0;
	int flags = place->flags | (*place->name ? 0 : AT_EMPTY_PATH);
	struct status now = *before, extended;
	struct identity identity;
	struct owner owner;
	const void *answer;
	struct stat plain;
	size_t size;

	if (rule->form == STAT) {
		if (fstatat(place->at, place->name, &plain, flags) < 0 || plain.st_ino != before->ino ||
		    plain.st_dev != gnu_dev_makedev(before->dev_major, before->dev_minor))
			return PYTHON;
		now.uid = plain.st_uid;
		now.gid = plain.st_gid;
		now.mode = plain.st_mode;
	} else {
		memset(&extended, 0, sizeof extended);
		if (sync == SYNC_TYPE || call->args[rule->mask] & UINT32_C(0x80000000) ||
		    syscall(SYS_statx, place->at, place->name, flags | sync, (uint32_t)call->args[rule->mask], &extended) < 0 ||
		    extended.ino != before->ino || extended.dev_major != before->dev_major ||
		    extended.dev_minor != before->dev_minor || (extended.mask & WHOSE) != WHOSE)
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
	if (!owner.kept && !identity_of(fd, "", 0, &identity))
		return PYTHON;
	entry.dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	entry.uid = uid == KEEP ? owner.uid : uid;
	entry.gid = gid == KEEP ? owner.gid : gid;
	/* The real change of nothing: what cannot be changed refuses it, and ctime moves. */
	if (fchownat(fd, "", KEEP, KEEP, AT_EMPTY_PATH) < 0)
		return PYTHON;
	if (entry.uid == (status->uid == self->hidden_uid ? 0 : status->uid) &&
	    entry.gid == (status->gid == self->hidden_gid ? 0 : status->gid))
		owners_remove(self->owners, entry.dev, entry.ino);
	else if (!owners_put(self->owners, &entry, &identity))
		return PYTHON;
	return ANSWERED;
}

/* Whether the call changes owners that we can keep. */
static bool gives(Loop *self, const struct rule *rule)
{
	return rule->give && self->owners && !self->store_empty;
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

/* A file that is seen as it is, and whose set-id bits the rule does not mind, is the kernel's to answer about. */
static enum verdict judge(Loop *self, const struct rule *rule, const struct place *place, const struct status *status)
{
	const uint64_t *args = self->notification.args;

	if (status->mode & rule->modes || on_proc(self, place, status))
		return PYTHON;
	if (rule->uid >= 0 && !id_stays(rule, args[rule->uid], status->uid))
		return take(self, rule, place, status);
	if (rule->gid >= 0 && !id_stays(rule, args[rule->gid], status->gid))
		return take(self, rule, place, status);
	if (rule->owner) {
		if (status->uid == self->hidden_uid || status->gid == self->hidden_gid)
			return take(self, rule, place, status);
		if (!no_override(self, place, status))
			return take(self, rule, place, status);
	}
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

/*
 * `path` names nothing for us. The kernel says best what is wrong with it: unless it leads through procfs, where there
 * may be something for the task. Then the rest of it, without what is not there, is on procfs or ends at a link there.
 */
static enum verdict not_found(Loop *self, int base, char *path, struct how *how)
{
	struct place place = { -1, "", 0 };
	enum verdict verdict = PYTHON;
	struct status status;
	char *slash;

	how->flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
	for (;;) {
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ENAMETOOLONG)
			return PYTHON;
		place.at = syscall(SYS_openat2, base, path, how, sizeof *how);
		if (place.at >= 0)
			break;
		for (slash = path + strlen(path); slash > path && slash[-1] == '/'; slash--)
			;
		while (slash > path && slash[-1] != '/')
			slash--;
		if (slash == path)
			return THROUGH;
		*slash = 0;
		how->flags &= ~O_NOFOLLOW;
	}
	if (!(how->flags & O_NOFOLLOW) && status_of(&place, &status) == 0 && !on_proc(self, &place, &status))
		verdict = THROUGH;
	close(place.at);
	return verdict;
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

/* A descriptor of the task's own `link` ("cwd", "root", "fd/N"), or -1. */
static int open_own(Loop *self, const char *link)
{
	int fd = -1;

	for (int fresh = 0; fresh < 2 && fd < 0; fresh++) {
		fd = task_directory(self, self->notification.pid, fresh);
		if (fd >= 0)
			fd = openat(fd, link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return fd;
}

/* As `judge`, of what `path` names: tracee.Files.resolve, for those paths that one call to the kernel resolves. */
static enum verdict judge_path(Loop *self, const struct rule *rule, const char *own, char *path, bool follow)
{
	struct how how = { O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), 0, NO_MAGICLINKS };
	bool absolute = *path == '/';
	char name[PATH_SIZE + 64];
	enum verdict verdict;
	int base = AT_FDCWD, fd;

	if (!absolute && !strchr(path, '/') && strcmp(path, "..") != 0) {
		snprintf(name, sizeof name, "%s/%s", own, path);
		verdict = judge_below(self, rule, name, AT_SYMLINK_NOFOLLOW, follow);
		if (verdict != IS_LINK)
			return verdict;
	}
	if (self->roots_differ)
		how.resolve |= absolute ? IN_ROOT : BENEATH;
	if (self->roots_differ || !absolute) {
		base = open_own(self, absolute ? "root" : own);
		if (base < 0)
			return PYTHON;
	}
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
static enum verdict judge_call(Loop *self, const struct rule *rule)
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
		if ((address || !(flags & AT_EMPTY_PATH)) && peek_path(call->pid, address, self->path) < 0)
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

/* Whether the argument points to an attribute's name that the handler has no opinion on. */
static bool name_is_plain(Loop *self, uint64_t address)
{
	char name[PATH_SIZE];

	return peek_path(self->notification.pid, address, name) >= 0 &&
	       strncmp(name, PyBytes_AS_STRING(self->special), PyBytes_GET_SIZE(self->special)) != 0;
}

/* ---------------------------------------------------------------- changes of state, as they went before */

static struct change *place_of(Loop *self, const struct change *asked)
{
	const uint32_t *word = (const uint32_t *)asked, *end = asked->list + LISTED;
	uint64_t hash = 0;

	for (; word < end; word++)
		hash = (hash ^ *word) * UINT64_C(0x100000001b3);
	return &self->changes[(hash ^ hash >> 32) % CHANGES];
}

static bool same_question(const struct change *one, const struct change *other)
{
	return memcmp(one, other, offsetof(struct change, after)) == 0;
}

/* Whether the task is all of its process: then nobody else's state is at stake. */
static bool is_alone(Loop *self, pid_t tid)
{
	struct stat st;
	int fd = task_directory(self, tid, false);

	if (fd < 0 || (fstatat(fd, "task", &st, 0) < 0 && (fd = task_directory(self, tid, true)) < 0))
		return false;
	return fstatat(fd, "task", &st, 0) == 0 && st.st_nlink == 3;
}

/* Answer a call that changes the task's state number `number` as Python did when it was asked the same. */
static bool change(Loop *self, const struct rule *rule, uint64_t number)
{
	const struct notification *call = &self->notification;
	struct change *asked = &self->asked, *known;
	size_t size = rule->narrow ? 2 : 4, count = (uint32_t)call->args[0];
	struct rlimit limit = { 0, RLIM_INFINITY };

	memset(asked, 0, sizeof *asked);
	asked->number = number;
	asked->arch = call->arch;
	asked->nr = call->nr;
	for (int at = 0; at < rule->changes; at++)
		asked->args[at] = (uint32_t)call->args[at];
	if (rule->list >= 0 && count) {
		if (count > LISTED || peek(call->pid, call->args[rule->list] & rule->word, asked->list, count * size) !=
					      (ssize_t)(count * size))
			return false;
	}
	known = place_of(self, asked);
	if (!known->known || !same_question(known, asked)) {
		self->asking = true;
		return false;
	}
	if (known->after != number) {
		limit.rlim_cur = TAG + known->after;
		if (!is_alone(self, call->pid) || ioctl(self->listener, ID_VALID, &call->id) < 0 ||
		    prlimit(call->pid, RLIMIT_RTTIME, &limit, NULL) < 0)
			return false;
	}
	self->response.value = known->value;
	self->response.error = known->error;
	return true;
}

/* Remember what Python made of what it was asked; the task still waits. */
static void learn(Loop *self)
{
	const struct response *response = &self->response;
	const struct who *before, *after;
	struct change *asked = &self->asked;

	self->asking = false;
	if (response->id != self->notification.id || response->flags ||
	    (response->error && response->error != -EPERM && response->error != -EINVAL))
		return;
	after = who_of(self, self->notification.pid, &asked->after);
	before = &self->who[asked->number];
	/* Whoever shares the memory is dumpable or not together: Python looks for them. */
	if (!after || after->dumpable != before->dumpable)
		return;
	asked->value = response->value;
	asked->error = response->error;
	asked->known = true;
	*place_of(self, asked) = *asked;
}

/* Answer the notification here, if its rule allows: true, and the response is filled in. */
static bool answer(Loop *self)
{
	const struct notification *call = &self->notification;
	struct response *response = &self->response;
	const struct rule *rule;
	const struct who *who;
	enum verdict verdict;
	uint64_t value, number;

	if (!self->powers)
		return false;
	rule = rule_of(self, call->arch, call->nr);
	if (!rule->used)
		return false;
	who = who_of(self, call->pid, &number);
	if (!who)
		return false;
	*response = (struct response){ .id = call->id };
	if (rule->id >= 0) {
		value = who->ids[rule->id];
		response->value = rule->narrow && value > 0xFFFF ? 65534 : value;
		return true;
	}
	if (rule->changes)
		return change(self, rule, number);
	if (rule->clear_arg >= 0) {
		value = call->args[rule->clear_arg] & rule->word;
		if (rule->clear_indirect && peek(call->pid, value, (char *)&value, sizeof value) != sizeof value)
			return false;
		if (value & rule->clear_bits)
			return false;
	}
	if (rule->clear_too_arg >= 0 && call->args[rule->clear_too_arg] & rule->clear_too_bits)
		return false;
	if (rule->name >= 0 && !name_is_plain(self, call->args[rule->name] & rule->word))
		return false;
	self->may = who->powers & self->powers;
	verdict = self->may & rule->surely ? THROUGH : self->may & rule->likely ? judge_call(self, rule) : PYTHON;
	if (verdict == THROUGH)
		response->flags = FLAG_CONTINUE;
	return verdict == THROUGH || verdict == ANSWERED;
}

/* ---------------------------------------------------------------- the loop as Python sees it */

/*
 * Send the response (unless there is none) and receive; answer here until a call is Python's, which every call is while
 * there is something else to wait for (`patience`). 0, an errno, or -1: time out.
 */
static int converse(Loop *self, bool send, int patience)
{
	struct pollfd ready = { .fd = self->listener, .events = POLLIN };

	for (;; send = true) {
		/* A failure means that the task died, or was interrupted, while it waited. */
		if (send)
			(void)ioctl(self->listener, SEND, &self->response);
		/* Nor may a signal lead on to RECV: it tells of a stop that nobody would look at. */
		if (patience >= 0 && poll(&ready, 1, patience) <= 0)
			return -1;
		memset(&self->notification, 0, sizeof self->notification);
		if (ioctl(self->listener, RECV, &self->notification) < 0)
			return errno;
		if (patience >= 0 || !answer(self))
			return 0;
	}
}

static PyObject *loop_exchange(Loop *self, PyObject *args)
{
	unsigned long long id;
	long long value;
	int error, patience, failure;
	unsigned int flags;
	const struct notification *call = &self->notification;

	if (!PyArg_ParseTuple(args, "KLiIi:exchange", &id, &value, &error, &flags, &patience))
		return NULL;
	self->response = (struct response){ id, value, error, flags };
	if (self->asking)
		learn(self);
	Py_BEGIN_ALLOW_THREADS
	failure = converse(self, id != 0, patience);
	Py_END_ALLOW_THREADS
	if (failure > 0) {
		errno = failure;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	if (failure < 0)
		Py_RETURN_NONE;
	return Py_BuildValue("KIIi(KKKKKK)", (unsigned long long)call->id, call->pid, call->arch, call->nr,
			     (unsigned long long)call->args[0], (unsigned long long)call->args[1],
			     (unsigned long long)call->args[2], (unsigned long long)call->args[3],
			     (unsigned long long)call->args[4], (unsigned long long)call->args[5]);
}

static PyObject *loop_add_rule(Loop *self, PyObject *args)
{
	struct rule rule;
	Py_buffer packed;

	if (!PyArg_ParseTuple(args, "y*:add_rule", &packed))
		return NULL;
	if (packed.len != sizeof rule || self->rules_used == RULES / 2) {
		PyBuffer_Release(&packed);
		return PyErr_Format(PyExc_ValueError, "not a rule, or one too many");
	}
	memcpy(&rule, packed.buf, sizeof rule);
	PyBuffer_Release(&packed);
	*rule_of(self, rule.arch, rule.nr) = rule;
	self->rules_used++;
	Py_RETURN_NONE;
}

static PyObject *loop_set_who(Loop *self, PyObject *args)
{
	unsigned int number;
	struct who who = { .known = true }, *table;
	size_t size;

	if (!PyArg_ParseTuple(args, "IIIIIIi:set_who", &number, &who.ids[0], &who.ids[1], &who.ids[2], &who.ids[3],
			      &who.powers, &who.dumpable))
		return NULL;
	if (number >= self->who_size) {
		size = 2 * (size_t)number + 16;
		table = PyMem_Realloc(self->who, size * sizeof *table);
		if (!table)
			return PyErr_NoMemory();
		memset(table + self->who_size, 0, (size - self->who_size) * sizeof *table);
		self->who = table;
		self->who_size = size;
	}
	self->who[number] = who;
	Py_RETURN_NONE;
}

static PyObject *loop_set_conditions(Loop *self, PyObject *args)
{
	int untouched, roots_differ, store_empty, complete;

	if (!PyArg_ParseTuple(args, "Ipppp:set_conditions", &self->powers, &untouched, &roots_differ, &store_empty, &complete))
		return NULL;
	self->complete = complete;
	self->untouched = untouched;
	self->roots_differ = roots_differ;
	self->store_empty = store_empty;
	Py_RETURN_NONE;
}

static PyObject *loop_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *keys, *carriers, *owners, *xattrs, *special;
	unsigned int hidden_uid, hidden_gid;
	int listener;
	Loop *self;

	(void)kwargs;
	if (!PyArg_ParseTuple(args, "iIIO!O!OSS:Loop", &listener, &hidden_uid, &hidden_gid, keys_type, &keys, keys_type,
			      &carriers, &owners, &xattrs, &special))
		return NULL;
	if (owners != Py_None && !Py_IS_TYPE(owners, owners_type))
		return PyErr_Format(PyExc_TypeError, "owners: a table or None");
	self = (Loop *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->listener = listener;
	self->hidden_uid = hidden_uid;
	self->hidden_gid = hidden_gid;
	for (int at = 0; at < TASKS; at++)
		self->tasks[at].fd = -1;
	self->proc = syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | O_CLOEXEC);
	self->keys = (Keys *)Py_NewRef(keys);
	self->carriers = (Keys *)Py_NewRef(carriers);
	self->owners = owners == Py_None ? NULL : (Owners *)Py_NewRef(owners);
	self->rules = PyMem_Calloc(RULES, sizeof *self->rules);
	self->xattrs = Py_NewRef(xattrs);
	self->special = Py_NewRef(special);
	if (!self->rules) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void loop_dealloc(Loop *self)
{
	PyTypeObject *type = Py_TYPE(self);

	for (int at = 0; at < TASKS; at++)
		if (self->tasks[at].fd >= 0)
			close(self->tasks[at].fd);
	if (self->proc >= 0)
		close(self->proc);
	Py_XDECREF(self->keys);
	Py_XDECREF(self->carriers);
	Py_XDECREF(self->owners);
	Py_XDECREF(self->xattrs);
	Py_XDECREF(self->special);
	PyMem_Free(self->rules);
	PyMem_Free(self->who);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef loop_methods[] = {
	{ "exchange", (PyCFunction)loop_exchange, METH_VARARGS,
	  "exchange(id, value, error, flags, patience): send this answer (id 0: none), then receive and answer calls until\n"
	  "one is Python's: (id, tid, arch, nr, args). None when none came for `patience` ms (-1: wait for ever)." },
	{ "add_rule", (PyCFunction)loop_add_rule, METH_VARARGS, "add_rule(packed): see remainroot.quick." },
	{ "set_who", (PyCFunction)loop_set_who, METH_VARARGS,
	  "set_who(number, uid, euid, gid, egid, powers, dumpable): what the state of that number means." },
	{ "set_conditions", (PyCFunction)loop_set_conditions, METH_VARARGS,
	  "set_conditions(powers, untouched, roots_differ, store_empty, keys_complete): what holds until the next call of this." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot loop_slots[] = {
	{ Py_tp_doc, "Loop(listener, hidden_uid, hidden_gid, keys, carriers, owners, xattrs, special): the notify engine's conversation with the kernel." },
	{ Py_tp_new, loop_new },
	{ Py_tp_dealloc, loop_dealloc },
	{ Py_tp_methods, loop_methods },
	{ 0, NULL },
};

static PyType_Spec loop_spec = { "remainroot._fast.Loop", sizeof(Loop), 0, Py_TPFLAGS_DEFAULT, loop_slots };

/* ---------------------------------------------------------------- what remainroot.kernel is built on */

static PyObject *fault(int number)
{
	errno = number;
	return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *read_memory(PyObject *module, PyObject *args)
{
	unsigned long long address;
	Py_ssize_t size, got;
	PyObject *bytes;
	int tid;

	(void)module;
	if (!PyArg_ParseTuple(args, "iKn:read_memory", &tid, &address, &size))
		return NULL;
	bytes = PyBytes_FromStringAndSize(NULL, size);
	if (!bytes)
		return NULL;
	got = size ? peek(tid, address, PyBytes_AS_STRING(bytes), size) : 0;
	if (got == size)
		return bytes;
	Py_DECREF(bytes);
	return fault(got < 0 ? errno : EFAULT);
}

static PyObject *write_memory(PyObject *module, PyObject *args)
{
	unsigned long long address;
	Py_buffer data;
	bool done;
	int tid;

	(void)module;
	if (!PyArg_ParseTuple(args, "iKy*:write_memory", &tid, &address, &data))
		return NULL;
	errno = EFAULT; /* if only a part can be written */
	done = data.len == 0 || poke(tid, address, data.buf, data.len);
	PyBuffer_Release(&data);
	if (!done)
		return fault(errno);
	Py_RETURN_NONE;
}

static PyObject *read_string(PyObject *module, PyObject *args)
{
	unsigned long long address;
	char path[PATH_SIZE];
	ssize_t length;
	int tid;

	(void)module;
	if (!PyArg_ParseTuple(args, "iK:read_string", &tid, &address))
		return NULL;
	length = peek_path(tid, address, path);
	return length < 0 ? fault(errno) : PyBytes_FromStringAndSize(path, length);
}

static PyObject *open_path(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "dirfd", "path", "resolve", "follow", NULL };
	struct how how = { O_PATH | O_CLOEXEC, 0, 0 };
	unsigned long long resolve;
	int dirfd, follow = 1, fd = -1;
	const char *path;

	(void)module;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iyK|$p:open_path", names, &dirfd, &path, &resolve, &follow))
		return NULL;
	how.flags |= follow ? 0 : O_NOFOLLOW;
	how.resolve = resolve;
	for (int attempt = 0; attempt < 16; attempt++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? fault(errno) : PyLong_FromLong(fd);
}

/* An argument of a system call: an int, the address of a buffer's bytes, or None for a null pointer. */
static bool take_argument(PyObject *object, Py_buffer *buffer, long *value)
{
	buffer->obj = NULL;
	*value = 0;
	if (object == Py_None)
		return true;
	if (PyLong_Check(object)) {
		*value = (long)PyLong_AsUnsignedLongMask(object); /* modulo 2**64 */
		return *value != -1 || !PyErr_Occurred();
	}
	if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) < 0)
		return false;
	*value = (long)buffer->buf;
	return true;
}

static PyObject *call_kernel(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
	Py_buffer buffers[7];
	long values[7] = { 0 }, result = 0;
	Py_ssize_t taken = 0;
	int number;

	(void)module;
	if (count < 1 || count > 7)
		return PyErr_Format(PyExc_TypeError, "syscall takes a number and up to six arguments");
	while (taken < count && take_argument(args[taken], &buffers[taken], &values[taken]))
		taken++;
	if (taken == count)
		result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
	number = errno;
	while (taken > 0)
		PyBuffer_Release(&buffers[--taken]);
	if (PyErr_Occurred())
		return NULL;
	return result == -1 ? fault(number) : PyLong_FromLong(result);
}

static PyObject *address_of(PyObject *module, PyObject *object)
{
	Py_buffer buffer;
	long address;

	(void)module;
	if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) < 0)
		return NULL;
	address = (long)buffer.buf;
	PyBuffer_Release(&buffer);
	return PyLong_FromLong(address);
}

static PyMethodDef functions[] = {
	{ "syscall", (PyCFunction)(void (*)(void))call_kernel, METH_FASTCALL, "See remainroot.libc." },
	{ "address_of", address_of, METH_O, "See remainroot.libc." },
	{ "read_memory", read_memory, METH_VARARGS, "See remainroot.libc." },
	{ "write_memory", write_memory, METH_VARARGS, "See remainroot.libc." },
	{ "read_string", read_string, METH_VARARGS, "See remainroot.libc." },
	{ "open_path", (PyCFunction)(void (*)(void))open_path, METH_VARARGS | METH_KEYWORDS, "See remainroot.libc." },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT, "remainroot._fast", "The hot path of remainroot, compiled.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fast(void)
{
	PyObject *module = PyModule_Create(&definition), *loop = NULL;

	if (!module)
		return NULL;
	keys_type = (PyTypeObject *)PyType_FromSpec(&keys_spec);
	owners_type = (PyTypeObject *)PyType_FromSpec(&owners_spec);
	loop = PyType_FromSpec(&loop_spec);
	if (!keys_type || !owners_type || !loop || PyModule_AddObjectRef(module, "Keys", (PyObject *)keys_type) < 0 ||
	    PyModule_AddObjectRef(module, "Owners", (PyObject *)owners_type) < 0 ||
	    PyModule_AddObjectRef(module, "Loop", loop) < 0)
		Py_CLEAR(module);
	Py_XDECREF(loop);
	return module;
}
