// SPDX-License-Identifier: GPL-2.0
/*
 * The guard of the storage nodes, in the kernel: two tc programs that implement the
 * decision table of nodes/guard/verdict.py.
 *
 * One instance serves all nodes of a cluster. It is attached (clsact, direct-action) to
 * ingress and egress of each node's interface, and finds the node by the low 16 bits of
 * the interface's MAC address. It has no flow table: it looks up the kernel's sockets.
 *
 * Only UAPI structures are used, so it loads on kernels without BTF (Linux >= 5.3).
 * Packets with VLAN tags, IP options or IPv6 extension headers, and fragments, are not
 * handled: they are left to the kernel.
 *
 * guard_packet.bpf.h parses a packet, guard_socket.bpf.h looks up its connection,
 * guard_reply.bpf.h builds resets, guard_maps.bpf.h has the maps. verdict.bpf.h has the
 * names and constants of the table; verdict_header.py generates it.
 */
#include "guard_reply.bpf.h"
#include "guard_socket.bpf.h"

/* verdict.fit_of */
static __always_inline enum fit fit_of(const struct packet *copy,
				       const struct numbers *n)
{
	__u32 sent = bpf_ntohl(copy->tcp.seq) - n->snd_una;
	__s32 off = bpf_ntohl(copy->tcp.ack_seq) - n->rcv_nxt;

	if (!n->are_known)
		return UNSURE;
	return sent <= n->snd_nxt - n->snd_una && off <= SEQUENCE_SLACK &&
			       off >= -SEQUENCE_SLACK
		       ? FITS
		       : MISFITS;
}

/* Turn the copy into an exact reset for the kernel's TCP (RFC 5961, 3.2). */
static __always_inline int free_connection(struct __sk_buff *skb,
					   const struct packet *p, __u32 rcv_nxt)
{
	__u32 field = p->tcp_offset + offsetof(struct tcphdr, check);
	__be32 seq = bpf_htonl(rcv_nxt), ack = 0;

	bpf_l4_csum_replace(skb, field, p->tcp.seq, seq, sizeof(seq));
	bpf_l4_csum_replace(skb, field, p->tcp.ack_seq, ack, sizeof(ack));
	bpf_skb_store_bytes(skb, p->tcp_offset + offsetof(struct tcphdr, seq), &seq,
			    sizeof(seq), 0);
	bpf_skb_store_bytes(skb, p->tcp_offset + offsetof(struct tcphdr, ack_seq), &ack,
			    sizeof(ack), 0);
	return TC_ACT_UNSPEC;
}

static __always_inline int handle_copy(struct __sk_buff *skb, struct packet *p,
				       struct counters *node)
{
	struct numbers numbers = {};
	enum flow_status status;
	enum fit fit;

	if ((p->flags & (FLAG_RST | FLAG_ACK)) != FLAG_RST)
		return TC_ACT_SHOT;
	count(node->copies_received);
	status = flow_status(skb, p, &numbers);
	fit = fit_of(p, &numbers);
	if (status != CONNECTION && status != EMBRYONIC)
		return TC_ACT_SHOT;
	if (fit == MISFITS) {
		count(node->copies_rejected);
		return TC_ACT_SHOT;
	}
	/* The table's probe is not needed: the numbers of a CONNECTION are always known
	 * here. Those of an EMBRYONIC one are not, so it is UNSURE, and tcp_check_req
	 * checks its window. It is not stored as FREED: if the copy is late, a new
	 * connection of the same addresses goes on to open, and must not be reset when it
	 * sends. */
	count(node->copies_accepted);
	if (status == EMBRYONIC)
		return free_connection(skb, p, bpf_ntohl(p->tcp.ack_seq));
	store_action(&p->connection, FREED);
	return free_connection(skb, p, numbers.rcv_nxt);
}

/* RST|ACK: means "aborted", and no switch fans it out. */
static __always_inline int send_rst_ack(struct __sk_buff *skb, const struct packet *p)
{
	__u32 end = bpf_ntohl(p->tcp.seq) + p->payload + p->tcp.syn + p->tcp.fin;

	return reply(skb, p, bpf_ntohl(p->tcp.ack_seq), end, FLAG_RST | FLAG_ACK, 0);
}

