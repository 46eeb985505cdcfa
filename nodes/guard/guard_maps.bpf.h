// SPDX-License-Identifier: GPL-2.0
/* What the guard keeps: its configuration, its counters, its memory of deeds. */
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

/* What a node did to a connection, remembered until then (verdict.RECENT_S). */
struct deed {
	__u64 until_ns;
	__u32 known;
	__u32 number; /* ANSWERED: sequence number of that answer, in network order */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} guard_config SEC(".maps");

/* Key: low 16 bits of the node's MAC. User space makes a node's entry at attachment. */
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
	__type(value, struct deed);
} guard_deeds SEC(".maps");

#define count(field) __sync_fetch_and_add(&(field), 1)

static __always_inline void note(const struct connection *connection, __u64 known,
				 __u64 until_ns)
{
	struct deed deed = {.until_ns = until_ns, .known = known};

	bpf_map_update_elem(&guard_deeds, connection, &deed, BPF_ANY);
}

static __always_inline void remember_answer(const struct connection *connection,
					    __be32 number)
{
	struct deed deed = {.until_ns = bpf_ktime_get_ns() + RESET_INTERVAL_NS,
			    .known = ANSWERED,
			    .number = number};

	bpf_map_update_elem(&guard_deeds, connection, &deed, BPF_ANY);
}

/* A client that received more since then does not take that answer (RFC 5961, 3.2). */
static __always_inline bool was_answered(const struct connection *connection,
					 __be32 number)
{
	struct deed *deed = bpf_map_lookup_elem(&guard_deeds, connection);

	return deed && deed->until_ns > bpf_ktime_get_ns() && deed->known == ANSWERED &&
	       deed->number == number;
}

static __always_inline void remember(const struct connection *connection, __u64 known)
{
	note(connection, known, bpf_ktime_get_ns() + RECENT_NS);
}

static __always_inline __u64 recall(const struct connection *connection)
{
	struct deed *deed = bpf_map_lookup_elem(&guard_deeds, connection);

	return deed && deed->until_ns > bpf_ktime_get_ns() ? deed->known : NOTHING;
}

/* Written at most twice in FLOW_VALID_NS, however many segments come; deeds come first. */
static __always_inline void remember_held(const struct connection *connection)
{
	struct deed *deed = bpf_map_lookup_elem(&guard_deeds, connection);
	__u64 now = bpf_ktime_get_ns();

	if (deed && deed->until_ns > now + (deed->known == HELD ? FLOW_VALID_NS / 2 : 0))
		return;
	note(connection, HELD, now + FLOW_VALID_NS);
}
