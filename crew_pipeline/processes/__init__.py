"""Everything on one machine: which processes there are, and what keeps them alive."""
