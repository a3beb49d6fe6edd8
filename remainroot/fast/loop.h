/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loop takes the place of the two ioctls of the notify engine. It sends the last answer, receives the next notification,
 * and answers by itself, without the interpreter, the calls whose rule says how: almost all of them are let through to
 * the kernel, the rest are of files whose owners are in a table. A rule comes from the call's declaration; nothing here
 * knows a system call by name or number, nor what a fake id means. What cannot be decided with certainty is handed to
 * Python, which decides it all over again: an answer given here is never other than Python's, only sooner.
 *
 * From the top down, each knows those below it:
 *
 * loop.c     what Python sees of it, and the conversation
 * answers.c  what the rule of a call says of it
 * handlers.c the ends of signal handlers
 * changes.c  calls that change who a task is
 * judge.c    which file a call means, and whether it is shown as it is
 * searching.c ways that a guard of --strict would let the caller go
 * showing.c  answers that tell whose a file is
 * giving.c   calls that give files away
 * creation.c device nodes
 * readers.c  programs whose opens are to be seen
 * owning.c   whose a file is
 * carried.c  owners that files carry themselves
 * places.c   files, as we reach them
 * tasks.c    tasks: who they are, and where their paths begin
 */
#ifndef REMAINROOT_LOOP_H
#define REMAINROOT_LOOP_H

#include "files.h"
#include "kernel.h"

#define KEEP UINT32_MAX
#define DEVICE_BIT 0020000 /* in the modes of both kinds of device, and of nothing else that can be opened */

/* A file: what `name` is below our descriptor `at`, or `at` itself where `name` is empty. */
struct place {
	int at;
	const char *name;
	int flags; /* 0 or AT_SYMLINK_NOFOLLOW */
	bool timeless; /* its status is wanted without times */
};

/* Who a file belongs to, as everybody sees it, and whether the table, or the file itself, says so. */
struct owner {
	uint64_t rdev;
	uint32_t uid, gid, mode;
	bool kept;
};

/* What a call fills in: Quick.form. */
enum { NOTHING, STAT, STATX };

/* How one system call may be answered here: remainroot.quick.Quick says what each field means. -1: there is no such argument. */
struct rule {
	int64_t arch, nr, word, narrow, id, surely, likely, clear_arg, clear_bits, clear_indirect, clear_too_arg, clear_too_bits;
	int64_t unless_arg, unless_value;
	int64_t path, dirfd, flags, flags_known, flags_fixed, parent, modes, owner, uid, gid, name;
	int64_t buffer, form, mask, give, give_directory, changes, list, result;
	int64_t open_flags, looks, opens, node, arguments, real, group, way;
};

/* Quick.way: what the call's guard asks about those whom it does not leave alone, or the call itself. */
enum { FREE, CLOSED, SEARCH, ENTER, READ, OPEN, ASK };

