"""From pillar to configuration: merged, validated, and all that follows from it."""
