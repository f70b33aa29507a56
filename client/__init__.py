"""The command `note-whisperer`: messages are sealed and opened on this side, with the server's own format."""
