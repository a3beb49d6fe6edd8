/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ways that a user may go, for certain: handlers.searching. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { MOST_STEPS = 256, STICKY_EVERYBODYS = S_ISVTX | S_IWOTH };

/* A file on the way of the user, by an O_PATH descriptor of ours. */
struct spot {
	uint32_t uid;
	int fd;
	struct status status;
	struct owner owner; /* if it has been asked what is permitted */
};

/*
 * Whether the file has no access list. That it has none is remembered while its inode stays as it is. One that has just
 * been changed may be changed again with nothing to tell by.
 */
static bool has_no_list(Loop *self, const struct spot *spot)
{
	const struct status *status = &spot->status;
	uint64_t dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	struct listless *known = &self->listless[(status->ino ^ dev) % LISTLESS];
	struct listless now = { dev, status->ino, status->times[4], (uint32_t)status->times[5] };
	struct timespec clock;
	char link[32];

	if (memcmp(known, &now, sizeof now) == 0)
		return true;
	snprintf(link, sizeof link, "/proc/self/fd/%d", spot->fd);
	if (getxattr(link, "system.posix_acl_access", NULL, 0) >= 0 || (errno != ENODATA && errno != EOPNOTSUPP))
		return false;
	clock_gettime(CLOCK_REALTIME_COARSE, &clock);
	if ((int64_t)status->times[4] < clock.tv_sec - 1)
		*known = now;
	return true;
}

/* Whether the user may do what is wanted with the file, whatever groups it is in and without any capability. */
static bool permits(Loop *self, struct spot *spot, uint32_t want)
{
	struct place place = { .at = spot->fd, .name = "" };
	struct owner *owner = &spot->owner;
	struct identity identity;

	if (on_proc(self, &place, &spot->status) || !owner_of(self, &place, &spot->status, owner, &identity))
		return false;
	if ((owner->mode ^ spot->status.mode) & S_IFMT)
		return false;
	if (owner->uid == spot->uid)
		return (owner->mode >> 6 & want) == want;
	return (owner->mode & owner->mode >> 3 & want) == want && has_no_list(self, spot);
}

/* Go on to this file, which is none of ours (-1) if there is no telling where the way leads. */
static bool move(struct spot *spot, int fd)
{
	struct place place = { .at = fd, .name = "" };

	if (spot->fd >= 0)
		close(spot->fd);
	spot->fd = fd;
	return fd >= 0 && status_of(&place, &spot->status) == 0;
}

/* Put what the link `fd` points to before the rest of the path, of PATH_SIZE; false if there is no room. */
static bool put_before(int fd, char *rest, const char *next, bool last)
{
	char target[PATH_SIZE];
	ssize_t length = readlinkat(fd, "", target, sizeof target);

	if (length <= 0 || length + strlen(next) + 2 > PATH_SIZE)
		return false;
	memmove(rest + length + !last, next, strlen(next) + 1);
	memcpy(rest, target, length);
	if (!last)
		rest[length] = '/';
	return true;
}

/* The path's next component, cut off; `next`: what is behind it. NULL if there is none. */
static char *component(char **next, bool *last)
{
	char *name = *next + strspn(*next, "/"), *end = strchrnul(name, '/');

	if (!*name)
		return NULL;
	*last = !*end;
	*next = end + !*last;
	*end = 0;
	return name;
}

/* Follow the link `found` in `spot`; `last`: it ends the path, but for slashes if it is followed for them. */
static int follow_link(Loop *self, struct spot *spot, const struct spot *found, char *rest, char **next, bool last)
{
	bool ends = !(*next)[strspn(*next, "/")];

	if (ends && (spot->owner.mode & STICKY_EVERYBODYS) == STICKY_EVERYBODYS)
		return UNSURE;
	if (!put_before(found->fd, rest, *next, last))
		return UNSURE;
	*next = rest;
	return *rest != '/' || move(spot, open_of_task(self, "root", O_PATH)) ? GONE : UNSURE;
}

/* One component further. A link leaves in `rest` the way that is to be gone then, and `next` at its beginning. */
static int step(Loop *self, struct spot *spot, const char *name, char *rest, char **next, bool last, bool follow)
{
	struct spot found = { .uid = spot->uid, .fd = -1 };
	int how = GONE;

	if (!S_ISDIR(spot->status.mode) || !permits(self, spot, SEARCHED) || (self->roots_differ && strcmp(name, "..") == 0))
		return UNSURE;
	if (!move(&found, openat(spot->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)))
		how = found.fd < 0 && errno == ENOENT ? NOWHERE : UNSURE;
	else if (S_ISLNK(found.status.mode) && (follow || !last))
		how = follow_link(self, spot, &found, rest, next, last);
	else {
		close(spot->fd);
		*spot = found;
		return GONE;
	}
	if (found.fd >= 0)
		close(found.fd);
	return how;
}

int go(Loop *self, const char *own, const char *path, bool follow, uint32_t uid, uint32_t want, struct status *status)
{
	struct spot spot = { .uid = uid, .fd = -1 };
	char rest[PATH_SIZE], *next = rest, *name;
	int steps = 0, how = UNSURE;
	bool last = true;

	if (strlen(path) < sizeof rest && move(&spot, open_of_task(self, *path == '/' ? "root" : own, O_PATH)))
		how = GONE;
	if (how == GONE)
		strcpy(rest, path);
	while (how == GONE && (name = component(&next, &last)))
		how = ++steps > MOST_STEPS ? UNSURE : step(self, &spot, name, rest, &next, last, follow);
	if (how == GONE && !last && !S_ISDIR(spot.status.mode))
		how = UNSURE; /* ENOTDIR */
	if (want & IF_DIRECTORY)
		want = S_ISDIR(spot.status.mode) ? want & ~IF_DIRECTORY : 0;
	if (how == GONE && want && !permits(self, &spot, want))
		how = UNSURE;
	*status = spot.status;
	if (how == GONE)
		return spot.fd;
	if (spot.fd >= 0)
		close(spot.fd);
	return how;
}
