/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interfaces of the kernel, whatever the headers are, and the memory of other tasks. */
#ifndef REMAINROOT_KERNEL_H
#define REMAINROOT_KERNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif

struct notification { /* struct seccomp_notif */
	uint64_t id;
	uint32_t pid, flags;
	int32_t nr;
	uint32_t arch;
	uint64_t instruction_pointer, args[6];
};

struct response { /* struct seccomp_notif_resp */
	uint64_t id;
	int64_t value;
	int32_t error;
	uint32_t flags;
};

struct how { /* struct open_how */
	uint64_t flags, mode, resolve;
};

struct status { /* struct statx, as far as it is read here */
	uint32_t mask, block_size;
	uint64_t attributes;
	uint32_t links, uid, gid;
	uint16_t mode, unused;
	uint64_t ino, size, blocks, known_attributes;
	uint64_t times[8];
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mount, rest[13];
};

enum {
	BASIC = 0x7ff, /* STATX_BASIC_STATS */
	TIMES = 0xe0, /* STATX_ATIME, _MTIME, _CTIME */
	WANTED = BASIC | 0x4000, /* STATX_MNT_ID_UNIQUE */
	MOUNT = 0x1000, /* STATX_MNT_ID */
	UNIQUE_MOUNT = 0x4000,
	NO_MAGICLINKS = 0x02, /* RESOLVE_... */
	BENEATH = 0x08,
	IN_ROOT = 0x10,
	FLAG_CONTINUE = 1,
	PROC_MAGIC = 0x9FA0,
	SYNC_TYPE = 0x6000, /* AT_STATX_SYNC_TYPE */
};

#define RECV _IOC(_IOC_READ | _IOC_WRITE, '!', 0, sizeof(struct notification))
#define SEND _IOC(_IOC_READ | _IOC_WRITE, '!', 1, sizeof(struct response))
#define ID_VALID _IOC(_IOC_WRITE, '!', 2, sizeof(uint64_t))
#define PATH_SIZE 4096
#define PAGE 4096

/*
 * SEND or ID_VALID of the listener: 0, or -1 and errno. They wait for nothing but its lock, and a signal to us may come
 * meanwhile; then nothing has been done yet.
 */
int ask_listener(int listener, unsigned long what, void *argument);
/* Up to `size` bytes at `address` of `tid`: how many, or -1 and errno. Stops where memory does. */
ssize_t peek(pid_t tid, uint64_t address, void *buffer, size_t size);
/* Write all of it at `address` of `tid`. */
bool poke(pid_t tid, uint64_t address, const void *data, size_t size);
/* The string at `address` and its NUL, in a buffer of PATH_SIZE: its length, or -1 and errno as getname() has it. */
ssize_t peek_path(pid_t tid, uint64_t address, char *path);

#endif
