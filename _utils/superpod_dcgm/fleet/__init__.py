"""What the head node does to many nodes: deliver roles, apply states, judge and report."""
