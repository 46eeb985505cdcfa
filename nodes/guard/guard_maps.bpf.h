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
struct config {
	__u8 vip6[16];
	__u8 vip4[4];
	__u8 fanout_mac[6];
	__u8 second_chance_mac[6];
	__u8 mode; /* enum mode */
};

/* A connection of one node, as the node sees it; ports in network order. */
struct connection {
	__u8 client[16];
	__be16 client_port;
	__be16 vip_port;
	__u16 node;
	__u16 ip_version;
};

/* A node's recent action on a connection, valid until then (verdict.RECENT_S). */
struct recent_action {
	__u64 until_ns;
	__u32 status; /* enum flow_status */
	__u32 number; /* ANSWERED: sequence number of that answer, in network order */
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

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct connection);
	__type(value, struct recent_action);
} guard_actions SEC(".maps");

#define count(field) __sync_fetch_and_add(&(field), 1)

static __always_inline void update_action(const struct connection *connection,
					  __u64 status, __u64 until_ns)
{
	struct recent_action recent = {.until_ns = until_ns, .status = status};

	bpf_map_update_elem(&guard_actions, connection, &recent, BPF_ANY);
}

static __always_inline void store_answer(const struct connection *connection,
					 __be32 number)
{
	struct recent_action recent = {
		.until_ns = bpf_ktime_get_ns() + RESET_INTERVAL_NS,
		.status = ANSWERED,
		.number = number,
	};

	bpf_map_update_elem(&guard_actions, connection, &recent, BPF_ANY);
}

/* A client that has received more since then ignores that answer (RFC 5961, 3.2). */
static __always_inline bool was_answered(const struct connection *connection,
					 __be32 number)
{
	struct recent_action *recent = bpf_map_lookup_elem(&guard_actions, connection);

	return recent && recent->until_ns > bpf_ktime_get_ns() &&
	       recent->status == ANSWERED && recent->number == number;
}

static __always_inline void store_action(const struct connection *connection,
					 __u64 status)
{
	update_action(connection, status, bpf_ktime_get_ns() + RECENT_NS);
}

static __always_inline __u64 find_action(const struct connection *connection)
{
	struct recent_action *recent = bpf_map_lookup_elem(&guard_actions, connection);

	return recent && recent->until_ns > bpf_ktime_get_ns() ? recent->status : NOTHING;
}

/* Written at most twice in FLOW_VALID_NS. It does not replace another recent action. */
static __always_inline void store_held(const struct connection *connection)
{
	struct recent_action *recent = bpf_map_lookup_elem(&guard_actions, connection);
	__u64 now = bpf_ktime_get_ns();
	__u64 renewal_ns = recent && recent->status == HELD ? FLOW_VALID_NS / 2 : 0;

	if (recent && recent->until_ns > now + renewal_ns)
		return;
	update_action(connection, HELD, now + FLOW_VALID_NS);
}
