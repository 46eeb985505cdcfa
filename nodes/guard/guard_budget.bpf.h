// SPDX-License-Identifier: GPL-2.0
/* The budget of fan-outs, for each client address and for the cluster: budget.py in C. */
#pragma once

#include "guard_packet.bpf.h"

struct client_address {
	__u8 address[16];
};

/* When each bucket will be full again. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} guard_total SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BUDGET_CLIENTS);
	__type(key, struct client_address);
	__type(value, __u64);
} guard_clients SEC(".maps");

/* budget._after; 0 for too few left. Times are never 0: now_ns is not. */
static __always_inline __u64 full_after(const struct limit *limit, __u64 full_at_ns,
					__u64 now_ns, __u32 tokens)
{
	if (full_at_ns < now_ns)
		full_at_ns = now_ns;
	full_at_ns += limit->cost_ns * tokens;
	return full_at_ns - now_ns <= limit->burst_ns ? full_at_ns : 0;
}

/* Whether that client may cause copies worth so many tokens. Takes them from the budget. */
static __always_inline bool spend(const struct packet *p, const struct config *config,
				  __u32 tokens)
{
	struct client_address client;
	__u64 now_ns = bpf_ktime_get_ns(), own, total;
	__u64 *client_full, *total_full;
	__u32 zero = 0;

	if (!config->client_limit.cost_ns && !config->total_limit.cost_ns)
		return true;
	__builtin_memcpy(client.address, p->connection.client, sizeof(client.address));
	client_full = bpf_map_lookup_elem(&guard_clients, &client);
	total_full = bpf_map_lookup_elem(&guard_total, &zero);
	if (!total_full)
		return true;
	own = full_after(&config->client_limit, client_full ? *client_full : 0, now_ns,
			 tokens);
	total = full_after(&config->total_limit, *total_full, now_ns, tokens);
	if (!own || !total)
		return false;
	*total_full = total;
	bpf_map_update_elem(&guard_clients, &client, &own, BPF_ANY);
	return true;
}
