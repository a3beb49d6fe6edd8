/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See loop.h. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the rule of a call is noted, or has its place; `rules`: those that are noted. */
static uint16_t *noted(Loop *self, const struct rule *rules, uint32_t arch, uint32_t nr)
{
	uint32_t at = (nr * 31 ^ arch * 7 ^ nr >> 20) & (RULES - 1);

	for (; self->rules[at]; at = (at + 1) & (RULES - 1))
		if (rules[self->rules[at] - 1].nr == nr && rules[self->rules[at] - 1].arch == arch)
			break;
	return &self->rules[at];
}

static const struct rule *rule_of(Loop *self, uint32_t arch, uint32_t nr)
{
	const struct rule *rules = (const struct rule *)PyBytes_AS_STRING(self->packed);
	uint16_t which = *noted(self, rules, arch, nr);

	return which ? &rules[which - 1] : NULL;
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

/* Whether the argument points to an attribute's name that the handler has no opinion on. */
static bool name_is_plain(Loop *self, uint64_t address)
{
	char name[PATH_SIZE];

	return peek_path(self->notification.pid, address, name) >= 0 &&
	       strncmp(name, PyBytes_AS_STRING(self->special), PyBytes_GET_SIZE(self->special)) != 0;
}

/* Whether this is an open to write, of a file with a name that is Python's. */
static bool writes_there(Loop *self, const struct rule *rule)
{
	const struct notification *call = &self->notification;
	ssize_t length, wanted;

	if (rule->open_flags < 0 || !self->written || !(call->args[rule->open_flags] & O_ACCMODE))
		return false;
	length = peek_path(call->pid, call->args[rule->path] & rule->word, self->path);
	for (const char *name = PyBytes_AS_STRING(self->written); *name; name += wanted + 1) {
		wanted = strlen(name);
		if (length >= wanted && strcmp(self->path + length - wanted, name) == 0)
			return true;
	}
	return false;
}

/* Whether this is an open that creates nothing. */
static bool opens_what_is_there(const struct rule *rule, const uint64_t *args)
{
	return rule->open_flags >= 0 && !(args[rule->open_flags] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)));
}

/*
 * What is to become of it: it may be a write to a device node, or one that ends set-id bits (handlers.opening), or a
 * reader's look at what procfs says (handlers.views). `has`: the caller's powers.
 */
static enum verdict judge_opening(Loop *self, const struct rule *rule, uint64_t has)
{
	uint64_t flags = self->notification.args[rule->open_flags];
	bool reads = !(flags & (O_ACCMODE | O_TRUNC | O_NOATIME)), any = has & rule->opens;
	struct rule opening = *rule;

	if (reads && flags & (O_PATH | O_DIRECTORY))
		return THROUGH;
	if (!reads && any && !(self->powers & rule->opens))
		return PYTHON;
	if (!reads && any && !self->nodes)
		return THROUGH;
	if (!(self->may & rule->looks) || (!reads && flags & (O_NOATIME | O_NOFOLLOW | O_PATH)))
		return PYTHON;
	if (reads && flags & O_NOFOLLOW)
		opening.flags_fixed |= AT_SYMLINK_NOFOLLOW;
	opening.parent = 0;
	opening.modes = reads || any ? DEVICE_BIT : DEVICE_BIT | S_ISUID | S_ISGID;
	return judge_call(self, &opening);
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

	rule = rule_of(self, call->arch, call->nr);
	if (!rule)
		return false;
	if (rule->result >= 0) {
		*response = (struct response){ .id = call->id, .flags = FLAG_CONTINUE };
		return nothing_interrupted(self, rule);
	}
	if (!self->powers)
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
		return !self->pdeathsigs && change(self, rule, number);
	self->may = who->powers & self->powers;
	if (writes_there(self, rule))
		return false;
	if (opens_what_is_there(rule, call->args)) {
		response->flags = FLAG_CONTINUE;
		return judge_opening(self, rule, who->powers) == THROUGH;
	}
	if (rule->open_flags >= 0 && self->nodes && judge_opening(self, rule, who->powers) != THROUGH)
		return false;
	if (makes_device(rule, call->args))
		return make_device(self, rule) == ANSWERED;
	if (rule->clear_arg >= 0) {
		value = call->args[rule->clear_arg] & rule->word;
		if (rule->clear_indirect && peek(call->pid, value, (char *)&value, sizeof value) != sizeof value)
			return false;
		if (value & rule->clear_bits)
			return false;
	}
	if (rule->clear_too_arg >= 0 && call->args[rule->clear_too_arg] & rule->clear_too_bits)
		return false;
	if (rule->unless_arg >= 0 && (uint32_t)call->args[rule->unless_arg] == (uint32_t)rule->unless_value)
		return false;
	if (rule->name >= 0 && !name_is_plain(self, call->args[rule->name] & rule->word))
		return false;
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
		count_missed(self);
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
	int untouched, roots_differ, store_empty, complete, nodes, readable, pdeathsigs;

	if (!PyArg_ParseTuple(args, "Ippppppp:set_conditions", &self->powers, &untouched, &roots_differ, &store_empty,
			      &complete, &nodes, &readable, &pdeathsigs))
		return NULL;
	self->pdeathsigs = pdeathsigs;
	self->nodes = nodes;
	self->readable_nodes = readable;
	self->complete = complete;
	self->untouched = untouched;
	self->roots_differ = roots_differ;
	self->store_empty = store_empty;
	Py_RETURN_NONE;
}

static PyObject *loop_listen(Loop *self, PyObject *args)
{
	int interruptible;

	if (!PyArg_ParseTuple(args, "ip:listen", &self->listener, &interruptible))
		return NULL;
	self->interruptible = interruptible;
	Py_RETURN_NONE;
}

