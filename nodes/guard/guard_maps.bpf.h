// SPDX-License-Identifier: GPL-2.0
/* The guard's maps: configuration, counters, recent actions. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Generated from verdict.py: its constants, enums, and struct counters. */
#include "verdict.bpf.h"

/* guard_ebpf.CONFIG */
struct limit {
	__u64 cost_ns; /* 0: no limit */
	__u64 burst_ns;
};

struct config {
	struct limit client_limit;
	struct limit total_limit;
	__u8 vip6[16];
	__u8 vip4[4];
	__u8 fanout_mac[6];
	__u8 second_chance_mac[6];
	__u8 relay_mac[6];
	__u8 probe_mac[6];
	__u8 gateway_mac[6];
	__u8 mode; /* enum mode */
	__u8 healing;
	__u32 relay_tokens;
};

/* A connection of one node, as the node sees it; ports in network order. */
struct connection {
	__u8 client[16];
	__be16 client_port;
	__be16 vip_port;
	__u16 node;
	__u16 ip_version;
};

/* The latest reset for a stray of a connection (verdict.RESET_INTERVAL_S). */
struct answer {
	__u64 until_ns;
	__u32 number; /* its sequence number, in network order */
	__u32 padding;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} guard_config SEC(".maps");

/* Key: low 16 bits of the node's MAC. User space adds the entry when it attaches. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct counters);
} guard_nodes SEC(".maps");

/*
 * A node's recent actions on a connection, valid until that time. One map for each kind,
 * so that a flood of strays, which fills one, pushes nothing out of the others. At its
 * limit a map forgets what was used least recently. User space sets max_entries.
 */
#define RECENT_MAP(name, value_type)                                                    \
	struct {                                                                         \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);                                     \
		__uint(max_entries, 65536);                                              \
		__type(key, struct connection);                                          \
		__type(value, value_type);                                               \
	} name SEC(".maps")

RECENT_MAP(guard_aborted, __u64);
RECENT_MAP(guard_freed, __u64);
RECENT_MAP(guard_held, __u64);
RECENT_MAP(guard_relayed, __u64);
RECENT_MAP(guard_answered, struct answer);

#define count(field) __sync_fetch_and_add(&(field), 1)

#define remember(map, connection, duration_ns)                                          \
	do {                                                                             \
		__u64 until_ns = bpf_ktime_get_ns() + (duration_ns);                     \
		bpf_map_update_elem(&(map), connection, &until_ns, BPF_ANY);             \
	} while (0)

static __always_inline bool is_recent(void *map, const struct connection *connection)
{
	__u64 *until_ns = bpf_map_lookup_elem(map, connection);

	return until_ns && *until_ns > bpf_ktime_get_ns();
}

static __always_inline void store_answer(const struct connection *connection,
					 __be32 number)
{
	struct answer answer = {
		.until_ns = bpf_ktime_get_ns() + RESET_INTERVAL_NS,
		.number = number,
	};

	bpf_map_update_elem(&guard_answered, connection, &answer, BPF_ANY);
}

/*
 * ANSWERED, or FANNED_OUT if that answer had another number: a client that has received
 * more since then ignores it (RFC 5961, 3.2).
 */
static __always_inline enum flow_status
find_answer(const struct connection *connection, __be32 number)
{
	struct answer *answer = bpf_map_lookup_elem(&guard_answered, connection);

	if (!answer || answer->until_ns <= bpf_ktime_get_ns())
		return NOTHING;
	return answer->number == number ? ANSWERED : FANNED_OUT;
}

/* Another answer without a fan-out. The time does not start again. */
static __always_inline void update_answer(const struct connection *connection,
					  __be32 number)
{
	struct answer *answer = bpf_map_lookup_elem(&guard_answered, connection);

	if (answer)
		answer->number = number;
}

/* What the node remembers of it, for a segment of a connection that it does not have. */
static __always_inline enum flow_status
recent_status(const struct connection *connection, __be32 number)
{
	enum flow_status answer;

	if (is_recent(&guard_aborted, connection))
		return ABORTED;
	if (is_recent(&guard_held, connection))
		return HELD;
	answer = find_answer(connection, number);
	if (answer == NOTHING && is_recent(&guard_freed, connection))
		return FREED;
	return answer;
}

/* A SYN begins another connection. */
static __always_inline void forget(const struct connection *connection)
{
	bpf_map_delete_elem(&guard_aborted, connection);
	bpf_map_delete_elem(&guard_freed, connection);
	bpf_map_delete_elem(&guard_held, connection);
	bpf_map_delete_elem(&guard_relayed, connection);
	bpf_map_delete_elem(&guard_answered, connection);
}

/* Written at most twice in FLOW_VALID_NS. */
static __always_inline void store_held(const struct connection *connection)
{
	__u64 *until_ns = bpf_map_lookup_elem(&guard_held, connection);

	if (!until_ns || *until_ns <= bpf_ktime_get_ns() + FLOW_VALID_NS / 2)
		remember(guard_held, connection, FLOW_VALID_NS);
}
