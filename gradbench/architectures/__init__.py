"""Architecture specs, resolved to networks that replace a case's own; a gallery of networks."""
