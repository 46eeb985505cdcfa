// SPDX-License-Identifier: GPL-2.0
/*
 * Records TCP state changes and resets: two programs for each of three tracepoints.
 *
 * A tracepoint's text record does not have the socket's network namespace, and the first
 * state of a node's new socket in it differs between kernels. So each program reads the
 * socket itself, by the layout in the kernel's type information (BTF; structures with
 * preserve_access_index are relocated when the program is loaded). Linux >= 5.8.
 *
 * A softirq can interrupt a program, and change the states of other sockets. Linux >= 6.1
 * does not run a program again on the processor that it is running on (bpf_trace_run in
 * kernel/trace/bpf_trace.c); it counts that as one of its recursion_misses. Such a change
 * would be missing: about one of 10,000 under load. So each program has a stand-in, called
 * after it, which reports what the first one was not run for: what it left no mark of.
 * `stood_in` counts that, so what neither of them saw is known: the misses beyond it.
 *
 * Reports have one size and go into one ring. `lost` counts reports when it is full.
 * socket_events.py reads them, bpf_ring.py the ring.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define KERNEL_TYPE __attribute__((preserve_access_index))
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define TCP_TIME_WAIT 6
#define TCP_NEW_SYN_RECV 12

enum kind { STATE = 1, RESET_RECEIVED, RESET_SENT, KINDS }; /* socket_events._KINDS */

struct ns_common {
	unsigned int inum;
} KERNEL_TYPE;

struct net {
	struct ns_common ns;
} KERNEL_TYPE;

typedef struct {
	struct net *net;
} KERNEL_TYPE possible_net_t;

struct in6_addr {
	__u8 bytes[16]; /* only its address is used */
};

struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
} KERNEL_TYPE;

struct inet_sock {
	__be16 inet_sport;
} KERNEL_TYPE;

struct report { /* socket_events._REPORT */
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 socket;
	__u32 namespace; /* inode number of /proc/PID/ns/net */
	__u16 local_port, remote_port;
	__u8 kind, old_state, new_state, family;
	__u8 local[16], remote[16];
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24); /* 230,000 reports */
} reports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

/*
 * The marks of the first programs on this processor, by socket. The stand-in takes it away.
 * Two changes use one mark only where the second interrupts between program and stand-in,
 * and both sockets have the same place: then the first one is reported twice.
 */
#define MARKS 4096

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MARKS);
	__type(key, __u32);
	__type(value, __u64);
} marks SEC(".maps");

/* By kind: how many changes the stand-in was called for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, __u64);
} stood_in SEC(".maps");

/* TCP ports whose sockets are reported. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u16);
	__type(value, __u8);
} ports SEC(".maps");

/* Network namespaces whose sockets are reported, on any port. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
} namespaces SEC(".maps");

/*
 * A socket releases its port (inet_put_port) before its last state change is reported:
 * then skc_num is 0, but inet_sport is not. Request and TIME-WAIT sockets have only skc_num.
 */
static __always_inline __u16 local_port(const struct sock *sk)
{
	unsigned char state = BPF_CORE_READ(sk, __sk_common.skc_state);

	if (state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV)
		return BPF_CORE_READ(sk, __sk_common.skc_num);
	return bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
}

static __always_inline void addresses(struct report *to, const struct sock *sk)
{
	if (to->family == AF_INET) {
		bpf_core_read(to->local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(to->remote, 4, &sk->__sk_common.skc_daddr);
	} else {
		bpf_core_read(to->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(to->remote, 16, &sk->__sk_common.skc_v6_daddr);
	}
}

static __always_inline void report(const struct sock *sk, enum kind kind, int old_state,
				  int new_state)
{
	__u16 local = local_port(sk);
	__u16 remote = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__u32 namespace = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	struct report *one;

	if (!bpf_map_lookup_elem(&ports, &local) && !bpf_map_lookup_elem(&ports, &remote) &&
	    !bpf_map_lookup_elem(&namespaces, &namespace))
		return;
	if (family != AF_INET && family != AF_INET6)
		return;
	one = bpf_ringbuf_reserve(&reports, sizeof(*one), 0);
	if (!one) {
		__u32 key = 0;
		__u64 *count = bpf_map_lookup_elem(&lost, &key);

		if (count)
			__sync_fetch_and_add(count, 1);
		return;
	}
	__builtin_memset(one, 0, sizeof(*one));
	one->time_ns = bpf_ktime_get_ns();
	one->socket = (__u64)sk;
	one->namespace = namespace;
	one->local_port = local;
	one->remote_port = remote;
	one->kind = kind;
	one->old_state = old_state;
	one->new_state = new_state;
	one->family = family;
	addresses(one, sk);
	/* The reader polls: a wake-up for each report would cost more. */
	bpf_ringbuf_submit(one, BPF_RB_NO_WAKEUP);
}

/* Whether this program is to report the change: if it is the first, or that was not run. */
static __always_inline int reports_it(__u64 *context, __u32 kind, __u64 change, int stand_in)
{
	__u64 *count = bpf_map_lookup_elem(&stood_in, &kind);
	__u64 socket, *left, mark;
	__u32 place;

	/* The address as a number: with pointers the verifier forbids to calculate. */
	bpf_probe_read_kernel(&socket, sizeof(socket), context);
	/* Sockets are at least 64 octets apart, and addresses have 16 bits that are equal. */
	place = (socket >> 6) % MARKS;
	mark = socket ^ change << 48;
	left = bpf_map_lookup_elem(&marks, &place);
	if (!left || !count)
		return 0;
	if (!stand_in) {
		*left = mark;
		return 1;
	}
	if (*left == mark) {
		*left = 0;
		return 0;
	}
	__sync_fetch_and_add(count, 1);
	return 1;
}

static __always_inline int state(__u64 *context, int stand_in)
{
	const struct sock *sk = (void *)context[0];
	__u64 change = STATE << 12 | context[1] << 6 | context[2];

	/* It also reports SCTP, DCCP and Multipath TCP. */
	if (reports_it(context, STATE, change, stand_in) &&
	    BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		report(sk, STATE, context[1], context[2]);
	return 0;
}

static __always_inline int reset(__u64 *context, enum kind kind, int stand_in)
{
	const struct sock *sk = (void *)context[0];

	/* Resets without a socket (a stray segment, a refused SYN) are not reported. */
	if (reports_it(context, kind, kind << 12, stand_in) && sk)
		report(sk, kind, 0, 0);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int socket_state(__u64 *context)
{
	return state(context, 0);
}

SEC("tp_btf/inet_sock_set_state")
int socket_state_2(__u64 *context)
{
	return state(context, 1);
}

SEC("tp_btf/tcp_receive_reset")
int reset_received(__u64 *context)
{
	return reset(context, RESET_RECEIVED, 0);
}

SEC("tp_btf/tcp_receive_reset")
int reset_received_2(__u64 *context)
{
	return reset(context, RESET_RECEIVED, 1);
}

SEC("tp_btf/tcp_send_reset")
int reset_sent(__u64 *context)
{
	return reset(context, RESET_SENT, 0);
}

SEC("tp_btf/tcp_send_reset")
int reset_sent_2(__u64 *context)
{
	return reset(context, RESET_SENT, 1);
}

char _license[] SEC("license") = "GPL";
