"""The settings of commands: reading, composing, completing with defaults, and explaining mistakes."""
