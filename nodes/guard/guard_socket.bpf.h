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

/* The connection is the same for packets of both directions. */
static __always_inline struct bpf_sock *find_socket(struct __sk_buff *skb,
						    const struct packet *p,
						    const struct config *config)
{
	const struct connection *c = &p->connection;
	struct bpf_sock_tuple tuple = {};

	if (c->ip_version == 4) {
		__builtin_memcpy(&tuple.ipv4.saddr, c->client, sizeof(tuple.ipv4.saddr));
		__builtin_memcpy(&tuple.ipv4.daddr, config->vip4, sizeof(tuple.ipv4.daddr));
		tuple.ipv4.sport = c->client_port;
		tuple.ipv4.dport = c->vip_port;
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4),
					  BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, c->client, sizeof(tuple.ipv6.saddr));
	__builtin_memcpy(tuple.ipv6.daddr, config->vip6, sizeof(tuple.ipv6.daddr));
	tuple.ipv6.sport = c->client_port;
	tuple.ipv6.dport = c->vip_port;
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
flow_status(struct __sk_buff *skb, struct packet *p, const struct config *config,
	    struct numbers *numbers)
{
	struct bpf_sock *sk = find_socket(skb, p, config);
	enum flow_status status = NOTHING;

	if (sk) {
		status = status_of_socket(sk, p, numbers);
		bpf_sk_release(sk);
	}
	return status;
}
