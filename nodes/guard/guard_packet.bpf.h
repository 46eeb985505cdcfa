// SPDX-License-Identifier: GPL-2.0
/* Parses a packet to or from the virtual address into struct packet. */
#pragma once

#include "guard_maps.bpf.h"

#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset: RFC 791, 3.1 */

struct packet {
	struct ethhdr eth;
	union {
		struct iphdr ip4;
		struct ipv6hdr ip6;
	};
	struct tcphdr tcp;
	__u8 flags;
	__u32 tcp_offset;
	__u32 payload; /* bytes */
	struct connection connection;
};

/* Not memcmp: clang may leave it as a call, which BPF does not allow. */
static __always_inline bool same(const __u8 *a, const __u8 *b, int size)
{
	__u8 difference = 0;

	for (int i = 0; i < size; i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

/* The outcome of read_packet. */
#define OTHER 0      /* not TCP to or from the virtual address: left to the kernel */
#define SEGMENT 1    /* *p is filled in */
#define UNREADABLE 2 /* TCP to or from it that cannot be judged */

static __always_inline int read_ip4(struct __sk_buff *skb, struct packet *p,
				    const struct config *config, bool arriving)
{
	struct iphdr *ip = &p->ip4;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
		return OTHER;
	if (ip->version != 4 || ip->protocol != IPPROTO_TCP)
		return OTHER;
	if (!same((__u8 *)(arriving ? &ip->daddr : &ip->saddr), config->vip4, 4))
		return OTHER;
	if (ip->ihl != 5 || ip->frag_off & bpf_htons(IPV4_FRAGMENT) ||
	    bpf_ntohs(ip->tot_len) < sizeof(*ip))
		return UNREADABLE;
	__builtin_memcpy(p->connection.client, arriving ? &ip->saddr : &ip->daddr, 4);
	p->connection.ip_version = 4;
	p->tcp_offset = ETH_HLEN + sizeof(*ip);
	p->payload = bpf_ntohs(ip->tot_len) - sizeof(*ip);
	return SEGMENT;
}

/* Headers that may stand before TCP (RFC 8200, 4; RFC 4302; RFC 7045, 4). */
static __always_inline bool is_extension(__u8 next_header)
{
	switch (next_header) {
	case 0: /* hop-by-hop options */
	case 43: /* routing */
	case 44: /* fragment */
	case 50: /* encapsulating security payload */
	case 51: /* authentication */
	case 60: /* destination options */
	case 135: /* mobility */
	case 139: /* host identity protocol */
	case 140: /* shim6 */
	case 253: /* experiments */
	case 254:
		return true;
	}
	return false;
}

static __always_inline int read_ip6(struct __sk_buff *skb, struct packet *p,
				    const struct config *config, bool arriving)
{
	struct ipv6hdr *ip = &p->ip6;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
		return OTHER;
	if (ip->version != 6 ||
	    !same((__u8 *)(arriving ? &ip->daddr : &ip->saddr), config->vip6, 16))
		return OTHER;
	if (ip->nexthdr != IPPROTO_TCP)
		return is_extension(ip->nexthdr) ? UNREADABLE : OTHER;
	__builtin_memcpy(p->connection.client, arriving ? &ip->saddr : &ip->daddr, 16);
	p->connection.ip_version = 6;
	p->tcp_offset = ETH_HLEN + sizeof(*ip);
	p->payload = bpf_ntohs(ip->payload_len);
	return SEGMENT;
}

/*
 * Fill *p from a TCP packet to (arriving) or from the virtual address. The headers are
 * copied, not accessed in place: in a packet from an AF_PACKET socket, only the Ethernet
 * header may be in the linear part.
 */
static __always_inline int read_packet(struct __sk_buff *skb, struct packet *p,
				       const struct config *config, bool arriving)
{
	bool is_ip4 = skb->protocol == bpf_htons(ETH_P_IP);
	int outcome;

	if (skb->vlan_present)
		return OTHER;
	if (!is_ip4 && skb->protocol != bpf_htons(ETH_P_IPV6))
		return OTHER;
	outcome = is_ip4 ? read_ip4(skb, p, config, arriving)
			 : read_ip6(skb, p, config, arriving);
	if (outcome != SEGMENT)
		return outcome;
	if (bpf_skb_load_bytes(skb, p->tcp_offset, &p->tcp, sizeof(p->tcp)))
		return UNREADABLE;
	if (p->tcp.doff < 5 || p->payload < p->tcp.doff * 4)
		return UNREADABLE;
	p->payload -= p->tcp.doff * 4;
	p->flags = ((__u8 *)&p->tcp)[13];
	p->connection.client_port = arriving ? p->tcp.source : p->tcp.dest;
	p->connection.vip_port = arriving ? p->tcp.dest : p->tcp.source;
	return SEGMENT;
}
