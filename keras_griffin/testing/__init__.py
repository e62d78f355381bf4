"""What a contributor's mixer or kernel must satisfy; nothing in the package imports it."""