/* Redirect the whole frame to the switches, for the earlier owner. */
static __always_inline int pass_on(struct __sk_buff *skb, const struct packet *p,
				   const struct config *config)
{
	__u8 macs[2 * ETH_ALEN];

	__builtin_memcpy(macs, config->second_chance_mac, ETH_ALEN);
	__builtin_memcpy(macs + ETH_ALEN, p->eth.h_dest, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int handle_stray(struct __sk_buff *skb, const struct packet *p,
					struct counters *node, struct config *config)
{
	bool redirected = same(p->eth.h_source, config->second_chance_mac, ETH_ALEN);
	enum mode mode = redirected && config->mode == PASS_ON ? ANSWER : config->mode;
	__u64 recent = find_action(&p->connection);

	if (recent == ABORTED || recent == HELD || p->flags & FLAG_SYN)
		return mode == SILENT ? TC_ACT_SHOT : send_rst_ack(skb, p);
	count(node->strays);
	if (mode == SILENT)
		return TC_ACT_SHOT;
	if (mode == PASS_ON) {
		count(node->passed_on);
		return pass_on(skb, p, config);
	}
	if (was_answered(&p->connection, p->tcp.ack_seq))
		return TC_ACT_SHOT;
	store_answer(&p->connection, p->tcp.ack_seq);
	count(node->resets);
	return reply(skb, p, bpf_ntohl(p->tcp.ack_seq), bpf_ntohl(p->tcp.seq), FLAG_RST,
		     0);
}

SEC("tc")
int guard_ingress(struct __sk_buff *skb)
{
	struct packet p = {};
	struct numbers numbers = {};
	struct counters *node;
	struct config *config;
	__u32 zero = 0, key;
	bool marked;

	config = bpf_map_lookup_elem(&guard_config, &zero);
	if (!config || skb->pkt_type != PACKET_HOST ||
	    bpf_skb_load_bytes(skb, 0, &p.eth, sizeof(p.eth)))
		return TC_ACT_UNSPEC;
	key = p.connection.node = p.eth.h_dest[4] << 8 | p.eth.h_dest[5];
	node = bpf_map_lookup_elem(&guard_nodes, &key);
	if (!node)
		return TC_ACT_UNSPEC;
	marked = same(p.eth.h_source, config->fanout_mac, ETH_ALEN);
	if (!read_packet(skb, &p, config, true))
		return marked ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	if (marked)
		return handle_copy(skb, &p, node);
	if ((p.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST)) == FLAG_SYN)
		bpf_map_delete_elem(&guard_actions, &p.connection);
	if (p.flags & FLAG_RST && find_action(&p.connection) == HELD)
		bpf_map_delete_elem(&guard_actions, &p.connection);
	if (p.flags & FLAG_RST || !(p.flags & FLAG_ACK))
		return TC_ACT_UNSPEC;
	switch (flow_status(skb, &p, &numbers)) {
	case NOTHING:
		break;
	case CONNECTION:
		store_held(&p.connection);
	default:
		return TC_ACT_UNSPEC;
	}
	return handle_stray(skb, &p, node, config);
}

/* verdict.judge_egress, first case: an RST of the kernel without ACK becomes RST|ACK. */
static __always_inline int add_ack_flag(struct __sk_buff *skb, const struct packet *p)
{
	__u32 offset = p->tcp_offset + 12; /* data offset and flags */
	__be16 before = 0, after;

	bpf_skb_load_bytes(skb, offset, &before, sizeof(before));
	after = before | bpf_htons(FLAG_ACK);
	bpf_l4_csum_replace(skb, p->tcp_offset + offsetof(struct tcphdr, check), before,
			    after, sizeof(after));
	bpf_skb_store_bytes(skb, offset, &after, sizeof(after), 0);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int guard_egress(struct __sk_buff *skb)
{
	struct packet p = {};
	struct config *config;
	__u32 zero = 0;

	config = bpf_map_lookup_elem(&guard_config, &zero);
	if (!config || skb->mark == GUARD_MARK ||
	    bpf_skb_load_bytes(skb, 0, &p.eth, sizeof(p.eth)) ||
	    !read_packet(skb, &p, config, false))
		return TC_ACT_UNSPEC;
	p.connection.node = p.eth.h_source[4] << 8 | p.eth.h_source[5];
	if (p.flags & FLAG_RST) {
		store_action(&p.connection, ABORTED);
		return p.flags & FLAG_ACK ? TC_ACT_UNSPEC : add_ack_flag(skb, &p);
	}
	if (find_action(&p.connection) == FREED && p.flags & FLAG_ACK)
		return reply(skb, &p, bpf_ntohl(p.tcp.ack_seq), 0, FLAG_RST,
			     BPF_F_INGRESS);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
