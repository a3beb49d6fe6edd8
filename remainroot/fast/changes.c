/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of state, as they went before. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

static struct change *place_of(Loop *self, const struct change *asked)
{
	const uint32_t *word = (const uint32_t *)asked, *end = asked->list + LISTED;
	uint64_t hash = 0;

	for (; word < end; word++)
		hash = (hash ^ *word) * UINT64_C(0x100000001b3);
	return &self->changes[(hash ^ hash >> 32) % CHANGES];
}

static bool same_question(const struct change *one, const struct change *other)
{
	return memcmp(one, other, offsetof(struct change, after)) == 0;
}

bool change(Loop *self, const struct rule *rule, uint64_t number)
{
	const struct notification *call = &self->notification;
	struct change *asked = &self->asked, *known;
	size_t size = rule->narrow ? 2 : 4, count = (uint32_t)call->args[0];
	struct rlimit limit = { 0, RLIM_INFINITY };

	memset(asked, 0, sizeof *asked);
	asked->number = number;
	asked->arch = call->arch;
	asked->nr = call->nr;
	for (int at = 0; at < rule->changes; at++)
		asked->args[at] = (uint32_t)call->args[at];
	if (rule->list >= 0 && count) {
		if (count > LISTED || peek(call->pid, call->args[rule->list] & rule->word, asked->list, count * size) !=
					      (ssize_t)(count * size))
			return false;
	}
	known = place_of(self, asked);
	if (!known->known || !same_question(known, asked)) {
		self->asking = true;
		return false;
	}
	if (known->after != number) {
		limit.rlim_cur = self->tag + known->after;
		if (!is_alone(self, call->pid) || ask_listener(self->listener, ID_VALID, (void *)&call->id) < 0 ||
		    prlimit(call->pid, RLIMIT_RTTIME, &limit, NULL) < 0)
			return false;
	}
	self->response.value = known->value;
	self->response.error = known->error;
	return true;
}

void learn(Loop *self)
{
	const struct response *response = &self->response;
	const struct who *before, *after;
	struct change *asked = &self->asked;

	self->asking = false;
	if (response->id != self->notification.id || response->flags ||
	    (response->error && response->error != -EPERM && response->error != -EINVAL))
		return;
	after = who_of(self, self->notification.pid, &asked->after);
	before = &self->who[asked->number];
	/* Whoever shares the memory is dumpable or not together: Python looks for them. */
	if (!after || after->dumpable != before->dumpable)
		return;
	asked->value = response->value;
	asked->error = response->error;
	asked->known = true;
	*place_of(self, asked) = *asked;
}
