"""The zoo: expert, hypernetworks, validated policies."""
