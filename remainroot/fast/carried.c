/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owners that files carry themselves: remainroot.store.xattr, as remainroot.store.durable uses it. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define RESOURCE "user.rootlesscontainers"
#define OVERRIDE "user.containers.override_stat"
#define ATTRIBUTES "user.remainroot."

/* The file by a path of ours, for calls that take no descriptor opened with O_PATH. */
static void name_place(const struct place *place, char path[PATH_SIZE + 64])
{
	snprintf(path, PATH_SIZE + 64, *place->name ? "/proc/self/fd/%d/%s" : "/proc/self/fd/%d", place->at, place->name);
}

static ssize_t list_of(const struct place *place, char *names, size_t size)
{
	char path[PATH_SIZE + 64];
	ssize_t got = -1;

	/* listxattrat (Linux 6.13) refuses O_PATH descriptors, but not names below them. */
	errno = ENOSYS;
	if (*place->name)
		got = syscall(SYS_listxattrat, place->at, place->name, place->flags, names, size);
	if (got < 0 && errno == ENOSYS) {
		name_place(place, path);
		got = place->flags ? llistxattr(path, names, size) : listxattr(path, names, size);
	}
	return got;
}

/* DurableStore._carries: whether an attribute is the only place where this file's owner can be. */
static bool carries(Loop *self, const struct place *place, const struct status *status)
{
	uint64_t dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	struct device *device = &self->devices[(status->dev_major * 31 + status->dev_minor) % DEVICES];
	char path[PATH_SIZE + 64];

	if (status->uid != 0 || !(S_ISREG(status->mode) || S_ISDIR(status->mode)))
		return false;
	if (!device->known || device->dev != dev) {
		/* To replace an attribute that is not there changes nothing, and tells whether there can be any. */
		name_place(place, path);
		if ((place->flags ? lsetxattr : setxattr)(path, ATTRIBUTES, "", 0, XATTR_REPLACE) == 0 ||
		    (errno != ENODATA && errno != EOPNOTSUPP && errno != EROFS))
			return false;
		*device = (struct device){ dev, true, errno != EOPNOTSUPP };
	}
	return device->carries;
}

static const unsigned char *read_varint(const unsigned char *at, const unsigned char *end, uint64_t *value)
{
	*value = 0;
	for (int index = 0; index < 10 && at < end; index++) {
		*value |= (uint64_t)(*at & 0x7F) << 7 * index;
		if (*at++ < 0x80)
			return at;
	}
	return NULL;
}

/* codec.decode_resource, of a message as we write it. */
static bool decode(const unsigned char *at, const unsigned char *end, uint32_t ids[2])
{
	uint64_t tag, value;

	ids[0] = ids[1] = 0;
	while (at < end) {
		at = read_varint(at, end, &tag);
		if (!at || (tag != 0x08 && tag != 0x10))
			return false;
		at = read_varint(at, end, &value);
		if (!at)
			return false;
		ids[tag >> 4] = (uint32_t)value;
	}
	return true;
}

static unsigned char *write_varint(unsigned char *at, uint32_t value)
{
	for (; value > 0x7F; value >>= 7)
		*at++ = value | 0x80;
	*at++ = value;
	return at;
}

/* codec.encode_resource: its length. */
static size_t encode(unsigned char *message, uint32_t uid, uint32_t gid)
{
	unsigned char *at = message;

	if (uid) {
		*at++ = 0x08;
		at = write_varint(at, uid);
	}
	if (gid) {
		*at++ = 0x10;
		at = write_varint(at, gid);
	}
	return at - message;
}

enum carried carried_owner(Loop *self, const struct place *place, const struct status *status, uint32_t ids[2])
{
	char path[PATH_SIZE + 64], names[1024];
	const char *name;
	unsigned char message[64];
	bool resource = false;
	ssize_t got;

	if (!carries(self, place, status))
		return UNCERTAIN;
	got = list_of(place, names, sizeof names);
	if (got < 0)
		return UNCERTAIN;
	for (name = names; name < names + got; name += strlen(name) + 1) {
		if (strcmp(name, OVERRIDE) == 0 || strncmp(name, ATTRIBUTES, strlen(ATTRIBUTES)) == 0)
			return UNCERTAIN;
		resource |= strcmp(name, RESOURCE) == 0;
	}
	if (!resource)
		return NONE;
	name_place(place, path);
	got = (place->flags ? lgetxattr : getxattr)(path, RESOURCE, message, sizeof message);
	return got >= 0 && decode(message, message + got, ids) ? CARRIED : UNCERTAIN;
}

bool carry_owner(int fd, uint32_t uid, uint32_t gid, bool is_own)
{
	struct place place = { .at = fd, .name = "" };
	char path[PATH_SIZE + 64];
	unsigned char message[16];

	name_place(&place, path);
	if (is_own)
		return removexattr(path, RESOURCE) == 0 || errno == ENODATA;
	return setxattr(path, RESOURCE, message, encode(message, uid, gid), 0) == 0;
}
