/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that read what procfs says of tasks, and whose opens are to be seen: remainroot.readers. */
#define _GNU_SOURCE
#include "loop.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEADERS = 64, ENTRIES = 256, NAME = 16, ARGUMENTS = 32, ARGUMENT = 128 };

/* Whether one of the `words` (each ends in a NUL, the last is empty) is in the text; `first`: at its beginning. */
static bool has_one(const char *text, PyObject *words, bool first)
{
	for (const char *word = PyBytes_AS_STRING(words); *word; word += strlen(word) + 1)
		if (first ? strncmp(text, word, strlen(word)) == 0 : strstr(text, word) != NULL)
			return true;
	return false;
}

/* What a program is by its program headers and the libraries that it needs. */
static enum kind kind_of_headers(int fd, const Elf64_Ehdr *head, PyObject *libraries)
{
	Elf64_Phdr segments[HEADERS];
	Elf64_Dyn entries[ENTRIES];
	ssize_t size = head->e_phnum * sizeof *segments, count = 0;
	uint64_t table = 0, start = 0;
	char name[NAME + 1] = "";
	bool moves = head->e_type != ET_EXEC; /* it, or what it calls, lies where the kernel likes */

	if (pread(fd, segments, size, head->e_phoff) != size)
		return OTHER;
	for (int at = 0; at < head->e_phnum; at++) {
		moves |= segments[at].p_type == PT_INTERP;
		if (segments[at].p_type != PT_DYNAMIC)
			continue;
		size = segments[at].p_filesz < sizeof entries ? segments[at].p_filesz : sizeof entries;
		count = pread(fd, entries, size, segments[at].p_offset) / (ssize_t)sizeof *entries;
	}
	if (!moves)
		return UNMARKABLE;
	for (int at = 0; at < count; at++)
		if (entries[at].d_tag == DT_STRTAB)
			table = entries[at].d_un.d_val;
	for (int at = 0; at < head->e_phnum; at++)
		if (segments[at].p_type == PT_LOAD && table - segments[at].p_vaddr < segments[at].p_filesz)
			start = segments[at].p_offset + table - segments[at].p_vaddr;
	for (int at = 0; start && at < count; at++)
		if (entries[at].d_tag == DT_NEEDED && pread(fd, name, NAME, start + entries[at].d_un.d_val) > 0 &&
		    has_one(name, libraries, true))
			return READER;
	return OTHER;
}

static enum kind kind_of_open(int fd, PyObject *libraries)
{
	Elf64_Ehdr head;

	if (pread(fd, &head, sizeof head, 0) != sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return OTHER;
	if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_machine != EM_X86_64)
		return UNMARKABLE;
	if (head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phnum > HEADERS)
		return OTHER;
	return kind_of_headers(fd, &head, libraries);
}

/* What the program is; remembered while its file stays as it is. */
static enum kind kind_of(Loop *self, const struct place *place, const struct status *status)
{
	uint64_t dev = gnu_dev_makedev(status->dev_major, status->dev_minor);
	struct program *program = &self->programs[(status->ino ^ dev) % PROGRAMS];
	char link[32];
	int held, fd;

	if (!S_ISREG(status->mode))
		return UNMARKABLE;
	if (program->known && program->dev == dev && program->ino == status->ino && program->changed == status->times[4] &&
	    program->nanoseconds == (uint32_t)status->times[5])
		return program->kind;
	*program = (struct program){ dev, status->ino, status->times[4], (uint32_t)status->times[5], true, OTHER };
	held = hold(place);
	if (held < 0)
		return OTHER;
	snprintf(link, sizeof link, "/proc/self/fd/%d", held);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		program->kind = kind_of_open(fd, self->libraries);
		close(fd);
	}
	if (held != place->at)
		close(held);
	return program->kind;
}

/* Whether the argument, of which `text` is the start, names a file that is told otherwise. */
static bool is_told(Loop *self, const char *text)
{
	const char *proc = strstr(text, PyBytes_AS_STRING(self->proc_path));

	return proc && has_one(proc + PyBytes_GET_SIZE(self->proc_path) - 1, self->told_files, false);
}

/* The addresses of the arguments: how many. */
static int addresses_of(pid_t tid, uint64_t array, uint64_t word, uint64_t *addresses)
{
	uint32_t narrow[ARGUMENTS];
	ssize_t size;
	int count;

	if (word >> 32) {
		size = peek(tid, array, addresses, ARGUMENTS * sizeof *addresses);
		count = size < 0 ? 0 : size / sizeof *addresses;
	} else {
		size = peek(tid, array, narrow, sizeof narrow);
		count = size < 0 ? 0 : size / sizeof *narrow;
		for (int at = 0; at < count; at++)
			addresses[at] = narrow[at];
	}
	for (int at = 0; at < count; at++)
		if (!addresses[at])
			return at;
	return count;
}

bool is_reader(Loop *self, const struct place *place, const struct status *status, uint64_t arguments, uint64_t word)
{
	enum kind kind = kind_of(self, place, status);
	pid_t tid = self->notification.pid;
	uint64_t addresses[ARGUMENTS];
	struct iovec remote[ARGUMENTS], local;
	char texts[ARGUMENTS * ARGUMENT], text[ARGUMENT + 1];
	ssize_t size, rest, offset = 0;
	int count;

	if (kind != OTHER)
		return kind == READER;
	if (self->readable_nodes)
		return true;
	count = addresses_of(tid, arguments, word, addresses);
	if (!count)
		return false;
	/* Up to the end of the page that each begins in, in one call; of the few that go on there, the rest by itself. */
	for (int at = 0; at < count; at++) {
		rest = PAGE - addresses[at] % PAGE;
		remote[at] = (struct iovec){ (void *)addresses[at], rest < ARGUMENT ? rest : ARGUMENT };
	}
	local = (struct iovec){ texts, sizeof texts };
	size = process_vm_readv(tid, &local, 1, remote, count, 0);
	for (int at = 0; at < count && offset + (ssize_t)remote[at].iov_len <= size; at++) {
		rest = remote[at].iov_len;
		memset(text, 0, sizeof text);
		memcpy(text, texts + offset, rest);
		offset += rest;
		if (rest < ARGUMENT && !memchr(text, 0, rest))
			(void)!peek(tid, addresses[at] + rest, text + rest, ARGUMENT - rest);
		if (is_told(self, text))
			return true;
	}
	return false;
}
