/*
 * Safety: whom do resets hit?
 *   (a) Never a connection by a frame, a memory or a decision that meant another one.
 *   (d) Never a connection that no change has touched; nor is there a fan-out for it.
 *
 * What was sent stays in flight for ever. It arrives at any time, any number of times,
 * in any order, or never; at any node that has owned the bucket since. So nothing has
 * to be sent twice. ANSWERED, FANNED_OUT and RELAYED are left out: without them nodes
 * do more.
 */
#include "guard.pml"

#ifndef CHANGES
#define CHANGES 2
#endif

#define CLOSED 0
#define SYN_SENT 1
#define OPEN 2
byte client = OPEN;
byte uses = OLD;        /* the client's connection, or its last one */

bit owner = A;          /* of the bucket */
byte changes = CHANGES; /* that may still come */
bit moved[3];           /* a change has touched the connection while it was in use */

byte gap[2];            /* Status.HELD: unhashed, and its RST has not left yet */
byte freed[2];          /* Status.FREED: the connection that was meant */
bit heard[2];           /* schedule.Held.heard_s: since the latest change */
byte doomed[2];         /* what the healer has decided to destroy */

/* In flight. From the client, as sets of nodes; of NEW its SYN and its segments. */
byte syn, ack[3], reset, abort;
/* To all nodes: */
bit copy, relay, relay_abort;
/* To the client. A segment of OLD may reach it at any time: A has always sent one. */
bit syn_ack;

#define in_use(e) (client != CLOSED && uses == e)
#define may_be_reset(e) (moved[e] || !in_use(e))

inline forget(n) { whose[n] = NONE; embryonic[n] = 0; heard[n] = 0 }

/* The node's own TCP ends its connection: the socket is gone, then a RST leaves. */
inline end_here(n) { gap[n] = whose[n]; forget(n) }

/* verdict.judge_egress: switches must not take that RST for "not recognised". */
inline tell(n) {
#ifdef NO_AMEND
    verdict = PASS;
#else
    verdict = leaving(RESET, (freed[n] != NONE));
#endif
    assert(verdict == AMEND || may_be_reset(gap[n]));           /* (d) */
    gap[n] = NONE; aborted[n] = 1
}

/* Action.FREE: the guard hands an exact reset to the node's own TCP. */
inline free(n, e) {
    if
    :: embryonic[n] ->          /* by the frame's own number; tcp_check_req checks it */
#ifdef NO_EMBRYONIC
        freed[n] = e;           /* "not stored as FREED" in nodes/guard/guard.bpf.c */
#endif
        if :: e == whose[n] -> forget(n) :: else fi
    :: else ->
        assert(e == whose[n]);                                  /* (a) */
        assert(may_be_reset(e));                                /* (d) */
        freed[n] = e;
        if :: survives :: else -> forget(n) fi
    fi
}

/* Action.PASS: to the node's own TCP. What is of the other connection does nothing. */
inline receive(n, kind, e) {
    if
    :: kind == SYN ->
#ifndef NO_SYN_FORGETS
        aborted[n] = 0; gap[n] = NONE; freed[n] = NONE;
#endif
        if
        :: whose[n] == NONE -> whose[n] = NEW; embryonic[n] = 1; syn = syn & ~only(n)
        :: else
        fi
    :: kind == ACK && e == whose[n] -> embryonic[n] = 0; heard[n] = 1
    :: kind != ACK && kind != SYN && e == whose[n] -> forget(n)
    :: else
    fi
}

inline remember(n) {
    if
#ifndef NO_HELD
    :: gap[n] != NONE -> memory = HELD
#endif
#ifndef NO_ABORTED
    :: aborted[n] -> memory = ABORTED
#endif
    :: else -> memory = NOTHING
    fi
}

inline arrive(n, source, kind, e) {
    if                          /* what is open, first; the rest is one step */
    :: source == SOURCE_CLIENT -> may_limit()
    :: source != SOURCE_CLIENT && e == whose[n] -> may_survive()
    :: source != SOURCE_CLIENT && e != whose[n] -> choose_near()
    fi;
    d_step {
        remember(n);
        judge(n, source, kind, e, memory);
        if
        :: verdict == FREE -> free(n, e)
        :: verdict == PASS -> receive(n, kind, e)
        :: verdict == RELAY && kind == RESET -> relay = 1
        :: verdict == RELAY && kind == ABORT -> relay_abort = 1
        :: verdict == RESET_IT ->
            assert(may_be_reset(e));                            /* (d) */
            if :: e == OLD -> copy = 1 :: else fi
        :: verdict == REFUSE_IT -> assert(may_be_reset(e) ||    /* (d) */
            status == ABORTED || status == HELD)
        :: else -> assert(verdict == DROP)
        fi
    }
}

