/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hot path, compiled: remainroot works the same without this module (see remainroot/quick.py and remainroot/libc.py).
 *
 * Loop is in loop.h, Keys and Owners in files.h. The rest are what remainroot/libc.py does by ctypes, under the same
 * names and with the same errors.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

PyTypeObject *keys_type, *owners_type;

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
	/* Whoever mounts or renames something meanwhile makes some resolutions fail; a namespace's mounts come in rows. */
	for (int attempt = 0; attempt < 1000; attempt++) {
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
