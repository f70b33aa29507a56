"""Handlers: each reads the input of a request, calls the domain once, and answers."""
