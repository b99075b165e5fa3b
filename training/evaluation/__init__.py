"""What the miniature is judged by: unseen clips, listeners for tempo, key and tracks, one module a group of bars."""
