"""What the head node does to many nodes: role calls, repairs, roll-outs, judgements and reports."""
