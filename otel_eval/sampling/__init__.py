"""Which traces are judged, with a probability that is known for every one of them.

The tail sampler (`tail`) is told of every request that is journaled. It puts traces together (`traces.table`), looks at
each when it is finished (`deciding`: view, signals, facts), asks the policies for a rate, compares the largest with the
trace's random number (`randomness`), or lets the cap's window do it (`cap`), and writes the decision and the counts of
all traffic into the ledger (`ledger`, `writing`). Feedback that comes later finds its trace through `desk`.

What holds
- One random number u in (0, 1] for each trace, from its tracestate or id, the same in every replica. It is chosen iff
  u <= pi, where pi is the largest rate over the policies, which may look at everything but u. So pi is the probability
  with which the trace is chosen, and the chosen ones with u below the baseline's rate are a simple random sample.
- A rate is fixed before it is used: what policies learn counts from the next minute on.
- A later decision about the same trace (late spans, feedback) never lowers pi. Within the late window feedback raises
  it for every trace alike whose requests the journal still has; afterwards it is put down in the ledger and changes
  nothing.
- Where roots are held back until they are scored (`emit.mode: hold`), a trace has a first decision when its root comes
  (`first`), whose rate is a lower bound of pi.
- Every finished trace has one decision (later ones are revisions of it) and is counted once, chosen or not.
- The sampler is a function of the journal: time is the time at which requests were journaled, and nothing else is asked
  for. A restart reads the last checkpoint (`checkpoint`) and then the journal behind it, and comes to the same decisions;
  what had been written to the ledger before a crash stays as it was written and is not written again.

Limits
- A trace takes less than 1 kB. `max_open` traces are open at most; the oldest is decided when one more comes. When more
  than that wait for their decision, the oldest are decided by the baseline alone, without being looked at.
- All spans of a trace must come to the same hop, unless nothing but the baseline is asked for.
- The late window is shorter when the journal has no room for it (`retention`).
- Configuring other policies does not change decisions that were made.
"""
