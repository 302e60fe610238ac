"""The door: clients come in here, and so do operators, by another one.

`app` makes the two Quart-Trio apps, and `gateway` is the house behind both:

    of clients
        connection     chat completions past Quart, and all else to it
        chat           one of them, from its first byte to its record
        visit          who came, when, under which names (`ids`)
        rights         whose key it is, and which models are its to use
        body           the answer's way out
        answers        the one table of what goes wrong; `nearest`: what was meant
        catalog        what there is to ask for
    of operators
        operators      pages of the policy and of the last exchanges
        targets        pages of health, and what may be done with a target
        page           how they are written
        crew           the door of several workers; `merged`: what all of them say
"""
