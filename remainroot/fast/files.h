/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of files, by device and inode number, for the loop in loop.h to look into.
 *
 * Keys    is a set that may be wrong in one direction only: it may claim to hold a file that it does not.
 * Owners  is what remainroot.store.memory keeps: each file's owner, and what tells it from another file that gets its
 *         inode number later. The loop reads and writes it without the interpreter's lock: only the thread that serves
 *         calls may touch it.
 */
#ifndef REMAINROOT_FILES_H
#define REMAINROOT_FILES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct {
	PyObject_HEAD
	uint64_t *slots; /* open addressing; 0 is a free one */
	size_t mask, used;
} Keys;

/* remainroot.store.base.identity: a file handle (its type and bytes), or a birth time. */
struct identity {
	size_t size;
	unsigned char bytes[4 + 128];
};

enum { KEPT = 43 };

struct entry {
	uint64_t dev, ino, rdev;
	uint32_t uid, gid, mode;
	uint8_t size;
	unsigned char identity[KEPT]; /* of a longer one, its beginning and a hash */
};

typedef struct {
	PyObject_HEAD
	struct entry *entries; /* in no order */
	uint32_t *slots; /* open addressing: an entry's index and one; 0 is a free one */
	size_t mask, count, room;
} Owners;

extern PyType_Spec keys_spec, owners_spec;
extern PyTypeObject *keys_type, *owners_type;

bool keys_hold(const Keys *keys, uint64_t dev, uint64_t ino);

/* The identity of what `name` is below our descriptor `at` (`flags`: 0 or AT_SYMLINK_NOFOLLOW), or `at` itself where it is
 * empty; false if none can be had. */
bool identity_of(int at, const char *name, int flags, struct identity *identity);
/* The entry of the file with these numbers, or NULL. */
struct entry *owners_find(const Owners *owners, uint64_t dev, uint64_t ino);
/* Whether the entry is of the file with this identity. */
bool owners_match(const struct entry *entry, const struct identity *identity);
/* Add `entry` (its identity apart), or put it in the place of one with the same numbers; false if memory is out. */
bool owners_put(Owners *owners, const struct entry *entry, const struct identity *identity);
void owners_remove(Owners *owners, uint64_t dev, uint64_t ino);

#endif
