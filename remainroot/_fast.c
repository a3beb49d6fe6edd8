/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hot path, compiled: remainroot works the same without this module (see remainroot/quick.py and remainroot/kernel.py).
 *
 * Loop  takes the place of the two ioctls of the notify engine. It sends the last answer, receives the next
 *       notification, and answers by itself, without the interpreter, the calls whose rule says how: almost all of them
 *       are let through to the kernel. A rule comes from the call's declaration; nothing here knows a system call by
 *       name or number, nor what a fake id means. What cannot be decided with certainty is handed to Python, which
 *       decides it all over again: an answer given here is never other than Python's, only sooner.
 * Keys  is a set of files (device and inode number) that may be wrong in one direction only: it may claim to hold a
 *       file that it does not.
 *
 * The rest are the primitives of kernel.py, under the same names and with the same errors.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
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
	RTTIME = 15,
};

#define RECV _IOC(_IOC_READ | _IOC_WRITE, '!', 0, sizeof(struct notification))
#define SEND _IOC(_IOC_READ | _IOC_WRITE, '!', 1, sizeof(struct response))
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

/* ---------------------------------------------------------------- a set of files */

typedef struct {
	PyObject_HEAD
	uint64_t *slots; /* open addressing; 0 is a free one */
	size_t mask, used;
} Keys;

