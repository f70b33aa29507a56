"""The command `note-whisperer`: seals and opens messages on this computer, in the server's format."""
