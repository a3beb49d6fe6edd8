/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See kernel.h. */
#define _GNU_SOURCE
#include "kernel.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

int ask_listener(int listener, unsigned long what, void *argument)
{
	int result;

	do
		result = ioctl(listener, what, argument);
	while (result < 0 && errno == EINTR);
	return result;
}

ssize_t peek(pid_t tid, uint64_t address, void *buffer, size_t size)
{
	uint64_t first = PAGE - (address & (PAGE - 1));
	struct iovec local = { buffer, size };
	struct iovec remote[2] = {
		{ (void *)(uintptr_t)address, size < first ? size : first },
		{ (void *)(uintptr_t)(address + first), size < first ? 0 : size - first },
	};

	return process_vm_readv(tid, &local, 1, remote, remote[1].iov_len ? 2 : 1, 0);
}

bool poke(pid_t tid, uint64_t address, const void *data, size_t size)
{
	struct iovec local = { (void *)data, size }, remote = { (void *)(uintptr_t)address, size };

	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

ssize_t peek_path(pid_t tid, uint64_t address, char *path)
{
	size_t rest = PAGE - (address & (PAGE - 1));
	const char *end;
	ssize_t got;

	/* Paths are short and rarely cross a page: ask for little first. */
	got = peek(tid, address, path, rest < 256 ? rest : 256);
	if (got > 0 && (end = memchr(path, 0, got)))
		return end - path;
	if (got > 0 || errno == EFAULT) {
		got = peek(tid, address, path, PATH_SIZE);
		if (got > 0 && (end = memchr(path, 0, got)))
			return end - path;
		if (got >= 0)
			errno = got == PATH_SIZE ? ENAMETOOLONG : EFAULT;
	}
	return -1;
}
