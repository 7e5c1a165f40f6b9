"""Snapshots of the websites of one server in a restic repository on the backup server."""