static uint64_t key_of(uint64_t dev, uint64_t ino)
{
	uint64_t key = (ino + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ dev * UINT64_C(0xC2B2AE3D27D4EB4F);

	key = (key ^ key >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	key ^= key >> 32;
	return key ? key : 1;
}

static size_t keys_find(const Keys *keys, uint64_t key)
{
	size_t at = key & keys->mask;

	while (keys->slots[at] && keys->slots[at] != key)
		at = (at + 1) & keys->mask;
	return at;
}

static bool keys_hold(const Keys *keys, uint64_t dev, uint64_t ino)
{
	return keys->slots[keys_find(keys, key_of(dev, ino))] != 0;
}

static bool keys_grow(Keys *keys)
{
	uint64_t *old = keys->slots, *slots;
	size_t size = keys->mask + 1;

	slots = PyMem_Calloc(2 * size, sizeof *slots);
	if (!slots)
		return false;
	keys->slots = slots;
	keys->mask = 2 * size - 1;
	for (size_t at = 0; at < size; at++)
		if (old[at])
			slots[keys_find(keys, old[at])] = old[at];
	PyMem_Free(old);
	return true;
}

static PyObject *keys_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	(void)args, (void)kwargs;
	Keys *self = (Keys *)type->tp_alloc(type, 0);

	if (!self)
		return NULL;
	self->mask = 255;
	self->slots = PyMem_Calloc(self->mask + 1, sizeof *self->slots);
	if (!self->slots) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void keys_dealloc(Keys *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyMem_Free(self->slots);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyObject *keys_add(Keys *self, PyObject *args)
{
	unsigned long long dev, ino;
	size_t at;

	if (!PyArg_ParseTuple(args, "KK:add", &dev, &ino))
		return NULL;
	if (self->used * 4 > self->mask * 3 && !keys_grow(self))
		return PyErr_NoMemory();
	at = keys_find(self, key_of(dev, ino));
	if (!self->slots[at]) {
		self->slots[at] = key_of(dev, ino);
		self->used++;
	}
	Py_RETURN_NONE;
}

static PyObject *keys_may_hold(Keys *self, PyObject *args)
{
	unsigned long long dev, ino;

	if (!PyArg_ParseTuple(args, "KK:may_hold", &dev, &ino))
		return NULL;
	return PyBool_FromLong(keys_hold(self, dev, ino));
}

static PyMethodDef keys_methods[] = {
	{ "add", (PyCFunction)keys_add, METH_VARARGS, "add(dev, ino): hold this file from now on." },
	{ "may_hold", (PyCFunction)keys_may_hold, METH_VARARGS, "may_hold(dev, ino): false only if it was never added." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot keys_slots[] = {
	{ Py_tp_doc, "A set of files that may claim to hold more than was added, never less." },
	{ Py_tp_new, keys_new },
	{ Py_tp_dealloc, keys_dealloc },
	{ Py_tp_methods, keys_methods },
	{ 0, NULL },
};

static PyType_Spec keys_spec = { "remainroot._fast.Keys", sizeof(Keys), 0, Py_TPFLAGS_DEFAULT, keys_slots };
static PyTypeObject *keys_type;

/* ---------------------------------------------------------------- the loop's data */

enum kind { ASK, OWN_ID, POWER, FILE_AS_IT_IS };

/* How one system call of one ABI may be answered here: the fields are explained in remainroot/quick.py. */
struct rule {
	uint32_t arch, nr;
	uint64_t word; /* mask of a pointer */
	long long kind, powers;
	long long id, narrow; /* OWN_ID */
	long long test_arg, test_indirect, test_mask, test_value; /* POWER */
	long long path, dirfd, flags, flags_known, flags_fixed, uid, gid, modes, owner; /* FILE_AS_IT_IS */
};

/* What a numbered state means. */
struct who {
	uint32_t ids[4];
	uint32_t powers;
	bool known;
};

enum { RULES = 2048, TASKS = 64, MOUNTS = 64 };

typedef struct {
	PyObject_HEAD
	int listener;
	struct rule *rules; /* open addressing; kind ASK is a free one */
	struct who *who;
	size_t who_size;
	/* conditions */
	uint32_t powers; /* those that count now; 0: everything is Python's */
	bool untouched, roots_differ, store_empty;
	uint32_t hidden_uid, hidden_gid;
	Keys *keys; /* NULL: the store can only be asked */
	char *xattr;
	/* caches: of neither can an entry become wrong, for the kernel hands out neither a second time */
	struct {
		pid_t tid;
		int fd;
	} tasks[TASKS]; /* /proc/TID, an O_PATH descriptor; that of a dead task finds nothing more */
	uint64_t mounts[MOUNTS]; /* unique ids of mounts that are not procfs */
	struct response response;
	struct notification notification;
	char path[PATH_SIZE + 1];
} Loop;

static struct rule *rule_of(Loop *self, uint32_t arch, uint32_t nr)
{
	uint32_t at = (nr * 31 ^ arch * 7 ^ nr >> 20) & (RULES - 1);

	while (self->rules[at].kind != ASK && (self->rules[at].nr != nr || self->rules[at].arch != arch))
		at = (at + 1) & (RULES - 1);
	return &self->rules[at];
}

/* Who `tid` is, NULL where only Python can tell. */
static const struct who *who_of(Loop *self, pid_t tid)
{
	struct rlimit limit;
	uint64_t number = 0;

	if (!self->untouched) {
		if (prlimit(tid, RTTIME, NULL, &limit) < 0)
			return NULL;
		if (limit.rlim_cur >= TAG && limit.rlim_cur < 2 * TAG)
			number = limit.rlim_cur - TAG;
	}
	return number < self->who_size && self->who[number].known ? &self->who[number] : NULL;
}

/* ---------------------------------------------------------------- which file, and whether it is shown as it is */

enum verdict { PYTHON, THROUGH };

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
	snprintf(name, sizeof name, "/proc/%d", tid);
	self->tasks[at].tid = tid;
	self->tasks[at].fd = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return self->tasks[at].fd;
}

/* Whether `status` is of a file on procfs; `fd` is the file where it is open, else -1. Where in doubt, true. */
static bool on_proc(Loop *self, const struct status *status, int fd)
{
	uint64_t *known = &self->mounts[status->mount % MOUNTS];
	bool unique = status->mask & UNIQUE_MOUNT;
	struct statfs fs;

	if (status->dev_major)
		return false; /* a block device of its own */
	if (unique && *known == status->mount)
		return false;
	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type == PROC_MAGIC)
		return true;
	if (unique)
		*known = status->mount;
	return false;
}

/* Whether the task sees this file just as the kernel shows it. `name`: a path of it for us, from `at`. */
static bool shown_as_is(Loop *self, const struct status *status)
{
	if (status->uid == self->hidden_uid || status->gid == self->hidden_gid)
		return false;
	if (self->store_empty)
		return true;
	return self->keys && !keys_hold(self->keys, gnu_dev_makedev(status->dev_major, status->dev_minor), status->ino);
}

static bool id_stays(const struct notification *call, long long arg, const struct rule *rule, uint32_t now)
{
	uint32_t id = (uint32_t)call->args[arg];

	if (rule->narrow) {
		id &= 0xFFFF;
		if (id == 0xFFFF)
			id = KEEP;
	}
	return now == 0 && (id == KEEP || id == 0);
}

static enum verdict judge(Loop *self, const struct rule *rule, const struct status *status)
{
	const struct notification *call = &self->notification;

	if (status->mode & rule->modes)
		return PYTHON;
	if (rule->owner && !shown_as_is(self, status))
		return PYTHON;
	if (rule->uid >= 0 && !id_stays(call, rule->uid, rule, status->uid))
		return PYTHON;
	if (rule->gid >= 0 && !id_stays(call, rule->gid, rule, status->gid))
		return PYTHON;
	return THROUGH;
}

static int status_of(int at, const char *name, int flags, struct status *status)
{
	return syscall(SYS_statx, at, name, flags, WANTED, status);
}

/* The file behind our own descriptor `fd`, which is closed. */
static enum verdict judge_open(Loop *self, const struct rule *rule, int fd)
{
	enum verdict verdict = PYTHON;
	struct status status;

	if (status_of(fd, "", AT_EMPTY_PATH, &status) == 0 && !on_proc(self, &status, fd))
		verdict = judge(self, rule, &status);
	close(fd);
	return verdict;
}

/*
 * `name` below /proc/TID, its last component not followed. Only names that the kernel resolves for the task as it does
 * for us are asked for: a magic link of the task's and at most one plain component.
 */
static enum verdict judge_below(Loop *self, const struct rule *rule, const char *name, bool link_wanted)
{
	struct status status;
	int directory, fd;

	for (int fresh = 0; fresh < 2; fresh++) {
		directory = task_directory(self, self->notification.pid, fresh);
		if (directory < 0)
			return PYTHON;
		if (status_of(directory, name, link_wanted ? AT_SYMLINK_NOFOLLOW : 0, &status) == 0) {
			if (link_wanted && S_ISLNK(status.mode))
				return PYTHON;
			if (on_proc(self, &status, -1)) {
				fd = openat(directory, name, O_PATH | O_CLOEXEC | (link_wanted ? O_NOFOLLOW : 0));
				return fd < 0 ? PYTHON : judge_open(self, rule, fd);
			}
			return judge(self, rule, &status);
		}
		/* Nothing there: or is it the directory of a former task of that number? */
	}
	return PYTHON;
}
