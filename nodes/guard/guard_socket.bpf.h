// SPDX-License-Identifier: GPL-2.0
/* The state of a packet's connection, looked up in the kernel. */
#pragma once

#include "guard_packet.bpf.h"

/* verdict.Numbers | None */
struct numbers {
	bool are_known;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 rcv_nxt;
};

static __always_inline struct bpf_sock *find_socket(struct __sk_buff *skb,
						    const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};

	if (p->connection.ip_version == 4) {
		tuple.ipv4.saddr = p->ip4.saddr;
		tuple.ipv4.daddr = p->ip4.daddr;
		tuple.ipv4.sport = p->tcp.source;
		tuple.ipv4.dport = p->tcp.dest;
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4),
					  BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, &p->ip6.saddr, sizeof(tuple.ipv6.saddr));
	__builtin_memcpy(tuple.ipv6.daddr, &p->ip6.daddr, sizeof(tuple.ipv6.daddr));
	tuple.ipv6.sport = p->tcp.source;
	tuple.ipv6.dport = p->tcp.dest;
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS,
				  0);
}

/*
 * For a segment without SYN, a listener means that there is no connection. The exception
 * is a SYN flood, if the segment returns a SYN cookie of the listener.
 */
static __always_inline enum flow_status status_of_listener(struct bpf_sock *sk,
							   struct packet *p)
{
	long bad = p->connection.ip_version == 4
			   ? bpf_tcp_check_syncookie(sk, &p->ip4, sizeof(p->ip4),
						     &p->tcp, sizeof(p->tcp))
			   : bpf_tcp_check_syncookie(sk, &p->ip6, sizeof(p->ip6),
						     &p->tcp, sizeof(p->tcp));

	return bad ? NOTHING : EMBRYONIC;
}

static __always_inline enum flow_status
status_of_socket(struct bpf_sock *sk, struct packet *p, struct numbers *numbers)
{
	struct bpf_tcp_sock *tcp;

	switch (sk->state) {
	case BPF_TCP_LISTEN:
		return status_of_listener(sk, p);
	case BPF_TCP_NEW_SYN_RECV:
		return EMBRYONIC;
	case BPF_TCP_TIME_WAIT:
		return TIME_WAIT;
	}
	tcp = bpf_tcp_sock(sk);
	if (!tcp)
		return NOTHING;
	numbers->are_known = true;
	numbers->snd_una = tcp->snd_una;
	numbers->snd_nxt = tcp->snd_nxt;
	numbers->rcv_nxt = tcp->rcv_nxt;
	return CONNECTION;
}

static __always_inline enum flow_status
flow_status(struct __sk_buff *skb, struct packet *p, struct numbers *numbers)
{
	struct bpf_sock *sk = find_socket(skb, p);
	enum flow_status status = NOTHING;

	if (sk) {
		status = status_of_socket(sk, p, numbers);
		bpf_sk_release(sk);
	}
	return status;
}
