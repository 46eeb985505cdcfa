// SPDX-License-Identifier: GPL-2.0
/*
 * The guard of the storage nodes, in the kernel: nodes/verdict.py as two tc programs.
 *
 * One instance serves every node of a cluster: attached (clsact, direct-action) to
 * ingress and egress of each node's interface, it finds the node by the low 16 bits of
 * the interface's MAC address. It keeps no flow table: the kernel's own is asked.
 *
 * Only UAPI structures are used, so it loads on kernels with no BTF (Linux >= 5.2).
 * VLAN tags, IP options, IPv6 extension headers and fragments: not judged, the kernel's.
 */
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

#define SEQUENCE_SLACK (16 * 1024 * 1024) /* verdict.SEQUENCE_SLACK */
#define MEMORY_NS 1000000000ULL		  /* verdict.MEMORY_S */
#define REPLY_TTL 64
#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset: RFC 791, 3.1 */

/* skb->mark of what this program sends, so that its egress half lets it go. */
#define GUARD_MARK 0x67756172

#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_ACK 0x10

/* verdict.Known, except that LISTEN has been resolved to NOTHING or EMBRYONIC. */
enum known { NOTHING, EMBRYONIC, CONNECTION, TIME_WAIT, ABORTED, FREED };

/* guard_ebpf.CONFIG */
struct config {
	__u8 vip6[16];
	__u8 vip4[4];
	__u8 fanout_mac[6];
	__u8 answer;
	__u8 unused;
};

/* guard_ebpf.COUNTERS: the fields of guard.GuardCounters, in order. */
struct counters {
	__u64 strays;
	__u64 resets;
	__u64 copies_received;
	__u64 copies_accepted;
	__u64 copies_rejected;
};

/* A connection of one node, as the node sees it; ports in network order. */
struct connection {
	__u8 client[16];
	__be16 client_port;
	__be16 vip_port;
	__u16 node;
	__u16 ip_version;
};

/* What a node did to a connection, remembered until then (verdict.MEMORY_S). */
struct deed {
	__u64 until_ns;
	__u64 known;
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

struct numbers {
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 rcv_nxt;
};

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

#define count(field) __sync_fetch_and_add(&(field), 1)

/* Not memcmp, which clang leaves as a call where it does not unroll it. */
static __always_inline bool same(const __u8 *a, const __u8 *b, int size)
{
	__u8 difference = 0;

	for (int i = 0; i < size; i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

/* ---- reading a packet ------------------------------------------------------------ */

static __always_inline bool read_ip4(struct __sk_buff *skb, struct packet *p,
				     const struct config *config, bool arriving)
{
	struct iphdr *ip = &p->ip4;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
		return false;
	if (ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_TCP ||
	    ip->frag_off & bpf_htons(IPV4_FRAGMENT))
		return false;
	if (!same((__u8 *)(arriving ? &ip->daddr : &ip->saddr), config->vip4, 4))
		return false;
	__builtin_memcpy(p->connection.client, arriving ? &ip->saddr : &ip->daddr, 4);
	p->connection.ip_version = 4;
	p->tcp_offset = ETH_HLEN + sizeof(*ip);
	p->payload = bpf_ntohs(ip->tot_len) - sizeof(*ip);
	return true;
}

static __always_inline bool read_ip6(struct __sk_buff *skb, struct packet *p,
				     const struct config *config, bool arriving)
{
	struct ipv6hdr *ip = &p->ip6;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)))
		return false;
	if (ip->version != 6 || ip->nexthdr != IPPROTO_TCP)
		return false;
	if (!same((__u8 *)(arriving ? &ip->daddr : &ip->saddr), config->vip6, 16))
		return false;
	__builtin_memcpy(p->connection.client, arriving ? &ip->saddr : &ip->daddr, 16);
	p->connection.ip_version = 6;
	p->tcp_offset = ETH_HLEN + sizeof(*ip);
	p->payload = bpf_ntohs(ip->payload_len);
	return true;
}

/*
 * Fill *p from a TCP packet to (arriving) or from the virtual address. False for any
 * other. Copied, not accessed in place: what an AF_PACKET socket sent may have nothing
 * but the Ethernet header in its linear part.
 */
