/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rule of a call says of it. */
#define _GNU_SOURCE
#include "loop.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Where the rule of a call is noted, or has its place; `rules`: those that are noted. */
uint16_t *noted(Loop *self, const struct rule *rules, uint32_t arch, uint32_t nr)
{
	uint32_t at = (nr * 31 ^ arch * 7 ^ nr >> 20) & (RULES - 1);

	for (; self->rules[at]; at = (at + 1) & (RULES - 1))
		if (rules[self->rules[at] - 1].nr == nr && rules[self->rules[at] - 1].arch == arch)
			break;
	return &self->rules[at];
}

static const struct rule *rule_of(Loop *self, uint32_t arch, uint32_t nr)
{
	const struct rule *rules = (const struct rule *)PyBytes_AS_STRING(self->packed);
	uint16_t which = *noted(self, rules, arch, nr);

	return which ? &rules[which - 1] : NULL;
}

/* Whether the argument points to an attribute's name that the handler has no opinion on. */
static bool name_is_plain(Loop *self, uint64_t address)
{
	char name[PATH_SIZE];

	return peek_path(self->notification.pid, address, name) >= 0 &&
	       strncmp(name, PyBytes_AS_STRING(self->special), PyBytes_GET_SIZE(self->special)) != 0;
}

/* Whether this is an open to write, of a file with a name that is Python's. */
static bool writes_there(Loop *self, const struct rule *rule)
{
	const struct notification *call = &self->notification;
	ssize_t length, wanted;

	if (rule->open_flags < 0 || !self->written || !(call->args[rule->open_flags] & O_ACCMODE))
		return false;
	length = peek_path(call->pid, call->args[rule->path] & rule->word, self->path);
	for (const char *name = PyBytes_AS_STRING(self->written); *name; name += wanted + 1) {
		wanted = strlen(name);
		if (length >= wanted && strcmp(self->path + length - wanted, name) == 0)
			return true;
	}
	return false;
}

/* Whether this is an open that creates nothing. */
static bool opens_what_is_there(const struct rule *rule, const uint64_t *args)
{
	return rule->open_flags >= 0 && !(args[rule->open_flags] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)));
}

/*
 * What is to become of it: it may be a write to a device node, or one that ends set-id bits (handlers.opening), or a
 * reader's look at what procfs says (handlers.views). `has`: the caller's powers.
 */
static enum verdict judge_opening(Loop *self, const struct rule *rule, uint64_t has)
{
	uint64_t flags = self->notification.args[rule->open_flags];
	bool reads = !(flags & (O_ACCMODE | O_TRUNC | O_NOATIME)), any = has & rule->opens;
	struct rule opening = *rule;

	if (reads && flags & (O_PATH | O_DIRECTORY))
		return THROUGH;
	if (!reads && any && !(self->powers & rule->opens))
		return PYTHON;
	if (!reads && any && !self->nodes)
		return THROUGH;
	if (!(self->may & rule->looks) || (!reads && flags & (O_NOATIME | O_NOFOLLOW | O_PATH)))
		return PYTHON;
	if (reads && flags & O_NOFOLLOW)
		opening.flags_fixed |= AT_SYMLINK_NOFOLLOW;
	opening.parent = 0;
	opening.modes = reads || any ? DEVICE_BIT : DEVICE_BIT | S_ISUID | S_ISGID;
	return judge_call(self, &opening);
}

/* Whether what the arguments say makes the call the handler's. */
static bool is_excepted(Loop *self, const struct rule *rule)
{
	const struct notification *call = &self->notification;
	uint64_t value;

	if (rule->clear_arg >= 0) {
		value = call->args[rule->clear_arg] & rule->word;
		if (rule->clear_indirect && peek(call->pid, value, (char *)&value, sizeof value) != sizeof value)
			return true;
		if (value & rule->clear_bits)
			return true;
	}
	if (rule->clear_too_arg >= 0 && call->args[rule->clear_too_arg] & rule->clear_too_bits)
		return true;
	if (rule->unless_arg >= 0 && (uint32_t)call->args[rule->unless_arg] == (uint32_t)rule->unless_value)
		return true;
	if (rule->group >= 0 && !is_of_group(self, (int32_t)(uint32_t)call->args[rule->group]))
		return true;
	return rule->name >= 0 && !name_is_plain(self, call->args[rule->name] & rule->word);
}

/* What is to become of a call that needs powers; `has`: the caller's, whether they count now or not. */
static enum verdict judge_by_powers(Loop *self, const struct rule *rule, uint32_t has)
{
	const uint64_t *args = self->notification.args;

	self->may = has & self->powers;
	if (self->caller && self->caller->guarded && rule->way == CLOSED)
		return PYTHON;
	if (writes_there(self, rule))
		return PYTHON;
	if (opens_what_is_there(rule, args))
		return judge_opening(self, rule, has);
	if (rule->open_flags >= 0 && self->nodes && judge_opening(self, rule, has) != THROUGH)
		return PYTHON;
	if (makes_device(rule, args))
		return make_device(self, rule);
	if (is_excepted(self, rule))
		return PYTHON;
	return self->may & rule->surely ? THROUGH : self->may & rule->likely ? judge_call(self, rule) : PYTHON;
}

/* Whether a call of this rule needs no power that some state has not: then it does not matter who asks. */
static bool is_everybodys(const Loop *self, const struct rule *rule)
{
	bool asks = rule->id >= 0 || rule->changes || rule->open_flags >= 0 || rule->give;

	asks |= rule->way == ASK || (self->guarding && rule->way != FREE);
	return !asks && self->shared & self->powers & (rule->surely | rule->likely);
}

bool answer(Loop *self)
{
	const struct notification *call = &self->notification;
	struct response *response = &self->response;
	const struct who *who = NULL;
	const struct rule *rule;
	enum verdict verdict;
	uint64_t value, number;

	rule = rule_of(self, call->arch, call->nr);
	if (!rule)
		return false;
	*response = (struct response){ .id = call->id };
	if (rule->result >= 0) {
		response->flags = FLAG_CONTINUE;
		return nothing_interrupted(self, rule);
	}
	if (!self->powers)
		return false;
	if (!is_everybodys(self, rule)) {
		who = who_of(self, call->pid, &number);
		if (!who)
			return false;
		if (rule->id >= 0) {
			value = who->ids[rule->id];
			response->value = rule->narrow && value > 0xFFFF ? 65534 : value;
			return true;
		}
		if (rule->changes)
			return !self->pdeathsigs && change(self, rule, number);
	}
	self->caller = who;
	verdict = judge_by_powers(self, rule, who ? who->powers : self->shared);
	if (verdict == THROUGH)
		response->flags = FLAG_CONTINUE;
	return verdict == THROUGH || verdict == ANSWERED;
}
