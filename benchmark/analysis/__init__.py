"""From stored rows to numbers with intervals, and what they say of the paper's claims."""
