"""The shopper's profile (画像): what their events say of their taste and rhythm, with the evidence; what they say of it themselves; the questions for those
of whom nothing is known.

    traits       what an item carries: a value of an attribute, such as brand = X or price = 5..10
    tastes       which traits someone takes more often than others do
    rhythm       when, how often, what is due again
    wishes       "this is wrong" and "more of this", and what they do to an answer
    questions    the items that tell tastes apart best, asked of new people
    newcomers    what their answers say of everything else
    page         all of it together, as it crosses the wire

A profile knows what was done with items and nothing else: registration is not read, and who somebody is, is not guessed.
"""
