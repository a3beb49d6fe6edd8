/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers that tell whose a file is. */
#define _GNU_SOURCE
#include "loop.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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
enum verdict show(Loop *self, const struct rule *rule, const struct place *place, const struct status *before)
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
	if (ask_listener(self->listener, ID_VALID, (void *)&call->id) < 0)
		return PYTHON; /* gone, and its number may be another's */
	return poke(call->pid, call->args[rule->buffer] & rule->word, answer, size) ? ANSWERED : PYTHON;
}
