"""What became of messages whose own call did not tell: echoes, receipts, searches, Z-API's queue, people.

Evidence can prove that a message was sent; absence proves nothing. Only what was deleted from a queue before it left,
or what a person decides, was "not sent". Nothing here writes to a recipient.
"""
