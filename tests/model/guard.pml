/*
 * What the questions of the model share: connections, numbers, and how a guard judges.
 * The decisions themselves are not written here: guard_table.py makes them from
 * nodes/guard/verdict.py. docs/model.md says what is modelled and what is not.
 *
 * Each -DNO_... takes a check away. BOTH_NEAR, SLOW_HANDSHAKE and LATE_FRAMES each take
 * away an assumption.
 */
#include "guard_table.pml"

#define A 0             /* the nodes */
#define B 1
#define NONE 0          /* no connection */
#define OLD 1           /* the client's first one */
#define NEW 2           /* its next one, with the same ports */

#define only(n) (1 << (n))              /* a set of nodes */
#define both (only(A) | only(B))

/* What each node holds, and what its guard remembers. */
byte whose[2];          /* OLD, NEW or NONE */
bit embryonic[2];       /* Status.EMBRYONIC */
bit aborted[2];         /* Status.ABORTED */

/* What is judged at the moment. Hidden: set before each use, and no part of a state. */
hidden byte memory, status, fit, verdict, limited, survives, near_client, near_server;

/* Whether the budget refuses a fan-out now. */
inline may_limit() {
    if :: limited = 0 :: limited = 1 fi
}

/* Whether RCV.NXT moves between a guard's exact reset and the socket. */
inline may_survive() {
    if :: survives = 0 :: survives = 1 fi
}

/* Which numbers of one connection lie where those of the other are. Both at once is
 * excluded: each end chooses its own at random (RFC 6528). */
inline choose_near() {
    near_client = 0; near_server = 0;
    if
    :: skip
    :: near_client = 1
    :: near_server = 1
#ifdef BOTH_NEAR
    :: near_client = 1; near_server = 1
#endif
    fi;
#ifdef NO_FIT_SENT
    near_server = 1;    /* verdict.fit_of without "acknowledged" */
#endif
#ifdef NO_FIT_NEAR
    near_client = 1;    /* verdict.fit_of without "near" */
#endif
}

/* Sets verdict: verdict.judge_ingress, with what it is told of the connection. memory:
 * the status, if the node has no socket. */
inline judge(n, source, kind, e, memory) {
    if
    :: whose[n] == NONE -> status = memory
    :: whose[n] != NONE && embryonic[n] -> status = EMBRYONIC
    :: else -> status = CONNECTION
    fi;
    if
    :: status == EMBRYONIC -> fit = UNSURE      /* it shows its numbers to nobody */
    :: status != EMBRYONIC && e == whose[n] -> fit = FITS
    :: else -> fit = stranger_fits(source, kind, near_client, near_server)
    fi;
#ifdef NO_EXACT         /* verdict.fit_of_relayed takes a bare RST that is near */
    if
    :: source == SOURCE_RELAYED && kind == RESET && near_client -> fit = FITS
    :: else
    fi;
#endif
#ifdef NO_BUDGET
    verdict = arriving(source, kind, status, fit, false);
#else
#ifdef NO_MARK          /* nobody sees FANOUT_MAC and RELAY_MAC */
    verdict = arriving(SOURCE_CLIENT, kind, status, fit, limited);
#else
    verdict = arriving(source, kind, status, fit, limited);
#endif
#endif
#if defined(NO_RELAY) || defined(NO_HEAL)
    if :: verdict == RELAY -> verdict = PASS :: else fi;
#endif
#ifdef NO_COPIES        /* guards drop them */
    if :: source == SOURCE_COPY -> verdict = DROP :: else fi
#endif
}