/* What a numbered state means. */
struct who {
	uint32_t ids[4];
	uint32_t powers;
	int dumpable;
	bool guarded; /* the guards of --strict do not leave it alone */
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

/* Whether the files of a device can carry their owners. */
struct device {
	uint64_t dev;
	bool known, carries;
};

/* A mount's number that nobody has after it, and the one that is given again. */
struct mount {
	uint64_t unique, number;
};

/* What a program is: remainroot.readers. */
enum kind { UNMARKABLE, OTHER, READER };

struct program {
	uint64_t dev, ino, changed, nanoseconds; /* when its inode was changed last */
	bool known;
	enum kind kind;
};

/* A file without an access list, while its inode is as it was changed last. */
struct listless {
	uint64_t dev, ino, changed, nanoseconds;
};

enum { RULES = 2048, TASKS = 64, MOUNTS = 64, CHANGES = 256, DEVICES = 32, PROGRAMS = 256, LOOKS = 64, LISTLESS = 1024 };

typedef struct {
	PyObject_HEAD
	int listener;
	PyObject *packed; /* bytes: rules one after the other, as a file had them */
	uint16_t rules[RULES]; /* which of them, counted from 1; open addressing */
	struct who *who;
	size_t who_size;
	/* conditions */
	uint32_t powers; /* those that count now; 0: everything is Python's */
	uint32_t shared; /* those that every state has */
	bool untouched, roots_differ, store_empty;
	bool guarding; /* there are states that are guarded */
	bool pdeathsigs; /* a change of ids may end some task's parent-death signal */
	bool nodes, readable_nodes; /* some file is shown as a device; as one that can be read from, for readers to read */
	uint64_t tag; /* remainroot.tasks: the number of a state is its task's soft RLIMIT_RTTIME less this */
	uint32_t own_uid, hidden_uid, hidden_gid;
	Keys *keys; /* files with an override or attribute */
	bool complete; /* what is not among the keys has none */
	Owners *owners; /* all overrides there are, and the keys are of attributes alone; or NULL */
	bool carried; /* files of ours have theirs in an attribute or have none, where there can be attributes */
	/*
	 * A mount of procfs that only we have, so that what is kept open keeps nobody from unmounting /proc. Where none can
	 * be had (-1) nobody there can unmount anything either: it takes the same capability, or other mounts lock it.
	 */
	int proc;
	PyObject *special; /* bytes: what the names of attributes that are always Python's begin with */
	int places; /* how many of `tasks` are used: our limit of descriptors may be low */
	/* caches: of none can an entry become wrong, for the kernel hands out none of it a second time */
	struct {
		pid_t tid;
		int fd;
	} tasks[TASKS], /* /proc/TID, an O_PATH descriptor; that of a dead task finds nothing more */
		umask; /* /proc/TID/status of whose umask was asked for last */
	/*
	 * The kernel numbers notifications one after another (Linux 5.0 to now). One that is missing was interrupted before
	 * it could be received: only since then can the end of a task's handler have something to mend, and `looked` times.
	 */
	uint64_t last; /* the number of the last one, 0 before the first */
	uint32_t missed; /* how often some were missing */
	bool interruptible; /* a signal interrupts calls that were received, too: nothing is missing then */
	struct {
		pid_t tid;
		uint32_t missed, looked;
	} returns[TASKS];
	uint64_t mounts[MOUNTS]; /* unique ids of mounts that are not procfs */
	struct mount numbers[MOUNTS]; /* of mounts by their unique ids */
	struct device devices[DEVICES];
	struct program programs[PROGRAMS];
	struct listless listless[LISTLESS];
	PyObject *written; /* bytes, a list of strings: names of files whose opens to write are Python's; or NULL */
	/* bytes; lists of strings, but for `proc_path`: what makes a program a reader. NULL: no program is one */
	PyObject *libraries, *proc_path, *told_files;
	struct change changes[CHANGES];
	struct change asked; /* what Python has been asked, to be remembered with its answer: if `asking` */
	bool asking;
	struct response response;
	struct notification notification;
	uint32_t may; /* the powers of the task whose call that is, as far as they count now */
	const struct who *caller; /* whose call that is; NULL: that does not matter */
	char path[PATH_SIZE + 1];
} Loop;

enum verdict { PYTHON, THROUGH, IS_LINK, ANSWERED /* 0 */ };

extern PyType_Spec loop_spec;

/* ---------------------------------------------------------------- tasks.c */

/* Who `tid` is, and the number of that state; NULL where only Python can tell. */
const struct who *who_of(Loop *self, pid_t tid, uint64_t *number);
/* /proc/TID as an O_PATH descriptor of ours, or -1; `fresh`: not the one remembered. */
int task_directory(Loop *self, pid_t tid, bool fresh);
/* A file of the waiting task's directory of procfs ("cwd", "fd/N", "status"), opened with these flags, or -1. */
int open_of_task(Loop *self, const char *name, int flags);
/* Whether the waiting task is of the process of this number, as we count. */
bool is_of_group(Loop *self, int32_t tgid);
/* Whether the task has no other threads. */
bool is_alone(Loop *self, pid_t tid);
/* Whether the task's /proc is procfs, and numbers processes as we do: then its "self" is the task's process. */
bool has_our_proc(Loop *self);
/* Whether a relative path may meet the task's root on its way (`own`: where it begins). Where in doubt, true. */
bool may_meet_root(Loop *self, const char *own, const char *path);
/* Where a path is resolved from, for `how` to be completed: a descriptor to close, AT_FDCWD for our own root, or -1. */
int base_of(Loop *self, const char *own, bool absolute, struct how *how);
/* A descriptor of the directory `path`, or of the task's `own` ("cwd", "fd/N") where that is empty; or -1. */
int open_directory(Loop *self, const char *own, const char *path);

/* ---------------------------------------------------------------- places.c */

int status_of(const struct place *place, struct status *status);
/* The file that the place means, as a descriptor of ours (to close where it is another than the place's); or -1. */
int hold(const struct place *place);
/* Whether the descriptor that `hold` gave is of the file that was looked at by name before; its status as of now. */
bool is_still(int fd, struct status *status);
/* Whether the file lies on procfs, where /proc/self and modes of access are not the same for us. Where in doubt, true. */
bool on_proc(Loop *self, const struct place *place, const struct status *status);
/* Whether a file of procfs tells of owners, or may. */
bool tells_owners(const struct place *place);

/* ---------------------------------------------------------------- carried.c */

/* The owner that a file's attribute says, if it has one (an id may be KEEP), or that it has none, for certain. */
enum carried { UNCERTAIN, NONE, CARRIED };
enum carried carried_owner(Loop *self, const struct place *place, const struct status *status, uint32_t ids[2]);
/* Write it on the file behind `fd`; `is_own`: it is the one that the file shows without. False if that is refused. */
bool carry_owner(int fd, uint32_t uid, uint32_t gid, bool is_own);

/* ---------------------------------------------------------------- owning.c */

/* Whether the store knows nothing of this file, for certain. */
bool no_override(Loop *self, const struct place *place, const struct status *status);
/* world.World.owner of the file with this status, if that is certain. */
bool owner_of(Loop *self, const struct place *place, const struct status *status, struct owner *owner,
	      struct identity *identity);
/* Whether the store may keep one of these bits for the file. */
bool keeps_modes(Loop *self, const struct place *place, const struct status *status, uint32_t bits);

/* ---------------------------------------------------------------- showing.c, giving.c, creation.c, readers.c */

/* Tell the task who the file belongs to. */
enum verdict show(Loop *self, const struct rule *rule, const struct place *place, const struct status *before);
/* Whether the id that the argument asks for is root's, or none, and the file's, `now`, is root's too. */
bool id_stays(const struct rule *rule, uint64_t argument, uint32_t now);
/* Whether the call changes owners that we can keep. */
bool gives(Loop *self, const struct rule *rule);
/* Whether it gives the file to somebody else than root. */
bool gives_away(Loop *self, const struct rule *rule);
/* Give it, held by `fd`, to whom the call says. */
enum verdict give(Loop *self, const struct rule *rule, int fd, const struct status *status);
/* Whether the call is to make a device node. */
bool makes_device(const struct rule *rule, const uint64_t *args);
/* Make it. */
enum verdict make_device(Loop *self, const struct rule *rule);
/* Whether this program, with the arguments at `arguments` (addresses of `word`'s width), is a reader. */
bool is_reader(Loop *self, const struct place *place, const struct status *status, uint64_t arguments, uint64_t word);

/* ---------------------------------------------------------------- searching.c */

enum { SEARCHED = 1, TO_READ = 4, IF_DIRECTORY = 8 }; /* what may be wanted: bits of a mode, and of what only */
enum { GONE = 0, UNSURE = -1, NOWHERE = -2 };

/*
 * The file that `path` leads to from the task's `own`, by an O_PATH descriptor of ours, if the user may certainly go
 * there and do what it wants with the file; its `status`. NOWHERE: there is none, and it may go where it would be. Else
 * UNSURE.
 */
int go(Loop *self, const char *own, const char *path, bool follow, uint32_t uid, uint32_t want, struct status *status);

/* ---------------------------------------------------------------- judge.c, changes.c, handlers.c */

/* What is to become of a call about a file. */
enum verdict judge_call(Loop *self, const struct rule *rule);
/* Answer a call that changes the task's state number `number` as Python did when it was asked the same. */
bool change(Loop *self, const struct rule *rule, uint64_t number);
/* Remember what Python made of what it was asked; the task still waits. */
void learn(Loop *self);
/* Note whether notifications are missing before this one. */
void count_missed(Loop *self);
/* Whether the signal handler that this call ends has interrupted no call that we catch, for certain. */
bool nothing_interrupted(Loop *self, const struct rule *rule);

/* ---------------------------------------------------------------- answers.c */

/* Where the rule of a call is noted, or has its place; `rules`: those that are noted. */
uint16_t *noted(Loop *self, const struct rule *rules, uint32_t arch, uint32_t nr);
/* Answer the notification here, if its rule allows: true, and the response is filled in. */
bool answer(Loop *self);

#endif
