"""HTTP/1.1: connections, requests and answers. It knows nothing of notes, and imports nothing else of the server."""
