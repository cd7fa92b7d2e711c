"""The Clean Up Crew service: hit or miss, waiting and falling back, the warm worker."""
