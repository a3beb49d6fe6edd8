/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See loop.h. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------- the loop as Python sees it */

enum { GLANCE = 3 }; /* how many ms what else there is to wait for may have to wait itself, while calls keep coming */

static int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/*
 * Send the response (unless there is none) and receive; answer here until a call is Python's. 0, an errno, or -1: there is
 * something else to wait for (`patience`), and it is time to look at it.
 */
static int converse(Loop *self, bool send, int patience)
{
	struct pollfd ready = { .fd = self->listener, .events = POLLIN };
	int64_t end = patience >= 0 ? milliseconds() + GLANCE : 0;

	for (;; send = true) {
		/* A failure means that the task died, or was interrupted, while it waited. */
		if (send)
			(void)ask_listener(self->listener, SEND, &self->response);
		/* Nor may a signal lead on to RECV: it tells of a stop that nobody would look at. It may have come before. */
		if (patience >= 0 && (milliseconds() >= end || poll(&ready, 1, patience) <= 0))
			return -1;
		memset(&self->notification, 0, sizeof self->notification);
		if (ioctl(self->listener, RECV, &self->notification) < 0)
			return errno;
		count_missed(self);
		if (!answer(self))
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
	int guarded;
	size_t size;

	if (!PyArg_ParseTuple(args, "IIIIIIip:set_who", &number, &who.ids[0], &who.ids[1], &who.ids[2], &who.ids[3],
			      &who.powers, &who.dumpable, &guarded))
		return NULL;
	who.guarded = guarded;
	self->guarding |= guarded;
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
	int untouched, roots_differ, store_empty, carried, complete, nodes, readable, pdeathsigs;

	if (!PyArg_ParseTuple(args, "IIpppppppp:set_conditions", &self->powers, &self->shared, &untouched, &roots_differ, &store_empty,
			      &carried, &complete, &nodes, &readable, &pdeathsigs))
		return NULL;
	self->carried = carried;
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
	memset(self->listless, 0, sizeof self->listless);
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

/* A quarter of the descriptors that we may have and need for nothing else, and one. */
static int places_for_tasks(void)
{
	enum { NEEDED = 32 };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= NEEDED)
		return 1;
	return limit.rlim_cur - NEEDED < 4 * TASKS ? 1 + (int)(limit.rlim_cur - NEEDED) / 4 : TASKS;
}

static PyObject *loop_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *keys, *owners, *special, *packed;
	const struct rule *rules;
	size_t count;
	unsigned int hidden_uid, hidden_gid;
	unsigned long long tag;
	Loop *self;

	(void)kwargs;
	if (!PyArg_ParseTuple(args, "KIIO!OSS:Loop", &tag, &hidden_uid, &hidden_gid, keys_type, &keys, &owners,
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
	self->places = places_for_tasks();
	for (int at = 0; at < TASKS; at++)
		self->tasks[at].fd = -1;
	self->umask.fd = -1;
	self->proc = syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | O_CLOEXEC);
	self->keys = (Keys *)Py_NewRef(keys);
	self->owners = owners == Py_None ? NULL : (Owners *)Py_NewRef(owners);
	self->packed = Py_NewRef(packed);
	for (size_t at = 0; at < count; at++)
		*noted(self, rules, rules[at].arch, rules[at].nr) = at + 1;
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
	  "one is Python's: (id, tid, arch, nr, args). None when no call came for `patience` ms (-1: wait for ever), or none of\n"
	  "Python's for 3." },
	{ "set_who", (PyCFunction)loop_set_who, METH_VARARGS,
	  "set_who(number, uid, euid, gid, egid, powers, dumpable, guarded): what the state of that number means; `guarded`: the\n"
	  "guards of --strict do not leave it alone." },
	{ "set_conditions", (PyCFunction)loop_set_conditions, METH_VARARGS,
	  "set_conditions(powers, shared, untouched, roots_differ, store_empty, carried, keys_complete, nodes, readable_nodes,\n"
	  "pdeathsigs): what holds until the next call; `shared`: the powers that every state has." },
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
	{ Py_tp_doc, "Loop(tag, hidden_uid, hidden_gid, keys, owners, special, rules): the notify engine's conversation with the kernel." },
	{ Py_tp_new, loop_new },
	{ Py_tp_dealloc, loop_dealloc },
	{ Py_tp_methods, loop_methods },
	{ 0, NULL },
};

PyType_Spec loop_spec = { "remainroot._fast.Loop", sizeof(Loop), 0, Py_TPFLAGS_DEFAULT, loop_slots };
