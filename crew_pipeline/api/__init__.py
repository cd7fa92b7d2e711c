"""HTTP and WebSocket: routes, errors, tokens. Nothing heavy is imported here; the process stays small."""