static PyObject *loop_leave_writes(Loop *self, PyObject *args)
{
	PyObject *names;

	if (!PyArg_ParseTuple(args, "S:leave_writes", &names))
		return NULL;
	Py_XSETREF(self->written, Py_NewRef(names));
	Py_RETURN_NONE;
}

static PyObject *loop_forget_devices(Loop *self, PyObject *nothing)
{
	(void)nothing;
	memset(self->devices, 0, sizeof self->devices);
	Py_RETURN_NONE;
}

static PyObject *loop_watch_for(Loop *self, PyObject *args)
{
	PyObject *libraries, *proc, *files;

	if (!PyArg_ParseTuple(args, "SSS:watch_for", &libraries, &proc, &files))
		return NULL;
	Py_XSETREF(self->proc_path, Py_NewRef(proc));
	Py_XSETREF(self->told_files, Py_NewRef(files));
	Py_XSETREF(self->libraries, Py_NewRef(libraries));
	Py_RETURN_NONE;
}

static PyObject *loop_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *keys, *owners, *special, *packed;
	const struct rule *rules;
	size_t count;
	unsigned int hidden_uid, hidden_gid;
	unsigned long long tag;
	int carried;
	Loop *self;

	(void)kwargs;
	if (!PyArg_ParseTuple(args, "KIIO!OpSS:Loop", &tag, &hidden_uid, &hidden_gid, keys_type, &keys, &owners, &carried,
			      &special, &packed))
		return NULL;
	rules = (const struct rule *)PyBytes_AS_STRING(packed);
	count = PyBytes_GET_SIZE(packed) / sizeof *rules;
	if (PyBytes_GET_SIZE(packed) % sizeof *rules || count > RULES / 2)
		return PyErr_Format(PyExc_ValueError, "not rules, or too many");
	if (owners != Py_None && !Py_IS_TYPE(owners, owners_type))
		return PyErr_Format(PyExc_TypeError, "owners: a table or None");
	self = (Loop *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->listener = -1;
	self->tag = tag;
	self->own_uid = geteuid();
	self->hidden_uid = hidden_uid;
	self->hidden_gid = hidden_gid;
	for (int at = 0; at < TASKS; at++)
		self->tasks[at].fd = -1;
	self->umask.fd = -1;
	self->proc = syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | O_CLOEXEC);
	self->keys = (Keys *)Py_NewRef(keys);
	self->owners = owners == Py_None ? NULL : (Owners *)Py_NewRef(owners);
	self->packed = Py_NewRef(packed);
	for (size_t at = 0; at < count; at++)
		*noted(self, rules, rules[at].arch, rules[at].nr) = at + 1;
	self->carried = carried;
	self->special = Py_NewRef(special);
	return (PyObject *)self;
}

static void loop_dealloc(Loop *self)
{
	PyTypeObject *type = Py_TYPE(self);

	for (int at = 0; at < TASKS; at++)
		if (self->tasks[at].fd >= 0)
			close(self->tasks[at].fd);
	if (self->umask.fd >= 0)
		close(self->umask.fd);
	if (self->proc >= 0)
		close(self->proc);
	Py_XDECREF(self->keys);
	Py_XDECREF(self->owners);
	Py_XDECREF(self->special);
	Py_XDECREF(self->packed);
	Py_XDECREF(self->written);
	Py_XDECREF(self->libraries);
	Py_XDECREF(self->proc_path);
	Py_XDECREF(self->told_files);
	PyMem_Free(self->who);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef loop_methods[] = {
	{ "exchange", (PyCFunction)loop_exchange, METH_VARARGS,
	  "exchange(id, value, error, flags, patience): send this answer (id 0: none), then receive and answer calls until\n"
	  "one is Python's: (id, tid, arch, nr, args). None when none came for `patience` ms (-1: wait for ever)." },
	{ "set_who", (PyCFunction)loop_set_who, METH_VARARGS,
	  "set_who(number, uid, euid, gid, egid, powers, dumpable): what the state of that number means." },
	{ "set_conditions", (PyCFunction)loop_set_conditions, METH_VARARGS,
	  "set_conditions(powers, untouched, roots_differ, store_empty, keys_complete, nodes, readable_nodes, pdeathsigs): what\n"
	  "holds until the next call." },
	{ "listen", (PyCFunction)loop_listen, METH_VARARGS,
	  "listen(listener, interruptible): the conversation's descriptor; whether a signal interrupts calls that were\n"
	  "received, too." },
	{ "leave_writes", (PyCFunction)loop_leave_writes, METH_VARARGS,
	  "leave_writes(names): opens to write of a path that ends with one of these are Python's." },
	{ "forget_devices", (PyCFunction)loop_forget_devices, METH_NOARGS,
	  "forget_devices(): their numbers may be others' now." },
	{ "watch_for", (PyCFunction)loop_watch_for, METH_VARARGS,
	  "watch_for(libraries, proc, files): what makes a program a reader; see remainroot.readers." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot loop_slots[] = {
	{ Py_tp_doc, "Loop(tag, hidden_uid, hidden_gid, keys, owners, carried, special, rules): the notify engine's conversation with the kernel." },
	{ Py_tp_new, loop_new },
	{ Py_tp_dealloc, loop_dealloc },
	{ Py_tp_methods, loop_methods },
	{ 0, NULL },
};

PyType_Spec loop_spec = { "remainroot._fast.Loop", sizeof(Loop), 0, Py_TPFLAGS_DEFAULT, loop_slots };