static __always_inline bool read_packet(struct __sk_buff *skb, struct packet *p,
					const struct config *config, bool arriving)
{
	bool is_ip4 = skb->protocol == bpf_htons(ETH_P_IP);

	if (skb->vlan_present)
		return false;
	if (!is_ip4 && skb->protocol != bpf_htons(ETH_P_IPV6))
		return false;
	if (!(is_ip4 ? read_ip4(skb, p, config, arriving)
		     : read_ip6(skb, p, config, arriving)))
		return false;
	if (bpf_skb_load_bytes(skb, p->tcp_offset, &p->tcp, sizeof(p->tcp)))
		return false;
	if (p->tcp.doff < 5 || p->payload < p->tcp.doff * 4)
		return false;
	p->payload -= p->tcp.doff * 4;
	p->flags = ((__u8 *)&p->tcp)[13];
	p->connection.client_port = arriving ? p->tcp.source : p->tcp.dest;
	p->connection.vip_port = arriving ? p->tcp.dest : p->tcp.source;
	return true;
}

/* ---- what the node knows --------------------------------------------------------- */

static __always_inline void remember(const struct connection *connection, __u64 known)
{
	struct deed deed = {.until_ns = bpf_ktime_get_ns() + MEMORY_NS, .known = known};

	bpf_map_update_elem(&guard_deeds, connection, &deed, BPF_ANY);
}

static __always_inline __u64 recall(const struct connection *connection)
{
	struct deed *deed = bpf_map_lookup_elem(&guard_deeds, connection);

	return deed && deed->until_ns > bpf_ktime_get_ns() ? deed->known : NOTHING;
}

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
 * A listener found for a segment without SYN holds nothing of its connection, unless
 * it is under a SYN flood and the segment brings back the cookie that it gave out.
 */
static __always_inline enum known held_by_listener(struct bpf_sock *sk,
						   struct packet *p)
{
	long bad = p->connection.ip_version == 4
			   ? bpf_tcp_check_syncookie(sk, &p->ip4, sizeof(p->ip4),
						     &p->tcp, sizeof(p->tcp))
			   : bpf_tcp_check_syncookie(sk, &p->ip6, sizeof(p->ip6),
						     &p->tcp, sizeof(p->tcp));

	return bad ? NOTHING : EMBRYONIC;
}

static __always_inline enum known held_by(struct bpf_sock *sk, struct packet *p,
					  struct numbers *numbers)
{
	struct bpf_tcp_sock *tcp;

	switch (sk->state) {
	case BPF_TCP_LISTEN:
		return held_by_listener(sk, p);
	case BPF_TCP_NEW_SYN_RECV:
		return EMBRYONIC;
	case BPF_TCP_TIME_WAIT:
		return TIME_WAIT;
	}
	tcp = bpf_tcp_sock(sk);
	if (!tcp)
		return NOTHING;
	numbers->snd_una = tcp->snd_una;
	numbers->snd_nxt = tcp->snd_nxt;
	numbers->rcv_nxt = tcp->rcv_nxt;
	return CONNECTION;
}

static __always_inline enum known known_of(struct __sk_buff *skb, struct packet *p,
					   struct numbers *numbers)
{
	struct bpf_sock *sk = find_socket(skb, p);
	enum known known = NOTHING;

	if (sk) {
		known = held_by(sk, p, numbers);
		bpf_sk_release(sk);
	}
	return known;
}

/* ---- building a reset ------------------------------------------------------------ */

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * Whether the stack still owes the packet its TCP checksum (CHECKSUM_PARTIAL), as for
 * everything that a userspace switch with TSO passes on. No field tells, but an update
 * that is not of the pseudo-header changes the checksum only where one is there
 * (inet_proto_csum_replace4).
 */
static __always_inline bool checksum_is_owed(struct __sk_buff *skb, __u32 field)
{
	__u16 before = 0, after = 0;

	bpf_skb_load_bytes(skb, field, &before, sizeof(before));
	bpf_l4_csum_replace(skb, field, 0, 1, 2);
	bpf_skb_load_bytes(skb, field, &after, sizeof(after));
	bpf_l4_csum_replace(skb, field, 1, 0, 2);
	return before == after;
}

/* What belongs in the checksum field: the whole sum, or what PARTIAL starts from. */
static __always_inline __u16 tcp_checksum(struct tcphdr *tcp, __s64 pseudo, bool owed)
{
	if (owed)
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
					 __u32 seq, __u32 ack, __u8 flags, bool owed)
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
		bpf_csum_diff(0, 0, (__be32 *)&pseudo, sizeof(pseudo), 0), owed);
	return store(skb, &frame.eth, sizeof(frame) - sizeof(frame.padding));
}

