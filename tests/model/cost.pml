/*
 * Cost: how many frames do a client's and an owner's segments cause?
 *   (b) A node fans out, and relays, once in an interval for a connection, and never
 *       what the budget refuses. What switches multiplied causes nothing. So there is a
 *       bound.
 *
 * One connection; at first the nodes hold anything of it. Its ends send WORDS segments,
 * while the numbers move. Each frame arrives once or never, at any node, in any order.
 */
#include "guard.pml"

#ifndef WORDS
#define WORDS 3
#endif
#define COPIES (2 + 2)  /* tier 1 to two chassis, tier 2 to A and B */

byte words = WORDS;
bit open;               /* the client has the connection */
byte position;          /* of the client, by what it has received: 0 to 2 */

byte answered[2];       /* Status.ANSWERED, FANNED_OUT: 1 + the position; 0: none */
bit relayed[2];         /* Status.RELAYED */

/* In flight: how many, towards any node; towards the client; to which nodes (a set). */
byte ack[3], reset, abort;
byte rst[3], data;
byte copy, relay, relay_abort;

byte caused, allowed;   /* frames, and how many may be at most */
bit fanned_out[2];      /* by the node, in this interval */
bit passed_on[2];       /* a reset of the client, likewise */

#define cause(frames) caused = caused + frames; assert(caused <= allowed)      /* (b) */
/* A segment, the other end's, the answer to that, and the copies of one fan-out. */
#define allow() words--; allowed = allowed + 3 + COPIES; cause(1)

inline remember(n, v) {
    if
    :: aborted[n] -> memory = ABORTED
#ifndef NO_ANSWERED
    :: !aborted[n] && answered[n] == 1 + v -> memory = ANSWERED
#endif
#ifndef NO_FANNED_OUT
    :: !aborted[n] && answered[n] != 0 && answered[n] != 1 + v -> memory = FANNED_OUT
#endif
    :: else -> memory = NOTHING
    fi
}

inline on_ack(n, v) {
    ack[v]--;
    remember(n, v);
    judge(n, SOURCE_CLIENT, ACK, OLD, memory);
    if
    :: verdict == RESET_IT ->
        assert(!fanned_out[n] && !limited);                     /* (b) */
        fanned_out[n] = 1; answered[n] = 1 + v;
        rst[v]++; copy = both;
        cause(1 + COPIES)
    :: verdict == REFUSE_IT ->
        if :: status == FANNED_OUT -> answered[n] = 1 + v :: else fi;
        rst[v]++;
        cause(1)
    :: else
    fi
}

inline on_reset(n, kind, frames, onward) {
    frames--;
    if
#ifndef NO_RELAYED
    :: relayed[n] -> memory = RELAYED
#endif
    :: else -> remember(n, 0)
    fi;
    judge(n, SOURCE_CLIENT, kind, OLD, memory);
    if
    :: verdict == RELAY ->
        assert(!passed_on[n] && !limited);                      /* (b) */
        passed_on[n] = 1; relayed[n] = 1;
        onward = both;
        cause(1 + COPIES)
    :: verdict == PASS -> relayed[n] = 1; whose[n] = NONE
    :: else
    fi
}

/* A socket that survives its reset says so; verdict.judge_egress keeps that back. */
inline on_copy(n, source, kind, set) {
    set = set & ~only(n);
    judge(n, source, kind, OLD, NOTHING);
    assert(verdict == DROP || verdict == FREE);                 /* (b) */
    if
    :: verdict == FREE && survives ->
#ifdef NO_FREED
        verdict = leaving(ACK, false);
#else
        verdict = leaving(ACK, true);
#endif
        assert(verdict == FREE);                                /* (b) */
        whose[n] = NONE
    :: verdict == FREE && !survives -> whose[n] = NONE
    :: else
    fi
}

/* RFC 5961, 3.2: an exact reset; an older number is dropped. */
inline on_rst(v) {
    rst[v]--;
    if :: v == position -> open = 0 :: else fi
}

inline on_data() {
    data--;
    if
    :: open -> position = (position < 2 -> position + 1 : 2); ack[position]++
    :: else -> reset++
    fi;
    cause(1)
}

#define of_client(frames, what) \
    :: atomic { frames -> may_limit(); d_step { what } }
#define multiplied(n, source, kind, set) \
    :: atomic { set & only(n) -> may_survive(); \
        d_step { on_copy(n, source, kind, set) } }
#define arrivals(n)                                                                  \
    of_client(ack[0], on_ack(n, 0))                                                  \
    of_client(ack[1], on_ack(n, 1))                                                  \
    of_client(ack[2], on_ack(n, 2))                                                  \
    of_client(reset, on_reset(n, RESET, reset, relay))                               \
    of_client(abort, on_reset(n, ABORT, abort, relay_abort))                         \
    multiplied(n, SOURCE_COPY, RESET, copy)                                          \
    multiplied(n, SOURCE_RELAYED, RESET, relay)                                      \
    multiplied(n, SOURCE_RELAYED, ABORT, relay_abort)                                \
    :: d_step { whose[n] == OLD && words > 0 -> data++; allow() }                    \
    /* An interval is over. */                                                       \
    :: d_step { answered[n] -> answered[n] = 0; fanned_out[n] = 0 }                  \
    :: d_step { relayed[n] -> relayed[n] = 0; passed_on[n] = 0 }

inline anything(n) {
    if :: whose[n] = OLD :: skip fi;
    if :: aborted[n] = 1 :: skip fi
}

init {
    atomic {
        anything(A); anything(B);
        if :: open = 1 :: skip fi
    }
end:
    do
    arrivals(A)
    arrivals(B)
    :: d_step { open && words > 0 -> ack[position]++; allow() }
    :: d_step { open && words > 0 -> abort++; open = 0; allow() }
    :: d_step { rst[0] -> on_rst(0) }
    :: d_step { rst[1] -> on_rst(1) }
    :: d_step { rst[2] -> on_rst(2) }
    :: d_step { data -> on_data() }
    od
}
