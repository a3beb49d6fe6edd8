/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose a file is. */
#define _GNU_SOURCE
#include "loop.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Whether the store knows nothing of this file, for certain. */
bool no_override(Loop *self, const struct place *place, const struct status *status)
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

/* Whether the store may keep one of these bits for the file. */
bool keeps_modes(Loop *self, const struct place *place, const struct status *status, uint32_t bits)
{
	struct identity identity;
	struct owner owner;

	return !owner_of(self, place, status, &owner, &identity) || (owner.kept && owner.mode & bits);
}
