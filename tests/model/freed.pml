/*
 * Freed: is any connection left half-open?
 *   (c) Whatever happens, all becomes quiet. Then what the client has, the owner has.
 *
 * A holds a connection, and the bucket moves to B and back. Any frame may be lost.
 *   FEW_LOSSES  At most LOSSES frames are lost, and there is no deadline: keepalives,
 *               relays and copies do it alone.
 *   ALONE       Nothing is lost, nobody heals, and the client leaves only when it is
 *               reset: copies do it alone.
 *
 * "progress" is where all is quiet. Spin looks for a run that never comes there again.
 * Two frames of one kind count as one in flight: nodes answer one of them (cost.pml).
 */
#include "guard.pml"

#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
#ifndef WORDS
#define WORDS 2         /* segments that the client sends of its own accord */
#endif
#define PROBES 2        /* schedule.LEAST_PROBES */

bit open = 1;           /* the client has the connection; A has it to the end */
bit excused;            /* it left while A was its owner: half-open by TCP alone */
bit owner = A;          /* of the bucket */
bit heard = 1;          /* schedule.Held.heard_s: since the latest change */
byte changes = CHANGES, words = WORDS, probes = PROBES, losses;

bit answered[2];        /* Status.ANSWERED: the number stays the same here */
bit relayed[2];         /* Status.RELAYED */

/* In flight. From the client, as sets of the nodes where they may arrive; to the
 * client; to A, since B has nothing that could be freed. */
byte ack, reset, abort;
bit rst, refusal, keepalive;
bit copy, relay, relay_abort;
#define in_flight (ack || reset || abort || rst || refusal || keepalive || copy || \
    relay || relay_abort)

#ifdef ALONE
#define NO_HEAL
#define may_lose false
#define lost skip
#else
#ifdef FEW_LOSSES
#define may_lose (losses < LOSSES)
#define lost losses++
#else
#define may_lose true
#define lost skip
#endif
#endif

/* schedule.Schedule */
#ifdef NO_RETURN        /* only another owner counts as a change */
#define in_doubt (owner != A)
#else
#define in_doubt (owner != A || !heard)
#endif

/* The healer may ask, and may destroy. Without a deadline it asks for ever. */
#if defined(NO_DEADLINE) || defined(FEW_LOSSES) || defined(NO_HEAL)
#define can_destroy false
#define count_probe skip
#else
#define can_destroy (in_doubt && !probes)
#define count_probe probes--
#endif
#if defined(NO_PROBE) || defined(NO_HEAL)
#define can_ask false
#else
#define can_ask (in_doubt && probes)
#endif

inline remember(n) {
    if
    :: aborted[n] -> memory = ABORTED
    :: !aborted[n] && answered[n] -> memory = ANSWERED
    :: else -> memory = NOTHING
    fi
}

inline on_ack(n) {
    ack = 0;
    remember(n);
    judge(n, SOURCE_CLIENT, ACK, OLD, memory);
    if
    :: verdict == RESET_IT -> answered[n] = 1; rst = 1; copy = 1
    :: verdict == REFUSE_IT -> refusal = 1
    :: verdict == PASS ->       /* A hears it: the silence begins anew */
        if :: owner == A -> heard = 1 :: else fi;
        probes = PROBES
    :: else -> assert(verdict == DROP)
    fi
}

inline on_reset(n, kind, frame, onward) {
    frame = 0;
    remember(n);
    if :: memory == NOTHING && relayed[n] -> memory = RELAYED :: else fi;
    judge(n, SOURCE_CLIENT, kind, OLD, memory);
    if
    :: verdict == RELAY -> relayed[n] = 1; onward = 1
    :: verdict == PASS -> relayed[n] = 1; whose[n] = NONE
    :: else -> assert(verdict == DROP)
    fi
}

inline on_copy(source, kind, frame) {
    frame = 0;
    judge(A, source, kind, OLD, NOTHING);
    if :: verdict == FREE -> whose[A] = NONE :: else fi
}

/* What the budget refuses is lost, too. */
inline may_refuse() {
    if :: limited = 0 :: may_lose -> lost; limited = 1 fi
}

#define of_client(frame, n, what) \
    :: atomic { frame & only(n) -> may_refuse(); d_step { what } }
#define arrivals(n)                                                                  \
    of_client(ack, n, on_ack(n))                                                     \
    of_client(reset, n, on_reset(n, RESET, reset, relay))                            \
    of_client(abort, n, on_reset(n, ABORT, abort, relay_abort))
#define lose(frame) \
    :: d_step { frame && may_lose -> lost; frame = 0 }

#define send(set) set = set | only(owner)

inline leave(by_itself) { open = 0; excused = by_itself && owner == A }

inline reroute(set) { if :: set -> send(set) :: else fi }

inline change() {
    owner = 1 - owner; changes--;
    heard = 0; probes = PROBES; excused = 0;
    reroute(ack); reroute(reset); reroute(abort)
}

init {
    whose[A] = OLD;
    do
    :: whose[A] == NONE -> break                /* freed: there is no more to see */
    :: else ->
        if
        arrivals(A)
        arrivals(B)
        :: d_step { copy -> on_copy(SOURCE_COPY, RESET, copy) }
        :: d_step { relay -> on_copy(SOURCE_RELAYED, RESET, relay) }
        :: d_step { relay_abort -> on_copy(SOURCE_RELAYED, ABORT, relay_abort) }
        lose(ack) lose(reset) lose(abort) lose(rst) lose(refusal) lose(keepalive)
        lose(copy) lose(relay) lose(relay_abort)

        /* The bucket comes back when what was under way before has ended. */
#ifdef LATE_FRAMES
        :: d_step { changes > 0 -> change() }
#else
        :: d_step { changes > 0 && (owner == A || !in_flight) -> change() }
#endif

        /* The client. It aborts, or its machine is switched off and on. */
        :: d_step { open && words > 0 -> words--; send(ack) }
#ifndef ALONE
        :: d_step { open -> send(abort); leave(true) }
        :: d_step { open -> leave(true) }
#endif
        :: d_step { rst -> rst = 0; if :: open -> leave(false) :: else fi }
        :: d_step { refusal -> refusal = 0; if :: open -> leave(false) :: else fi }
        :: d_step { keepalive ->
            keepalive = 0; if :: open -> send(ack) :: else -> send(reset) fi }

        /* The healer of A: verdict.judge_request, SOCK_DESTROY. A keepalive, or the one
         * after it, comes when B has forgotten what it remembers. */
        :: d_step { can_ask && !in_flight ->
            count_probe; keepalive = 1;
            answered[A] = 0; answered[B] = 0; relayed[A] = 0; relayed[B] = 0 }
        :: d_step { can_destroy -> whose[A] = NONE }

        /* Nothing happens by itself any more. */
        :: !in_flight && !can_ask && !can_destroy ->
#ifdef ALONE
progress:   assert(open)                                                       /* (c) */
#else
progress:   assert((open && owner == A) || excused)                            /* (c) */
#endif
        fi
    od
}
