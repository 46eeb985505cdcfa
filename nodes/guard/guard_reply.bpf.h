// SPDX-License-Identifier: GPL-2.0
/* Turns a packet into the reset that answers it. */
#pragma once

#include "guard_packet.bpf.h"

#define REPLY_TTL 64

/* skb->mark of packets sent by this program. The egress program passes them. */
#define GUARD_MARK 0x67756172

/* A whole frame from eth on; the padding aligns what follows the Ethernet header. */
struct reply4 {
	__u8 padding[2];
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
};

struct reply6 {
	__u8 padding[2];
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

struct pseudo4 {
	__be32 source, destination;
	__u8 zero, protocol;
	__be16 length;
};

struct pseudo6 {
	struct in6_addr source, destination;
	__be32 length, protocol;
};

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * Whether the TCP checksum is still partial (CHECKSUM_PARTIAL), as in all packets that a
 * userspace switch with TSO forwards. No field shows it. But an update outside the
 * pseudo-header changes the checksum only if it is complete (inet_proto_csum_replace4).
 */
static __always_inline bool checksum_is_partial(struct __sk_buff *skb, __u32 field)
{
	__u16 before = 0, after = 0;

	bpf_skb_load_bytes(skb, field, &before, sizeof(before));
	bpf_l4_csum_replace(skb, field, 0, 1, 2);
	bpf_skb_load_bytes(skb, field, &after, sizeof(after));
	bpf_l4_csum_replace(skb, field, 1, 0, 2);
	return before == after;
}

/* The checksum field: the complete sum, or the start value of a partial one. */
static __always_inline __u16 tcp_checksum(struct tcphdr *tcp, __s64 pseudo, bool partial)
{
	if (partial)
		return fold((__u32)pseudo);
	return ~fold((__u32)bpf_csum_diff(0, 0, (__be32 *)tcp, sizeof(*tcp), pseudo));
}

static __always_inline void fill_reply(struct ethhdr *eth, struct tcphdr *tcp,
				       const struct packet *p, __u32 seq, __u32 ack,
				       __u8 flags)
{
	__builtin_memcpy(eth->h_dest, p->eth.h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, p->eth.h_dest, ETH_ALEN);
	eth->h_proto = p->eth.h_proto;
	tcp->source = p->tcp.dest;
	tcp->dest = p->tcp.source;
	tcp->seq = bpf_htonl(seq);
	tcp->ack_seq = bpf_htonl(ack);
	tcp->doff = sizeof(*tcp) / 4;
	((__u8 *)tcp)[13] = flags;
}

static __always_inline long store(struct __sk_buff *skb, struct ethhdr *frame,
				  __u32 size)
{
	skb->mark = GUARD_MARK;
	return bpf_skb_store_bytes(skb, 0, frame, size,
				   BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

static __always_inline long store_reply4(struct __sk_buff *skb, const struct packet *p,
					 __u32 seq, __u32 ack, __u8 flags, bool partial)
{
	struct reply4 frame = {};
	struct iphdr *ip = &frame.ip;
	struct pseudo4 pseudo = {
		.source = p->ip4.daddr,
		.destination = p->ip4.saddr,
		.protocol = IPPROTO_TCP,
		.length = bpf_htons(sizeof(frame.tcp)),
	};

	fill_reply(&frame.eth, &frame.tcp, p, seq, ack, flags);
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = bpf_htons(sizeof(frame.ip) + sizeof(frame.tcp));
	ip->frag_off = bpf_htons(0x4000); /* don't fragment */
	ip->ttl = REPLY_TTL;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = p->ip4.daddr;
	ip->daddr = p->ip4.saddr;
	ip->check = ~fold((__u32)bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0));
	frame.tcp.check = tcp_checksum(
		&frame.tcp,
		bpf_csum_diff(0, 0, (__be32 *)&pseudo, sizeof(pseudo), 0), partial);
	return store(skb, &frame.eth, sizeof(frame) - sizeof(frame.padding));
}

static __always_inline long store_reply6(struct __sk_buff *skb, const struct packet *p,
					 __u32 seq, __u32 ack, __u8 flags, bool partial)
{
	struct reply6 frame = {};
	struct ipv6hdr *ip = &frame.ip;
	struct pseudo6 pseudo = {
		.source = p->ip6.daddr,
		.destination = p->ip6.saddr,
		.length = bpf_htonl(sizeof(frame.tcp)),
		.protocol = bpf_htonl(IPPROTO_TCP),
	};

	fill_reply(&frame.eth, &frame.tcp, p, seq, ack, flags);
	ip->version = 6;
	ip->payload_len = bpf_htons(sizeof(frame.tcp));
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = REPLY_TTL;
	ip->saddr = p->ip6.daddr;
	ip->daddr = p->ip6.saddr;
	frame.tcp.check = tcp_checksum(
		&frame.tcp,
		bpf_csum_diff(0, 0, (__be32 *)&pseudo, sizeof(pseudo), 0), partial);
	return store(skb, &frame.eth, sizeof(frame) - sizeof(frame.padding));
}

/*
 * Turn the packet into a reset. It is sent back to where the packet came from (redirect:
 * 0) or, for a packet at egress, back into the node (BPF_F_INGRESS).
 */
static __always_inline int reply(struct __sk_buff *skb, const struct packet *p,
				 __u32 seq, __u32 ack, __u8 flags, __u64 redirect)
{
	__u32 size = p->tcp_offset + sizeof(struct tcphdr);
	bool partial = checksum_is_partial(skb, p->tcp_offset + offsetof(struct tcphdr, check));

	if (bpf_skb_change_tail(skb, size, 0))
		return TC_ACT_SHOT;
	if (p->connection.ip_version == 4
		    ? store_reply4(skb, p, seq, ack, flags, partial)
		    : store_reply6(skb, p, seq, ack, flags, partial))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, redirect);
}