static __always_inline long store_reply6(struct __sk_buff *skb, const struct packet *p,
					 __u32 seq, __u32 ack, __u8 flags, bool owed)
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
		bpf_csum_diff(0, 0, (__be32 *)&pseudo, sizeof(pseudo), 0), owed);
	return store(skb, &frame.eth, sizeof(frame) - sizeof(frame.padding));
}

/*
 * Turn the packet into a reset that goes the way it came from (redirect: 0) or, for a
 * packet that was leaving, back into the node (BPF_F_INGRESS).
 */
static __always_inline int reply(struct __sk_buff *skb, const struct packet *p,
				 __u32 seq, __u32 ack, __u8 flags, __u64 redirect)
{
	__u32 size = p->tcp_offset + sizeof(struct tcphdr);
	bool owed = checksum_is_owed(skb, p->tcp_offset + offsetof(struct tcphdr, check));

	if (bpf_skb_change_tail(skb, size, 0))
		return TC_ACT_SHOT;
	if (p->connection.ip_version == 4
		    ? store_reply4(skb, p, seq, ack, flags, owed)
		    : store_reply6(skb, p, seq, ack, flags, owed))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, redirect);
}

/* ---- the table, row by row: nodes/verdict.py ------------------------------------- */

static __always_inline bool fits(const struct packet *copy, const struct numbers *n)
{
	__u32 sent = bpf_ntohl(copy->tcp.seq) - n->snd_una;
	__s32 off = bpf_ntohl(copy->tcp.ack_seq) - n->rcv_nxt;

	return sent <= n->snd_nxt - n->snd_una && off <= SEQUENCE_SLACK &&
	       off >= -SEQUENCE_SLACK;
}

/* Give the kernel's TCP the copy as the exact reset (RFC 5961, 3.2). */
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
	remember(&p->connection, FREED);
	return TC_ACT_UNSPEC;
}

static __always_inline int judge_copy(struct __sk_buff *skb, struct packet *p,
				      struct counters *node)
{
	struct numbers numbers = {};
	enum known known;

	if ((p->flags & (FLAG_RST | FLAG_ACK)) != FLAG_RST)
		return TC_ACT_SHOT;
	count(node->copies_received);
	known = known_of(skb, p, &numbers);
	if (known == CONNECTION && fits(p, &numbers)) {
		count(node->copies_accepted);
		return free_connection(skb, p, numbers.rcv_nxt);
	}
	if (known == EMBRYONIC) {
		/* Its numbers are hidden here; tcp_check_req checks its window. */
		count(node->copies_accepted);
		return free_connection(skb, p, bpf_ntohl(p->tcp.ack_seq));
	}
	if (known == CONNECTION)
		count(node->copies_rejected);
	return TC_ACT_SHOT;
}

/* RST|ACK: says "aborted", and no switch fans it out. */
static __always_inline int refuse(struct __sk_buff *skb, const struct packet *p)
{
	__u32 end = bpf_ntohl(p->tcp.seq) + p->payload + p->tcp.syn + p->tcp.fin;

	return reply(skb, p, bpf_ntohl(p->tcp.ack_seq), end, FLAG_RST | FLAG_ACK, 0);
}

static __always_inline int judge_stray(struct __sk_buff *skb, const struct packet *p,
				       struct counters *node, bool answer)
{
	if (recall(&p->connection) == ABORTED || p->flags & FLAG_SYN)
		return answer ? refuse(skb, p) : TC_ACT_SHOT;
	count(node->strays);
	if (!answer)
		return TC_ACT_SHOT;
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
		return judge_copy(skb, &p, node);
	if ((p.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST)) == FLAG_SYN)
		bpf_map_delete_elem(&guard_deeds, &p.connection);
	if (p.flags & FLAG_RST || !(p.flags & FLAG_ACK))
		return TC_ACT_UNSPEC;
	if (known_of(skb, &p, &numbers) != NOTHING)
		return TC_ACT_UNSPEC;
	return judge_stray(skb, &p, node, config->answer);
}

/* verdict.judge_leaving, first row: a bare RST of the kernel becomes RST|ACK. */
static __always_inline int amend(struct __sk_buff *skb, const struct packet *p)
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
		remember(&p.connection, ABORTED);
		return p.flags & FLAG_ACK ? TC_ACT_UNSPEC : amend(skb, &p);
	}
	if (recall(&p.connection) == FREED && p.flags & FLAG_ACK)
		return reply(skb, &p, bpf_ntohl(p.tcp.ack_seq), 0, FLAG_RST,
			     BPF_F_INGRESS);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
