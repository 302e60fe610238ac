"""What the operators are told: one log line for each exchange, and metrics.

    recorder        where an exchange goes when it has ended, to all of these:
    log             its line, which `writer` writes in a thread of its own
    metrics         counted in `families` as cheaply as can be, shown by `exposition`;
                    `fleet` is drawn when somebody reads; `names` outlive a reload
    recent          the last exchanges, for who asks what has just happened
    attention       what an operator must mend, said once a minute
    sums, workers   the metrics of several processes as one, and of the processes

Records hold no prompt, no completion and no key, so that nothing here can tell one.
"""
