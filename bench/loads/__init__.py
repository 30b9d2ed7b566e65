"""Load generators that several figures use: how they are called, and what they print."""