#define arrivals(n)                                                                  \
    :: atomic { syn & only(n) -> arrive(n, SOURCE_CLIENT, SYN, NEW) }                \
    :: atomic { ack[OLD] & only(n) -> arrive(n, SOURCE_CLIENT, ACK, OLD) }           \
    :: atomic { ack[NEW] & only(n) -> arrive(n, SOURCE_CLIENT, ACK, NEW) }           \
    :: atomic { reset & only(n) -> arrive(n, SOURCE_CLIENT, RESET, OLD) }            \
    :: atomic { abort & only(n) -> arrive(n, SOURCE_CLIENT, ABORT, OLD) }            \
    :: atomic { copy -> arrive(n, SOURCE_COPY, RESET, OLD) }                         \
    :: atomic { relay -> arrive(n, SOURCE_RELAYED, RESET, OLD) }                     \
    :: atomic { relay_abort -> arrive(n, SOURCE_RELAYED, ABORT, OLD) }

/* The node sends a segment of its own: verdict.judge_egress. */
inline send(n) {
    if
    :: embryonic[n] -> verdict = leaving(SYN_ACK, (freed[n] != NONE))
    :: else -> verdict = leaving(ACK, (freed[n] != NONE))
    fi;
    if
    :: verdict == FREE ->
        assert(freed[n] == whose[n]);                           /* (a) */
        forget(n)
    :: verdict == PASS && embryonic[n] -> syn_ack = 1
    :: else
    fi
}

/* schedule.Schedule. Of a handshake nothing is heard (SLOW_HANDSHAKE). */
#ifdef SLOW_HANDSHAKE
#define may_doubt(n) (whose[n] != NONE)
#else
#define may_doubt(n) (whose[n] != NONE && !embryonic[n])
#endif
#define in_doubt(n) (changes < CHANGES && may_doubt(n) && (owner != n || !heard[n]))

/* SOCK_DESTROY, some time after the decision (schedule.Held.cookie). */
inline destroy(n) {
    if
#ifdef NO_COOKIE
    :: whose[n] == NONE
#else
    :: whose[n] != doomed[n]
#endif
    :: else ->
        assert(whose[n] == doomed[n]);                          /* (a) */
        assert(may_be_reset(whose[n]));                         /* (d) */
        end_here(n)
    fi;
    doomed[n] = NONE
}

#define acts(n)                                                                      \
    :: d_step { whose[n] != NONE -> send(n) }                                        \
    :: d_step { whose[n] != NONE && !embryonic[n] -> end_here(n) }                   \
    :: d_step { gap[n] != NONE -> tell(n) }                                          \
    :: d_step { in_doubt(n) && doomed[n] == NONE -> doomed[n] = whose[n] }           \
    :: d_step { doomed[n] != NONE -> destroy(n) }

inline reroute(set) {
    if :: set -> set = set | only(owner) :: else fi
}

inline change() {
    owner = 1 - owner; changes--;
    moved[OLD] = 1;
    if :: uses == NEW -> moved[NEW] = 1 :: else fi;
    heard[A] = 0; heard[B] = 0;
    reroute(syn); reroute(ack[OLD]); reroute(ack[NEW]); reroute(reset); reroute(abort)
}

#define send_once(set) !(set & only(owner)) -> set = set | only(owner)

init {
    d_step { whose[A] = OLD; heard[A] = 1 }
    do
    arrivals(A)
    arrivals(B)
    acts(A)
    acts(B)
    :: d_step { changes > 0 -> change() }

    /* The client. */
    :: d_step { client == OPEN && send_once(ack[uses]) }
    :: d_step { client == OPEN && uses == OLD -> abort = only(owner); client = CLOSED }
    :: d_step { client != CLOSED -> client = CLOSED }
    :: d_step { client == CLOSED && uses == OLD -> client = SYN_SENT; uses = NEW }
    :: d_step { client == SYN_SENT && send_once(syn) }
    :: d_step { client == SYN_SENT && syn_ack -> client = OPEN }
    /* A segment of OLD meets no socket, or SYN-SENT (RFC 9293, 3.10.7.1 and .3). */
    :: d_step { client != OPEN && send_once(reset) }
    od
}
