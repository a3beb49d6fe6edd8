/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that give files away. */
#define _GNU_SOURCE
#include "loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

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
bool id_stays(const struct rule *rule, uint64_t argument, uint32_t now)
{
	uint32_t id = wanted_id(rule, argument);

	return now == 0 && (id == KEEP || id == 0);
}

/* Give the file that we hold to whom the call says: handlers.owners, where no mode changes and nobody may object. */
enum verdict give(Loop *self, const struct rule *rule, int fd, const struct status *status)
{
	const struct notification *call = &self->notification;
	uint32_t uid = wanted_id(rule, call->args[rule->uid]), gid = wanted_id(rule, call->args[rule->gid]);
	struct entry entry = { .ino = status->ino };
	struct place place = { .at = fd, .name = "" };
	struct identity identity;
	struct owner owner;
	bool is_own;
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
	if (self->owners && !owner.kept && !identity_of(fd, "", 0, &identity))
		return PYTHON;
	entry.dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	entry.uid = uid == KEEP ? owner.uid : uid;
	entry.gid = gid == KEEP ? owner.gid : gid;
	if (ask_listener(self->listener, ID_VALID, (void *)&call->id) < 0)
		return PYTHON; /* gone: another's path may have been read */
	/* The real change of nothing: what cannot be changed refuses it, and ctime moves. */
	if (fchownat(fd, "", KEEP, KEEP, AT_EMPTY_PATH) < 0)
		return PYTHON;
	is_own = entry.uid == (status->uid == self->hidden_uid ? 0 : status->uid) &&
		 entry.gid == (status->gid == self->hidden_gid ? 0 : status->gid);
	if (!self->owners)
		return carry_owner(fd, entry.uid, entry.gid, is_own) ? ANSWERED : PYTHON;
	if (is_own)
		owners_remove(self->owners, entry.dev, entry.ino);
	else if (!owners_put(self->owners, &entry, &identity))
		return PYTHON;
	return ANSWERED;
}

/* Whether the call changes owners that we can keep. (To make a device takes the power to give, too, but names no owner.) */
bool gives(Loop *self, const struct rule *rule)
{
	return rule->give && rule->uid >= 0 && rule->gid >= 0 && (self->owners ? !self->store_empty : self->carried);
}

/* Whether it gives the file to somebody else than root. */
bool gives_away(Loop *self, const struct rule *rule)
{
	const uint64_t *args = self->notification.args;

	return gives(self, rule) && !(id_stays(rule, args[rule->uid], 0) && id_stays(rule, args[rule->gid], 0));
}
