"""Is each chip really connected? Checks of every instance, the list of the provider, and what they come to."""
