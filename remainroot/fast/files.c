/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See files.h. */
#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t key_of(uint64_t dev, uint64_t ino)
{
	uint64_t key = (ino + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ dev * UINT64_C(0xC2B2AE3D27D4EB4F);

	key = (key ^ key >> 32) * UINT64_C(0xD6E8FEB86659FD93);
	key ^= key >> 32;
	return key ? key : 1;
}

/* ---------------------------------------------------------------- a set of files */

static size_t keys_find(const Keys *keys, uint64_t key)
{
	size_t at = key & keys->mask;

	while (keys->slots[at] && keys->slots[at] != key)
		at = (at + 1) & keys->mask;
	return at;
}

bool keys_hold(const Keys *keys, uint64_t dev, uint64_t ino)
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

PyType_Spec keys_spec = { "remainroot._fast.Keys", sizeof(Keys), 0, Py_TPFLAGS_DEFAULT, keys_slots };

/* ---------------------------------------------------------------- identities */

bool identity_of(int at, const char *name, int flags, struct identity *identity)
{
	static int fid = 0x200; /* AT_HANDLE_FID, until this kernel turns out not to know it (before Linux 6.5) */
	struct {
		uint32_t size;
		unsigned char rest[4 + 128]; /* the type, and the handle */
	} handle;
	int how = !*name ? AT_EMPTY_PATH : flags & AT_SYMLINK_NOFOLLOW ? 0 : AT_SYMLINK_FOLLOW, mount;
	unsigned char status[256];

	for (;;) {
		handle.size = sizeof handle.rest - 4;
		if (syscall(SYS_name_to_handle_at, at, name, &handle, &mount, how | fid) == 0) {
			identity->size = 4 + handle.size;
			memcpy(identity->bytes, handle.rest, identity->size);
			return true;
		}
		if (errno != EINVAL || !fid)
			break;
		fid = 0;
	}
	memset(status, 0, sizeof status);
	if (syscall(SYS_statx, at, name, flags | (*name ? 0 : AT_EMPTY_PATH), 0x800, status) < 0) /* STATX_BTIME */
		return false;
	identity->size = 16;
	memcpy(identity->bytes, status + 80, 16);
	return true;
}

/* As an entry keeps it. */
static void shorten(const struct identity *identity, struct entry *entry)
{
	uint64_t hash[2] = { UINT64_C(0xcbf29ce484222325), UINT64_C(0x9E3779B97F4A7C15) };

	entry->size = identity->size;
	memset(entry->identity, 0, KEPT);
	if (identity->size <= KEPT) {
		memcpy(entry->identity, identity->bytes, identity->size);
		return;
	}
	for (size_t at = 0; at < identity->size; at++) {
		hash[0] = (hash[0] ^ identity->bytes[at]) * UINT64_C(0x100000001b3);
		hash[1] = key_of(hash[1], identity->bytes[at]);
	}
	memcpy(entry->identity, identity->bytes, KEPT - sizeof hash);
	memcpy(entry->identity + KEPT - sizeof hash, hash, sizeof hash);
}

bool owners_match(const struct entry *entry, const struct identity *identity)
{
	struct entry other;

	shorten(identity, &other);
	return entry->size == other.size && memcmp(entry->identity, other.identity, KEPT) == 0;
}

/* ---------------------------------------------------------------- owners of files */

/* The slot of the file: one that holds its entry's index, or the free one where that would be. */
static size_t slot_of(const Owners *owners, uint64_t dev, uint64_t ino)
{
	size_t at = key_of(dev, ino) & owners->mask;
	const struct entry *entry;

	for (; owners->slots[at]; at = (at + 1) & owners->mask) {
		entry = &owners->entries[owners->slots[at] - 1];
		if (entry->dev == dev && entry->ino == ino)
			break;
	}
	return at;
}

struct entry *owners_find(const Owners *owners, uint64_t dev, uint64_t ino)
{
	uint32_t index = owners->slots[slot_of(owners, dev, ino)];

	return index ? &owners->entries[index - 1] : NULL;
}

/* Room for one entry more. Not PyMem: that wants the interpreter's lock. */
static bool owners_grow(Owners *owners)
{
	size_t room = owners->room + owners->room / 4 + 16, size = owners->mask + 1;
	struct entry *entries;
	uint32_t *slots;

	if (owners->count == owners->room) {
		entries = realloc(owners->entries, room * sizeof *entries);
		if (!entries)
			return false;
		owners->entries = entries;
		owners->room = room;
	}
	if (owners->count * 4 < size * 3)
		return true;
	slots = calloc(2 * size, sizeof *slots);
	if (!slots)
		return false;
	free(owners->slots);
	owners->slots = slots;
	owners->mask = 2 * size - 1;
	for (size_t at = 0; at < owners->count; at++)
		slots[slot_of(owners, owners->entries[at].dev, owners->entries[at].ino)] = at + 1;
	return true;
}

bool owners_put(Owners *owners, const struct entry *entry, const struct identity *identity)
{
	struct entry *place = owners_find(owners, entry->dev, entry->ino);

	if (!place) {
		if (owners->count >= UINT32_MAX - 1 || !owners_grow(owners))
			return false;
		owners->slots[slot_of(owners, entry->dev, entry->ino)] = owners->count + 1;
		place = &owners->entries[owners->count++];
	}
	*place = *entry;
	shorten(identity, place);
	return true;
}

void owners_remove(Owners *owners, uint64_t dev, uint64_t ino)
{
	size_t at = slot_of(owners, dev, ino), next = at;
	uint32_t index = owners->slots[at];
	const struct entry *last;

	if (!index)
		return;
	owners->slots[at] = 0;
	/* Those behind it may stand where they do because its slot was taken. */
	for (;;) {
		uint32_t moved;

		next = (next + 1) & owners->mask;
		moved = owners->slots[next];
		if (!moved)
			break;
		owners->slots[next] = 0;
		owners->slots[slot_of(owners, owners->entries[moved - 1].dev, owners->entries[moved - 1].ino)] = moved;
	}
	last = &owners->entries[owners->count - 1];
	if (index != owners->count) {
		owners->slots[slot_of(owners, last->dev, last->ino)] = index;
		owners->entries[index - 1] = *last;
	}
	owners->count--;
}

static PyObject *owners_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	(void)args, (void)kwargs;
	Owners *self = (Owners *)type->tp_alloc(type, 0);

	if (!self)
		return NULL;
	self->mask = 255;
	self->slots = calloc(self->mask + 1, sizeof *self->slots);
	if (!self->slots) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void owners_dealloc(Owners *self)
{
	PyTypeObject *type = Py_TYPE(self);

	free(self->slots);
	free(self->entries);
	type->tp_free(self);
	Py_DECREF(type);
}

static Py_ssize_t owners_length(Owners *self)
{
	return self->count;
}

/* Take an identity as Python has it. */
static bool take_identity(const char *bytes, Py_ssize_t size, struct identity *identity)
{
	if (size > (Py_ssize_t)sizeof identity->bytes) {
		PyErr_SetString(PyExc_ValueError, "not an identity");
		return false;
	}
	identity->size = size;
	memcpy(identity->bytes, bytes, size);
	return true;
}

static PyObject *owners_get(Owners *self, PyObject *args)
{
	unsigned long long dev, ino;
	const struct entry *entry;

	if (!PyArg_ParseTuple(args, "KK:get", &dev, &ino))
		return NULL;
	entry = owners_find(self, dev, ino);
	if (!entry)
		Py_RETURN_NONE;
	return Py_BuildValue("IIIK", entry->uid, entry->gid, entry->mode, (unsigned long long)entry->rdev);
}

static PyObject *owners_is_of(Owners *self, PyObject *args)
{
	unsigned long long dev, ino;
	const struct entry *entry;
	struct identity identity;
	const char *bytes;
	Py_ssize_t size;

	if (!PyArg_ParseTuple(args, "KKy#:is_of", &dev, &ino, &bytes, &size) || !take_identity(bytes, size, &identity))
		return NULL;
	entry = owners_find(self, dev, ino);
	return PyBool_FromLong(entry && owners_match(entry, &identity));
}

static PyObject *owners_set(Owners *self, PyObject *args)
{
	unsigned long long dev, ino, rdev;
	struct identity identity;
	struct entry entry = { 0 };
	const char *bytes;
	Py_ssize_t size;

	if (!PyArg_ParseTuple(args, "KKy#IIIK:put", &dev, &ino, &bytes, &size, &entry.uid, &entry.gid, &entry.mode, &rdev) ||
	    !take_identity(bytes, size, &identity))
		return NULL;
	entry.dev = dev;
	entry.ino = ino;
	entry.rdev = rdev;
	if (!owners_put(self, &entry, &identity))
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static PyObject *owners_delete(Owners *self, PyObject *args)
{
	unsigned long long dev, ino;

	if (!PyArg_ParseTuple(args, "KK:remove", &dev, &ino))
		return NULL;
	owners_remove(self, dev, ino);
	Py_RETURN_NONE;
}

static PyMethodDef owners_methods[] = {
	{ "get", (PyCFunction)owners_get, METH_VARARGS, "get(dev, ino): (uid, gid, mode, rdev) of whatever had these numbers, or None." },
	{ "is_of", (PyCFunction)owners_is_of, METH_VARARGS, "is_of(dev, ino, identity): whether it is that file's." },
	{ "put", (PyCFunction)owners_set, METH_VARARGS, "put(dev, ino, identity, uid, gid, mode, rdev)." },
	{ "remove", (PyCFunction)owners_delete, METH_VARARGS, "remove(dev, ino): if it is there." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot owners_slots[] = {
	{ Py_tp_doc, "The owners of files by device and inode number." },
	{ Py_tp_new, owners_new },
	{ Py_tp_dealloc, owners_dealloc },
	{ Py_tp_methods, owners_methods },
	{ Py_sq_length, owners_length },
	{ 0, NULL },
};

PyType_Spec owners_spec = { "remainroot._fast.Owners", sizeof(Owners), 0, Py_TPFLAGS_DEFAULT, owners_slots };
