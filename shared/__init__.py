"""Small helpers that every week would otherwise repeat. Each module does one thing and imports no week."""
