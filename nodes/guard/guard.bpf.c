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
 * TCP to the virtual address with IP options or IPv6 extension headers, fragments of it,
 * and packets without a valid header are dropped: they could not be judged. Packets with
 * VLAN tags are left to the kernel, which has no interface for them.
 *
 * guard_packet.bpf.h parses a packet, guard_socket.bpf.h looks up its connection,
 * guard_reply.bpf.h builds resets, guard_budget.bpf.h limits what is fanned out,
 * guard_maps.bpf.h has the maps. verdict.bpf.h has the names and constants of the table;
 * verdict_header.py generates it.
 */
#include "guard_budget.bpf.h"
#include "guard_reply.bpf.h"
#include "guard_socket.bpf.h"

/* verdict.fit_of; "acknowledged" and "position" are the client's numbers. */
static __always_inline enum fit fit_of(__be32 acknowledged, __be32 position,
				       const struct numbers *n)
{
	__u32 sent = bpf_ntohl(acknowledged) - n->snd_una;
	__s32 off = bpf_ntohl(position) - n->rcv_nxt;

	if (!n->are_known)
		return UNSURE;
	return sent <= n->snd_nxt - n->snd_una && off <= SEQUENCE_SLACK &&
			       off >= -SEQUENCE_SLACK
		       ? FITS
		       : MISFITS;
}

/* verdict.fit_of_relayed */
static __always_inline enum fit fit_of_relayed(const struct packet *reset,
					       const struct numbers *n)
{
	if (reset->flags & FLAG_ACK)
		return fit_of(reset->tcp.ack_seq, reset->tcp.seq, n);
	if (!n->are_known)
		return UNSURE;
	return bpf_ntohl(reset->tcp.seq) == n->rcv_nxt ? FITS : MISFITS;
}

/* Write one of a packet's TCP fields and keep its checksum right. */
static __always_inline void write_field(struct __sk_buff *skb, const struct packet *p,
					__u32 field, __be32 before, __be32 after)
{
	__u32 checksum = p->tcp_offset + offsetof(struct tcphdr, check);

	bpf_l4_csum_replace(skb, checksum, before, after, sizeof(after));
	bpf_skb_store_bytes(skb, p->tcp_offset + field, &after, sizeof(after), 0);
}

/* Write a packet's flags, and leave its data offset as it is. */
static __always_inline void write_flags(struct __sk_buff *skb, const struct packet *p,
					__u8 flags)
{
	__u32 offset = p->tcp_offset + 12; /* data offset and flags */
	__be16 before = 0, after;

	bpf_skb_load_bytes(skb, offset, &before, sizeof(before));
	after = (before & bpf_htons(0xff00)) | bpf_htons(flags);
	bpf_l4_csum_replace(skb, p->tcp_offset + offsetof(struct tcphdr, check), before,
			    after, sizeof(after));
	bpf_skb_store_bytes(skb, offset, &after, sizeof(after), 0);
}

/* Turn the packet into an exact reset for the kernel's TCP (RFC 5961, 3.2). */
static __always_inline int free_connection(struct __sk_buff *skb,
					   const struct packet *p, __u32 rcv_nxt)
{
	write_field(skb, p, offsetof(struct tcphdr, seq), p->tcp.seq, bpf_htonl(rcv_nxt));
	write_field(skb, p, offsetof(struct tcphdr, ack_seq), p->tcp.ack_seq, 0);
	if (p->flags != FLAG_RST)
		write_flags(skb, p, FLAG_RST);
	return TC_ACT_UNSPEC;
}

static __always_inline int handle_copy(struct __sk_buff *skb, struct packet *p,
				       struct counters *node, struct config *config)
{
	struct numbers numbers = {};
	enum flow_status status;
	enum fit fit;

	if ((p->flags & (FLAG_RST | FLAG_ACK)) != FLAG_RST)
		return TC_ACT_SHOT;
	count(node->copies_received);
	status = flow_status(skb, p, config, &numbers);
	fit = fit_of(p->tcp.seq, p->tcp.ack_seq, &numbers);
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
	remember(guard_freed, &p->connection, RECENT_NS);
	return free_connection(skb, p, numbers.rcv_nxt);
}

/* A client's own reset, which another node has relayed. */
static __always_inline int handle_relayed(struct __sk_buff *skb, struct packet *p,
					  struct counters *node, struct config *config)
{
	struct numbers numbers = {};
	enum flow_status status;

