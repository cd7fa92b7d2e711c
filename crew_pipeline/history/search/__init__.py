"""Search over a client's whole history: by words and by meaning."""