	if (!(p->flags & FLAG_RST))
		return TC_ACT_SHOT;
	count(node->relays_received);
	status = flow_status(skb, p, config, &numbers);
	if (status != CONNECTION && status != EMBRYONIC)
		return TC_ACT_SHOT;
	if (fit_of_relayed(p, &numbers) == MISFITS)
		return TC_ACT_SHOT;
	count(node->relays_accepted);
	if (status == EMBRYONIC)
		return free_connection(skb, p, bpf_ntohl(p->tcp.seq));
	remember(guard_freed, &p->connection, RECENT_NS);
	return free_connection(skb, p, numbers.rcv_nxt);
}

/* RST|ACK: means "aborted", and no switch fans it out. */
static __always_inline int send_rst_ack(struct __sk_buff *skb, const struct packet *p)
{
	__u32 end = bpf_ntohl(p->tcp.seq) + p->payload + p->tcp.syn + p->tcp.fin;

	return reply(skb, p, bpf_ntohl(p->tcp.ack_seq), end, FLAG_RST | FLAG_ACK, 0);
}

/* Redirect the whole frame to the switches. "mac" tells them why. */
static __always_inline int redirect(struct __sk_buff *skb, const struct packet *p,
				    const __u8 *mac)
{
	__u8 macs[2 * ETH_ALEN];

	__builtin_memcpy(macs, mac, ETH_ALEN);
	__builtin_memcpy(macs + ETH_ALEN, p->eth.h_dest, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

/* Whether a switch has passed it on and can do so again: its source carries a time
 * (topologies.domain.plan.SECOND_CHANCE_MAC). */
static __always_inline bool may_go_on(const struct packet *p, const struct config *config)
{
	const __u8 *mac = config->second_chance_mac, *source = p->eth.h_source;

	return same(source, mac, 2) && same(source + 4, mac + 4, 2) &&
	       !same(source + 2, mac + 2, 2);
}

static __always_inline int handle_stray(struct __sk_buff *skb, const struct packet *p,
					struct counters *node, struct config *config)
{
	bool redirected = same(p->eth.h_source, config->second_chance_mac, ETH_ALEN);
	enum mode mode = redirected && config->mode == PASS_ON ? ANSWER : config->mode;
	enum flow_status recent = recent_status(&p->connection, p->tcp.ack_seq);

	if (recent == ABORTED || recent == HELD || p->flags & FLAG_SYN)
		return mode == SILENT ? TC_ACT_SHOT : send_rst_ack(skb, p);
	count(node->strays);
	if (mode == SILENT)
		return TC_ACT_SHOT;
	if (mode == PASS_ON) {
		count(node->passed_on);
		return redirect(skb, p, may_go_on(p, config) ? p->eth.h_source
							     : config->second_chance_mac);
	}
	if (recent == ANSWERED)
		return TC_ACT_SHOT;
	if (recent == FANNED_OUT) {
		count(node->resets_repeated);
		update_answer(&p->connection, p->tcp.ack_seq);
		return send_rst_ack(skb, p);
	}
	if (!spend(p, config, 1)) {
		count(node->resets_limited);
		return send_rst_ack(skb, p);
	}
	store_answer(&p->connection, p->tcp.ack_seq);
	count(node->resets);
	return reply(skb, p, bpf_ntohl(p->tcp.ack_seq), bpf_ntohl(p->tcp.seq), FLAG_RST,
		     0);
}

/* The status that verdict.py has for a client's own reset; "numbers" are not needed. */
static __always_inline enum flow_status reset_status(struct __sk_buff *skb,
						     struct packet *p,
						     struct config *config)
{
	struct numbers numbers = {};
	enum flow_status status = flow_status(skb, p, config, &numbers);

	if (status != NOTHING)
		return status;
	return is_recent(&guard_relayed, &p->connection)
		       ? RELAYED
		       : recent_status(&p->connection, 0);
}

/* A client's own reset: passed to its connection, or relayed to the node that has it. */
static __always_inline int handle_client_reset(struct __sk_buff *skb, struct packet *p,
					       struct counters *node,
					       struct config *config)
{
	if (reset_status(skb, p, config) != NOTHING || p->payload) {
		remember(guard_relayed, &p->connection, RESET_INTERVAL_NS);
		return TC_ACT_UNSPEC;
	}
	if (!spend(p, config, config->relay_tokens)) {
		count(node->relays_limited);
		return TC_ACT_SHOT;
	}
	remember(guard_relayed, &p->connection, RESET_INTERVAL_NS);
	count(node->relays_sent);
	return redirect(skb, p, config->relay_mac);
}

SEC("tc")
int guard_ingress(struct __sk_buff *skb)
{
	struct packet p = {};
	struct numbers numbers = {};
	struct counters *node;
	struct config *config;
	__u32 zero = 0, key;
	bool marked, relayed;

	config = bpf_map_lookup_elem(&guard_config, &zero);
	if (!config || skb->pkt_type != PACKET_HOST ||
	    bpf_skb_load_bytes(skb, 0, &p.eth, sizeof(p.eth)))
		return TC_ACT_UNSPEC;
	key = p.connection.node = p.eth.h_dest[4] << 8 | p.eth.h_dest[5];
	node = bpf_map_lookup_elem(&guard_nodes, &key);
	if (!node)
		return TC_ACT_UNSPEC;
	marked = same(p.eth.h_source, config->fanout_mac, ETH_ALEN);
	relayed = same(p.eth.h_source, config->relay_mac, ETH_ALEN);
	switch (read_packet(skb, &p, config, true)) {
	case OTHER:
		return marked || relayed ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	case UNREADABLE:
		count(node->unreadable);
		return TC_ACT_SHOT;
	}
	if (marked)
		return handle_copy(skb, &p, node, config);
	if (relayed)
		return handle_relayed(skb, &p, node, config);
	if ((p.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST)) == FLAG_SYN)
		forget(&p.connection);
	if (p.flags & FLAG_RST) {
		int outcome = config->healing
				      ? handle_client_reset(skb, &p, node, config)
				      : TC_ACT_UNSPEC;

		bpf_map_delete_elem(&guard_held, &p.connection);
		return outcome;
	}
	if (!(p.flags & FLAG_ACK))
		return TC_ACT_UNSPEC;
	switch (flow_status(skb, &p, config, &numbers)) {
	case NOTHING:
		break;
	case CONNECTION:
		store_held(&p.connection);
	default:
		return TC_ACT_UNSPEC;
	}
	return handle_stray(skb, &p, node, config);
}

/* verdict.judge_request: fill in the keepalive that the healer asks for. */
static __always_inline int handle_request(struct __sk_buff *skb, struct packet *p,
					  struct config *config)
{
	struct numbers n = {};
	struct counters *node;
	__u32 key = p->connection.node;

	if (flow_status(skb, p, config, &n) != CONNECTION || !n.are_known)
		return TC_ACT_SHOT;
	write_field(skb, p, offsetof(struct tcphdr, seq), p->tcp.seq,
		    bpf_htonl(n.snd_una - 1));
	write_field(skb, p, offsetof(struct tcphdr, ack_seq), p->tcp.ack_seq,
		    bpf_htonl(n.rcv_nxt));
	if (p->flags != FLAG_ACK)
		write_flags(skb, p, FLAG_ACK);
	if (bpf_skb_store_bytes(skb, 0, config->gateway_mac, ETH_ALEN, 0))
		return TC_ACT_SHOT;
	node = bpf_map_lookup_elem(&guard_nodes, &key);
	if (node)
		count(node->probes);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int guard_egress(struct __sk_buff *skb)
{
	struct packet p = {};
	struct config *config;
	__u32 zero = 0;
	bool is_request;

	config = bpf_map_lookup_elem(&guard_config, &zero);
	if (!config || skb->mark == GUARD_MARK ||
	    bpf_skb_load_bytes(skb, 0, &p.eth, sizeof(p.eth)))
		return TC_ACT_UNSPEC;
	is_request = same(p.eth.h_dest, config->probe_mac, ETH_ALEN);
	if (read_packet(skb, &p, config, false) != SEGMENT)
		return is_request ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	p.connection.node = p.eth.h_source[4] << 8 | p.eth.h_source[5];
	if (is_request)
		return handle_request(skb, &p, config);
	/* verdict.judge_egress: an RST of the kernel without ACK becomes RST|ACK. */
	if (p.flags & FLAG_RST) {
		remember(guard_aborted, &p.connection, RECENT_NS);
		if (!(p.flags & FLAG_ACK))
			write_flags(skb, &p, p.flags | FLAG_ACK);
		return TC_ACT_UNSPEC;
	}
	if (p.flags & FLAG_ACK && is_recent(&guard_freed, &p.connection))
		return reply(skb, &p, bpf_ntohl(p.tcp.ack_seq), 0, FLAG_RST,
			     BPF_F_INGRESS);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
